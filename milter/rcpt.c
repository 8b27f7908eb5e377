/* SPDX-License-Identifier: BSD-2-Clause */
#include "quotadefer/rcpt.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "quotadefer/fold.h"
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

static bool is_ours(const struct qd_settings *settings, const char *domain)
{
	return !settings->domains.count ||
	       qd_list_has(&settings->domains, domain);
}

/* One target, in answer->target, from its domain to its verdict. */
static enum qd_why look_up(struct qd_view *view,
			   const struct qd_settings *settings,
			   const struct qd_request *request, int64_t now,
			   struct qd_answer *answer)
{
	enum qd_found found;

	if (!is_ours(settings, answer->target.domain))
		return QD_WHY_ELSEWHERE;
	if (qd_naming_mailbox(&answer->naming, answer->target.local,
			      answer->target.domain, &answer->mailbox) < 0)
		return QD_WHY_NO_NAME;
	found = find_root(view, settings, now, answer);
	if (found == QD_ERROR)
		return QD_WHY_TABLE;
	if (found == QD_ABSENT)
		return QD_WHY_NOT_FULL;
	return judge(settings, request, answer);
}

static void judge_target(struct qd_view *view,
			 const struct qd_settings *settings,
			 const struct qd_request *request, int64_t now,
			 const struct qd_target *target,
			 struct qd_answer *answer)
{
	const struct qd_rcpt_watcher *watcher = request->watcher;

	answer->mailbox.name[0] = '\0';
	answer->root[0] = '\0';
	answer->target = target->address;
	if (target->kind == QD_TARGET_ADDRESS)
		answer->why = look_up(view, settings, request, now, answer);
	else
		answer->why = QD_WHY_NO_MAILBOX;
	if (watcher && watcher->judged)
		watcher->judged(watcher->aliases.arg, answer);
}

/* A record that does not say since when keeps anybody from being rejected. */
static int64_t later(int64_t a, int64_t b)
{
	if (a == 0 || b == 0)
		return 0;
	return a > b ? a : b;
}

/* The usual case, without copies of *answer. */
static void judge_one(struct qd_view *view, const struct qd_settings *settings,
		      const struct qd_request *request, int64_t now,
		      const struct qd_target *target, struct qd_answer *answer)
{
	judge_target(view, settings, request, now, target, answer);
	answer->full_since =
		answer->why == QD_WHY_FULL ? answer->hit.rec.since : 0;
}

/*
 * All targets, or any: the first that settles the matter is what *answer is
 * about in the end. A watcher sees the others as well.
 */
static void judge_targets(struct qd_view *view,
			  const struct qd_settings *settings,
			  const struct qd_request *request, int64_t now,
			  const struct qd_targets *targets,
			  struct qd_answer *answer)
{
	bool any = settings->alias_rule == QD_ALIAS_ANY, settled = false;
	struct qd_answer one = *answer;
	int64_t since = INT64_MAX;

	for (size_t i = 0; i < targets->count; i++) {
		bool full;

		if (settled && !request->watcher)
			break;
		judge_target(view, settings, request, now, &targets->items[i],
			     &one);
		full = one.why == QD_WHY_FULL;
		if (settled)
			continue;
		if (i == 0 || full == any)
			*answer = one;
		settled = full == any;
		if (full)
			since = any || i == 0 ? one.hit.rec.since :
						later(since, one.hit.rec.since);
	}
	answer->full_since = since;
}

/*
 * The domain of a local user as sendmail has him, without one. That is how
 * Cyrus gets him, so with virtual domains he is one of the default domain,
 * whatever domain was typed.
 */
static void add_domain(const struct qd_settings *settings,
		       struct qd_table *table, const struct qd_address *typed,
		       struct qd_address *out)
{
	struct qd_view *view;
	struct qd_naming naming;
	struct qd_error err;
	const char *domain = typed->domain;

	if (!is_ours(settings, domain))
		domain = settings->myorigin ? settings->myorigin :
					      settings->domains.items[0];
	view = qd_view_begin(table, &err);
	if (view && qd_view_naming(view, &naming, &err) == QD_FOUND &&
	    naming.virtdomains != QD_VIRTDOMAINS_OFF)
		domain = naming.defaultdomain;
	snprintf(out->domain, sizeof(out->domain), "%s", domain);
	if (view)
		qd_view_end(view);
}

/* Postfix takes the quotes off, and folds: "a b"@x is "a b@x" then. */
static bool is_unquoted(const struct qd_address *typed, const char *mapped)
{
	enum {
		SIZE = QD_LOCAL_MAX + QD_DOMAIN_MAX + 2
	};
	char text[SIZE], folded[2][QD_FOLD_GROWTH * SIZE];

	snprintf(text, sizeof(text), "%s@%s", typed->local, typed->domain);
	return qd_fold(text, folded[0], sizeof(folded[0])) == 0 &&
	       qd_fold(mapped, folded[1], sizeof(folded[1])) == 0 &&
	       strcmp(folded[0], folded[1]) == 0;
}

/* Postfix's own form of nearly every address; so most need no more parsing. */
static bool is_typed(const struct qd_address *typed, const char *mapped)
{
	size_t length = strlen(typed->local);

	return strncasecmp(mapped, typed->local, length) == 0 &&
	       mapped[length] == '@' &&
	       strcasecmp(mapped + length + 1, typed->domain) == 0;
}

/*
 * What the MTA made of it, if that is another address than was typed: Postfix
 * tells the typed one in lower case, and Cyrus may care. False if it made
 * something of it that we cannot read: who was typed then gets nothing.
 */
static bool first_target(const struct qd_settings *settings,
			 struct qd_table *table,
			 const struct qd_request *request,
			 struct qd_answer *answer)
{
	const struct qd_address *typed = &answer->address;
	const char *text = request->mapped;
	struct qd_address mapped;
	enum qd_address_kind kind;

