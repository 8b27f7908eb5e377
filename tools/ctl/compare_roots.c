/* SPDX-License-Identifier: BSD-2-Clause */
/* Which quota roots to compare, and what they are by their files. */
#include "compare.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sysexits.h>
#include <time.h>

#include "quotadefer/quotalegacy.h"

/*
 * A message of that size would not fit under any limit: so the strict rule
 * keeps every root that has one.
 */
#define ANY_LIMIT (INT64_MAX / 2)

static int no_memory(struct qd_error *err)
{
	return qd_error_set(err, EX_OSERR, "no memory");
}

struct mine {
	struct comparison *c;
	bool has_source;
};

static int find_source(void *arg, const struct qd_source *src)
{
	struct mine *mine = arg;

	if (strcmp(src->name, mine->c->settings->source) != 0)
		return 0;
	mine->c->source = *src;
	mine->has_source = true;
	return 0;
}

static int add_record(void *arg, const char *root, const char *source,
		      const struct qd_record *rec)
{
	struct mine *mine = arg;

	(void)rec;
	if (strcmp(source, mine->c->settings->source) != 0)
		return 0;
	return qd_rootset_add(&mine->c->roots, root, 0, NULL);
}

static int read_table(struct comparison *c, struct qd_error *err)
{
	struct mine mine = { .c = c };
	struct qd_view *view = qd_view_begin(c->table, err);
	int rc;

	if (!view)
		return -1;
	no_memory(err); /* the only failure that does not say what it is */
	rc = qd_view_each_source(view, find_source, &mine, err);
	if (rc == 0)
		rc = qd_view_each_record(view, add_record, &mine, err);
	qd_view_end(view);
	if (rc == 0 && !mine.has_source)
		rc = qd_error_set(err, EX_TEMPFAIL,
				  "source %s has published nothing in %s",
				  c->settings->source, c->settings->table);
	qd_rootset_sort(&c->roots);
	return rc;
}

static void scan_options(const struct comparison *c,
			 struct qd_scan_options *options)
{
	*options = (struct qd_scan_options){
		.rule = QD_RULE_STRICT,
		.size = ANY_LIMIT,
		.cyr_dbtool = c->settings->cyr_dbtool,
		.threads = (int)c->settings->scan_threads,
		.now = (int64_t)time(NULL),
	};
}

/* The places in found of so many users, drawn at random (algorithm R). */
static size_t draw(const struct comparison *c, const struct qd_rootset *found,
		   size_t *drawn, size_t sample)
{
	struct qd_rootset_entry entry;
	unsigned short seed[3] = { 0 };
	size_t seen = 0;

	if (getrandom(seed, sizeof(seed), 0) < 0)
		seed[0] = (unsigned short)time(NULL);
	for (size_t i = 0; i < found->count; i++) {
		size_t at = seen;

		qd_rootset_get(found, i, &entry);
		if (!qd_naming_is_inbox(entry.root) ||
		    qd_rootset_find(&c->roots, entry.root, 0, NULL))
			continue;
		seen++;
		if (at >= sample)
			at = (size_t)(erand48(seed) * (double)seen);
		if (at < sample)
			drawn[at] = i;
	}
	return seen < sample ? seen : sample;
}

static int add_drawn(struct comparison *c, const struct qd_rootset *found,
		     size_t sample)
{
	struct qd_rootset_entry entry;
	size_t *drawn = calloc(sample, sizeof(*drawn));
	size_t count;
	int rc = drawn ? 0 : -1;

	count = drawn ? draw(c, found, drawn, sample) : 0;
	for (size_t i = 0; rc == 0 && i < count; i++) {
		qd_rootset_get(found, drawn[i], &entry);
		rc = qd_rootset_add(&c->roots, entry.root, 0, NULL);
	}
	free(drawn);
	qd_rootset_sort(&c->roots);
	return rc;
}

static int add_sample(struct comparison *c, int64_t sample,
		      struct qd_error *err)
{
	struct qd_scan_options options;
	struct qd_scan scan;
	int rc;

	scan_options(c, &options);
	rc = qd_quotastore_scan(&c->conf, &options, &scan, err);
	if (rc == 0 && add_drawn(c, &scan.publish, (size_t)sample) < 0)
		rc = no_memory(err);
	qd_scan_free(&scan);
	return rc;
}

int compare_collect(struct comparison *c, int64_t sample, struct qd_error *err)
{
	if (read_table(c, err) < 0)
		return -1;
	return sample ? add_sample(c, sample, err) : 0;
}

static int add_chains(const struct qd_rootset *names, struct qd_rootset *all)
{
	struct qd_rootset_entry entry;
	char root[QD_ROOT_MAX + 1];

	for (size_t i = 0; i < names->count; i++) {
		qd_rootset_get(names, i, &entry);
		strcpy(root, entry.root);
		do {
			if (qd_rootset_add(all, root, 0, NULL) < 0)
				return -1;
		} while (qd_naming_next_root(root));
	}
	qd_rootset_sort(all);
	return 0;
}

static int read_some(const struct comparison *c, const struct qd_rootset *names,
		     const struct qd_scan_options *options,
		     struct qd_scan *scan, struct qd_error *err)
{
	struct qd_rootset all = { 0 };
	int rc;

	memset(scan, 0, sizeof(*scan));
	if (add_chains(names, &all) < 0)
		rc = no_memory(err);
	else
		rc = qd_quotalegacy_read(&c->conf, options, &all, scan, err);
	qd_rootset_free(&all);
	return rc;
}

int compare_read(const struct comparison *c, const struct qd_rootset *names,
		 struct qd_scan *scan, struct qd_error *err)
{
	struct qd_scan_options options;
	int rc;

	scan_options(c, &options);
	/* those that are not over hide those above them that are */
	options.domain_roots = true;
	if (c->rule == QD_RULE_SMMAPD)
		options.rule = QD_RULE_SMMAPD;
	if (strcmp(c->conf.quota_db, "quotalegacy") == 0)
		rc = read_some(c, names, &options, scan, err);
	else
		rc = qd_quotastore_scan(&c->conf, &options, scan, err);
	qd_rootset_sort(&scan->publish);
	qd_rootset_sort(&scan->shields);
	return rc;
}

bool compare_find(const struct comparison *c, const struct qd_scan *scan,
		  const char *mailbox, struct qd_record *rec)
{
	struct qd_rootset_entry entry;
	char root[QD_ROOT_MAX + 1];

	strcpy(root, mailbox);
	do {
		bool is_domain = root[strlen(root) - 1] == '!';

		if (is_domain &&
		    c->settings->domain_roots != QD_DOMAIN_ROOTS_ENFORCE)
			return false;
		if (qd_rootset_find(&scan->publish, root, 0, &entry) ||
		    qd_rootset_find(&scan->shields, root, 0, &entry)) {
			*rec = entry.rec;
			return true;
		}
	} while (qd_naming_next_root(root));
	return false;
}
