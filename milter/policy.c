/* SPDX-License-Identifier: BSD-2-Clause */
#include "quotadefer/policy.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

/* RFC 2142 and RFC 5321 4.5.1: these must stay reachable. */
static bool is_postmaster(const char *local)
{
	return strcasecmp(local, "postmaster") == 0 ||
	       strcasecmp(local, "abuse") == 0;
}

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

static bool is_probe(const struct qd_settings *settings,
		     const struct qd_address *address)
{
	char text[QD_LOCAL_MAX + QD_DOMAIN_MAX + 2];
	size_t local = strlen(address->local);

	memcpy(text, address->local, local);
	text[local] = '@';
	strcpy(text + local + 1, address->domain);
	for (size_t i = 0; i < settings->probe_senders.count; i++)
		if (matches(settings->probe_senders.items[i], text))
			return true;
	return false;
}

bool qd_policy_exempts(const struct qd_settings *settings,
		       const struct qd_request *request,
		       const struct qd_answer *answer, enum qd_why *why)
{
	if (request->authenticated && settings->authenticated == QD_AUTH_PASS)
		*why = QD_WHY_AUTHENTICATED;
	else if (request->local_submission)
		*why = QD_WHY_LOCAL_SUBMISSION;
	else if (is_postmaster(answer->address.local))
		*why = QD_WHY_POSTMASTER;
	else if (answer->kind == QD_ADDRESS_LOCAL)
		*why = QD_WHY_NO_DOMAIN;
	else if (answer->kind != QD_ADDRESS_MAILBOX)
		*why = QD_WHY_ODD_ADDRESS;
	else if (is_probe(settings, &answer->address))
		*why = QD_WHY_PROBE_RECIPIENT;
	else
		return false;
	return true;
}

bool qd_policy_has_domain(const struct qd_settings *settings,
			  const char *domain)
{
	for (size_t i = 0; i < settings->domains.count; i++)
		if (strcasecmp(settings->domains.items[i], domain) == 0)
			return true;
	return false;
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

void qd_policy_full(const struct qd_settings *settings,
		    const struct qd_request *request, int64_t now,
		    struct qd_answer *answer)
{
	bool null_sender = settings->null_sender != QD_NULL_RCPT &&
			   is_null_or_probe(settings, request->sender);

	(void)now;
	answer->verdict = QD_PASS;
	if (null_sender && settings->null_sender == QD_NULL_PASS)
		answer->why = QD_WHY_NULL_SENDER;
	else if (settings->mode == QD_MODE_MONITOR)
		answer->why = QD_WHY_MONITOR;
	else if (settings->defer_limit &&
		 request->deferred >= settings->defer_limit)
		answer->why = QD_WHY_DEFER_LIMIT;
	else
		answer->verdict = QD_DEFER;
	answer->at_data = answer->verdict != QD_PASS && null_sender;
	if (answer->verdict != QD_PASS)
		answer->why = QD_WHY_FULL;
}
