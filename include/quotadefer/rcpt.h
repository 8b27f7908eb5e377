/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef QUOTADEFER_RCPT_H
#define QUOTADEFER_RCPT_H

#include <stdbool.h>
#include <stdint.h>

#include "quotadefer/address.h"
#include "quotadefer/error.h"
#include "quotadefer/naming.h"
#include "quotadefer/settings.h"
#include "quotadefer/table.h"

/*
 * One recipient, as the MTA gives it. sender and rcpt are as the client typed
 * them (an MTA's canonical form does as well); sender is NULL if unknown.
 * size is the SIZE parameter of MAIL, 0 if absent. deferred is how many of our
 * replies this session had since its last accepted message.
 */
struct qd_request {
	const char *rcpt;
	const char *sender;
	int64_t size;
	bool authenticated;
	bool local_submission;
	int64_t deferred;
};

enum qd_verdict {
	QD_PASS,
	QD_DEFER,     /* at once */
	QD_DEFER_DATA /* pass now, answer at the DATA command */
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
	QD_WHY_PROBE_RECIPIENT,
	QD_WHY_ODD_ADDRESS,
	QD_WHY_NO_DOMAIN,
	QD_WHY_OTHER_DOMAIN,
	/* full, and let through by a setting */
	QD_WHY_NULL_SENDER,
	QD_WHY_DEFER_LIMIT,
	QD_WHY_MONITOR,
	/* unknown is not full */
	QD_WHY_DOMAINS_UNSET,
	QD_WHY_NO_NAME,
	QD_WHY_NOTHING_PUBLISHED,
	QD_WHY_STALE,
	QD_WHY_TABLE
};

/*
 * The verdict, and every step on the way to it: what is filled depends on how
 * far the decision went. resource is meaningful when the mailbox is full.
 */
struct qd_answer {
	enum qd_verdict verdict;
	enum qd_why why;
	enum qd_address_kind kind;
	struct qd_address address;
	struct qd_naming naming;
	struct qd_mailbox mailbox;  /* name "" if not got that far */
	char root[QD_ROOT_MAX + 1]; /* "" if no record was found */
	struct qd_hit hit;	    /* if root is set */
	enum qd_resource resource;
	struct qd_error err; /* for QD_WHY_TABLE */
};

/*
 * Decide about one recipient at time now (seconds since 1970): the whole of
 * argv[0] -> address -> mailbox -> nearest root -> table -> policy.
 *
 * Thread-safe; *answer is the caller's and need not be initialised. Reads the
 * local table and nothing else; does not block, log, or allocate.
 */
void qd_rcpt_decide(const struct qd_settings *settings, struct qd_table *table,
		    const struct qd_request *request, int64_t now,
		    struct qd_answer *answer);

/* A few words on a reason, for people. */
const char *qd_why_text(enum qd_why why);

#endif
