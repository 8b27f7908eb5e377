/* SPDX-License-Identifier: BSD-2-Clause */
#include "quotadefer/rcpt.h"

#include <string.h>

#include "quotadefer/policy.h"

static bool is_domain_root(const char *root)
{
	return root[strlen(root) - 1] == '!';
}

/*
 * The nearest quota root that the table knows. The publisher sees to it that
 * one which is not over, below one that is, is there too: a folder's, and
 * where domain roots count a user's.
 */
static enum qd_found find_root(struct qd_view *view,
			       const struct qd_settings *settings, int64_t now,
			       struct qd_answer *answer)
{
	int64_t max_age = settings->max_age_ms / 1000;
	enum qd_found found;

	strcpy(answer->root, answer->mailbox.name);
	do {
		found = qd_view_get(view, answer->root, now, max_age,
				    &answer->hit, &answer->err);
	} while (found == QD_ABSENT && qd_naming_next_root(answer->root));
	if (found == QD_FOUND && is_domain_root(answer->root) &&
	    !answer->hit.domain_roots)
		found = QD_ABSENT;
	if (found != QD_FOUND)
		answer->root[0] = '\0';
	return found;
}

static enum qd_why judge(const struct qd_settings *settings,
			 const struct qd_request *request,
			 struct qd_answer *answer)
{
	int over;

	if (answer->hit.age > settings->max_age_ms / 1000)
		return QD_WHY_STALE;
	over = qd_record_over(&answer->hit.rec, answer->hit.rule,
			      request->size);
	if (over < 0)
		return QD_WHY_NOT_FULL;
	answer->resource = (enum qd_resource)over;
	return QD_WHY_FULL;
}

static enum qd_why look_up(struct qd_view *view,
			   const struct qd_settings *settings,
			   const struct qd_request *request, int64_t now,
			   struct qd_answer *answer)
{
	enum qd_found found;

	found = qd_view_naming(view, &answer->naming, &answer->err);
	if (found == QD_ERROR)
		return QD_WHY_TABLE;
	if (found == QD_ABSENT)
		return QD_WHY_NOTHING_PUBLISHED;
	/* any address anywhere would then be one of our users */
	if (!settings->domains.count &&
	    answer->naming.virtdomains == QD_VIRTDOMAINS_OFF)
		return QD_WHY_DOMAINS_UNSET;
	if (qd_naming_mailbox(&answer->naming, answer->address.local,
			      answer->address.domain, &answer->mailbox) < 0)
		return QD_WHY_NO_NAME;
	found = find_root(view, settings, now, answer);
	if (found == QD_ERROR)
		return QD_WHY_TABLE;
	if (found == QD_ABSENT)
		return QD_WHY_NOT_FULL;
	return judge(settings, request, answer);
}

void qd_rcpt_decide(const struct qd_settings *settings, struct qd_table *table,
		    const struct qd_request *request, int64_t now,
		    struct qd_answer *answer)
{
	struct qd_view *view;

	answer->verdict = QD_PASS;
	answer->mailbox.name[0] = '\0';
	answer->root[0] = '\0';
	answer->kind = qd_address_parse(request->rcpt, &answer->address);
	if (qd_policy_exempts(settings, request, answer, &answer->why))
		return;
	view = qd_view_begin(table, &answer->err);
	if (!view) {
		answer->why = QD_WHY_TABLE;
		return;
	}
	answer->why = look_up(view, settings, request, now, answer);
	qd_view_end(view);
	if (answer->why == QD_WHY_FULL)
		qd_policy_full(settings, request, answer);
}

const char *qd_why_text(enum qd_why why)
{
	static const char *const texts[] = {
		[QD_WHY_FULL] = "the mailbox is full",
		[QD_WHY_NOT_FULL] = "the mailbox is not full",
		[QD_WHY_AUTHENTICATED] = "the client is authenticated",
		[QD_WHY_LOCAL_SUBMISSION] = "submitted on this host",
		[QD_WHY_POSTMASTER] = "postmaster and abuse always pass",
		[QD_WHY_PROBE_RECIPIENT] = "the recipient is a probe sender",
		[QD_WHY_ODD_ADDRESS] = "not an address to look up",
		[QD_WHY_NO_DOMAIN] = "the address has no domain",
		[QD_WHY_OTHER_DOMAIN] = "not one of the domains",
		[QD_WHY_NULL_SENDER] = "full, but null_sender is pass",
		[QD_WHY_DEFER_LIMIT] = "full, but the session had defer_limit "
				       "deferrals",
		[QD_WHY_MONITOR] = "full, but mode is monitor",
		[QD_WHY_DOMAINS_UNSET] = "domains is not set, and the source "
					 "has virtdomains off",
		[QD_WHY_NO_NAME] = "no mailbox can have that name",
		[QD_WHY_NOTHING_PUBLISHED] = "no source has published yet",
		[QD_WHY_STALE] = "full, but the record is older than max_age",
		[QD_WHY_TABLE] = "the table cannot be read",
	};

	return texts[why];
}
