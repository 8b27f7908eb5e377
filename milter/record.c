/* SPDX-License-Identifier: BSD-2-Clause */
#include "quotadefer/record.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* As Cyrus names and scales them: quota_db_names, quota_units. */
static const struct {
	const char *key;
	const char *name;
	int64_t unit;
} resources[QD_RESOURCES] = {
	[QD_STORAGE] = { "S", "storage", 1024 },
	[QD_MESSAGE] = { "M", "message", 1 },
	[QD_ANNOTATION_STORAGE] = { "AS", "annotation-storage", 1024 },
	[QD_MAILBOX_COUNT] = { "NF", "mailbox", 1 },
};

/* -1 is Cyrus's "do not check this resource". */
enum {
	SIZE = -2
};

static const int64_t deltas[][QD_RESOURCES] = {
	[QD_RULE_LMTPD] = { 0, 0, 0, 0 },
	[QD_RULE_STRICT] = { SIZE, 1, 0, 0 },
	[QD_RULE_SMMAPD] = { 0, 1, -1, -1 },
};

void qd_record_init(struct qd_record *rec)
{
	memset(rec, 0, sizeof(*rec));
	for (int i = 0; i < QD_RESOURCES; i++)
		rec->usage[i].limit = -1;
}

int64_t qd_usage_limit(const struct qd_record *rec, enum qd_resource res)
{
	int64_t limit = rec->usage[res].limit;
	int64_t unit = resources[res].unit;

	if (limit < 0 || limit > INT64_MAX / unit)
		return INT64_MAX;
	return limit * unit;
}

static bool is_over(const struct qd_record *rec, enum qd_resource res,
		    int64_t delta)
{
	int64_t used = rec->usage[res].used;

	if (rec->usage[res].limit < 0 || delta < 0)
		return false;
	/* Cyrus's sum runs over into the negative, and it accepts the mail */
	if (used > INT64_MAX - delta)
		return false;
	return used + delta > qd_usage_limit(rec, res);
}

int qd_record_over(const struct qd_record *rec, enum qd_rule rule, int64_t size)
{
	for (int i = 0; i < QD_RESOURCES; i++) {
		int64_t delta = deltas[rule][i];

		if (is_over(rec, (enum qd_resource)i,
			    delta == SIZE ? size : delta))
			return i;
	}
	return -1;
}

bool qd_record_same(const struct qd_record *a, const struct qd_record *b)
{
	for (int i = 0; i < QD_RESOURCES; i++) {
		const struct qd_usage *ua = &a->usage[i], *ub = &b->usage[i];

		if (ua->limit < 0 && ub->limit < 0)
			continue; /* what has no limit is not stored */
		if (ua->limit != ub->limit || ua->used != ub->used)
			return false;
	}
	return a->since == b->since && a->kept == b->kept;
}

const char *qd_resource_name(enum qd_resource res)
{
	return resources[res].name;
}

const char *qd_rule_name(enum qd_rule rule)
{
	static const char *const names[] = {
		[QD_RULE_LMTPD] = "lmtpd",
		[QD_RULE_STRICT] = "lmtpd-strict",
		[QD_RULE_SMMAPD] = "smmapd",
	};

	return names[rule];
}

size_t qd_record_format(const struct qd_record *rec, char out[QD_RECORD_TEXT])
{
	size_t n = 0;

	out[n++] = '1';
	for (int i = 0; i < QD_RESOURCES; i++) {
		const struct qd_usage *usage = &rec->usage[i];

		if (usage->limit < 0)
			continue;
		n += (size_t)snprintf(
			out + n, QD_RECORD_TEXT - n, " %s=%" PRId64 "/%" PRId64,
			resources[i].key, usage->used, usage->limit);
	}
	n += (size_t)snprintf(out + n, QD_RECORD_TEXT - n,
			      " since=%" PRId64 " read=%" PRId64 "%s",
			      rec->since, rec->read,
			      rec->kept ? " kept=1" : "");
	return n;
}

/* A decimal number within [at, end); moves *at behind it. */
static bool take_number(const char **at, const char *end, int64_t *out)
{
	const char *p = *at;
	bool negative = p < end && *p == '-';
	int64_t n = 0;

	p += negative;
	if (p == end || *p < '0' || *p > '9')
		return false;
	for (; p < end && *p >= '0' && *p <= '9'; p++) {
		int digit = *p - '0';

		if (n > (INT64_MAX - digit) / 10)
			return false;
		n = n * 10 + digit;
	}
	*out = negative ? -n : n;
	*at = p;
	return true;
}

