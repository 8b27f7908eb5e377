/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Publishes made-up records with the scanner's own publisher, to the table or
 * to Redis as the settings say: ROOTS roots user.u0000000 and on, all over,
 * the first CHANGED of them with another usage than without -k.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>
#include <time.h>

#include "quotadefer/publish.h"

struct job {
	const char *config;
	long roots, changed;
	struct qd_settings *settings;
	const struct qd_publisher *publisher;
	void *self;
	struct qd_rootset current, wanted;
};

static int make_records(struct job *job, struct qd_error *err)
{
	struct qd_record rec;
	char root[40];

	qd_record_init(&rec);
	rec.since = rec.read = (int64_t)time(NULL);
	rec.usage[QD_STORAGE].limit = 1000;
	for (long i = 0; i < job->roots; i++) {
		snprintf(root, sizeof(root), "user.u%07ld", i);
		rec.usage[QD_STORAGE].used = 1024001 + (i < job->changed);
		if (qd_rootset_add(&job->wanted, root, 0, &rec) < 0)
			return qd_error_set(err, EX_OSERR, "no memory");
	}
	return 0;
}

static int publish(struct job *job, struct qd_error *err)
{
	const struct qd_publisher *publisher = job->publisher;
	const struct qd_rootset none = { 0 };
	struct qd_reconcile what = { .current = &job->current,
				     .wanted = &job->wanted,
				     .unreadable = &none,
				     .removals = true };
	struct qd_source before, src;
	struct qd_published done = { 0 };
	bool known;

	if (publisher->load(job->self, job->settings->source, &known, &before,
			    &job->current, err) < 0)
		return -1;
	qd_source_init(&src, job->settings->source);
	snprintf(src.naming.defaultdomain, sizeof(src.naming.defaultdomain),
		 "example.org");
	src.naming.virtdomains = QD_VIRTDOMAINS_USERID;
	src.scanned = src.heartbeat = (int64_t)time(NULL);
	src.roots = src.over = src.records = job->roots;
	if (publisher->begin(job->self, &src, !known, err) < 0 ||
	    qd_publish_reconcile(&what, publisher, job->self, NULL, NULL, &done,
				 err) < 0 ||
	    publisher->finish(job->self, &src, true, err) < 0)
		return -1;
	printf("%lld\n", (long long)(done.added + done.changed + done.removed));
	return 0;
}

static int run(struct job *job, struct qd_error *err)
{
	if (qd_settings_load(job->config, NULL, &job->settings, err) < 0)
		return -1;
	job->publisher =
		job->settings->redis ? &qd_publisher_redis : &qd_publisher_lmdb;
	if (make_records(job, err) < 0 ||
	    job->publisher->open(job->settings, false, &job->self, err) < 0 ||
	    job->publisher->lock(job->self, job->settings->source, false, err) <
		    0)
		return -1;
	return publish(job, err);
}

int main(int argc, char **argv)
{
	struct job job = { 0 };
	struct qd_error err = { 0 };
	int letter, rc;

	while ((letter = getopt(argc, argv, "c:n:k:")) != -1) {
		if (letter == 'c')
			job.config = optarg;
		else if (letter == 'n')
			job.roots = strtol(optarg, NULL, 10);
		else if (letter == 'k')
			job.changed = strtol(optarg, NULL, 10);
	}
	if (!job.config || job.roots < 1) {
		fprintf(stderr, "usage: republish -c FILE -n ROOTS "
				"[-k CHANGED]\n");
		return EX_USAGE;
	}
	rc = run(&job, &err);
	if (rc < 0)
		fprintf(stderr, "republish: %s\n", err.text);
	if (job.self)
		job.publisher->close(&job.self);
	qd_rootset_free(&job.current);
	qd_rootset_free(&job.wanted);
	qd_settings_unref(&job.settings);
	return rc < 0 ? EX_SOFTWARE : EX_OK;
}
