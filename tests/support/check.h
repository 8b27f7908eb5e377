/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CHECK_H
#define CHECK_H

/* cmocka with what it needs in front, for the unit tests. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Run an array named tests as one group, from main(). */
#define RUN_TESTS(tests) cmocka_run_group_tests(tests, NULL, NULL)

#endif
