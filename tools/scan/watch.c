/* SPDX-License-Identifier: BSD-2-Clause */
/* --watch: stay, and publish each change as it happens. */
#include "run.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "quotadefer/changes.h"
#include "quotadefer/log.h"
#include "quotadefer/notify.h"
#include "quotadefer/table.h"

enum {
	/* more changed roots than that are read as quickly all at once */
	MANY = 50000,
	BACKOFF_MIN_MS = 100,
	/* a server that is away is asked at least so often; what is refused
	   for another reason, such as a scan not to be believed, is not */
	AWAY_MAX_MS = 1000,
	BACKOFF_MAX_MS = 60000,
	/* but what changes meanwhile may be the remedy */
	BACKOFF_CHANGED_MS = 1000,
	HEARTBEAT_MS = 60000,
	/* a server that is another one may not have what was written last */
	LOOK_MS = 2000,
	/* others get their turn, for as long as we had it, but no longer than
	   that; see run.c, which waits for it */
	TURN_MS = 2,
	/* a store that is one file is read again, at most this often */
	STORE_PAUSE_MS = 500
};

struct watch {
	struct run *run;
	struct qd_changes *changes; /* NULL: only scanning */
	struct qd_rootset names;    /* changed, and not yet published */
	bool all;		    /* any root may have changed */
	bool periodic;		    /* and that is because it is time to look */
	struct qd_rootset found;    /* what such a scan found to be otherwise */
	int64_t scan_at_ms, beat_at_ms, look_at_ms, retry_at_ms, watchdog_ms;
	int64_t tried_at_ms, soonest_ms; /* the last time, the next */
	int failures;
	struct qd_error lost; /* why watching ended, if it did */
	bool said_failure, said_fallback, ready;
	int64_t repaired;
};

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
		if (w->said_fallback || w->lost.status)
			qd_log(LOG_NOTICE, "%s%swatching for changes again",
			       w->lost.text, w->lost.status ? "; " : "");
		w->said_fallback = false;
		w->lost = (struct qd_error){ 0 };
		return;
	}
	w->lost = (struct qd_error){ 0 };
	if (!w->said_fallback)
		qd_log(LOG_WARNING,
		       "%s; everything is read every %" PRId64 " s instead",
		       err.text, w->run->settings->scan_interval_ms / 1000);
	w->said_fallback = true;
}

/* A complete scan is to come: it will see these as well. */
static void need_all(struct watch *w)
{
	w->all = true;
	qd_rootset_free(&w->names);
}

static void take_changes(struct watch *w)
{
	if (qd_changes_take(w->changes, &w->names, &w->all, &w->lost) < 0) {
		qd_changes_close(&w->changes);
		w->all = true;
	}
	if (w->names.count >= MANY)
		qd_rootset_sort(&w->names);
	if (w->names.count >= MANY)
		w->all = true;
}

/*
 * A directory may have been exchanged where no event tells of it. The old
 * watches stay until the new ones are there; or longer, if too few are left.
 */
static void renew_watches(struct watch *w)
{
	struct qd_changes *fresh;
	struct qd_error err;

	if (!w->changes || qd_changes_open(&w->run->conf, &fresh, &err) < 0)
		return;
	take_changes(w);
	qd_changes_close(&w->changes);
	w->changes = fresh;
}

/* Not of one that is only there to shield, whose own record is as it was. */
static bool is_a_repair(const struct run *run, const struct qd_record *rec)
{
	return rec && qd_record_over(rec, run->source.rule,
				     run->source.largest_message) >= 0;
}

static void note_found(void *arg, const char *root,
		       const struct qd_record *before,
		       const struct qd_record *after)
{
	struct watch *w = arg;

	if (is_a_repair(w->run, before) || is_a_repair(w->run, after))
		qd_rootset_add(&w->found, root, 0, NULL);
}

/*
 * What the scan found and no event told of. The events of changes that it
 * saw, it has caused to be taken only now.
 */
