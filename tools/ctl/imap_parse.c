/* SPDX-License-Identifier: BSD-2-Clause */
/* The little of IMAP (RFC 3501, RFC 9208) that GETQUOTAROOT needs. */
#include "asker.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "quotadefer/value.h"

int imap_string(const char *text, char *out, size_t size)
{
	bool is_plain = true;
	size_t n = 0;

	for (const char *p = text; *p; p++)
		is_plain &= *p >= 0x20 && *p < 0x7f;
	if (!is_plain) {
		/* Cyrus does LITERAL+, which needs no waiting */
		n = (size_t)snprintf(out, size, "{%zu+}\r\n%s", strlen(text),
				     text);
		return n < size ? (int)n : -1;
	}
	if (size < 2 * strlen(text) + 3)
		return -1;
	out[n++] = '"';
	for (const char *p = text; *p; p++) {
		if (*p == '"' || *p == '\\')
			out[n++] = '\\';
		out[n++] = *p;
	}
	out[n++] = '"';
	out[n] = '\0';
	return (int)n;
}

/*
 * A line that ends with "{17}" goes on with 17 bytes and another line. Returns
 * those bytes, -1 for none, -2 for more than there can be.
 */
static ssize_t literal_length(const char *line, const char *end)
{
	const char *at;
	size_t value = 0;

	if (end - line < 3 || end[-1] != '}')
		return -1;
	end--;
	if (end[-1] == '+')
		end--;
	for (at = end; at > line && isdigit((unsigned char)at[-1]); at--)
		;
	if (at == end || at == line || at[-1] != '{')
		return -1;
	for (; at < end; at++) {
		value = value * 10 + (size_t)(*at - '0');
		if (value > LINK_FRAME_MAX)
			return -2;
	}
	return (ssize_t)value;
}

static const char *line_end(const char *line, const char *newline)
{
	return newline > line && newline[-1] == '\r' ? newline - 1 : newline;
}

ssize_t imap_frame(const char *data, size_t length)
{
	const char *at = data, *end = data + length, *newline;

	while ((newline = memchr(at, '\n', (size_t)(end - at)))) {
		ssize_t literal = literal_length(at, line_end(at, newline));

		if (literal == -2)
			return -1;
		if (literal == -1)
			return newline + 1 - data;
		if (literal > end - (newline + 1))
			return 0;
		at = newline + 1 + literal;
	}
	return 0;
}

/* A response being read: a cursor that never passes end. */
struct reader {
	const char *at, *end;
};

static void skip_blanks(struct reader *r)
{
	while (r->at < r->end && *r->at == ' ')
		r->at++;
}

static bool take(struct reader *r, char c)
{
	skip_blanks(r);
	if (r->at == r->end || *r->at != c)
		return false;
	r->at++;
	return true;
}

/* The cursor is behind the first quote. */
static bool skip_quoted(struct reader *r)
{
	while (r->at < r->end && *r->at != '"') {
		if (*r->at == '\\')
			r->at++;
		if (r->at < r->end)
			r->at++;
	}
	return r->at < r->end && *r->at++ == '"';
}

static bool skip_literal(struct reader *r)
{
	const char *newline = memchr(r->at, '\n', (size_t)(r->end - r->at));
	ssize_t length;

	if (!newline)
		return false;
	length = literal_length(r->at, line_end(r->at, newline));
	if (length < 0 || length > r->end - (newline + 1))
		return false;
	r->at = newline + 1 + length;
	return true;
}

/* A name that does not matter, in any of its three forms. */
static bool skip_string(struct reader *r)
{
	const char *begin;

	if (take(r, '"'))
		return skip_quoted(r);
	if (r->at < r->end && *r->at == '{')
		return skip_literal(r);
	begin = r->at;
	while (r->at < r->end && !strchr(" ()\"{\r\n", *r->at))
		r->at++;
	return r->at > begin;
}

/* A word of letters, digits and such. */
static bool take_atom(struct reader *r, char *out, size_t size)
{
	size_t n = 0;

	skip_blanks(r);
	while (r->at<r->end && * r->at> ' ' && *r->at < 0x7f &&
	       !strchr("(){\"\\%*", *r->at)) {
		if (n + 1 == size)
			return false;
		out[n++] = *r->at++;
	}
	out[n] = '\0';
	return n > 0;
}

static bool take_number(struct reader *r, int64_t max, int64_t *out)
{
	char digits[24];

	return take_atom(r, digits, sizeof(digits)) &&
	       qd_value_integer(digits, 0, max, out) == 0;
}

static int resource_of(const char *name)
{
	static const struct {
		const char *name;
		enum qd_resource resource;
	} names[] = {
		{ "STORAGE", QD_STORAGE },
		{ "MESSAGE", QD_MESSAGE },
		{ "ANNOTATION-STORAGE", QD_ANNOTATION_STORAGE },
		{ "X-ANNOTATION-STORAGE", QD_ANNOTATION_STORAGE },
		{ "MAILBOX", QD_MAILBOX_COUNT },
		{ "X-NUM-FOLDERS", QD_MAILBOX_COUNT },
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcasecmp(name, names[i].name) == 0)
			return (int)names[i].resource;
	return -1;
}

static bool is_in_kib(int resource)
{
	return resource == QD_STORAGE || resource == QD_ANNOTATION_STORAGE;
}

/* "STORAGE 10 100" */
static bool take_resource(struct reader *r, struct qd_record *rec)
{
	int64_t used, limit;
	char name[64];
	int resource;

	if (!take_atom(r, name, sizeof(name)) ||
	    !take_number(r, INT64_MAX / 1024 - 1, &used) ||
	    !take_number(r, INT64_MAX, &limit))
		return false;
	resource = resource_of(name);
	if (resource < 0)
		return true;
	rec->usage[resource].used = is_in_kib(resource) ? used * 1024 : used;
	rec->usage[resource].limit = limit;
	return true;
}

/* * QUOTA "user/joe" (STORAGE 10 100 MESSAGE 1 2) */
enum imap_quota imap_quota(const char *frame, size_t length,
			   struct qd_record *rec)
{
	struct reader r = { frame, frame + length };
	char word[16];

	if (!take(&r, '*') || !take_atom(&r, word, sizeof(word)) ||
	    strcasecmp(word, "QUOTA") != 0)
		return IMAP_OTHER;
	qd_record_init(rec);
	if (!skip_string(&r) || !take(&r, '('))
		return IMAP_BAD;
	while (!take(&r, ')'))
		if (!take_resource(&r, rec))
			return IMAP_BAD;
	return IMAP_QUOTA;
}

enum cyrus imap_judge(const struct qd_record *rec, enum qd_rule rule)
{
	struct qd_record most = *rec;
	bool least_is_over = qd_record_over(rec, rule, 0) >= 0;

	most.usage[QD_STORAGE].used += 1023;
	most.usage[QD_ANNOTATION_STORAGE].used += 1023;
	if (least_is_over != (qd_record_over(&most, rule, 0) >= 0))
		return CYRUS_UNSURE;
	return least_is_over ? CYRUS_REFUSES : CYRUS_ACCEPTS;
}
