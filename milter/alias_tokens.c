/* SPDX-License-Identifier: BSD-2-Clause */
#include "alias_tokens.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

/* More than any list of people that mail is sent to has. */
#define TOKENS_MAX 1000000

/* The text being cut, and where the text of tokens goes. */
struct cutter {
	const char *at, *end;
	char *out;
};

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* Those of RFC 822, and three more that mean something in addresses. */
static bool is_special(char c)
{
	return c && strchr("()<>@,;:\\\".[]|%!", c) != NULL;
}

static bool needs_quotes(const struct qd_alias_token *token)
{
	for (size_t i = 0; i < token->length; i++) {
		unsigned char c = (unsigned char)token->text[i];

		if (c <= ' ' || c == 0x7f || is_special((char)c))
			return true;
	}
	return false;
}

/* Where a token of this kind ends, if not at a quoted pair. */
static bool ends_token(int kind, char c)
{
	switch (kind) {
	case QD_TOKEN_QUOTED:
		return c == '"';
	case QD_TOKEN_LITERAL:
		return c == ']';
	default:
		return is_blank(c) || is_special(c);
	}
}

/* The text of a token, with the quoting of its characters taken off. */
static void collect(struct cutter *cut, struct qd_alias_token *token)
{
	token->text = cut->out;
	while (cut->at < cut->end) {
		char c = *cut->at;

		if (c == '\\') {
			if (++cut->at == cut->end)
				break;
			c = *cut->at;
		} else if (ends_token(token->kind, c)) {
			break;
		}
		*cut->out++ = is_blank(c) ? ' ' : c;
		cut->at++;
	}
	token->length = (size_t)(cut->out - token->text);
}

/* Comments nest. The opening parenthesis has been read. */
static void collect_comment(struct cutter *cut, struct qd_alias_token *token)
{
	unsigned int depth = 1;

	token->text = cut->out;
	*cut->out++ = '(';
	while (cut->at < cut->end && depth) {
		char c = *cut->at++;

		*cut->out++ = c;
		if (c == '(')
			depth++;
		else if (c == ')')
			depth--;
		else if (c == '\\' && cut->at < cut->end)
			*cut->out++ = *cut->at++;
	}
	token->length = (size_t)(cut->out - token->text);
}

static void collect_enclosed(struct cutter *cut, struct qd_alias_token *token)
{
	collect(cut, token);
	if (cut->at < cut->end)
		cut->at++;
}

static void next_token(struct cutter *cut, struct qd_alias_token *token)
{
	char c = *cut->at++;

	*token = (struct qd_alias_token){ .kind = (unsigned char)c };
	if (c == '(') {
		token->kind = QD_TOKEN_COMMENT;
		collect_comment(cut, token);
	} else if (c == '[') {
		token->kind = QD_TOKEN_LITERAL;
		collect_enclosed(cut, token);
	} else if (c == '"') {
		token->kind = QD_TOKEN_QUOTED;
		collect_enclosed(cut, token);
	} else if (c == '\\' || !is_special(c)) {
		token->kind = QD_TOKEN_ATOM;
		cut->at--;
		collect(cut, token);
		if (needs_quotes(token))
			token->kind = QD_TOKEN_QUOTED;
	}
}

static struct qd_alias_token *one_more(struct qd_alias_tokens *tokens,
				       struct qd_error *err)
{
	struct qd_alias_token *items;
	size_t room = tokens->room ? tokens->room * 2 : 32;

	if (tokens->count == TOKENS_MAX) {
		qd_error_set(err, EX_DATAERR, "more than %d words in a text",
			     TOKENS_MAX);
		return NULL;
	}
	if (tokens->count < tokens->room)
		return &tokens->items[tokens->count++];
	items = realloc(tokens->items, room * sizeof(*items));
	if (!items) {
		qd_error_set(err, EX_OSERR, "out of memory");
		return NULL;
	}
	tokens->items = items;
	tokens->room = room;
	return &tokens->items[tokens->count++];
}

int qd_alias_tokens_scan(const char *text, size_t length,
			 struct qd_alias_tokens *out, struct qd_error *err)
{
	struct qd_alias_tokens tokens = { .storage = malloc(length + 1) };
	struct cutter cut = { .at = text,
			      .end = text + length,
			      .out = tokens.storage };

	if (!tokens.storage)
		return qd_error_set(err, EX_OSERR, "out of memory");
	while (cut.at < cut.end) {
		struct qd_alias_token *token;

		if (is_blank(*cut.at)) {
			cut.at++;
			continue;
		}
		token = one_more(&tokens, err);
		if (!token) {
			qd_alias_tokens_free(&tokens);
			return -1;
		}
		next_token(&cut, token);
	}
	*out = tokens;
	return 0;
}

void qd_alias_tokens_free(struct qd_alias_tokens *tokens)
{
	free(tokens->items);
	free(tokens->storage);
	memset(tokens, 0, sizeof(*tokens));
}