static void note_repairs(struct watch *w)
{
	struct qd_rootset_entry entry;
	int64_t repaired = 0;

	if (w->changes)
		take_changes(w);
	/* some events were lost: who knows */
	if (!w->changes || w->all)
		return;
	qd_rootset_sort(&w->names);
	for (size_t i = 0; i < w->found.count; i++) {
		qd_rootset_get(&w->found, i, &entry);
		repaired += !qd_rootset_find(&w->names, entry.root, 0, NULL);
	}
	w->repaired += repaired;
	if (repaired)
		qd_log(LOG_WARNING,
		       "the scan repaired %" PRId64 " records that no change "
		       "was seen of; %" PRId64 " since the start",
		       repaired, w->repaired);
}

/* To look for what the watch missed: so the names are kept, to compare. */
static int complete_periodic(struct watch *w, struct qd_error *err)
{
	struct run *run = w->run;
	int rc;

	renew_watches(w);
	w->all = false;
	run->each = note_found;
	run->arg = w;
	rc = run_complete(run, err);
	run->each = NULL;
	if (rc == 0)
		note_repairs(w);
	else
		w->all = true;
	qd_rootset_free(&w->found);
	return rc;
}

static int complete_anew(struct watch *w, struct qd_error *err)
{
	start_watching(w);
	need_all(w);
	if (run_complete(w->run, err) < 0)
		return -1;
	w->all = false;
	return 0;
}

static int complete(struct watch *w, struct qd_error *err)
{
	int rc = w->periodic && w->changes ? complete_periodic(w, err) :
					     complete_anew(w, err);

	w->periodic = false;
	if (rc == 0)
		w->scan_at_ms =
			run_now_ms() + w->run->settings->scan_interval_ms;
	return rc;
}

static int publish_some(struct watch *w, struct qd_error *err)
{
	bool beat = run_now_ms() >= w->beat_at_ms, all = false;

	qd_rootset_sort(&w->names);
	if (run_some(w->run, &w->names, beat, &all, err) < 0)
		return -1;
	if (all)
		need_all(w);
	qd_rootset_free(&w->names);
	return !all && beat;
}

/* 1: it was also said that we are alive; 0: not; -1: a failure. */
static int publish(struct watch *w, struct qd_error *err)
{
	if (!w->all)
		return publish_some(w, err);
	return complete(w, err) < 0 ? -1 : 1;
}

/* Somebody else scans the same source: his scan will do no harm, nor ours. */
static bool is_held(const struct qd_error *err)
{
	return err->status == EX_TEMPFAIL &&
	       strstr(err->text, "is being scanned by");
}

/* Servers close connections that were idle: then another one will do. */
static bool may_be_idleness(const struct watch *w, const struct qd_error *err)
{
	return err->status == EX_UNAVAILABLE && w->ready && w->failures == 0;
}

static int64_t backoff_ms(struct watch *w, const struct qd_error *err)
{
	bool away = err->status == EX_UNAVAILABLE;

	if (is_held(err))
		return BACKOFF_MIN_MS;
	if (may_be_idleness(w, err)) {
		w->failures++;
		return 0;
	}
	/* which server it will be, and what it knows, is to be seen */
	if (away)
		need_all(w);
	w->failures += w->failures < 10;
	if (!w->said_failure && !interrupted)
		qd_log(LOG_ERR, "%s; trying again", err->text);
	w->said_failure = true;
	return least((int64_t)BACKOFF_MIN_MS << w->failures,
		     away ? AWAY_MAX_MS : BACKOFF_MAX_MS);
}

static void note_failure(struct watch *w, const struct qd_error *err)
{
	int64_t now = run_now_ms();

	w->retry_at_ms = now + backoff_ms(w, err);
	/* no more than a tenth of the time goes into trying */
	w->soonest_ms = now + 9 * (now - w->tried_at_ms);
	if (w->soonest_ms < now + BACKOFF_CHANGED_MS)
		w->soonest_ms = now + BACKOFF_CHANGED_MS;
}

