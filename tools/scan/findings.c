/* SPDX-License-Identifier: BSD-2-Clause */
#include "quotadefer/findings.h"

#include <stdio.h>
#include <string.h>

static bool full_name(const char *domain, const char *name,
		      char out[QD_ROOT_MAX + 1])
{
	return snprintf(out, QD_ROOT_MAX + 1, "%s%s%s", domain,
			domain[0] ? "!" : "", name) <= QD_ROOT_MAX;
}

static void add(struct qd_findings *found, struct qd_rootset *set,
		const char *domain, const char *name,
		const struct qd_record *rec)
{
	char root[QD_ROOT_MAX + 1];

	/* a name too long to be a key is too long for an address */
	if (full_name(domain, name, root) &&
	    qd_rootset_add(set, root, 0, rec) < 0)
		found->no_memory = true;
}

/*
 * Could a root that is over be above this one, for a look-up that gets here?
 * One of a shared folder always, of a user's folder if it is asked for at all,
 * of a user if domain roots count.
 */
static bool may_be_shield(const struct qd_scan_options *options,
			  const char *domain, const char *name)
{
	if (!name[0])
		return false;
	if (strncmp(name, "user.", 5) != 0)
		return true;
	if (options->rule == QD_RULE_SMMAPD && !qd_naming_is_inbox(name))
		return true;
	return options->domain_roots && domain[0];
}

void qd_findings_root(struct qd_findings *found, const char *domain,
		      const char *name, struct qd_record *rec)
{
	const struct qd_scan_options *options = found->options;
	bool over = qd_record_over(rec, options->rule, 0) >= 0;

	atomic_fetch_add_explicit(&found->scan->roots, 1, memory_order_relaxed);
	rec->read = options->now;
	rec->since = over ? options->now : 0;
	if (over)
		atomic_fetch_add_explicit(&found->scan->over, 1,
					  memory_order_relaxed);
	if (over || qd_record_over(rec, options->rule, options->size) >= 0)
		add(found, &found->publish, domain, name, rec);
	else if (may_be_shield(options, domain, name))
		add(found, &found->shields, domain, name, rec);
}

void qd_findings_hidden(struct qd_findings *found, const char *domain,
			const char *name)
{
	struct qd_record no_limits;

	if (!may_be_shield(found->options, domain, name))
		return;
	qd_record_init(&no_limits);
	no_limits.read = found->options->now;
	add(found, &found->shields, domain, name, &no_limits);
}

static void complain(struct qd_findings *found, const char *what,
		     const char *why)
{
	struct qd_scan *scan = found->scan;
	struct qd_complaint *complaint;

	pthread_mutex_lock(found->lock);
	if (scan->complaint_count < QD_COMPLAINTS) {
		complaint = &scan->complaints[scan->complaint_count++];
		snprintf(complaint->what, sizeof(complaint->what), "%s", what);
		snprintf(complaint->why, sizeof(complaint->why), "%s", why);
	}
	pthread_mutex_unlock(found->lock);
}

void qd_findings_unreadable(struct qd_findings *found, const char *domain,
			    const char *name, const char *what, const char *why)
{
	atomic_fetch_add(&found->scan->unreadable, 1);
	complain(found, what, why);
	add(found, &found->unreadable, domain, name, NULL);
}

void qd_findings_malformed(struct qd_findings *found, const char *what,
			   const char *why)
{
	atomic_fetch_add(&found->scan->malformed, 1);
	complain(found, what, why);
}

void qd_findings_directory(struct qd_findings *found, const char *what,
			   const char *why)
{
	atomic_fetch_add(&found->scan->unreadable_directories, 1);
	complain(found, what, why);
}

int qd_findings_merge(struct qd_findings *found)
{
	struct qd_scan *scan = found->scan;

	if (qd_rootset_merge(&scan->publish, &found->publish) < 0 ||
	    qd_rootset_merge(&scan->shields, &found->shields) < 0 ||
	    qd_rootset_merge(&scan->unreadable_roots, &found->unreadable) < 0)
		found->no_memory = true;
	qd_rootset_free(&found->publish);
	qd_rootset_free(&found->shields);
	qd_rootset_free(&found->unreadable);
	return found->no_memory ? -1 : 0;
}

static bool is_below(const char *root, const struct qd_rootset *set,
		     bool domain_roots)
{
	char above[QD_ROOT_MAX + 1];

	strcpy(above, root);
	while (qd_naming_parent(above))
		if (qd_rootset_find(set, above, 0, NULL))
			return true;
	return domain_roots && qd_naming_domain_root(above) &&
	       qd_rootset_find(set, above, 0, NULL);
}

int qd_findings_finish(struct qd_scan *scan,
		       const struct qd_scan_options *options)
{
	struct qd_rootset shields = { 0 };
	struct qd_rootset_entry entry;
	int rc = 0;

	qd_rootset_sort(&scan->publish);
	qd_rootset_sort(&scan->unreadable_roots);
	for (size_t i = 0; rc == 0 && i < scan->shields.count; i++) {
		qd_rootset_get(&scan->shields, i, &entry);
		if (is_below(entry.root, &scan->publish, options->domain_roots))
			rc = qd_rootset_add(&shields, entry.root, 0,
					    &entry.rec);
	}
	if (rc == 0)
		rc = qd_rootset_merge(&scan->publish, &shields);
	qd_rootset_sort(&scan->publish);
	qd_rootset_free(&shields);
	return rc;
}
