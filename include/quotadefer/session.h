/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef QUOTADEFER_SESSION_H
#define QUOTADEFER_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "quotadefer/daemon.h"
#include "quotadefer/rcpt.h"

/*
 * What full recipients who passed at RCPT get at the DATA command: one reply
 * for all of them. line is that of the log; NULL if there is none of them.
 */
struct qd_held {
	enum qd_verdict verdict;
	enum qd_resource resource;
	struct qd_address recipient;
	char *line;
};

/*
 * One SMTP session. Most of it comes as macros at RCPT, so that the MTA need
 * not send the connect and mail events at all; the texts here are for events
 * that were sent. Used by one thread at a time.
 */
struct qd_session {
	struct qd_daemon *daemon;
	struct qd_settings *settings;
	struct qd_aliases *aliases; /* those of the settings; may be NULL */
	unsigned int generation;
	int64_t deferred; /* replies, since the last accepted message */
	char *client_name, *client_address, *helo;
	/* this transaction */
	char *sender;
	int64_t size;
	unsigned int passed; /* recipients to whom the message may go */
	struct qd_held held;
};

/* NULL: no memory. free sets *session to NULL. */
struct qd_session *qd_session_new(struct qd_daemon *daemon);
void qd_session_free(struct qd_session **session);

/*
 * Settings in force now, and with them the aliases; a session may outlive
 * several reloads.
 */
const struct qd_settings *qd_session_settings(struct qd_session *session);

/* Replace one of its texts; cut at the length of a log line. NULL is none. */
void qd_session_set_text(char **field, const char *text);

/*
 * Keep a full recipient for the DATA command. The first is kept, unless it is
 * to be rejected and this one deferred. False if there is no memory to.
 */
bool qd_session_hold(struct qd_session *session, const struct qd_answer *answer,
		     const char *line);

void qd_session_end_transaction(struct qd_session *session);

#endif
