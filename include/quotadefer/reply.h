/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef QUOTADEFER_REPLY_H
#define QUOTADEFER_REPLY_H

#include "quotadefer/record.h"
#include "quotadefer/settings.h"

/* An SMTP reply: "451", "4.2.2" (RFC 3463: mailbox full), text. */
struct qd_reply {
	char code[4];
	char dsn[8];
	char text[512];
};

/*
 * The reply that defers a recipient: reply_text, with the name of what is full
 * for each "{resource}" in it. Nothing else of the user's is in it.
 */
void qd_reply_defer(const struct qd_settings *settings,
		    enum qd_resource resource, struct qd_reply *reply);

/*
 * text with every "%" doubled, as smfi_setreply wants it: sendmail uses the
 * text as a format. Returns out; cuts at size.
 */
const char *qd_reply_escape(const char *text, char *out, size_t size);

#endif
