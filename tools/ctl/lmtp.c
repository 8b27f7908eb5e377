/* SPDX-License-Identifier: BSD-2-Clause */
/* lmtpd: what it says to RCPT is what becomes of the mail. */
#include "asker.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

/* "250 ...", "250-..." or "250": the code, or -1. */
static int code_of(const char *line, size_t length)
{
	if (length < 3 || !isdigit((unsigned char)line[0]) ||
	    !isdigit((unsigned char)line[1]) ||
	    !isdigit((unsigned char)line[2]))
		return -1;
	if (length > 3 && line[3] != ' ' && line[3] != '-')
		return -1;
	return (line[0] - '0') * 100 + (line[1] - '0') * 10 + line[2] - '0';
}

static size_t without_crlf(const char *line, const char *newline)
{
	if (newline > line && newline[-1] == '\r')
		newline--;
	return (size_t)(newline - line);
}

ssize_t lmtp_frame(const char *data, size_t length)
{
	const char *at = data, *end = data + length, *newline;

	while ((newline = memchr(at, '\n', (size_t)(end - at)))) {
		size_t line = without_crlf(at, newline);

		if (code_of(at, line) < 0)
			return -1;
		if (line == 3 || at[3] == ' ')
			return newline + 1 - data;
		at = newline + 1;
	}
	return 0;
}

/* Where the last line of a reply begins. */
static const char *last_line(const char *frame, size_t length)
{
	const char *at = frame + length - 1;

	while (at > frame && at[-1] != '\n')
		at--;
	return at;
}

static bool has_status(const char *line, size_t length, const char *status)
{
	size_t n = strlen(status);

	return length >= 4 + n && strncmp(line + 4, status, n) == 0 &&
	       (length == 4 + n || line[4 + n] == ' ');
}

/* "452 4.2.2 Over quota", "552 5.2.2 Over quota", "550 5.1.1 User unknown" */
void lmtp_judge(const char *frame, size_t length, struct said *said)
{
	const char *line = last_line(frame, length);
	size_t left = without_crlf(line, frame + length - 1);
	int code = code_of(line, left);

	said_text(said, line, left);
	said->cyrus = CYRUS_UNSURE;
	if (code / 100 == 2)
		said->cyrus = CYRUS_ACCEPTS;
	else if ((code / 100 == 4 && has_status(line, left, "4.2.2")) ||
		 (code / 100 == 5 && has_status(line, left, "5.2.2")))
		said->cyrus = CYRUS_REFUSES;
	else if (code == 550 && has_status(line, left, "5.1.1"))
		said->cyrus = CYRUS_NO_MAILBOX;
}

/* The next reply, which is to be one of success if said is NULL. */
static int reply(struct asker *asker, struct said *said, struct qd_error *err)
{
	struct said own;
	const char *frame;
	ssize_t length = link_read(&asker->link, lmtp_frame, &frame, err);

	if (length < 0)
		return -1;
	lmtp_judge(frame, (size_t)length, said ? said : &own);
	if (said || own.cyrus == CYRUS_ACCEPTS)
		return 0;
	return qd_error_set(err, EX_TEMPFAIL, "%s: %s", asker->link.name,
			    own.text);
}

static int ask(struct asker *asker, const struct recipient *recipient,
	       struct said *said, struct qd_error *err)
{
	char request[RECIPIENT_MAX + 100];
	int n = snprintf(request, sizeof(request),
			 "MAIL FROM:<>\r\nRCPT TO:<%s>\r\nRSET\r\n",
			 recipient->address);

	if (link_send(&asker->link, request, (size_t)n, err) < 0 ||
	    reply(asker, NULL, err) < 0 || reply(asker, said, err) < 0)
		return -1;
	return reply(asker, NULL, err);
}

int asker_open_lmtp(struct asker *asker, const char *where,
		    struct qd_error *err)
{
	static const char hello[] = "LHLO localhost\r\n";

	asker->ask = ask;
	if (link_open(&asker->link, "lmtpd", where, err) < 0 ||
	    reply(asker, NULL, err) < 0 ||
	    link_send(&asker->link, hello, sizeof(hello) - 1, err) < 0)
		return -1;
	return reply(asker, NULL, err);
}
