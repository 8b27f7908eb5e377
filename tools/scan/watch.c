/* SPDX-License-Identifier: BSD-2-Clause */
/* --watch: stay, and publish each change as it happens. */
#include "run.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "quotadefer/changes.h"
#include "quotadefer/log.h"
#include "quotadefer/notify.h"

enum {
	/* more changed roots than that are read as quickly all at once */
	MANY = 50000,
	BACKOFF_MIN_MS = 100,
	/* a server that is away is asked at least so often; what is refused
	   for another reason, such as a scan not to be believed, is not */
	AWAY_MAX_MS = 1000,
	BACKOFF_MAX_MS = 60000,
	HEARTBEAT_MS = 60000,
	/* a store that is one file is read again, at most this often */
	STORE_PAUSE_MS = 500
};

struct watch {
	struct run *run;
	struct qd_changes *changes; /* NULL: only scanning */
	struct qd_rootset names;    /* changed, and not yet published */
	bool all;		    /* any root may have changed */
	bool periodic;		    /* and that is because it is time to look */
	int64_t scan_at_ms, beat_at_ms, retry_at_ms, watchdog_ms;
	int failures;
	bool said_failure, said_fallback, ready;
	int64_t repaired;
};

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int64_t least(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/*
 * Watch before the complete scan that follows, so that nothing falls between
 * the two. Where it cannot be done, the scans alone have to do.
 */
static void start_watching(struct watch *w)
{
	struct qd_error err;

	if (w->changes)
		return;
	if (qd_changes_open(&w->run->conf, &w->changes, &err) == 0) {
		if (w->said_fallback)
			qd_log(LOG_NOTICE, "watching for changes again");
		w->said_fallback = false;
		return;
	}
	if (!w->said_fallback)
		qd_log(LOG_WARNING,
		       "%s; everything is read every %" PRId64 " s instead",
		       err.text, w->run->settings->scan_interval_ms / 1000);
	w->said_fallback = true;
}

static void take_changes(struct watch *w)
{
	struct qd_error err;

	if (qd_changes_take(w->changes, &w->names, &w->all, &err) < 0) {
		qd_log(LOG_WARNING, "%s", err.text);
		qd_changes_close(&w->changes);
		w->all = true;
	}
	if (w->names.count < MANY)
		return;
	qd_rootset_sort(&w->names);
	if (w->names.count >= MANY)
		w->all = true;
}

/* What a scan found that the watch had missed. */
static void note_repairs(struct watch *w)
{
	const struct qd_published *done = &w->run->done;
	int64_t repaired = done->added + done->changed + done->removed;

	if (!w->periodic || !w->changes || repaired == 0)
		return;
	w->repaired += repaired;
	qd_log(LOG_WARNING,
	       "the scan repaired %" PRId64 " records that no change was seen "
	       "of; %" PRId64 " since the start",
	       repaired, w->repaired);
}

static int complete(struct watch *w, struct qd_error *err)
{
	const struct qd_settings *settings = w->run->settings;

	start_watching(w);
	qd_rootset_free(&w->names);
	if (run_complete(w->run, err) < 0)
		return -1;
	note_repairs(w);
	w->all = false;
	w->periodic = false;
	w->scan_at_ms = now_ms() + settings->scan_interval_ms;
	return 0;
}

static int publish(struct watch *w, struct qd_error *err)
{
	const struct qd_settings *settings = w->run->settings;
	int rc;

	if (w->all)
		rc = complete(w, err);
	else {
		qd_rootset_sort(&w->names);
		rc = run_some(w->run, &w->names, &w->all, err);
	}
	if (rc < 0)
		return -1;
	if (!w->all)
		qd_rootset_free(&w->names);
	w->beat_at_ms =
		now_ms() + least(HEARTBEAT_MS, settings->max_age_ms / 4);
	return 0;
}

/* Somebody else scans the same source: his scan will do no harm, nor ours. */
static bool is_held(const struct qd_error *err)
{
	return err->status == EX_TEMPFAIL &&
	       strstr(err->text, "is being scanned by");
}

static void note_failure(struct watch *w, const struct qd_error *err)
{
	int64_t wait = BACKOFF_MIN_MS;

	if (!is_held(err)) {
		wait = least((int64_t)BACKOFF_MIN_MS << w->failures,
			     err->status == EX_UNAVAILABLE ? AWAY_MAX_MS :
							     BACKOFF_MAX_MS);
		w->failures += w->failures < 10;
		if (!w->said_failure && !interrupted)
			qd_log(LOG_ERR, "%s; trying again", err->text);
		w->said_failure = true;
	}
	w->retry_at_ms = now_ms() + wait;
}

static void note_success(struct watch *w)
{
	if (w->said_failure)
		qd_log(LOG_NOTICE, "publishing again");
	w->said_failure = false;
	w->failures = 0;
	w->retry_at_ms = 0;
	/* it says of every write that something was written */
	if (strcmp(w->run->conf.quota_db, "quotalegacy") != 0)
		w->retry_at_ms = now_ms() + STORE_PAUSE_MS;
	if (!w->ready)
		qd_notify("READY=1");
	w->ready = true;
}

static bool is_due(struct watch *w, int64_t now)
{
	if (now < w->retry_at_ms)
		return false;
	if (now >= w->scan_at_ms && !w->all)
		w->all = w->periodic = true;
	return w->all || w->names.count || now >= w->beat_at_ms;
}

static int next_wait(const struct watch *w)
{
	int64_t now = now_ms(), at = least(w->scan_at_ms, w->beat_at_ms);

	if (w->all || w->names.count)
		at = now;
	if (at < w->retry_at_ms)
		at = w->retry_at_ms;
	at -= now;
	if (w->watchdog_ms)
		at = least(at, w->watchdog_ms);
	return at > 0 ? (int)least(at, 60000) : 0;
}

static void wait_for_changes(struct watch *w)
{
	struct pollfd pfd = { .fd = -1, .events = POLLIN };

	if (w->changes)
		pfd.fd = qd_changes_fd(w->changes);
	if (poll(&pfd, 1, next_wait(w)) > 0)
		take_changes(w);
	if (w->watchdog_ms)
		qd_notify("WATCHDOG=1");
}

int run_watch(struct run *run)
{
	struct watch w = { .run = run,
			   .all = true,
			   .watchdog_ms = qd_notify_watchdog_ms() };

	run->progress.enabled = 0;
	while (!interrupted) {
		struct qd_error err = { 0 };

		if (is_due(&w, now_ms())) {
			if (publish(&w, &err) < 0)
				note_failure(&w, &err);
			else
				note_success(&w);
		}
		wait_for_changes(&w);
	}
	qd_notify("STOPPING=1");
	qd_changes_close(&w.changes);
	qd_rootset_free(&w.names);
	return EX_OK;
}
