/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * imapd: LOGIN, and GETQUOTAROOT for one mailbox after the other. libcurl
 * speaks IMAP too, but hands such responses over unparsed, and is a large
 * thing to depend on for two commands.
 */
#include "asker.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sysexits.h>

#include "quotadefer/log.h"

enum {
	UNTAGGED_MAX = 1000
};

/* What a tagged response says; OTHER is one that is not tagged with tag. */
enum status {
	OK,
	NO,
	BAD,
	BYE,
	OTHER
};

static bool starts(const char *text, size_t length, const char *with)
{
	size_t n = strlen(with);

	return length >= n && strncasecmp(text, with, n) == 0;
}

/* *rest and *left: what follows the status. */
static enum status status_of(const char *frame, size_t length, unsigned tag,
			     const char **rest, size_t *left)
{
	static const char *const words[] = { "OK ", "NO ", "BAD " };
	char front[16];
	size_t n = (size_t)snprintf(front, sizeof(front), "q%u ", tag);

	if (starts(frame, length, "* BYE")) {
		*rest = frame + 2;
		*left = length - 2;
		return BYE;
	}
	if (!starts(frame, length, front))
		return OTHER;
	*rest = frame + n;
	*left = length - n;
	for (int i = OK; i <= BAD; i++)
		if (starts(*rest, *left, words[i]))
			return (enum status)i;
	return BAD;
}

static int fail(struct asker *asker, int status, const char *what,
		const struct said *said, struct qd_error *err)
{
	return qd_error_set(err, status, "%s: %s%s", asker->link.name, what,
			    said->text);
}

/* A root more that the mailbox counts under; one that is over is enough. */
static void add_root(struct said *said, enum cyrus cyrus)
{
	if (said->cyrus == CYRUS_REFUSES || cyrus == CYRUS_ACCEPTS)
		return;
	said->cyrus = cyrus;
}

static void see(struct asker *asker, const char *frame, size_t length,
		struct said *said)
{
	struct qd_record rec;

	switch (imap_quota(frame, length, &rec)) {
	case IMAP_QUOTA:
		add_root(said, imap_judge(&rec, asker->rule));
		break;
	case IMAP_BAD:
		add_root(said, CYRUS_UNSURE);
		break;
	case IMAP_OTHER:
		return;
	}
	said_text(said, frame + 2, length - 2);
}

/* Send a command, without its tag. */
static int send_command(struct asker *asker, const char *text,
			struct qd_error *err)
{
	char line[4096];
	int n = snprintf(line, sizeof(line), "q%u %s\r\n", ++asker->tag, text);

	if (n < (int)sizeof(line))
		n = link_send(&asker->link, line, (size_t)n, err);
	else
		n = qd_error_set(err, EX_USAGE, "too long for imapd");
	explicit_bzero(line, sizeof(line));
	return n;
}

/* The response that ends the last command; said has what came before it. */
static int finish_command(struct asker *asker, struct said *said,
			  enum status *status, struct qd_error *err)
{
	const char *frame, *rest;
	size_t left;

	for (int i = 0; i < UNTAGGED_MAX; i++) {
		ssize_t length =
			link_read(&asker->link, imap_frame, &frame, err);

		if (length < 0)
			return -1;
		*status = status_of(frame, (size_t)length, asker->tag, &rest,
				    &left);
		if (*status == OTHER)
			see(asker, frame, (size_t)length, said);
		else if (*status != OK)
			said_text(said, rest, left);
		if (*status == BYE)
			return fail(asker, EX_TEMPFAIL, "", said, err);
		if (*status != OTHER)
			return 0;
	}
	return fail(asker, EX_TEMPFAIL, "no end of responses", said, err);
}

static int ask(struct asker *asker, const struct recipient *recipient,
	       struct said *said, struct qd_error *err)
{
	char text[2 * RECIPIENT_MAX + 32] = "GETQUOTAROOT ";
	size_t n = strlen(text);
	enum status status;

	said->cyrus = CYRUS_ACCEPTS;
	snprintf(said->text, sizeof(said->text), "no quota root");
	if (imap_string(recipient->imap, text + n, sizeof(text) - n) < 0)
		return qd_error_set(err, EX_SOFTWARE, "too long for imapd");
	if (send_command(asker, text, err) < 0 ||
	    finish_command(asker, said, &status, err) < 0)
		return -1;
	if (status == NO && strstr(said->text, "not exist"))
		said->cyrus = CYRUS_NO_MAILBOX;
	else if (status != OK)
		said->cyrus = CYRUS_UNSURE;
	return 0;
}

static int greet(struct asker *asker, struct qd_error *err)
{
	struct said said;
	const char *frame;
	ssize_t length = link_read(&asker->link, imap_frame, &frame, err);

	if (length < 0)
		return -1;
	if (starts(frame, (size_t)length, "* OK "))
		return 0;
	said_text(&said, frame, (size_t)length);
	return fail(asker, EX_TEMPFAIL, "", &said, err);
}

static int login(struct asker *asker, const char *user, const char *password,
		 struct qd_error *err)
{
	struct said said = { .text = "" };
	enum status status;
	char text[3000] = "LOGIN ";
	int n = 6, more;

	more = imap_string(user, text + n, sizeof(text) - (size_t)n);
	if (more >= 0) {
		n += more;
		text[n++] = ' ';
		more = imap_string(password, text + n,
				   sizeof(text) - (size_t)n);
	}
	if (more < 0)
		n = qd_error_set(err, EX_USAGE, "--user: too long");
	else
		n = send_command(asker, text, err);
	explicit_bzero(text, sizeof(text));
	if (n < 0 || finish_command(asker, &said, &status, err) < 0)
		return -1;
	if (status != OK)
		return fail(asker, EX_NOPERM, "LOGIN was refused: ", &said,
			    err);
	return 0;
}

int asker_open_imap(struct asker *asker, const char *where, const char *user,
		    const char *password, struct qd_error *err)
{
	asker->ask = ask;
	if (link_open(&asker->link, "imapd", where, err) < 0)
		return -1;
	if (!asker->link.is_local)
		return qd_error_set(err, EX_USAGE,
				    "%s: not on this host, and the password "
				    "would go there as it is",
				    asker->link.name);
	if (greet(asker, err) < 0)
		return -1;
	return login(asker, user, password, err);
}
