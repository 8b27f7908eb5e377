/* SPDX-License-Identifier: BSD-2-Clause */
#include "quotadefer/aliasmap.h"

#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "alias_impl.h"
#include "alias_tokens.h"

/* A text being put together from tokens. */
struct writer {
	char *at;
};

static void put(struct writer *out, const char *text, size_t length)
{
	memcpy(out->at, text, length);
	out->at += length;
}

static void put_char(struct writer *out, char c)
{
	*out->at++ = c;
}

static void put_quoted(struct writer *out, const struct qd_alias_token *token,
		       char open, char close)
{
	put_char(out, open);
	for (size_t i = 0; i < token->length; i++) {
		char c = token->text[i];

		if (c == '\\' || (c == '"' && close == '"'))
			put_char(out, '\\');
		put_char(out, c);
	}
	put_char(out, close);
}

/* Words side by side, and what is in front of a "<", are kept apart. */
static bool wants_blank(const struct qd_alias_token *token,
			const struct qd_alias_token *end)
{
	const struct qd_alias_token *next = token + 1;

	if (next == end)
		return false;
	if (token->kind == ',' || next->kind == '<')
		return true;
	return token->text && next->text;
}

/* A name, as it is looked up: without quotes. */
static void put_name(struct writer *out, const struct qd_alias_token *token,
		     const struct qd_alias_token *end)
{
	for (; token < end; token++) {
		if (token->kind == QD_TOKEN_LITERAL)
			put_char(out, '[');
		if (token->text)
			put(out, token->text, token->length);
		else
			put_char(out, (char)token->kind);
		if (token->kind == QD_TOKEN_LITERAL)
			put_char(out, ']');
		if (wants_blank(token, end))
			put_char(out, ' ');
	}
	put_char(out, '\0');
}

/* A value, as it is parsed again: with the quotes it needs. */
static void put_value(struct writer *out, const struct qd_alias_token *token,
		      const struct qd_alias_token *end)
{
	for (; token < end; token++) {
		if (token->kind == QD_TOKEN_QUOTED)
			put_quoted(out, token, '"', '"');
		else if (token->kind == QD_TOKEN_LITERAL)
			put_quoted(out, token, '[', ']');
		else if (token->text)
			put(out, token->text, token->length);
		else
			put_char(out, (char)token->kind);
		/* behind a comma always, also the last */
		if (token->kind == ',' || wants_blank(token, end))
			put_char(out, ' ');
	}
	put_char(out, '\0');
}

/* What is wrong with a line of these tokens, colon the first in it; or NULL. */
static const char *find_fault(const struct qd_alias_tokens *tokens,
			      const struct qd_alias_token *colon)
{
	const struct qd_alias_token *end = tokens->items + tokens->count;
	const char *fault = NULL;

	if (colon == end || colon == tokens->items || colon + 1 == end)
		return "expected \"name: value\"";
	for (const struct qd_alias_token *at = tokens->items; at < colon;
	     at++) {
		if (at->kind == ',')
			return "expected one name in front of the colon";
		if (at->kind == '@' || at->kind == '%')
			fault = "the name must be a local part, without "
				"a domain";
	}
	return fault;
}

static const struct qd_alias_token *
find_colon(const struct qd_alias_tokens *tokens)
{
	const struct qd_alias_token *end = tokens->items + tokens->count, *at;

	for (at = tokens->items; at < end; at++)
		if (at->kind == ':')
			break;
	return at;
}

static int add_pair(struct qd_alias_content *content,
		    const struct qd_alias_line *line,
		    const struct qd_alias_tokens *tokens,
		    const struct qd_alias_token *colon, struct qd_error *err)
{
	/*
	 * A character gives at most two, and a token a blank, and quotes that
	 * it did not have.
	 */
	size_t room = 2 * line->length + 3 * tokens->count + 2;
	char *name = malloc(room), *value;
	struct writer out = { .at = name };
	int rc;

	if (!name)
		return qd_error_set(err, EX_OSERR, "out of memory");
	put_name(&out, tokens->items, colon);
	value = out.at;
	put_value(&out, colon + 1, tokens->items + tokens->count);
	rc = qd_alias_content_add(content, line, name, value, err);
	free(name);
	return rc;
}

/* As postalias(1) of Postfix reads a line. */
static int read_line(struct qd_alias_content *content,
		     const struct qd_alias_line *line, struct qd_error *err)
{
	const struct qd_alias_token *colon;
	struct qd_alias_tokens tokens;
	const char *fault;
	int rc = 0;

	if (!qd_alias_line_is_utf8(line)) {
		qd_alias_content_bad(content, line->number,
				     "is not in UTF-8, which it must be");
		return 0;
	}
	if (qd_alias_tokens_scan(line->text, strlen(line->text), &tokens, err) <
	    0)
		return -1;
	if (tokens.count) {
		colon = find_colon(&tokens);
		fault = find_fault(&tokens, colon);
		if (fault)
			qd_alias_content_bad(content, line->number, fault);
		else
			rc = add_pair(content, line, &tokens, colon, err);
	}
	qd_alias_tokens_free(&tokens);
	return rc;
}

static enum qd_found include(struct qd_aliasmap *map, const char *path,
			     struct qd_aliasvalue *value, struct qd_error *err)
{
	struct qd_alias_file *file = (struct qd_alias_file *)map;

	return qd_alias_includes_get(file->includes, path, map->say, value,
				     err);
}

static const struct qd_aliasmap_ops aliases_ops = {
	.get = qd_alias_file_get,
	.include = include,
	.close = qd_alias_file_close,
};

int qd_alias_aliases_open(const char *name, bool strict,
			  void (*say)(int priority, const char *text),
			  struct qd_aliasmap **out, struct qd_error *err)
{
	struct qd_alias_file *file = qd_alias_file_open(
		name, strict, say, &aliases_ops, read_line, err);

	if (!file)
		return -1;
	file->map.kind = QD_ALIASMAP_LOCAL;
	file->includes = qd_alias_includes_new();
	if (!file->includes) {
		qd_alias_file_close(&file->map);
		return qd_error_set(err, EX_OSERR, "%s: out of memory", name);
	}
	*out = &file->map;
	return 0;
}
