/* SPDX-License-Identifier: BSD-2-Clause */
#include "quotadefer/quotarecord.h"

#include <stdbool.h>
#include <string.h>
#include <strings.h>

/* quota_db_names in imap/quota_db.c */
static const char *const keys[QD_RESOURCES] = { "S", "M", "AS", "NF" };

/* A Cyrus dlist nests no deeper in a quota record; RFC 7888, section 5. */
enum {
	DEPTH_MAX = 8,
	LITERAL_MAX = 4096
};

struct cursor {
	const char *at, *end;
};

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static void skip_space(struct cursor *c)
{
	while (c->at < c->end && is_space(*c->at))
		c->at++;
}

static bool take(struct cursor *c, char wanted)
{
	if (c->at == c->end || *c->at != wanted)
		return false;
	c->at++;
	return true;
}

/*
 * What getxstring in imap/imapparse.c takes for an atom, less what it takes
 * for something else at the front, and less what is not printable.
 */
static bool take_atom(struct cursor *c, struct cursor *atom)
{
	atom->at = c->at;
	while (c->at<c->end && * c->at> ' ' && *c->at < 0x7f && *c->at != '(' &&
	       *c->at != ')' && *c->at != '"')
		c->at++;
	atom->end = c->at;
	return atom->end > atom->at && !strchr("%{\\", *atom->at);
}

static bool read_number(const struct cursor *text, bool is_signed, int64_t *out)
{
	const char *p = text->at;
	bool negative = is_signed && p < text->end && *p == '-';
	int64_t n = 0;

	if (is_signed && p < text->end && (*p == '-' || *p == '+'))
		p++;
	if (p == text->end)
		return false;
	for (; p < text->end; p++) {
		int digit = *p - '0';

		if (digit < 0 || digit > 9 || n > (INT64_MAX - digit) / 10)
			return false;
		n = n * 10 + digit;
	}
	*out = negative ? -n : n;
	return true;
}

static bool equals(const struct cursor *text, const char *word)
{
	size_t length = (size_t)(text->end - text->at);

	return strlen(word) == length && memcmp(text->at, word, length) == 0;
}

static bool skip_value(struct cursor *c, int depth);

static bool skip_quoted(struct cursor *c)
{
	while (c->at < c->end) {
		char next = *c->at++;

		if (next == '"')
			return true;
		if (next == '\r' || next == '\n')
			return false;
		if (next == '\\' && c->at < c->end)
			c->at++;
	}
	return false;
}

/* "{5+}" CR LF and five bytes, behind the brace; Cyrus writes no other */
static bool skip_literal(struct cursor *c)
{
	const char *digits = c->at;
	struct cursor number;
	int64_t length;

	while (c->at < c->end && *c->at >= '0' && *c->at <= '9')
		c->at++;
	number = (struct cursor){ digits, c->at };
	if (!read_number(&number, false, &length) || length > LITERAL_MAX)
		return false;
	if (!take(c, '+') || !take(c, '}') || !take(c, '\r') || !take(c, '\n'))
		return false;
	if (length > c->end - c->at)
		return false;
	c->at += length;
	return true;
}

/* Behind "(" values, behind "%(" a key before each. */
static bool skip_list(struct cursor *c, bool has_keys, int depth)
{
	struct cursor key;

	for (;;) {
		skip_space(c);
		if (take(c, ')'))
			return true;
		if (has_keys && !take_atom(c, &key))
			return false;
		skip_space(c);
		if (!skip_value(c, depth + 1))
			return false;
	}
}

/*
 * Whatever a key of another Cyrus version, or SCAN, may hold. Where Cyrus
 * stumbles over one it takes the whole record for one without limits, so
 * nothing may pass here that its dlist_parse would not take.
 */
static bool skip_value(struct cursor *c, int depth)
{
	struct cursor atom;

	if (depth > DEPTH_MAX)
		return false;
	if (take(c, '('))
		return skip_list(c, false, depth);
	if (take(c, '"'))
		return skip_quoted(c);
	if (take(c, '{'))
		return skip_literal(c);
	if (take(c, '%'))
		return take(c, '(') && skip_list(c, true, depth);
	return take_atom(c, &atom);
}

