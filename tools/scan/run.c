/* SPDX-License-Identifier: BSD-2-Clause */
/* A complete scan, and what it shares with one of a few roots. */
#include "run.h"

#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "quotadefer/guard.h"
#include "quotadefer/notify.h"

enum {
	/* how often a lease is made to last longer; see LEASE_MS */
	RENEW_S = 5,
	/* a watcher has the lease for moments only: worth waiting for */
	HELD_MS = 2000,
	HELD_PAUSE_MS = 5
};

volatile sig_atomic_t interrupted;

/* As it was, but for what the settings and imapd.conf say. */
static void describe_source(struct run *run)
{
	struct qd_source *src = &run->source;

	qd_source_init(src, run->settings->source);
	if (run->known)
		*src = run->before;
	gethostname(src->host, sizeof(src->host) - 1);
	src->rule = qd_quotastore_rule(run->settings, &run->conf);
	src->naming = run->conf.naming;
	src->naming.tests_folder = src->rule == QD_RULE_SMMAPD;
	src->domain_roots =
		run->settings->domain_roots == QD_DOMAIN_ROOTS_ENFORCE;
	src->largest_message = src->rule == QD_RULE_STRICT ?
				       run->settings->largest_message :
				       0;
}

static bool needs_announcement(const struct run *run)
{
	const struct qd_source *before = &run->before, *now = &run->source;

	return !run->known || before->rule != now->rule ||
	       before->domain_roots != now->domain_roots ||
	       before->largest_message != now->largest_message ||
	       !qd_naming_equal(&before->naming, &now->naming);
}

static int load(struct run *run, const struct qd_rootset *names,
		struct qd_error *err)
{
	const struct qd_publisher *publisher = run->publisher;
	const char *source = run->settings->source;

	if (names)
		return publisher->load_some(run->self, source, names,
					    &run->known, &run->before,
					    &run->current, err);
	return publisher->load(run->self, source, &run->known, &run->before,
			       &run->current, err);
}

int64_t run_now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int lock(struct run *run, const struct qd_rootset *names,
		struct qd_error *err)
{
	const struct timespec pause = { .tv_nsec = HELD_PAUSE_MS * 1000000L };
	int64_t end = run_now_ms() + (run->watch ? 0 : HELD_MS);

	while (run->publisher->lock(run->self, run->settings->source,
				    names != NULL, err) < 0) {
		if (err->status != EX_TEMPFAIL || interrupted ||
		    run_now_ms() >= end)
			return -1;
		nanosleep(&pause, NULL);
	}
	return 0;
}

/* Who published a moment ago need not ask again whether he may. */
static bool is_alone(const struct run *run, const struct qd_rootset *names)
{
	int64_t max_age = run->settings->max_age_ms / 1000;

	return names && !needs_announcement(run) &&
	       qd_source_age(&run->before, (int64_t)time(NULL), max_age) <=
		       max_age;
}

int run_begin(struct run *run, const struct qd_rootset *names,
	      struct qd_error *err)
{
	const struct qd_settings *settings = run->settings;
	const struct qd_publisher *publisher = run->publisher;

	memset(&run->before, 0, sizeof(run->before));
	run->renewed = time(NULL);
	if (!run->self &&
	    publisher->open(settings, run->dry_run, &run->self, err) < 0)
		return -1;
	run->connected = true;
	if (!run->dry_run && lock(run, names, err) < 0)
		return -1;
	if (load(run, names, err) < 0)
		return -1;
	describe_source(run);
	if (is_alone(run, names))
		return 0;
	return qd_publish_check_naming(publisher, run->self, &run->source,
				       (int64_t)time(NULL),
				       settings->max_age_ms / 1000, err);
}

void run_end(struct run *run, const struct qd_error *failed)
{
	if (run->self && failed && failed->status != EX_TEMPFAIL)
		run->publisher->close(&run->self);
	else if (run->self && !run->dry_run)
		run->publisher->unlock(run->self);
	qd_rootset_free(&run->current);
	qd_scan_free(&run->scan);
}

