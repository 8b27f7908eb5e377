/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef QUOTADEFER_NAMING_H
#define QUOTADEFER_NAMING_H

#include <stdbool.h>

#include "quotadefer/address.h"

/* The longest quota root name, which is also LMDB's longest key. */
#define QD_ROOT_MAX 511

enum qd_virtdomains {
	QD_VIRTDOMAINS_OFF,
	QD_VIRTDOMAINS_USERID,
	QD_VIRTDOMAINS_ON
};

/*
 * How a Cyrus server turns a recipient into a mailbox name; the settings of
 * the same names in imapd.conf(5). Each source publishes its own.
 */
struct qd_naming {
	enum qd_virtdomains virtdomains;
	bool unixhierarchysep;
	bool lmtp_downcase_rcpt;
	char defaultdomain[QD_DOMAIN_MAX + 1];
	char postuser[QD_LOCAL_MAX + 1];
	/* smmapd's way: the folder that the detail names is what counts */
	bool tests_folder;
};

/* A mailbox by its internal name: "user.first^last", "virt.example!user.x". */
struct qd_mailbox {
	char name[QD_ROOT_MAX + 1];
	bool is_user; /* a user's INBOX; else a shared folder */
};

/* What Cyrus 3.x does when imapd.conf says nothing. */
void qd_naming_defaults(struct qd_naming *naming);

/* True if both name every recipient alike. */
bool qd_naming_equal(const struct qd_naming *a, const struct qd_naming *b);

/* "off", "userid" or "on". */
const char *qd_naming_virtdomains(enum qd_virtdomains virtdomains);

/*
 * The mailbox whose quota lmtpd checks at RCPT for this address: the user's
 * INBOX whatever the +detail says, or, for the post user, the shared folder
 * that the detail names. With tests_folder the one that smmapd checks: the
 * user's folder that the detail names. A domain is dropped if it is the default
 * domain, as spelled or in lower case where lmtp_downcase_rcpt is on, as is
 * every domain with virtdomains off; domain may be empty.
 *
 * Returns 0, or -1 if no mailbox can have that name (too long, empty, or a
 * "!" in the domain): the recipient is then not ours to judge.
 *
 * From mbname_from_recipient, mbname_downcaseuser and mbname_intname in
 * imap/mboxname.c, process_recipient in imap/lmtpengine.c, verify_user in
 * imap/lmtpd.c of Cyrus IMAP 3.6.1.
 */
int qd_naming_mailbox(const struct qd_naming *naming, const char *local,
		      const char *domain, struct qd_mailbox *out);

/*
 * Cut the last component off a mailbox name, in place, as quota_findroot in
 * imap/quota_db.c does on its way to the nearest quota root. Returns false,
 * and changes nothing, at the first component.
 */
bool qd_naming_parent(char *name);

/*
 * Replace a mailbox name by its domain's quota root, "virt.example!", the last
 * that quota_findroot tries. Returns false if the name has no domain, or is
 * that root already.
 */
bool qd_naming_domain_root(char *name);

/*
 * Replace a name by the next root that a look-up tries: further up, but past a
 * user's INBOX only to the domain's. Returns false if there is none. From
 * quota_findroot, less the roots above all users, "user", which nobody has.
 */
bool qd_naming_next_root(char *name);

/* True for a user's INBOX: "user.x" or "domain!user.x", nothing below it. */
bool qd_naming_is_inbox(const char *name);

#endif
