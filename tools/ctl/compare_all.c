/* SPDX-License-Identifier: BSD-2-Clause */
/* Asking the table and Cyrus, about one mailbox after the other. */
#include "compare.h"

#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>

#include "quotadefer/rcpt.h"

enum table_says {
	PASSES,
	DEFERS,
	OTHERS /* another source answers, or nobody is ever asked */
};

/* The table's own verdict, without the settings that let a full one pass. */
static int ask_table(const struct comparison *c,
		     const struct recipient *recipient, enum table_says *out,
		     struct qd_error *err)
{
	static struct qd_answer answer;
	const struct qd_request request = { .rcpt = recipient->address };
	char *domain = strrchr(recipient->address, '@') + 1;
	struct qd_settings plain = *c->settings;

	plain.domains = (struct qd_list){ &domain, 1 };
	plain.probe_senders.count = 0;
	plain.exempt_recipients.count = 0;
	plain.mode = QD_MODE_ENFORCE;
	plain.mode_domain_count = 0;
	plain.enforce_share = 100;
	qd_rcpt_decide(&plain, NULL, c->table, &request, (int64_t)time(NULL),
		       &answer);
	if (answer.why == QD_WHY_TABLE) {
		*err = answer.err;
		return -1;
	}
	*out = answer.verdict == QD_PASS ? PASSES : DEFERS;
	if (answer.why == QD_WHY_POSTMASTER ||
	    (answer.root[0] &&
	     strcmp(answer.hit.source, c->settings->source) != 0))
		*out = OTHERS;
	return 0;
}

/* What needs no second look is counted here; the rest goes to c->doubts. */
static int compare_one(struct comparison *c, const char *root,
		       struct qd_error *err)
{
	struct recipient recipient;
	enum table_says says = OTHERS;
	struct facts facts = { 0 };
	struct said said;

	if (compare_recipient(&c->conf.naming, root, &recipient) &&
	    ask_table(c, &recipient, &says, err) < 0)
		return -1;
	if (says == OTHERS) {
		c->skipped++;
		return 0;
	}
	if (c->asker.ask(&c->asker, &recipient, &said, err) < 0)
		return -1;
	facts.defers = says == DEFERS;
	facts.cyrus = said.cyrus;
	switch (compare_judge(&facts)) {
	case AGREE:
		c->counts[AGREE]++;
		return 0;
	case UNSURE:
		compare_report_line(c, UNSURE, &recipient, facts.defers, &said);
		return 0;
	default:
		if (qd_rootset_add(&c->doubts, root, 0, NULL) == 0)
			return 0;
		return qd_error_set(err, EX_OSERR, "no memory");
	}
}

static bool is_over(const struct comparison *c, const struct qd_scan *scan,
		    const char *mailbox, enum qd_rule rule)
{
	struct qd_record rec;

	return compare_find(c, scan, mailbox, &rec) &&
	       qd_record_over(&rec, rule, 0) >= 0;
}

/* What was said to somebody in doubt. */
struct second {
	struct facts facts;
	struct said said;
};

/* Ask both again: the table may have been told meanwhile. */
static int ask_again(struct comparison *c, const char *root,
		     struct second *second, struct qd_error *err)
{
	struct recipient recipient;
	enum table_says says;

	compare_recipient(&c->conf.naming, root, &recipient);
	if (ask_table(c, &recipient, &says, err) < 0 ||
	    c->asker.ask(&c->asker, &recipient, &second->said, err) < 0)
		return -1;
	second->facts.defers = says == DEFERS;
	second->facts.cyrus = second->said.cyrus;
	return 0;
}

static void settle(struct comparison *c, const char *root,
		   struct second *second)
{
	struct facts *facts = &second->facts;
	struct recipient recipient;

	compare_recipient(&c->conf.naming, root, &recipient);
	compare_report_line(c, compare_judge(facts), &recipient, facts->defers,
			    &second->said);
}

/* Read the quota files of all in doubt: before they are asked, or after. */
static int read_doubts(struct comparison *c, struct second *seconds,
		       bool is_after, struct qd_error *err)
{
	struct qd_rootset_entry entry;
	struct qd_scan scan;
	int rc = compare_read(c, &c->doubts, &scan, err);

	for (size_t i = 0; rc == 0 && i < c->doubts.count; i++) {
		struct facts *facts = &seconds[i].facts;

		qd_rootset_get(&c->doubts, i, &entry);
		facts->over = is_over(c, &scan, entry.root, c->rule);
		if (!is_after)
			facts->over_before = facts->over;
		facts->rules_differ = c->ctl->compare.smmapd &&
				      is_over(c, &scan, entry.root,
					      QD_RULE_SMMAPD) != facts->over;
	}
	qd_scan_free(&scan);
	return rc;
}

static int ask_doubts(struct comparison *c, struct second *seconds,
		      struct qd_error *err)
{
	struct qd_rootset_entry entry;

	for (size_t i = 0; i < c->doubts.count; i++) {
		qd_rootset_get(&c->doubts, i, &entry);
		if (ask_again(c, entry.root, &seconds[i], err) < 0)
			return -1;
	}
	return 0;
}

/*
 * Where the two differ, what the quota files say now tells a table that is
 * behind from one that is wrong.
 */
static int compare_doubts(struct comparison *c, struct qd_error *err)
{
	struct second *seconds;
	struct qd_rootset_entry entry;
	int rc = -1;

	if (!c->doubts.count)
		return 0;
	qd_rootset_sort(&c->doubts);
	seconds = calloc(c->doubts.count, sizeof(*seconds));
	if (!seconds)
		return qd_error_set(err, EX_OSERR, "no memory");
	if (read_doubts(c, seconds, false, err) < 0 ||
	    ask_doubts(c, seconds, err) < 0 ||
	    read_doubts(c, seconds, true, err) < 0)
		goto out;
	for (size_t i = 0; i < c->doubts.count; i++) {
		qd_rootset_get(&c->doubts, i, &entry);
		settle(c, entry.root, &seconds[i]);
	}
	rc = 0;
out:
	free(seconds);
	return rc;
}

int compare_all(struct comparison *c, struct qd_error *err)
{
	struct qd_rootset_entry entry;

	for (size_t i = 0; i < c->roots.count; i++) {
		qd_rootset_get(&c->roots, i, &entry);
		if (compare_one(c, entry.root, err) < 0)
			return -1;
	}
	return compare_doubts(c, err);
}
