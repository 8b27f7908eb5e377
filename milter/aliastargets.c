/* SPDX-License-Identifier: BSD-2-Clause */
#include "quotadefer/aliastargets.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sysexits.h>

#include "alias_tokens.h"

#define INCLUDE ":include:"

/* The targets found so far, and what they are read from. */
struct parse {
	enum qd_aliasmap_kind kind;
	const struct qd_alias_token *tokens;
	struct qd_aliastargets targets;
	size_t room;
	struct qd_error *err;
};

/* A piece of a token list: the tokens of one target. */
struct span {
	const struct qd_alias_token *first, *end;
};

/* What a target says without its quoting; cut short if there is no room. */
struct plain {
	char text[sizeof(INCLUDE) + QD_ALIASTARGET_PATH_MAX];
	size_t length;
	bool cut;
};

static void plain_add(struct plain *plain, const char *text, size_t length)
{
	size_t room = sizeof(plain->text) - 1 - plain->length;

	if (length > room) {
		plain->cut = true;
		length = room;
	}
	memcpy(plain->text + plain->length, text, length);
	plain->length += length;
	plain->text[plain->length] = '\0';
}

/*
 * Words side by side can only be in angle brackets; Postfix joins them, with
 * a blank if one of them is quoted.
 */
static bool needs_blank(const struct qd_alias_token *a,
			const struct qd_alias_token *b)
{
	return a->text && b->text &&
	       (a->kind == QD_TOKEN_QUOTED || b->kind == QD_TOKEN_QUOTED);
}

static void plain_text(struct span span, struct plain *plain)
{
	plain->length = 0;
	plain->cut = false;
	plain->text[0] = '\0';
	for (; span.first < span.end && !plain->cut; span.first++) {
		char c = (char)span.first->kind;

		if (span.first->text)
			plain_add(plain, span.first->text, span.first->length);
		else
			plain_add(plain, &c, 1);
		if (span.first + 1 < span.end &&
		    needs_blank(span.first, span.first + 1))
			plain_add(plain, " ", 1);
	}
}

static struct qd_aliastarget *one_more(struct parse *parse)
{
	size_t room = parse->room ? parse->room * 2 : 4;
	struct qd_aliastarget *items;

	if (parse->targets.count == QD_ALIASTARGETS_MAX) {
		qd_error_set(parse->err, EX_DATAERR, "more than %d targets",
			     QD_ALIASTARGETS_MAX);
		return NULL;
	}
	if (parse->targets.count == parse->room) {
		items = realloc(parse->targets.items, room * sizeof(*items));
		if (!items) {
			qd_error_set(parse->err, EX_OSERR, "out of memory");
			return NULL;
		}
		parse->targets.items = items;
		parse->room = room;
	}
	items = &parse->targets.items[parse->targets.count++];
	memset(items, 0, sizeof(*items));
	return items;
}

/* "@one,@two:joe@three" is for joe@three. */
static struct span without_route(struct span span)
{
	const struct qd_alias_token *at = span.first;

	if (at->kind != '@')
		return span;
	while (at < span.end && at->kind != ':')
		at++;
	if (at < span.end && at + 1 < span.end)
		span.first = at + 1;
	return span;
}

static const struct qd_alias_token *last_at_sign(struct span span)
{
	for (const struct qd_alias_token *at = span.end; at > span.first; at--)
		if (at[-1].kind == '@')
			return at - 1;
	return span.end;
}

/* Words and dots only; in a domain, nothing quoted. */
static bool is_plain(struct span span, bool domain)
{
	for (; span.first < span.end; span.first++)
		if (span.first->kind != QD_TOKEN_ATOM &&
		    span.first->kind != '.' &&
		    (domain || span.first->kind != QD_TOKEN_QUOTED))
			return false;
	return true;
}

/* As a path that qd_address_parse reads, all quoted. */
static void quote(const struct plain *local, const struct plain *domain,
		  char *out)
{
	*out++ = '"';
	for (const char *at = local->text; *at; at++) {
		if (*at == '"' || *at == '\\')
			*out++ = '\\';
		*out++ = *at;
	}
	*out++ = '"';
	if (domain->length) {
		*out++ = '@';
		memcpy(out, domain->text, domain->length);
		out += domain->length;
	}
	*out = '\0';
}

static int too_long(struct parse *parse, const char *what, size_t max)
{
	return qd_error_set(parse->err, EX_DATAERR,
			    "a target has a %s of more than %zu bytes", what,
			    max);
}

