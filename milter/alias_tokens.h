/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef QUOTADEFER_ALIAS_TOKENS_H
#define QUOTADEFER_ALIAS_TOKENS_H

/* For the alias*.c files; no other file may include it. */

#include <stddef.h>

#include "quotadefer/error.h"

/* Kinds of tokens; below them, a character that is one by itself. */
enum {
	QD_TOKEN_ATOM = 256,
	QD_TOKEN_QUOTED,
	QD_TOKEN_LITERAL,
	QD_TOKEN_COMMENT /* as written, with its parentheses */
};

struct qd_alias_token {
	int kind;
	const char *text; /* quoting taken off; NULL for a character */
	size_t length;
};

struct qd_alias_tokens {
	struct qd_alias_token *items;
	size_t count, room;
	char *storage;
};

/*
 * Cut text, of length bytes and without NUL, into tokens of RFC 822 as
 * Postfix does: no text is wrong, a quote that is not closed ends with text.
 * Returns 0, or -1 with *err: out of memory, or absurdly many.
 */
int qd_alias_tokens_scan(const char *text, size_t length,
			 struct qd_alias_tokens *out, struct qd_error *err);
void qd_alias_tokens_free(struct qd_alias_tokens *tokens);

#endif
