/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef QUOTADEFER_TEMPLATE_H
#define QUOTADEFER_TEMPLATE_H

#include <stddef.h>

/* How long a text may be, and how many lines it may have. */
enum {
	QD_TEMPLATE_MAX = 480,
	QD_TEMPLATE_LINES = 8
};

/* What stands for {resource} and {recipient} in a text. */
struct qd_template_words {
	const char *resource;
	const char *recipient;
};

/*
 * The first "{word}" of letters, digits, "_" and "-" in text that is none of
 * the above, and its length with the braces; NULL if there is none. Braces
 * around anything else are text.
 */
const char *qd_template_unknown(const char *text, size_t *length);

/*
 * One line: text up to "\n" or its end, with the words replaced. A word that
 * does not fit is left out, never cut: half an address may be another's.
 * Other text is cut at size. Returns where the line ends in text.
 */
const char *qd_template_line(const char *text,
			     const struct qd_template_words *words, char *out,
			     size_t size);

#endif
