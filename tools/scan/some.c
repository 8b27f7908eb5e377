/* SPDX-License-Identifier: BSD-2-Clause */
/* Publishing a few roots that changed, without reading all the others. */
#include "run.h"

#include <string.h>
#include <sysexits.h>

#include "quotadefer/guard.h"
#include "quotadefer/quotalegacy.h"

/* The sets of one go. names are the roots that changed. */
struct some {
	struct run *run;
	const struct qd_rootset *names;
	struct qd_rootset asked;  /* names, and the roots above them */
	struct qd_rootset before; /* what was published of names */
	struct qd_rootset wanted;
	int64_t more_over;
	bool beat;
	bool all;
	bool no_memory;
};

static void add(struct some *s, struct qd_rootset *set, const char *root,
		const struct qd_record *rec)
{
	if (qd_rootset_add(set, root, 0, rec) < 0)
		s->no_memory = true;
}

static bool next_above(const struct run *run, char *root)
{
	if (qd_naming_parent(root))
		return true;
	return run->settings->domain_roots == QD_DOMAIN_ROOTS_ENFORCE &&
	       qd_naming_domain_root(root);
}

/* What was published of these says whether they are shields now. */
static void ask(struct some *s)
{
	struct qd_rootset_entry entry;
	char root[QD_ROOT_MAX + 1];

	for (size_t i = 0; i < s->names->count; i++) {
		qd_rootset_get(s->names, i, &entry);
		strcpy(root, entry.root);
		do
			add(s, &s->asked, root, NULL);
		while (next_above(s->run, root));
	}
	qd_rootset_sort(&s->asked);
}

/*
 * Could there be roots below this one that are not over, and were not
 * published, as there was nothing to shield them from?
 */
static bool may_need_shields(const struct run *run, const char *root)
{
	const char *bang = strchr(root, '!'), *name = bang ? bang + 1 : root;

	if (!*name)
		return run->source.domain_roots;
	return strncmp(name, "user.", 5) != 0 ||
	       run->source.rule == QD_RULE_SMMAPD;
}

/* Over, or nearly so. */
static void want_published(struct some *s)
{
	const struct qd_rootset *found = &s->run->scan.publish;
	struct qd_rootset_entry entry;

	for (size_t i = 0; i < found->count; i++) {
		qd_rootset_get(found, i, &entry);
		if (!qd_rootset_find(&s->run->current, entry.root, 0, NULL) &&
		    may_need_shields(s->run, entry.root))
			s->all = true;

		add(s, &s->wanted, entry.root, &entry.rec);
	}
}

static bool is_below_published(const struct some *s, const char *name)
{
	char root[QD_ROOT_MAX + 1];

	strcpy(root, name);
	while (next_above(s->run, root))
		if (qd_rootset_find(&s->run->current, root, 0, NULL))
			return true;
	return false;
}

/* One that is in the table stays; a complete scan takes it out. */
static void want_shields(struct some *s)
{
	const struct qd_rootset *found = &s->run->scan.shields;
	struct qd_rootset_entry entry;

	for (size_t i = 0; i < found->count; i++) {
		qd_rootset_get(found, i, &entry);
		if (qd_rootset_find(&s->run->current, entry.root, 0, NULL) ||
		    is_below_published(s, entry.root))
			add(s, &s->wanted, entry.root, &entry.rec);
	}
}

/* Of what was published, that of names; the rest was only asked about. */
static void want_before(struct some *s)
{
	struct qd_rootset_entry name, entry;

	for (size_t i = 0; i < s->names->count; i++) {
		qd_rootset_get(s->names, i, &name);
		if (qd_rootset_find(&s->run->current, name.root, 0, &entry))
			add(s, &s->before, entry.root, &entry.rec);
	}
}

static int read_names(struct some *s, struct qd_error *err)
{
	struct run *run = s->run;
	struct qd_scan_options options;

	run_scan_options(run, &options);
	memset(&run->scan, 0, sizeof(run->scan));
	if (qd_quotalegacy_read(&run->conf, &options, s->names, &run->scan,
				err) < 0)
		return -1;
	qd_rootset_sort(&run->scan.publish);
	qd_rootset_sort(&run->scan.unreadable_roots);
	qd_rootset_sort(&run->current);
	want_published(s);
	want_shields(s);
	want_before(s);
	qd_rootset_sort(&s->wanted);
	qd_rootset_sort(&s->before);
	return s->no_memory ? qd_error_set(err, EX_OSERR, "no memory") : 0;
}

static int64_t count_over(const struct qd_rootset *set)
{
	struct qd_rootset_entry entry;
	int64_t over = 0;

	for (size_t i = 0; i < set->count; i++) {
		qd_rootset_get(set, i, &entry);
		over += entry.rec.since != 0;
	}
	return over;
}

/*
 * If so many went over since the last complete scan that another would be
 * doubted, have one.
 */
static bool is_doubtful(struct some *s)
{
	struct run *run = s->run;
	struct qd_guard guard = {
		.roots_before = run->before.roots,
		.over_before = run->before.over,
		.roots = run->before.roots,
		.roots_limit = run->settings->guard_roots,
		.full_limit = run->settings->guard_full,
	};

	/* whoever made it, a complete scan has counted them all */
	if (run->over_since_scan != run->before.scanned)
		run->over_since = 0;
	run->over_since_scan = run->before.scanned;
	s->more_over = count_over(&s->wanted) - count_over(&s->before);
	guard.over = run->before.over + run->over_since + s->more_over;
	return s->names->count && !run->force &&
	       qd_guard_check(&guard, NULL) < 0;
}

static int publish(struct some *s, struct qd_error *err)
{
	struct run *run = s->run;
	const struct qd_reconcile what = {
		.current = &s->before,
		.wanted = &s->wanted,
		.unreadable = &run->scan.unreadable_roots,
		.last_scan = run->before.heartbeat,
		.removals = true,
	};

	if (run_publish(run, &what, err) < 0)
		return -1;
	run->source.records += run->done.added - run->done.removed;
	if (run->publisher->finish(run->self, &run->source, s->beat, err) < 0)
		return -1;
	run->over_since += s->more_over;
	return 0;
}

static int go(struct some *s, struct qd_error *err)
{
	struct run *run = s->run;

	ask(s);
	if (s->no_memory)
		return qd_error_set(err, EX_OSERR, "no memory");
	if (run_begin(run, &s->asked, err) < 0)
		return -1;
	/* what is published was lost: there is nothing to compare with */
	s->all = !run->known;
	if (s->all)
		return 0;
	if (read_names(s, err) < 0)
		return -1;
	if (s->all || is_doubtful(s)) {
		s->all = true;
		return 0;
	}
	return publish(s, err);
}

int run_some(struct run *run, const struct qd_rootset *names, bool beat,
	     bool *all, struct qd_error *err)
{
	struct some s = { .run = run, .names = names, .beat = beat };
	int rc = go(&s, err);

	run_end(run, rc < 0 ? err : NULL);
	*all = s.all;
	qd_rootset_free(&s.asked);
	qd_rootset_free(&s.before);
	qd_rootset_free(&s.wanted);
	return rc;
}
