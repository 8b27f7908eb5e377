/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef QUOTADEFER_FOLD_H
#define QUOTADEFER_FOLD_H

#include <stddef.h>

/* Folding makes a text at most so many times longer. */
#define QD_FOLD_GROWTH 3

/*
 * Case folding as Postfix does it with keys of alias maps: in ASCII to lower
 * case, else the full folding of Unicode, such as U+00DF to "ss".
 *
 * Returns 0, or -1 if text is not well-formed UTF-8 (RFC 3629) or the result
 * does not fit; then *out is undefined. Thread-safe.
 */
int qd_fold(const char *text, char *out, size_t size);

#endif