/* "(237 100)", "(237)", "()": used, limit; further numbers are not ours */
static bool read_usage(struct cursor *c, struct qd_usage *usage)
{
	struct cursor atom;
	int64_t number;

	if (!take(c, '('))
		return skip_value(c, 0); /* no list: no limit */
	for (int n = 0;; n++) {
		skip_space(c);
		if (take(c, ')'))
			return true;
		if (!take_atom(c, &atom) || !read_number(&atom, false, &number))
			return false;
		if (n == 0)
			usage->used = number;
		else if (n == 1)
			usage->limit = number;
	}
}

/* Of a key given twice Cyrus takes the first. */
static bool read_pair(struct cursor *c, struct qd_record *rec, unsigned *seen)
{
	struct qd_usage ignored;
	struct cursor key;

	if (!take_atom(c, &key))
		return false;
	skip_space(c);
	for (unsigned i = 0; i < QD_RESOURCES; i++) {
		if (!equals(&key, keys[i]))
			continue;
		if (*seen & 1u << i)
			return read_usage(c, &ignored);
		*seen |= 1u << i;
		return read_usage(c, &rec->usage[i]);
	}
	return skip_value(c, 0);
}

/* "%(S (237 100) M (1) MODSEQ 3)" */
static bool read_list_form(struct cursor *c, struct qd_record *rec,
			   const char **why)
{
	unsigned seen = 0;

	*why = "cut short or not a list";
	c->at++;
	if (!take(c, '('))
		return false;
	for (;;) {
		skip_space(c);
		if (take(c, ')'))
			break;
		if (!read_pair(c, rec, &seen))
			return false;
	}
	*why = "something behind the list";
	return c->at == c->end;
}

static bool next_word(struct cursor *c, struct cursor *word)
{
	skip_space(c);
	word->at = c->at;
	while (c->at < c->end && !is_space(*c->at))
		c->at++;
	word->end = c->at;
	return word->end > word->at;
}

static int resource_of(const struct cursor *word)
{
	size_t length = (size_t)(word->end - word->at);

	for (int i = 0; i < QD_RESOURCES; i++)
		if (strlen(keys[i]) == length &&
		    strncasecmp(word->at, keys[i], length) == 0)
			return i;
	return -1;
}

/* "used limit [left over] [M used limit [left over]] ..." */
static bool read_old_form(struct cursor *c, struct qd_record *rec,
			  const char **why)
{
	int resource = QD_STORAGE;
	struct cursor word;
	int64_t ignored;

	*why = "not a number where one belongs";
	for (;;) {
		struct qd_usage *usage = &rec->usage[resource];

		if (!next_word(c, &word) ||
		    !read_number(&word, true, &usage->used) ||
		    !next_word(c, &word) ||
		    !read_number(&word, true, &usage->limit))
			return false;
		if (!next_word(c, &word))
			return true;
		if (read_number(&word, true, &ignored) && !next_word(c, &word))
			return true;
		resource = resource_of(&word);
		if (resource < 0) {
			*why = "an unknown resource";
			return false;
		}
	}
}

enum qd_quotarecord qd_quotarecord_value(const char *data, size_t length,
					 struct qd_record *rec,
					 const char **why)
{
	struct cursor c = { data, data + length };
	struct qd_record parsed;
	bool good;

	if (length == 0 || data[0] == '\0')
		return QD_QUOTA_NONE;
	qd_record_init(&parsed);
	*why = "a zero byte";
	if (memchr(data, '\0', length))
		return QD_QUOTA_MALFORMED;
	if (data[0] == '%')
		good = read_list_form(&c, &parsed, why);
	else
		good = read_old_form(&c, &parsed, why);
	if (!good)
		return QD_QUOTA_MALFORMED;
	for (int i = 0; i < QD_RESOURCES; i++)
		if (parsed.usage[i].limit < 0)
			parsed.usage[i].limit = -1;
	*rec = parsed;
	return QD_QUOTA_ROOT;
}

enum qd_quotarecord qd_quotarecord_file(const char *data, size_t length,
					struct qd_record *rec, const char **why)
{
	if (length == 0)
		return QD_QUOTA_NONE;
	if (data[length - 1] != '\n') {
		*why = "no newline at the end";
		return QD_QUOTA_MALFORMED;
	}
	return qd_quotarecord_value(data, length - 1, rec, why);
}