static int read_address(struct parse *parse, struct span span,
			struct qd_aliastarget *out)
{
	char path[2 * QD_LOCAL_MAX + QD_DOMAIN_MAX + 8];
	const struct qd_alias_token *at;
	struct plain local, domain;
	enum qd_address_kind want = QD_ADDRESS_LOCAL;

	out->kind = QD_ALIASTARGET_OTHER;
	span = without_route(span);
	at = last_at_sign(span);
	if (!is_plain((struct span){ span.first, at }, false))
		return 0;
	plain_text((struct span){ span.first, at }, &local);
	domain.length = 0;
	domain.cut = false;
	if (at < span.end) {
		want = QD_ADDRESS_MAILBOX;
		if (!is_plain((struct span){ at + 1, span.end }, true))
			return 0;
		plain_text((struct span){ at + 1, span.end }, &domain);
		if (!domain.length && !domain.cut)
			return 0;
	}
	if (local.cut || local.length > QD_LOCAL_MAX)
		return too_long(parse, "local part", QD_LOCAL_MAX);
	if (domain.cut || domain.length > QD_DOMAIN_MAX)
		return too_long(parse, "domain", QD_DOMAIN_MAX);
	quote(&local, &domain, path);
	/* Postfix may yet take a local part with "@" first for a route */
	if (local.text[0] != '@' &&
	    qd_address_parse(path, &out->address) == want)
		out->kind = QD_ALIASTARGET_ADDRESS;
	return 0;
}

/* What aliases(5) has besides addresses; 1 if it is none of that. */
static int read_special(struct parse *parse, struct span span,
			struct qd_aliastarget *out)
{
	struct plain plain;
	const char *path;

	plain_text(span, &plain);
	out->kind = QD_ALIASTARGET_OTHER;
	/* a command, a file, a file in somebody's home */
	if (strchr("|/~", plain.text[0]) && plain.text[0])
		return 0;
	if (strncasecmp(plain.text, INCLUDE, strlen(INCLUDE)) != 0)
		return 1;
	path = plain.text + strlen(INCLUDE);
	if (plain.cut || strlen(path) > QD_ALIASTARGET_PATH_MAX)
		return too_long(parse, "path", QD_ALIASTARGET_PATH_MAX);
	out->kind = QD_ALIASTARGET_INCLUDE;
	memcpy(out->path, path, strlen(path) + 1);
	return 0;
}

/* The tokens from first to before end are a target, if there are any. */
static int take(struct parse *parse, ptrdiff_t first, ptrdiff_t end)
{
	struct qd_aliastarget *target;
	struct span span;
	int rc = 1;

	if (first >= end)
		return 0;
	span.first = parse->tokens + first;
	span.end = parse->tokens + end;
	target = one_more(parse);
	if (!target)
		return -1;
	if (parse->kind == QD_ALIASMAP_LOCAL)
		rc = read_special(parse, span, target);
	return rc == 1 ? read_address(parse, span, target) : rc;
}

static bool is_word(int kind)
{
	return kind == QD_TOKEN_ATOM || kind == QD_TOKEN_QUOTED ||
	       kind == QD_TOKEN_LITERAL;
}

/* Walks over tokens from the last to the first; end is of the target there. */
struct walk {
	ptrdiff_t at, end;
	bool word_fits; /* a word belongs to the target right of it */
	bool in_group;
};

/* "phrase <route>": the phrase is for people. */
static int walk_angle(struct parse *parse, struct walk *walk)
{
	int rc = take(parse, walk->at + 1, walk->end);

	walk->end = walk->at;
	while (walk->at >= 0 && parse->tokens[walk->at].kind != '<')
		walk->at--;
	if (rc == 0)
		rc = take(parse, walk->at + 1, walk->end);
	while (walk->at >= 0 && (parse->tokens[walk->at].kind > 0xff ||
				 !strchr(">;,:", parse->tokens[walk->at].kind)))
		walk->at--;
	walk->end = walk->at;
	walk->word_fits = true;
	return rc;
}

/* The name of a group is no target. */
static int walk_group(struct parse *parse, struct walk *walk)
{
	int rc = take(parse, walk->at + 1, walk->end);

	while (walk->at >= 0 && parse->tokens[walk->at].kind != ',')
		walk->at--;
	walk->end = walk->at;
	return rc;
}

/* The token at walk->at ends what is right of it. */
static int walk_end(struct parse *parse, struct walk *walk, ptrdiff_t end)
{
	int rc = take(parse, walk->at + 1, walk->end);

	walk->end = end;
	return rc;
}

