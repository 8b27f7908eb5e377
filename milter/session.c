/* SPDX-License-Identifier: BSD-2-Clause */
#include "quotadefer/session.h"

#include <stdlib.h>
#include <string.h>

#include "quotadefer/log.h"

struct qd_session *qd_session_new(struct qd_daemon *daemon)
{
	struct qd_session *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->daemon = daemon;
	s->settings = qd_daemon_settings(daemon, &s->aliases, &s->generation);
	return s;
}

void qd_session_free(struct qd_session **session)
{
	struct qd_session *s = *session;

	*session = NULL;
	qd_session_end_transaction(s);
	qd_session_set_text(&s->client_name, NULL);
	qd_session_set_text(&s->client_address, NULL);
	qd_session_set_text(&s->helo, NULL);
	qd_settings_unref(&s->settings);
	qd_aliases_unref(&s->aliases);
	free(s);
}

const struct qd_settings *qd_session_settings(struct qd_session *s)
{
	if (atomic_load(&s->daemon->generation) != s->generation) {
		qd_settings_unref(&s->settings);
		qd_aliases_unref(&s->aliases);
		s->settings = qd_daemon_settings(s->daemon, &s->aliases,
						 &s->generation);
	}
	return s->settings;
}

/* A client may send 64 KB; nothing that long is ever looked at. */
void qd_session_set_text(char **field, const char *text)
{
	size_t length = text ? strlen(text) : 0;

	free(*field);
	*field = NULL;
	if (!text)
		return;
	if (length >= QD_LOG_LINE)
		length = QD_LOG_LINE - 1;
	*field = malloc(length + 1);
	if (!*field)
		return;
	memcpy(*field, text, length);
	(*field)[length] = '\0';
}

bool qd_session_hold(struct qd_session *s, const struct qd_answer *answer,
		     const char *line)
{
	struct qd_held *held = &s->held;

	if (held->line &&
	    (held->verdict == QD_DEFER || answer->verdict == QD_REJECT))
		return true;
	qd_session_set_text(&held->line, line);
	held->verdict = answer->verdict;
	held->resource = answer->resource;
	held->recipient = answer->address;
	return held->line != NULL;
}

void qd_session_end_transaction(struct qd_session *s)
{
	qd_session_set_text(&s->sender, NULL);
	qd_session_set_text(&s->held.line, NULL);
	s->size = 0;
	s->passed = 0;
}
