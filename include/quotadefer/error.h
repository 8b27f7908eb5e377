/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef QUOTADEFER_ERROR_H
#define QUOTADEFER_ERROR_H

/*
 * Why something failed, for a person to read.
 *
 * status is the sysexits(3) code a program ends with if this failure is what
 * ends it. text is one line, lower case, object first and reason last.
 */
struct qd_error {
	int status;
	char text[512];
};

/*
 * Fill *err and return -1, so that a caller can "return qd_error_set(...)".
 * %m is the text of errno. A NULL err is fine: the failure is then nameless.
 */
int qd_error_set(struct qd_error *err, int status, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Put "prefix: " in front of err's text. Returns -1, keeps the status. */
int qd_error_prefix(struct qd_error *err, const char *prefix);

#endif
