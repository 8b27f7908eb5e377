/* SPDX-License-Identifier: BSD-2-Clause */
/* What is allowed, and probably not meant. */
#include "quotadefer/settings.h"

#include <string.h>

enum {
	DAY_MS = 86400000,
	/* smtpd_hard_error_limit of Postfix */
	POSTFIX_ERRORS = 20
};

/* Whom the notes are for. */
struct notes {
	void (*say)(void *arg, const char *text);
	void *arg;
};

static void note(const struct notes *notes, bool is_so, const char *text)
{
	if (is_so)
		notes->say(notes->arg, text);
}

static void note_mode_domains(const struct notes *notes,
			      const struct qd_settings *s)
{
	char text[400];

	for (size_t i = 0; s->domains.count && i < s->mode_domain_count; i++) {
		const char *domain = s->mode_domains[i].domain;

		if (qd_list_has(&s->domains, domain))
			continue;
		snprintf(text, sizeof(text),
			 "mode_domains has %s, which is not in domains: its "
			 "recipients pass in any mode",
			 domain);
		notes->say(notes->arg, text);
	}
}

/* Postfix asks aliases(5) for what is in its mydestination only. */
static bool guesses_mydestination(const struct qd_settings *s)
{
	for (size_t i = 0; !s->mydestination.count && i < s->alias_maps.count;
	     i++)
		if (strncmp(s->alias_maps.items[i], "aliases:", 8) == 0)
			return true;
	return false;
}

static bool exempts_everybody(const struct qd_settings *s)
{
	for (size_t i = 0; i < s->exempt_client_count; i++)
		if (s->exempt_clients[i].prefix == 0)
			return true;
	return false;
}

void qd_settings_notes(const struct qd_settings *settings,
		       void (*say)(void *arg, const char *text), void *arg)
{
	const struct notes notes = { say, arg };
	const struct qd_settings *s = settings;

	note_mode_domains(&notes, s);
	note(&notes, s->enforce_share == 0,
	     "enforce_share is 0%: nobody is deferred, as with mode monitor");
	note(&notes, exempts_everybody(s),
	     "exempt_clients has a network of all addresses: their mail is "
	     "never deferred");
	note(&notes, s->defer_limit == 0 || s->defer_limit >= POSTFIX_ERRORS,
	     "defer_limit is 20 or more, or none: Postfix ends a session after "
	     "20 errors, and recipients who are not full suffer");
	note(&notes, s->reject_after_ms >= 0 && s->reject_after_ms < DAY_MS,
	     "reject_after is shorter than 1d: mail is lost to people who "
	     "would have made room tomorrow");
	note(&notes, guesses_mydestination(s),
	     "mydestination is not set: aliases: is asked for all of domains. "
	     "Postfix does not ask it for virtual_mailbox_domains: set it to "
	     "what Postfix has, or to localhost if that is nothing");
	note(&notes,
	     s->alias_connect_timeout_ms > s->alias_timeout_ms ||
		     s->alias_search_timeout_ms > s->alias_timeout_ms,
	     "alias_connect_timeout and alias_search_timeout end with "
	     "alias_timeout, which is shorter than one of them");
}
