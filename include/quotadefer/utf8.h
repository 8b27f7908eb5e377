/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef QUOTADEFER_UTF8_H
#define QUOTADEFER_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Read one character of well-formed UTF-8 (RFC 3629: shortest form, no
 * surrogates) at text. Returns its length in bytes and sets *out, or returns
 * 0 if there is none. Reads no further than a terminating NUL.
 */
size_t qd_utf8_next(const char *text, uint32_t *out);

/* True if all of text is such characters. */
bool qd_utf8_is_valid(const char *text);

/*
 * Encode text as an IMAP mailbox name, modified UTF-7 (RFC 3501 5.1.3): "&"
 * becomes "&-", anything but printable ASCII modified base64. Returns the
 * length, or -1 if text is not UTF-8 or the result does not fit size.
 */
int qd_utf8_to_utf7(const char *text, char *out, size_t size);

#endif