	answer->target = *typed;
	if (!text || !text[0] || is_typed(typed, text))
		return true;
	kind = qd_address_parse(text, &mapped);
	if (kind == QD_ADDRESS_LOCAL)
		add_domain(settings, table, typed, &mapped);
	else if (kind != QD_ADDRESS_MAILBOX)
		return is_unquoted(typed, text);
	if (strcasecmp(mapped.local, typed->local) != 0 ||
	    strcasecmp(mapped.domain, typed->domain) != 0)
		answer->target = mapped;
	return true;
}

/* The naming, and whether anybody may be looked up with it. */
static enum qd_why begin(struct qd_view *view,
			 const struct qd_settings *settings,
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
	return QD_WHY_FULL;
}

/* Only now is the table read: a view is not held while aliases wait. */
static void judge_all(const struct qd_settings *settings,
		      struct qd_table *table, const struct qd_request *request,
		      int64_t now, const struct qd_targets *targets,
		      struct qd_answer *answer)
{
	struct qd_view *view = qd_view_begin(table, &answer->err);

	if (!view) {
		answer->why = QD_WHY_TABLE;
		return;
	}
	answer->why = begin(view, settings, answer);
	if (answer->why == QD_WHY_FULL && targets->count == 1)
		judge_one(view, settings, request, now, targets->items, answer);
	else if (answer->why == QD_WHY_FULL)
		judge_targets(view, settings, request, now, targets, answer);
	qd_view_end(view);
}

static void judge_itself(const struct qd_settings *settings,
			 struct qd_table *table,
			 const struct qd_request *request, int64_t now,
			 struct qd_answer *answer)
{
	struct qd_target target = { .address = answer->target };
	const struct qd_targets targets = { &target, 1 };

	if (!is_ours(settings, target.address.domain))
		answer->why = QD_WHY_OTHER_DOMAIN;
	else
		judge_all(settings, table, request, now, &targets, answer);
}

static void judge_aliases(const struct qd_settings *settings,
			  struct qd_aliases *aliases, struct qd_table *table,
			  const struct qd_request *request, int64_t now,
			  struct qd_answer *answer)
{
	struct qd_targets targets = { 0 };

	switch (qd_aliases_expand(
		aliases, settings, &answer->target,
		request->watcher ? &request->watcher->aliases : NULL, &targets,
		&answer->err)) {
	case QD_FOUND:
		judge_all(settings, table, request, now, &targets, answer);
		break;
	case QD_ABSENT:
		answer->why = QD_WHY_NOWHERE;
		break;
	case QD_ERROR:
		answer->why = QD_WHY_ALIAS;
		break;
	}
	qd_targets_free(&targets);
}

void qd_rcpt_decide(const struct qd_settings *settings,
		    struct qd_aliases *aliases, struct qd_table *table,
		    const struct qd_request *request, int64_t now,
		    struct qd_answer *answer)
{
	answer->verdict = QD_PASS;
	answer->at_data = false;
	answer->mailbox.name[0] = '\0';
	answer->root[0] = '\0';
	answer->kind = qd_address_parse(request->rcpt, &answer->address);
	if (qd_policy_exempts(settings, request, answer, &answer->why))
		return;
	if (!first_target(settings, table, request, answer)) {
		answer->why = QD_WHY_ODD_ADDRESS;
		return;
	}
	if (aliases)
		judge_aliases(settings, aliases, table, request, now, answer);
	else
		judge_itself(settings, table, request, now, answer);
	if (answer->why == QD_WHY_FULL)
		qd_policy_full(settings, request, now, answer);
}

const char *qd_why_text(enum qd_why why)
{
	static const char *const texts[] = {
		[QD_WHY_FULL] = "the mailbox is full",
		[QD_WHY_NOT_FULL] = "the mailbox is not full",
		[QD_WHY_AUTHENTICATED] = "the client is authenticated",
		[QD_WHY_LOCAL_SUBMISSION] = "submitted on this host",
		[QD_WHY_POSTMASTER] = "postmaster and abuse always pass",
		[QD_WHY_EXEMPT_RECIPIENT] = "one of exempt_recipients",
		[QD_WHY_EXEMPT_SENDER] = "from one of exempt_senders",
		[QD_WHY_EXEMPT_CLIENT] = "from one of exempt_clients",
		[QD_WHY_PROBE_RECIPIENT] = "the recipient is a probe sender",
		[QD_WHY_ODD_ADDRESS] = "not an address to look up",
		[QD_WHY_NO_DOMAIN] = "the address has no domain",
		[QD_WHY_OTHER_DOMAIN] = "not one of the domains",
		[QD_WHY_ELSEWHERE] =
			"it leads to an address that is not in domains",
		[QD_WHY_NO_MAILBOX] = "an alias of a program or a file",
		[QD_WHY_NOWHERE] = "an alias that leads nowhere",
		[QD_WHY_NULL_SENDER] = "full, but null_sender is pass",
		[QD_WHY_DEFER_LIMIT] = "full, but the session had defer_limit "
				       "deferrals",
		[QD_WHY_MONITOR] = "full, but mode is monitor",
		[QD_WHY_SHARE] = "full, but not in enforce_share",
		[QD_WHY_ALIAS] = "where it leads cannot be found out",
		[QD_WHY_DOMAINS_UNSET] = "domains is not set, and the source "
					 "has virtdomains off",
		[QD_WHY_NO_NAME] = "no mailbox can have that name",
		[QD_WHY_NOTHING_PUBLISHED] = "no source has published yet",
		[QD_WHY_STALE] = "full, but the record is older than max_age",
		[QD_WHY_TABLE] = "the table cannot be read",
	};

	return texts[why];
}