static bool parse_usage(const char *at, const char *end, struct qd_usage *usage)
{
	if (!take_number(&at, end, &usage->used))
		return false;
	if (at == end || *at++ != '/')
		return false;
	return take_number(&at, end, &usage->limit) && at == end &&
	       usage->limit >= 0;
}

static bool key_is(const char *key, size_t length, const char *name)
{
	return strlen(name) == length && memcmp(key, name, length) == 0;
}

/* One "key=value"; a key of a newer version is skipped. */
static bool parse_field(const char *field, const char *end,
			struct qd_record *rec)
{
	const char *equal = memchr(field, '=', (size_t)(end - field));
	const char *value;
	size_t length;
	int64_t number;

	if (!equal)
		return false;
	length = (size_t)(equal - field);
	value = equal + 1;
	for (int i = 0; i < QD_RESOURCES; i++)
		if (key_is(field, length, resources[i].key))
			return parse_usage(value, end, &rec->usage[i]);
	if (key_is(field, length, "since"))
		return take_number(&value, end, &rec->since) && value == end;
	if (key_is(field, length, "read"))
		return take_number(&value, end, &rec->read) && value == end;
	if (key_is(field, length, "kept")) {
		if (!take_number(&value, end, &number) || value != end)
			return false;
		rec->kept = number != 0;
	}
	return true;
}

int qd_record_parse(const char *text, size_t length, struct qd_record *rec)
{
	const char *end = text + length;
	const char *at = text + 1;
	struct qd_record parsed;

	qd_record_init(&parsed);
	if (length < 2 || text[0] != '1')
		return -1;
	while (at < end) {
		const char *field = at + 1, *stop;

		if (*at != ' ')
			return -1;
		stop = memchr(field, ' ', (size_t)(end - field));
		if (!stop)
			stop = end;
		if (!parse_field(field, stop, &parsed))
			return -1;
		at = stop;
	}
	/* both are always written: a text without them was cut short */
	if (parsed.read <= 0)
		return -1;
	*rec = parsed;
	return 0;
}

/*
 * Packed: one byte of which resources follow (bit 0 to 3) and kept (bit 4),
 * then base-128 numbers: used and limit of each, since, read.
 */
enum {
	PACKED_KEPT = 1 << QD_RESOURCES
};

static size_t put_number(unsigned char *out, int64_t value)
{
	uint64_t n = (uint64_t)value;
	size_t used = 0;

	for (; n >= 0x80; n >>= 7)
		out[used++] = (unsigned char)(n | 0x80);
	out[used++] = (unsigned char)n;
	return used;
}

static bool get_number(const unsigned char **at, const unsigned char *end,
		       int64_t *out)
{
	uint64_t n = 0;

	for (int shift = 0; *at < end && shift < 64; shift += 7) {
		unsigned char c = *(*at)++;

		n |= (uint64_t)(c & 0x7f) << shift;
		if (!(c & 0x80)) {
			*out = (int64_t)n;
			return true;
		}
	}
	return false;
}

size_t qd_record_pack(const struct qd_record *rec,
		      unsigned char out[QD_RECORD_PACK])
{
	size_t n = 1;

	out[0] = rec->kept ? PACKED_KEPT : 0;
	for (int i = 0; i < QD_RESOURCES; i++) {
		if (rec->usage[i].limit < 0)
			continue;
		out[0] |= (unsigned char)(1 << i);
		n += put_number(out + n, rec->usage[i].used);
		n += put_number(out + n, rec->usage[i].limit);
	}
	n += put_number(out + n, rec->since);
	n += put_number(out + n, rec->read);
	return n;
}

int qd_record_unpack(const unsigned char *data, size_t length,
		     struct qd_record *rec)
{
	const unsigned char *at = data + 1, *end = data + length;
	struct qd_record unpacked;

	if (length < 3 || data[0] >= PACKED_KEPT * 2)
		return -1;
	qd_record_init(&unpacked);
	unpacked.kept = data[0] & PACKED_KEPT;
	for (int i = 0; i < QD_RESOURCES; i++) {
		struct qd_usage *usage = &unpacked.usage[i];

		if (!(data[0] & 1 << i))
			continue;
		if (!get_number(&at, end, &usage->used) ||
		    !get_number(&at, end, &usage->limit) || usage->limit < 0)
			return -1;
	}
	if (!get_number(&at, end, &unpacked.since) ||
	    !get_number(&at, end, &unpacked.read) || at != end)
		return -1;
	*rec = unpacked;
	return 0;
}
