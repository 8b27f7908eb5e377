/* SPDX-License-Identifier: BSD-2-Clause */
#include "quotadefer/policy.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

static char lower(char c)
{
	return (char)tolower((unsigned char)c);
}

/* "*" is any run of characters; letters match in either case. */
static bool matches(const char *pattern, const char *text)
{
	const char *star = NULL, *retry = NULL;

	while (*text) {
		if (*pattern == '*') {
			star = ++pattern;
			retry = text;
		} else if (lower(*pattern) == lower(*text)) {
			pattern++;
			text++;
		} else if (star) {
			pattern = star;
			text = ++retry;
		} else {
			return false;
		}
	}
	while (*pattern == '*')
		pattern++;
	return *pattern == '\0';
}

enum {
	ADDRESS_TEXT = QD_LOCAL_MAX + QD_DOMAIN_MAX + 2
};

/* As an address is written, without quotes. */
static void write_address(const char *local, size_t length, const char *domain,
			  char out[static ADDRESS_TEXT])
{
	snprintf(out, ADDRESS_TEXT, "%.*s@%s", (int)length, local, domain);
}

/*
 * How long a local part is without its extension. "+" begins one for Cyrus,
 * whatever the MTA thinks; what begins with it is a shared folder's address.
 */
static size_t base_length(const struct qd_settings *settings, const char *local)
{
	const char *delimiter = settings->recipient_delimiter;
	size_t length = strcspn(local, "+"), other;

	other = delimiter ? strcspn(local, delimiter) : length;
	if (other > 0 && other < length)
		length = other;
	return length ? length : strlen(local);
}

static bool is_name(const char *text, size_t length, const char *name)
{
	return length == strlen(name) && strncasecmp(text, name, length) == 0;
}

/* RFC 2142 and RFC 5321 4.5.1: these must stay reachable. */
static bool is_postmaster(const struct qd_settings *settings, const char *local)
{
	size_t length = base_length(settings, local);

	return is_name(local, length, "postmaster") ||
	       is_name(local, length, "abuse");
}

static bool any_matches(const struct qd_list *patterns, const char *text)
{
	for (size_t i = 0; i < patterns->count; i++)
		if (matches(patterns->items[i], text))
			return true;
	return false;
}

static bool list_has(const struct qd_list *patterns,
		     const struct qd_address *address)
{
	char whole[ADDRESS_TEXT];

	if (!patterns->count)
		return false;
	write_address(address->local, strlen(address->local), address->domain,
		      whole);
	return any_matches(patterns, whole);
}

/* With its extension or without. */
static bool is_exempt_recipient(const struct qd_settings *settings,
				const struct qd_address *address)
{
	const struct qd_list *patterns = &settings->exempt_recipients;
	char base[ADDRESS_TEXT];

	if (!patterns->count)
		return false;
	write_address(address->local, base_length(settings, address->local),
		      address->domain, base);
	return any_matches(patterns, base) || list_has(patterns, address);
}

static bool is_exempt_sender(const struct qd_settings *settings,
			     const char *sender)
{
	struct qd_address address;

	return settings->exempt_senders.count && sender &&
	       qd_address_parse(sender, &address) == QD_ADDRESS_MAILBOX &&
	       list_has(&settings->exempt_senders, &address);
}

static bool is_exempt_client(const struct qd_settings *settings,
			     const char *client)
{
	for (size_t i = 0; client && i < settings->exempt_client_count; i++)
		if (qd_netblock_has(&settings->exempt_clients[i], client))
			return true;
	return false;
}

static bool is_probe(const struct qd_settings *settings,
		     const struct qd_address *address)
{
	return list_has(&settings->probe_senders, address);
}

