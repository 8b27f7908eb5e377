/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef QUOTADEFER_RUN_H
#define QUOTADEFER_RUN_H

/* What the program's own files share: one run of quotadefer-scan. */

#include <signal.h>
#include <time.h>

#include "quotadefer/imapdconf.h"
#include "quotadefer/options.h"
#include "quotadefer/progress.h"
#include "quotadefer/publish.h"
#include "quotadefer/quotastore.h"

struct run {
	struct qd_options common;
	bool force, dry_run, quiet, watch;
	struct qd_settings *settings;
	struct qd_imapdconf conf;
	const struct qd_publisher *publisher;
	void *self;	/* the publisher, if it is open */
	bool connected; /* it was, once */
	bool known;	/* the source was published before */
	struct qd_source before, source;
	struct qd_rootset current;
	struct qd_scan scan;
	struct qd_progress progress;
	struct qd_published done;
	/* more roots over than at the complete scan of that time */
	int64_t over_since, over_since_scan;
	qd_difference
		*each; /* told of what a complete scan changes, with arg */
	void *arg;
	time_t renewed;
	struct qd_error stopped; /* why the scan was, if it was */
};

/* The signal that asked us to stop; 0: none. */
extern volatile sig_atomic_t interrupted;

/*
 * One complete scan: take the lease, read everything, doubt it, publish the
 * differences, give the lease back. The publisher stays open if all went
 * well. Returns 0, or -1 with *err.
 */
int run_complete(struct run *run, struct qd_error *err);

/*
 * The same for the roots of these names alone, sorted; and, if beat, say that
 * we are alive. *all is set, and nothing published, if only a complete scan
 * will do.
 */
int run_some(struct run *run, const struct qd_rootset *names, bool beat,
	     bool *all, struct qd_error *err);

/* Milliseconds that go by, whatever the clock says. */
int64_t run_now_ms(void);

/* Take the lease, and read what was published: all, or of these names. */
int run_begin(struct run *run, const struct qd_rootset *names,
	      struct qd_error *err);

/* Write run->done's differences, and the source as it is now. */
int run_publish(struct run *run, const struct qd_reconcile *what,
		struct qd_error *err);

/*
 * Give the lease back, and forget what was read. failed (NULL: nothing did)
 * closes the publisher, unless it was merely not our turn.
 */
void run_end(struct run *run, const struct qd_error *failed);

/* What a scan is read by. */
void run_scan_options(struct run *run, struct qd_scan_options *options);

/* Stay, and publish each change as it happens. Returns the exit status. */
int run_watch(struct run *run);

/* What went wrong with single roots, and how it went in all. */
void report_complaints(const struct run *run);
void report_summary(const struct run *run);
void report_difference(void *arg, const char *root,
		       const struct qd_record *before,
		       const struct qd_record *after);

#endif
