/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef QUOTADEFER_CTL_ASKER_H
#define QUOTADEFER_CTL_ASKER_H

/* The programs of Cyrus that know what becomes of a recipient's mail. */

#include <stddef.h>
#include <sys/types.h>

#include "quotadefer/error.h"
#include "quotadefer/naming.h"
#include "quotadefer/record.h"

#include "link.h"

enum cyrus {
	CYRUS_ACCEPTS,
	CYRUS_REFUSES,	  /* for quota */
	CYRUS_NO_MAILBOX, /* it knows none of that name */
	CYRUS_UNSURE	  /* it did not say, or not exactly enough */
};

/* Its answer, and what of it a person may want to see. */
struct said {
	enum cyrus cyrus;
	char text[200];
};

/* Room for what recipient_address and recipient_imap make of a root. */
#define RECIPIENT_MAX (2 * QD_ROOT_MAX)

/* One mailbox, under each of its names. */
struct recipient {
	char root[QD_ROOT_MAX + 1];
	char address[RECIPIENT_MAX];
	char imap[RECIPIENT_MAX];
};

/*
 * A connection that answers for one recipient at a time. ask fills *said and
 * returns 0, or returns -1 with *err: nothing more can be asked.
 */
struct asker {
	int (*ask)(struct asker *asker, const struct recipient *recipient,
		   struct said *said, struct qd_error *err);
	enum qd_rule rule; /* by which imapd's figures are judged */
	unsigned tag;	   /* of the last IMAP command */
	struct link link;
};

/* Connect, and log in. 0 or -1 with *err; close it in both cases. */
int asker_open_smmap(struct asker *asker, const char *where,
		     struct qd_error *err);
int asker_open_imap(struct asker *asker, const char *where, const char *user,
		    const char *password, struct qd_error *err);
int asker_open_lmtp(struct asker *asker, const char *where,
		    struct qd_error *err);

/* The parts without a socket, one set for each protocol. */

/* "23:cyrus joe@example.org,". Its length, or -1 if smmapd may not take it. */
int smmap_request(const char *address, char *out, size_t size);
link_framer smmap_frame;
void smmap_judge(const char *frame, size_t length, struct said *said);

/* Text as an IMAP string: quoted, or a literal. -1 if there is no room. */
int imap_string(const char *text, char *out, size_t size);
link_framer imap_frame;

/* What an untagged QUOTA says; KiB are bytes in *rec, rounded down. */
enum imap_quota {
	IMAP_QUOTA,
	IMAP_OTHER, /* another response */
	IMAP_BAD
};
enum imap_quota imap_quota(const char *frame, size_t length,
			   struct qd_record *rec);

/* Over or not, if the bytes that were rounded off do not matter. */
enum cyrus imap_judge(const struct qd_record *rec, enum qd_rule rule);

link_framer lmtp_frame;
void lmtp_judge(const char *frame, size_t length, struct said *said);

/* Copy what a server said, made printable and cut. */
void said_text(struct said *said, const char *text, size_t length);

#endif
