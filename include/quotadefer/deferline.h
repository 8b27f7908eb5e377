/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef QUOTADEFER_DEFERLINE_H
#define QUOTADEFER_DEFERLINE_H

#include <stddef.h>

#include "quotadefer/rcpt.h"

/* The client, for the log; any may be NULL or "". */
struct qd_client {
	const char *name;
	const char *address;
	const char *helo;
};

/*
 * The log line of a deferral without the queue id in front:
 * "to=<..> mailbox=.. root=.. storage=USED/LIMIT since=.. source=..
 * client=name[ip] from=<..> helo=<..>". USED and LIMIT are in one unit, bytes
 * for storage. Every text from outside is quoted. Cuts at size.
 */
void qd_deferline(const struct qd_request *request,
		  const struct qd_answer *answer,
		  const struct qd_client *client, char *out, size_t size);

/* The same of one that passes: "to=<..> mailbox=.. root=.. from=<..>: why". */
void qd_passline(const struct qd_request *request,
		 const struct qd_answer *answer, char *out, size_t size);

/* A time as "2026-01-31T12:00:00Z"; "-" for 0. */
const char *qd_time_text(int64_t seconds, char out[32]);

#endif