/*
 * Is the server still there, and the same? If not, the next one is told that we
 * are alive, and asked what it knows.
 */
static void look(struct watch *w)
{
	struct run *run = w->run;
	struct qd_error err;

	w->look_at_ms = run_now_ms() + LOOK_MS;
	if (!run->self || !run->publisher->look ||
	    run->publisher->look(run->self, &err) == 0)
		return;
	run->publisher->close(&run->self);
	w->beat_at_ms = w->tried_at_ms = run_now_ms();
	note_failure(w, &err);
}

static void note_success(struct watch *w, bool beat)
{
	const struct qd_settings *settings = w->run->settings;
	int64_t now = run_now_ms();

	if (w->said_failure)
		qd_log(LOG_NOTICE, "publishing again");
	w->said_failure = false;
	w->failures = 0;
	if (beat)
		w->beat_at_ms =
			now + least(HEARTBEAT_MS, settings->max_age_ms / 4);
	w->retry_at_ms = now + least(now - w->tried_at_ms, TURN_MS);
	/* it says of every write that something was written */
	if (strcmp(w->run->conf.quota_db, "quotalegacy") != 0)
		w->retry_at_ms = now + STORE_PAUSE_MS;
	if (!w->ready)
		qd_notify("READY=1");
	w->ready = true;
}

static void go(struct watch *w)
{
	struct qd_error err = { 0 };
	int rc;

	w->tried_at_ms = run_now_ms();
	rc = publish(w, &err);
	if (rc < 0)
		note_failure(w, &err);
	else
		note_success(w, rc > 0);
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
	int64_t now = run_now_ms(), at = least(w->scan_at_ms, w->beat_at_ms);

	if (w->run->publisher->look)
		at = least(at, w->look_at_ms);
	if (w->all || w->names.count)
		at = now;
	if (at < w->retry_at_ms)
		at = w->retry_at_ms;
	at -= now;
	if (w->watchdog_ms)
		at = least(at, w->watchdog_ms);
	return at > 0 ? (int)least(at, 60000) : 0;
}

/* Signals come only while we wait: none comes just before, and is missed. */
static bool wait_for_input(struct watch *w)
{
	struct pollfd pfd = { .fd = -1, .events = POLLIN };
	int ms = next_wait(w), n = 0;
	struct timespec wait = { ms / 1000, ms % 1000 * 1000000L };
	sigset_t ends, before;

	if (w->changes)
		pfd.fd = qd_changes_fd(w->changes);
	sigemptyset(&ends);
	sigaddset(&ends, SIGINT);
	sigaddset(&ends, SIGTERM);
	sigprocmask(SIG_BLOCK, &ends, &before);
	if (!interrupted)
		n = ppoll(&pfd, 1, &wait, &before);
	sigprocmask(SIG_SETMASK, &before, NULL);
	return n > 0;
}

static void wait_for_changes(struct watch *w)
{
	if (wait_for_input(w)) {
		take_changes(w);
		if (w->said_failure)
			w->retry_at_ms = least(w->retry_at_ms, w->soonest_ms);
	}
	if (w->all && !w->periodic)
		need_all(w);
	if (w->watchdog_ms)
		qd_notify("WATCHDOG=1");
}

int run_watch(struct run *run)
{
	struct watch w = { .run = run,
			   .all = true,
			   .watchdog_ms = qd_notify_watchdog_ms() };

	run->progress.enabled = 0;
	qd_table_guard();
	while (!interrupted) {
		if (run_now_ms() >= w.look_at_ms)
			look(&w);
		if (is_due(&w, run_now_ms()))
			go(&w);
		wait_for_changes(&w);
	}
	qd_notify("STOPPING=1");
	qd_changes_close(&w.changes);
	qd_rootset_free(&w.names);
	return EX_OK;
}
