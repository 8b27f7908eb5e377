/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef QUOTADEFER_RCPT_H
#define QUOTADEFER_RCPT_H

#include <stdbool.h>
#include <stdint.h>

#include "quotadefer/address.h"
#include "quotadefer/aliases.h"
#include "quotadefer/error.h"
#include "quotadefer/naming.h"
#include "quotadefer/settings.h"
#include "quotadefer/table.h"

struct qd_answer;

/* Told each step of a decision, in order, for "query". */
struct qd_rcpt_watcher {
	struct qd_alias_watcher aliases;
	/* one target was judged: why, and what is filled with it */
	void (*judged)(void *arg, const struct qd_answer *answer);
};

/*
 * One recipient, as the MTA gives it. sender and rcpt are as the client typed
 * them (an MTA's canonical form does as well); sender is NULL if unknown.
 * mapped is what the MTA itself makes of rcpt, {rcpt_addr}, or NULL: sendmail
 * has then applied its virtusertable, and a local user has no domain.
 * client is the client's network address, or NULL. size is the SIZE parameter
 * of MAIL, 0 if absent. deferred is how many of our replies this session had
 * since its last accepted message. watcher may be NULL.
 */
struct qd_request {
	const char *rcpt;
	const char *mapped;
	const char *sender;
	const char *client;
	int64_t size;
	bool authenticated;
	bool local_submission;
	int64_t deferred;
	const struct qd_rcpt_watcher *watcher;
};

enum qd_verdict {
	QD_PASS,
	QD_DEFER,
	QD_REJECT /* full for longer than reject_after */
};

/* Why the verdict is what it is. */
enum qd_why {
	QD_WHY_FULL,
	/* known not to be full */
	QD_WHY_NOT_FULL,
	/* nothing was looked up, on purpose */
	QD_WHY_AUTHENTICATED,
	QD_WHY_LOCAL_SUBMISSION,
	QD_WHY_POSTMASTER,
	QD_WHY_EXEMPT_RECIPIENT,
	QD_WHY_EXEMPT_SENDER,
	QD_WHY_EXEMPT_CLIENT,
	QD_WHY_PROBE_RECIPIENT,
	QD_WHY_ODD_ADDRESS,
	QD_WHY_NO_DOMAIN,
	QD_WHY_OTHER_DOMAIN,
	/* an alias of something that is no mailbox of ours */
	QD_WHY_ELSEWHERE,
	QD_WHY_NO_MAILBOX,
	QD_WHY_NOWHERE,
	/* full, and let through by a setting */
	QD_WHY_NULL_SENDER,
	QD_WHY_DEFER_LIMIT,
	QD_WHY_MONITOR,
	QD_WHY_SHARE,
	/* unknown is not full */
	QD_WHY_ALIAS,
	QD_WHY_DOMAINS_UNSET,
	QD_WHY_NO_NAME,
	QD_WHY_NOTHING_PUBLISHED,
	QD_WHY_STALE,
	QD_WHY_TABLE
};

/*
 * The verdict, and every step on the way to it: what is filled depends on how
 * far the decision went. From target on it is about the one target that
 * decided: the first that is not full, or, if the verdict is that all are, or
 * with alias_rule any that one is, the first full one. resource is meaningful
 * when that is full.
 */
struct qd_answer {
	enum qd_verdict verdict;
	bool at_data; /* pass now, answer at the DATA command */
	enum qd_why why;
	enum qd_address_kind kind;
	struct qd_address address; /* as given */
	int64_t full_since; /* all that count are full; 0: nobody knows */
	struct qd_address target;
	struct qd_naming naming;
	struct qd_mailbox mailbox;  /* name "" if not got that far */
	char root[QD_ROOT_MAX + 1]; /* "" if no record was found */
	struct qd_hit hit;	    /* if root is set */
	enum qd_resource resource;
	struct qd_error err; /* for QD_WHY_TABLE and QD_WHY_ALIAS */
};

/*
 * Decide about one recipient at time now (seconds since 1970): the whole of
 * argv[0] -> address -> aliases -> mailboxes -> nearest roots -> table -> policy.
 * aliases may be NULL: no alias maps.
 *
 * Thread-safe; *answer is the caller's and need not be initialised. Without
 * aliases it reads the local table and nothing else; does not block, log, or
 * allocate. With them it takes the time of qd_aliases_expand.
 */
void qd_rcpt_decide(const struct qd_settings *settings,
		    struct qd_aliases *aliases, struct qd_table *table,
		    const struct qd_request *request, int64_t now,
		    struct qd_answer *answer);

/* A few words on a reason, for people. */
const char *qd_why_text(enum qd_why why);

#endif
