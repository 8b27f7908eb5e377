/* SPDX-License-Identifier: BSD-2-Clause */
#include "quotadefer/publish.h"

#include <stdio.h>
#include <string.h>
#include <sysexits.h>

/* The two sets, stepped through together. */
struct reconciler {
	const struct qd_reconcile *what;
	const struct qd_publisher *publisher;
	void *self;
	qd_difference *each;
	void *arg;
	struct qd_published *done;
	struct qd_error *err;
};

static int change(struct reconciler *r, const char *root,
		  const struct qd_record *before, const struct qd_record *after)
{
	if (r->each)
		r->each(r->arg, root, before, after);
	if (!before)
		r->done->added++;
	else if (after)
		r->done->changed++;
	else
		r->done->removed++;
	if (!r->publisher)
		return 0;
	return r->publisher->change(r->self, root, before, after, r->err);
}

/*
 * Over since it was first seen over, not since this scan. A time to come stays
 * too: the clock may be wrong now instead of then, and a later since rejects
 * nobody too early.
 */
static void keep_since(const struct qd_record *before, struct qd_record *after)
{
	if (after->since && before->since)
		after->since = before->since;
}

/*
 * A root of which this scan knows nothing: what was true at the last one may
 * stay until it is too old, and says so of itself.
 */
static int keep(struct reconciler *r, const struct qd_rootset_entry *current)
{
	struct qd_record rec = current->rec;

	if (rec.kept)
		return 0;
	rec.kept = true;
	if (r->what->last_scan > rec.read)
		rec.read = r->what->last_scan;
	return change(r, current->root, &current->rec, &rec);
}

static bool is_unreadable(const struct reconciler *r, const char *root)
{
	return qd_rootset_find(r->what->unreadable, root, 0, NULL);
}

static int add_or_change(struct reconciler *r,
			 const struct qd_rootset_entry *current,
			 struct qd_rootset_entry *wanted)
{
	if (!current)
		return change(r, wanted->root, NULL, &wanted->rec);
	if (is_unreadable(r, wanted->root))
		return keep(r, current);
	keep_since(&current->rec, &wanted->rec);
	if (qd_record_same(&current->rec, &wanted->rec))
		return 0;
	return change(r, wanted->root, &current->rec, &wanted->rec);
}

static int remove_or_keep(struct reconciler *r,
			  const struct qd_rootset_entry *current)
{
	if (!r->what->removals || is_unreadable(r, current->root))
		return keep(r, current);
	return change(r, current->root, &current->rec, NULL);
}

/*
 * From the last name to the first: what shields a root from the one above it
 * is there before that one is. Readers see one batch after the other.
 */
static int add_and_change(struct reconciler *r)
{
	const struct qd_rootset *old = r->what->current, *new = r->what->wanted;
	struct qd_rootset_entry current, wanted;
	size_t i = old->count, j = new->count;
	int rc = 0;

	while (rc == 0 && j-- > 0) {
		int order = -1;

		qd_rootset_get(new, j, &wanted);
		for (; i > 0; i--) {
			qd_rootset_get(old, i - 1, &current);
			order = qd_rootset_compare(&current, &wanted);
			if (order <= 0)
				break;
		}
		rc = add_or_change(r, i > 0 && order == 0 ? &current : NULL,
				   &wanted);
	}
	return rc;
}

/* From the first name to the last: a shield goes after what it shields from. */
static int remove_and_keep(struct reconciler *r)
{
	const struct qd_rootset *old = r->what->current, *new = r->what->wanted;
	struct qd_rootset_entry current, wanted;
	size_t j = 0;
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < old->count; i++) {
		int order = -1;

		qd_rootset_get(old, i, &current);
		for (; j < new->count; j++) {
			qd_rootset_get(new, j, &wanted);
			order = qd_rootset_compare(&current, &wanted);
			if (order <= 0)
				break;
		}
		if (j == new->count || order != 0)
			rc = remove_or_keep(r, &current);
	}
	return rc;
}

int qd_publish_reconcile(const struct qd_reconcile *what,
			 const struct qd_publisher *publisher, void *self,
			 qd_difference *each, void *arg,
			 struct qd_published *done, struct qd_error *err)
{
	struct reconciler r = { what, publisher, self, each, arg, done, err };

	memset(done, 0, sizeof(*done));
	if (add_and_change(&r) < 0)
		return -1;
	return remove_and_keep(&r);
}

struct naming_check {
	const struct qd_source *src;
	int64_t now, max_age;
	struct qd_error *err;
};

/* The first setting of imapd.conf in which the two differ. */
static const char *difference(const struct qd_naming *a,
			      const struct qd_naming *b)
{
	if (a->virtdomains != b->virtdomains)
		return "virtdomains";
	if (a->unixhierarchysep != b->unixhierarchysep)
		return "unixhierarchysep";
	if (a->lmtp_downcase_rcpt != b->lmtp_downcase_rcpt)
		return "lmtp_downcase_rcpt";
	if (strcmp(a->postuser, b->postuser) != 0)
		return "postuser";
	if (a->tests_folder != b->tests_folder)
		return "rule (smmapd tests other mailboxes than lmtpd)";
	return "defaultdomain";
}

static int check_one(void *arg, const struct qd_source *other)
{
	struct naming_check *check = arg;
	const struct qd_source *src = check->src;

	if (strcmp(other->name, src->name) == 0 ||
	    qd_naming_equal(&other->naming, &src->naming) ||
	    qd_source_age(other, check->now, check->max_age) > check->max_age)
		return 0;
	return qd_error_set(check->err, EX_CONFIG,
			    "source %s has another %s than "
			    "source %s, which is published already: one table "
			    "(prefix) can hold only sources that name "
			    "mailboxes alike; give this one a table or prefix "
			    "of its own",
			    src->name, difference(&src->naming, &other->naming),
			    other->name);
}

int qd_publish_check_naming(const struct qd_publisher *publisher, void *self,
			    const struct qd_source *src, int64_t now,
			    int64_t max_age, struct qd_error *err)
{
	struct naming_check check = { src, now, max_age, err };

	return publisher->sources(self, check_one, &check, err);
}