static int walk_token(struct parse *parse, struct walk *walk)
{
	int kind = parse->tokens[walk->at].kind, rc = 0;

	if (kind == '>')
		return walk_angle(parse, walk);
	if (kind == ':' && walk->in_group)
		return walk_group(parse, walk);
	if (kind == ',' || kind == ';') {
		rc = walk_end(parse, walk, walk->at);
		walk->in_group = walk->in_group || kind == ';';
	} else if (is_word(kind) && !walk->word_fits) {
		/* two words without a comma */
		rc = walk_end(parse, walk, walk->at + 1);
	}
	walk->word_fits = !is_word(kind);
	walk->at--;
	return rc;
}

static void reverse(struct qd_aliastarget *items, size_t count)
{
	for (size_t i = 0; i < count / 2; i++) {
		struct qd_aliastarget swap = items[i];

		items[i] = items[count - 1 - i];
		items[count - 1 - i] = swap;
	}
}

static size_t drop_comments(struct qd_alias_tokens *tokens)
{
	size_t count = 0;

	for (size_t i = 0; i < tokens->count; i++)
		if (tokens->items[i].kind != QD_TOKEN_COMMENT)
			tokens->items[count++] = tokens->items[i];
	return count;
}

/*
 * From right to left, as RFC 822 is read most easily: "<" and ":" then have
 * been announced.
 */
static int parse_line(struct parse *parse, const char *line, size_t length)
{
	struct qd_alias_tokens tokens;
	size_t before = parse->targets.count;
	struct walk walk = { .word_fits = true };
	int rc = 0;

	if (qd_alias_tokens_scan(line, length, &tokens, parse->err) < 0)
		return -1;
	walk.end = (ptrdiff_t)drop_comments(&tokens);
	walk.at = walk.end - 1;
	parse->tokens = tokens.items;
	while (rc == 0 && walk.at >= 0)
		rc = walk_token(parse, &walk);
	if (rc == 0)
		rc = take(parse, walk.at + 1, walk.end);
	qd_alias_tokens_free(&tokens);
	if (rc == 0 && parse->targets.count > before)
		reverse(parse->targets.items + before,
			parse->targets.count - before);
	return rc;
}

/* The end of a line is part of it, and a blank in a quote that is open. */
static int parse_lines(struct parse *parse, const char *text)
{
	while (*text) {
		size_t length = strcspn(text, "\n");

		length += text[length] == '\n';
		if (parse_line(parse, text, length) < 0)
			return -1;
		text += length;
	}
	return 0;
}

/* One target that is no address of anybody's mailbox. */
static int parse_other(struct parse *parse)
{
	struct qd_aliastarget *target = one_more(parse);

	if (!target)
		return -1;
	target->kind = QD_ALIASTARGET_OTHER;
	return 0;
}

/*
 * Postfix puts the local part looked up in front of a text with "@" first,
 * and reads the result. Here it is "x", taken off again. Should there be more
 * of them, all up to the last "@" is one local part, which nobody has.
 */
static int parse_domain(struct parse *parse, const char *text)
{
	const char *last = strrchr(text, '@');
	size_t size = strlen(last) + 2;
	char *with_local = malloc(size);
	struct qd_aliastarget *first;
	int rc;

	if (!with_local)
		return qd_error_set(parse->err, EX_OSERR, "out of memory");
	with_local[0] = 'x';
	memcpy(with_local + 1, last, size - 1);
	rc = parse_line(parse, with_local, size - 1);
	free(with_local);
	first = parse->targets.items;
	if (rc < 0 || !parse->targets.count ||
	    first->kind != QD_ALIASTARGET_ADDRESS)
		return rc;
	first->kind =
		last == text ? QD_ALIASTARGET_DOMAIN : QD_ALIASTARGET_OTHER;
	first->address.local[0] = '\0';
	return 0;
}

int qd_aliastargets_parse(const char *text, enum qd_aliasmap_kind kind,
			  struct qd_aliastargets *out, struct qd_error *err)
{
	struct parse parse = { .kind = kind, .err = err };
	int rc;

	if (kind == QD_ALIASMAP_LOCAL)
		rc = parse_lines(&parse, text);
	else if (!text[0] || strcmp(text, "<>") == 0)
		rc = parse_other(&parse); /* mail to the null address */
	else if (text[0] == '@')
		rc = parse_domain(&parse, text);
	else
		rc = parse_line(&parse, text, strlen(text));
	if (rc < 0) {
		qd_aliastargets_free(&parse.targets);
		return -1;
	}
	*out = parse.targets;
	return 0;
}

void qd_aliastargets_free(struct qd_aliastargets *targets)
{
	free(targets->items);
	memset(targets, 0, sizeof(*targets));
}
