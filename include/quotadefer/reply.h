/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef QUOTADEFER_REPLY_H
#define QUOTADEFER_REPLY_H

#include "quotadefer/rcpt.h"
#include "quotadefer/record.h"
#include "quotadefer/settings.h"
#include "quotadefer/template.h"

/*
 * RFC 5321 4.5.3.1.5: a line of a reply has 512 octets with code and CRLF;
 * these are left beside "451-4.999.999 ". With every "%" doubled a line stays
 * below the 980 that libmilter takes.
 */
enum {
	QD_REPLY_LINES = QD_TEMPLATE_LINES,
	QD_REPLY_LINE = 496,
	QD_REPLY_TEXT = QD_REPLY_LINES * (QD_REPLY_LINE + 1)
};

/*
 * An SMTP reply: "451", "4.2.2" (RFC 3463: mailbox full), and a text of up to
 * QD_REPLY_LINES lines with "\n" between them, of printable ASCII.
 */
struct qd_reply {
	char code[4];
	char dsn[12];
	char text[QD_REPLY_TEXT];
};

/*
 * The reply that gives a full recipient its verdict, QD_DEFER or QD_REJECT:
 * reply_text or reject_text, in which {resource} is the name of what is full,
 * and {recipient} the address percent-encoded (RFC 3986: all but unreserved
 * characters), for a URL. Nothing else of the user's is in it.
 */
void qd_reply_make(const struct qd_settings *settings, enum qd_verdict verdict,
		   enum qd_resource resource,
		   const struct qd_address *recipient, struct qd_reply *reply);

/*
 * text with every "%" doubled, as smfi_setreply wants it: sendmail uses the
 * text as a format. Returns out; cuts at size.
 */
const char *qd_reply_escape(const char *text, char *out, size_t size);

#endif