static int on_tick(void *arg, const struct qd_scan *scan)
{
	struct run *run = arg;
	time_t now = time(NULL);

	qd_progress_show(&run->progress, scan);
	if (interrupted)
		return qd_error_set(&run->stopped, EX_TEMPFAIL,
				    "stopped by a signal (%s)",
				    strsignal(interrupted));
	if (run->dry_run || llabs((long long)(now - run->renewed)) < RENEW_S)
		return 0;
	run->renewed = now;
	if (run->watch)
		qd_notify("WATCHDOG=1");
	return run->publisher->renew(run->self, &run->stopped);
}

void run_scan_options(struct run *run, struct qd_scan_options *options)
{
	*options = (struct qd_scan_options){
		.rule = run->source.rule,
		.size = run->source.largest_message,
		.domain_roots = run->source.domain_roots,
		.cyr_dbtool = run->settings->cyr_dbtool,
		.threads = (int)run->settings->scan_threads,
		.now = (int64_t)time(NULL),
		.tick = on_tick,
		.arg = run,
	};
}

static int scan(struct run *run, struct qd_error *err)
{
	struct qd_scan_options options;
	int rc;

	run_scan_options(run, &options);
	run->stopped.status = 0;
	rc = qd_quotastore_scan(&run->conf, &options, &run->scan, err);
	qd_progress_end(&run->progress);
	if (rc < 0 && run->stopped.status)
		*err = run->stopped;
	return rc;
}

static int check_guard(const struct run *run, struct qd_error *err)
{
	const struct qd_guard guard = {
		.roots_before = run->known ? run->before.roots : 0,
		.over_before = run->known ? run->before.over : 0,
		.roots = atomic_load(&run->scan.roots),
		.over = atomic_load(&run->scan.over),
		.unreadable = atomic_load(&run->scan.unreadable),
		.unreadable_directories =
			atomic_load(&run->scan.unreadable_directories),
		.roots_limit = run->settings->guard_roots,
		.full_limit = run->settings->guard_full,
	};

	return run->force ? 0 : qd_guard_check(&guard, err);
}

static void on_difference(void *arg, const char *root,
			  const struct qd_record *before,
			  const struct qd_record *after)
{
	const struct run *run = arg;

	if (run->common.verbose)
		report_difference(NULL, root, before, after);
	if (run->each)
		run->each(run->arg, root, before, after);
}

int run_publish(struct run *run, const struct qd_reconcile *what,
		struct qd_error *err)
{
	struct qd_source *src = &run->source;

	/* a reader that forgot us must not take our records for stale */
	src->heartbeat = (int64_t)time(NULL);
	if (run->publisher->begin(run->self, src, needs_announcement(run),
				  err) < 0)
		return -1;
	return qd_publish_reconcile(what, run->publisher, run->self,
				    on_difference, run, &run->done, err);
}

/* What a complete scan says of the source. */
static void count(struct run *run)
{
	const struct qd_scan *found = &run->scan;
	struct qd_source *src = &run->source;

	src->scanned = (int64_t)time(NULL);
	src->heartbeat = src->scanned;
	src->roots = atomic_load(&found->roots);
	src->over = atomic_load(&found->over);
	src->malformed = atomic_load(&found->malformed);
	src->unreadable = atomic_load(&found->unreadable);
	src->records = (int64_t)run->current.count + run->done.added -
		       run->done.removed;
}

static int publish(struct run *run, struct qd_error *err)
{
	const struct qd_reconcile what = {
		.current = &run->current,
		.wanted = &run->scan.publish,
		.unreadable = &run->scan.unreadable_roots,
		.last_scan = run->before.scanned,
		.removals = !atomic_load(&run->scan.unreadable_directories),
	};

	if (run->dry_run)
		return qd_publish_reconcile(&what, NULL, NULL,
					    report_difference, NULL, &run->done,
					    err);
	if (run_publish(run, &what, err) < 0)
		return -1;
	count(run);
	return run->publisher->finish(run->self, &run->source, true, err);
}

/* Open, scan, doubt, publish. */
int run_complete(struct run *run, struct qd_error *err)
{
	int rc;

	qd_progress_begin(&run->progress, run->quiet);
	rc = run_begin(run, NULL, err);
	if (rc == 0)
		rc = scan(run, err);
	if (rc == 0) {
		report_complaints(run);
		rc = check_guard(run, err);
	}
	if (rc == 0)
		rc = publish(run, err);
	if (rc == 0)
		report_summary(run);
	run_end(run, rc < 0 ? err : NULL);
	return rc;
}