bool qd_policy_exempts(const struct qd_settings *settings,
		       const struct qd_request *request,
		       const struct qd_answer *answer, enum qd_why *why)
{
	if (request->authenticated && settings->authenticated == QD_AUTH_PASS)
		*why = QD_WHY_AUTHENTICATED;
	else if (request->local_submission)
		*why = QD_WHY_LOCAL_SUBMISSION;
	else if (is_exempt_client(settings, request->client))
		*why = QD_WHY_EXEMPT_CLIENT;
	else if (is_exempt_sender(settings, request->sender))
		*why = QD_WHY_EXEMPT_SENDER;
	else if (is_postmaster(settings, answer->address.local))
		*why = QD_WHY_POSTMASTER;
	else if (answer->kind == QD_ADDRESS_LOCAL)
		*why = QD_WHY_NO_DOMAIN;
	else if (answer->kind != QD_ADDRESS_MAILBOX)
		*why = QD_WHY_ODD_ADDRESS;
	else if (is_probe(settings, &answer->address))
		*why = QD_WHY_PROBE_RECIPIENT;
	else if (is_exempt_recipient(settings, &answer->address))
		*why = QD_WHY_EXEMPT_RECIPIENT;
	else
		return false;
	return true;
}

/* Somebody's sender verification, or a bounce: nobody waits to try again. */
static bool is_null_or_probe(const struct qd_settings *settings,
			     const char *sender)
{
	struct qd_address address;

	if (!sender)
		return false;
	switch (qd_address_parse(sender, &address)) {
	case QD_ADDRESS_NULL:
		return true;
	case QD_ADDRESS_MAILBOX:
	case QD_ADDRESS_LOCAL:
		return is_probe(settings, &address);
	default:
		return false;
	}
}

static int mode_of(const struct qd_settings *settings, const char *domain)
{
	for (size_t i = 0; i < settings->mode_domain_count; i++)
		if (strcasecmp(settings->mode_domains[i].domain, domain) == 0)
			return settings->mode_domains[i].mode;
	return settings->mode;
}

/*
 * FNV-1a, 64 bits. Not seeded: it must give the same on every host and after
 * every restart, and nobody gains by choosing his bucket.
 */
static uint64_t hash(const char *text)
{
	uint64_t value = UINT64_C(0xcbf29ce484222325);

	for (; *text; text++) {
		value ^= (unsigned char)lower(*text);
		value *= UINT64_C(0x100000001b3);
	}
	return value;
}

static bool is_in_share(const struct qd_settings *settings,
			const struct qd_address *address)
{
	char base[ADDRESS_TEXT];

	if (settings->enforce_share >= 100)
		return true;
	write_address(address->local, base_length(settings, address->local),
		      address->domain, base);
	return (int64_t)(hash(base) % 100) < settings->enforce_share;
}

/* The setting that lets a full recipient pass; QD_WHY_FULL if none does. */
static enum qd_why let_pass(const struct qd_settings *settings,
			    const struct qd_request *request, bool null_sender,
			    const struct qd_address *address)
{
	if (null_sender && settings->null_sender == QD_NULL_PASS)
		return QD_WHY_NULL_SENDER;
	if (mode_of(settings, address->domain) == QD_MODE_MONITOR)
		return QD_WHY_MONITOR;
	if (!is_in_share(settings, address))
		return QD_WHY_SHARE;
	if (settings->defer_limit && request->deferred >= settings->defer_limit)
		return QD_WHY_DEFER_LIMIT;
	return QD_WHY_FULL;
}

bool qd_policy_is_overdue(const struct qd_settings *settings, int64_t now,
			  const struct qd_answer *answer)
{
	int64_t since = answer->full_since;

	return settings->reject_after_ms > 0 && since > 0 && since <= now &&
	       now - since >= settings->reject_after_ms / 1000;
}

void qd_policy_full(const struct qd_settings *settings,
		    const struct qd_request *request, int64_t now,
		    struct qd_answer *answer)
{
	bool null_sender = settings->null_sender != QD_NULL_RCPT &&
			   is_null_or_probe(settings, request->sender);

	answer->why =
		let_pass(settings, request, null_sender, &answer->address);
	if (answer->why != QD_WHY_FULL)
		answer->verdict = QD_PASS;
	else if (qd_policy_is_overdue(settings, now, answer))
		answer->verdict = QD_REJECT;
	else
		answer->verdict = QD_DEFER;
	answer->at_data = answer->verdict != QD_PASS && null_sender;
}
