/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SCRATCH_H
#define SCRATCH_H

/* A temporary directory for one test program. */

#include <stddef.h>

/* Make it, below TMPDIR; ends the program if that fails. cmocka set-up. */
int scratch_make(void **state);

/* Remove it with all in it. cmocka tear-down. */
int scratch_remove(void **state);

/* The path of name in it, in one of 256 buffers used in turn. */
const char *scratch_path(const char *name);

/* Write a file in it, with the directories on the way. */
void scratch_write(const char *name, const char *data, size_t length);
void scratch_text(const char *name, const char *text);

#endif
