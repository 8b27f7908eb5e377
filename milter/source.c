/* SPDX-License-Identifier: BSD-2-Clause */
#include "quotadefer/source.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "quotadefer/value.h"

static const char *const virtdomains_names[] = { "off", "userid", "on", NULL };
static const char *const rule_names[] = { "lmtpd", "lmtpd-strict", "smmapd",
					  NULL };

bool qd_source_name_valid(const char *name)
{
	size_t length = strlen(name);

	return length > 0 && length <= QD_SOURCE_MAX &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyz"
			    "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
			    "0123456789.-_") == length;
}

void qd_source_init(struct qd_source *src, const char *name)
{
	memset(src, 0, sizeof(*src));
	snprintf(src->name, sizeof(src->name), "%s", name);
	src->schema = QD_SCHEMA;
	qd_naming_defaults(&src->naming);
}

/* The plain numbers; the other fields each need a few words of their own. */
static const struct {
	const char *field;
	size_t offset;
} numbers[] = {
	{ "schema", offsetof(struct qd_source, schema) },
	{ "scanned", offsetof(struct qd_source, scanned) },
	{ "heartbeat", offsetof(struct qd_source, heartbeat) },
	{ "roots", offsetof(struct qd_source, roots) },
	{ "over", offsetof(struct qd_source, over) },
	{ "malformed", offsetof(struct qd_source, malformed) },
	{ "unreadable", offsetof(struct qd_source, unreadable) },
	{ "records", offsetof(struct qd_source, records) },
	{ "largest_message", offsetof(struct qd_source, largest_message) },
};

#define NUMBERS (sizeof(numbers) / sizeof(numbers[0]))

int qd_source_each(const struct qd_source *src,
		   int (*put)(void *arg, const char *field, const char *value),
		   void *arg)
{
	const struct qd_naming *naming = &src->naming;
	const struct {
		const char *field, *value;
	} texts[] = {
		{ "host", src->host },
		{ "rule", qd_rule_name(src->rule) },
		{ "domain_roots", src->domain_roots ? "1" : "0" },
		{ "virtdomains", qd_naming_virtdomains(naming->virtdomains) },
		{ "defaultdomain", naming->defaultdomain },
		{ "unixhierarchysep", naming->unixhierarchysep ? "1" : "0" },
		{ "lmtp_downcase_rcpt",
		  naming->lmtp_downcase_rcpt ? "1" : "0" },
		{ "postuser", naming->postuser },
	};
	char digits[24];
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < NUMBERS; i++) {
		const char *base = (const char *)src;
		int64_t number;

		memcpy(&number, base + numbers[i].offset, sizeof(number));
		snprintf(digits, sizeof(digits), "%" PRId64, number);
		rc = put(arg, numbers[i].field, digits);
	}
	for (size_t i = 0; rc == 0 && i < sizeof(texts) / sizeof(*texts); i++)
		rc = put(arg, texts[i].field, texts[i].value);
	return rc;
}

static int set_text(char *out, size_t size, const char *value)
{
	if (strlen(value) >= size)
		return -1;
	memcpy(out, value, strlen(value) + 1);
	return 0;
}

static int set_choice(const char *value, const char *const *names, void *out)
{
	int which;

	if (qd_value_choice(value, names, &which) < 0)
		return -1;
	memcpy(out, &which, sizeof(which));
	return 0;
}

/* smmapd tests another mailbox than lmtpd: that is part of the naming. */
static int set_rule(struct qd_source *src, const char *value)
{
	if (set_choice(value, rule_names, &src->rule) < 0)
		return -1;
	src->naming.tests_folder = src->rule == QD_RULE_SMMAPD;
	return 0;
}

static int set_number(struct qd_source *src, size_t offset, const char *value)
{
	int64_t number;

	if (qd_value_integer(value, 0, INT64_MAX, &number) < 0)
		return -1;
	memcpy((char *)src + offset, &number, sizeof(number));
	return 0;
}

int qd_source_set(struct qd_source *src, const char *field, const char *value)
{
	struct qd_naming *n = &src->naming;

	for (size_t i = 0; i < NUMBERS; i++)
		if (strcmp(field, numbers[i].field) == 0)
			return set_number(src, numbers[i].offset, value);
	if (strcmp(field, "host") == 0)
		return set_text(src->host, sizeof(src->host), value);
	if (strcmp(field, "rule") == 0)
		return set_rule(src, value);
	if (strcmp(field, "domain_roots") == 0)
		return qd_value_bool(value, &src->domain_roots);
	if (strcmp(field, "virtdomains") == 0)
		return set_choice(value, virtdomains_names, &n->virtdomains);
	if (strcmp(field, "defaultdomain") == 0)
		return set_text(n->defaultdomain, sizeof(n->defaultdomain),
				value);
	if (strcmp(field, "postuser") == 0)
		return set_text(n->postuser, sizeof(n->postuser), value);
	if (strcmp(field, "unixhierarchysep") == 0)
		return qd_value_bool(value, &n->unixhierarchysep);
	if (strcmp(field, "lmtp_downcase_rcpt") == 0)
		return qd_value_bool(value, &n->lmtp_downcase_rcpt);
	return 0;
}

int64_t qd_age(int64_t stamp, int64_t now, int64_t max_age)
{
	if (stamp <= now)
		return now - stamp;
	return stamp - now > max_age ? INT64_MAX : 0;
}

int64_t qd_source_age(const struct qd_source *src, int64_t now, int64_t max_age)
{
	int64_t scanned = qd_age(src->scanned, now, max_age);
	int64_t heartbeat = qd_age(src->heartbeat, now, max_age);

	return scanned < heartbeat ? scanned : heartbeat;
}
