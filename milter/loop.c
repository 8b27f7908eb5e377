/* SPDX-License-Identifier: BSD-2-Clause */
#include "quotadefer/loop.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "quotadefer/ages.h"
#include "quotadefer/callbacks.h"
#include "quotadefer/control.h"
#include "quotadefer/feed.h"
#include "quotadefer/log.h"
#include "quotadefer/logqueue.h"
#include "quotadefer/notify.h"
#include "quotadefer/requests.h"
#include "quotadefer/signals.h"

/* How long open sessions may go on after a request to stop. */
enum {
	TICK_MS = 1000,
	DRAIN_MS = 3000,
	FLUSH_MS = 1000
};

struct loop {
	struct qd_daemon *daemon;
	const struct qd_options *options;
	struct qd_control *control;
	int signals; /* what qd_signals_catch returned */
	struct qd_feed *feed;
	struct qd_ages ages;
	pthread_t milter;
	atomic_int milter_result; /* 1 while it runs */
	bool stopping;
	int64_t stop_at_ms, tick_at_ms, watchdog_at_ms, watchdog_ms;
};

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void *serve(void *arg)
{
	struct loop *loop = arg;

	/* libmilter's own threads inherit this */
	qd_signals_leave();
	atomic_store(&loop->milter_result, qd_callbacks_serve());
	qd_signals_tell('E');
	return NULL;
}

static bool same_text(const char *a, const char *b)
{
	return a == b || (a && b && strcmp(a, b) == 0);
}

static void start_feed(struct loop *loop, struct qd_settings *settings)
{
	struct qd_error err;

	if (!settings->redis)
		return;
	loop->feed = qd_feed_start(loop->daemon, settings, &err);
	if (!loop->feed)
		qd_log(LOG_ERR, "%s", err.text);
}

/* Settings that are used once, at the start, by whoever was root then. */
static void mention_fixed(const struct qd_settings *old,
			  const struct qd_settings *new)
{
	const struct {
		const char *name;
		bool same;
	} fixed[] = {
		{ "table", same_text(old->table, new->table) },
		{ "table_size", old->table_size == new->table_size },
		{ "socket", same_text(old->socket, new->socket) },
		{ "socket_mode", old->socket_mode == new->socket_mode },
		{ "socket_group",
		  same_text(old->socket_group, new->socket_group) },
		{ "control_socket",
		  same_text(old->control_socket, new->control_socket) },
		{ "user", same_text(old->user, new->user) },
		{ "pidfile", same_text(old->pidfile, new->pidfile) },
	};

	for (size_t i = 0; i < sizeof(fixed) / sizeof(fixed[0]); i++)
		if (!fixed[i].same)
			qd_log(LOG_WARNING, "%s: the new value needs a restart",
			       fixed[i].name);
}

static bool feed_needs_restart(const struct qd_settings *old,
			       const struct qd_settings *new)
{
	return !same_text(old->redis, new->redis) ||
	       !same_text(old->prefix, new->prefix) ||
	       !same_text(old->redis_password_file, new->redis_password_file) ||
	       old->redis_timeout_ms != new->redis_timeout_ms ||
	       old->max_age_ms != new->max_age_ms;
}

/*
 * New maps are opened in any case, to see whether they can be; but they replace
 * the old ones only if they are others: what those know is worth keeping.
 */
static int load_aliases(struct loop *loop, const struct qd_settings *settings,
			struct qd_aliases **aliases, struct qd_error *err)
{
	struct qd_settings *old_settings;
	struct qd_aliases *old;

	if (qd_aliases_open(settings, false, qd_log_text, aliases, err) < 0)
		return -1;
	old_settings = qd_daemon_settings(loop->daemon, &old, NULL);
	qd_settings_unref(&old_settings);
	if (old && qd_aliases_fit(old, settings)) {
		qd_aliases_unref(aliases);
		*aliases = old;
	} else {
		qd_aliases_unref(&old);
	}
	return 0;
}

static int load(struct loop *loop, struct qd_settings **settings,
		struct qd_aliases **aliases, struct qd_error *err)
{
	if (qd_settings_load(loop->options->config, loop->options->overrides,
			     settings, err) < 0)
		return -1;
	if (load_aliases(loop, *settings, aliases, err) == 0)
		return 0;
	qd_settings_unref(settings);
	return -1;
}

/* A bad file keeps the old settings, and says so. */
static int reload(struct loop *loop, struct qd_error *err)
{
	struct qd_metrics *metrics = &loop->daemon->metrics;
	struct qd_settings *old, *new;
	struct qd_aliases *aliases;

	qd_notify_reloading();
	if (load(loop, &new, &aliases, err) < 0) {
		atomic_fetch_add(&metrics->reload_errors, 1);
		atomic_store(&metrics->last_reload_good, false);
		qd_log(LOG_ERR, "%s; the old settings stay", err->text);
		qd_notify("READY=1");
		return -1;
	}
	old = qd_daemon_settings(loop->daemon, NULL, NULL);
	mention_fixed(old, new);
	if (feed_needs_restart(old, new)) {
		qd_feed_stop(&loop->feed);
		start_feed(loop, new);
	}
	qd_daemon_replace_settings(loop->daemon, new, aliases);
	qd_settings_unref(&old);
	atomic_fetch_add(&metrics->reloads, 1);
	atomic_store(&metrics->last_reload_good, true);
	qd_log(LOG_NOTICE, "settings reloaded");
	qd_notify("READY=1");
	return 0;
}

static int handle_request(void *arg, const char *request, bool trusted,
			  FILE *out, struct qd_error *err)
{
	struct loop *loop = arg;
	bool is_reload = strcmp(request, "reload") == 0;

	/* to whom there was mail of late is nobody's business */
	if (!trusted && (is_reload || strncmp(request, "cached", 6) == 0))
		return qd_error_set(err, EX_NOPERM,
				    "%.6s: only root and the filter's own "
				    "user may",
				    request);
	if (is_reload)
		return reload(loop, err);
	return qd_requests_answer(loop->daemon, request, out, err);
}

static void stop(struct loop *loop)
{
	if (loop->stopping)
		return;
	loop->stopping = true;
	loop->stop_at_ms = now_ms() + DRAIN_MS;
	qd_notify("STOPPING=1");
}

static void take_signals(struct loop *loop)
{
	struct qd_error err;
	char bytes[64];
	bool hup = false;
	ssize_t n;

	while ((n = read(loop->signals, bytes, sizeof(bytes))) > 0) {
		for (ssize_t i = 0; i < n; i++) {
			if (bytes[i] == 'T')
				stop(loop);
			hup = hup || bytes[i] == 'H';
		}
	}
	if (hup && !loop->stopping)
		reload(loop, &err);
}

/* Can it be read? failure: why it could not be opened anew, or NULL. */
static void note_table(struct qd_daemon *daemon, const struct qd_error *failure)
{
	struct qd_error err;
	struct qd_view *view = qd_view_begin(daemon->table, &err);

	if (view)
		qd_view_end(view);
	if (view && failure)
		qd_daemon_table_failed(daemon, failure,
				       "what was read before is used until it "
				       "is too old");
	else if (view)
		qd_daemon_table_works(daemon);
	else
		qd_daemon_table_failed(daemon, failure ? failure : &err,
				       "recipients pass");
}

/* The scanner may have replaced the table's file, or the map is too small. */
static void refresh_table(struct loop *loop)
{
	struct qd_error err;
	int rc;

	/* a large change is being written: that can wait, signals cannot */
	if (pthread_mutex_trylock(&loop->daemon->writing) != 0)
		return;
	rc = qd_table_refresh(loop->daemon->table, &err);
	pthread_mutex_unlock(&loop->daemon->writing);
	if (rc > 0)
		qd_log(LOG_NOTICE, "the table was opened anew: its file is "
				   "another, or has grown");
	note_table(loop->daemon, rc < 0 ? &err : NULL);
}

static void tick(struct loop *loop)
{
	struct qd_settings *settings =
		qd_daemon_settings(loop->daemon, NULL, NULL);

	refresh_table(loop);
	qd_ages_watch(&loop->ages, loop->daemon->table,
		      settings->max_age_ms / 1000, (int64_t)time(NULL));
	qd_settings_unref(&settings);
}

/*
 * smfi_stop() is of no use here: it waits up to 5 s for libmilter's listener,
 * and cuts the sessions that are open. Ending the process when they are over
 * is quicker and kinder.
 */
static bool may_leave(struct loop *loop)
{
	return loop->stopping &&
	       (atomic_load(&loop->daemon->metrics.sessions) <= 0 ||
		now_ms() > loop->stop_at_ms);
}

static void do_due(struct loop *loop)
{
	int64_t now = now_ms();

	if (now >= loop->tick_at_ms) {
		loop->tick_at_ms = now + TICK_MS;
		tick(loop);
	}
	if (loop->watchdog_ms && now >= loop->watchdog_at_ms) {
		loop->watchdog_at_ms = now + loop->watchdog_ms;
		qd_notify("WATCHDOG=1");
	}
}

static int next_wait(const struct loop *loop)
{
	int64_t now = now_ms(), wait = loop->tick_at_ms - now;

	if (loop->watchdog_ms && loop->watchdog_at_ms - now < wait)
		wait = loop->watchdog_at_ms - now;
	if (loop->stopping && wait > 50)
		wait = 50;
	return wait > 0 ? (int)wait : 0;
}

static void wait_and_handle(struct loop *loop)
{
	struct pollfd pfds[QD_CONTROL_CLIENTS + 2];
	int count;

	count = qd_control_poll(loop->control, pfds + 1);
	pfds[0] = (struct pollfd){ .fd = loop->signals, .events = POLLIN };
	if (poll(pfds, (nfds_t)count + 1, next_wait(loop)) > 0)
		take_signals(loop);
	qd_control_handle(loop->control, pfds + 1, count, now_ms());
	do_due(loop);
}

static int start_milter(struct loop *loop)
{
	atomic_store(&loop->milter_result, 1);
	return pthread_create(&loop->milter, NULL, serve, loop);
}

int qd_loop_run(struct qd_daemon *daemon, int control,
		const struct qd_options *options, void (*ready)(int arg),
		int arg)
{
	/* libmilter's thread may outlive this function */
	static struct loop loop;
	struct qd_settings *settings = qd_daemon_settings(daemon, NULL, NULL);
	struct qd_error err;

	loop.daemon = daemon;
	loop.options = options;
	loop.watchdog_ms = qd_notify_watchdog_ms();
	loop.signals = qd_signals_catch();
	if (loop.signals < 0)
		return EX_OSERR;
	if (qd_logqueue_start(&err) < 0)
		return EX_OSERR;
	loop.control = qd_control_new(control, handle_request, &loop);
	if (!loop.control || start_milter(&loop) != 0)
		return EX_OSERR;
	start_feed(&loop, settings);
	qd_settings_unref(&settings);
	tick(&loop);
	ready(arg);
	qd_notify("READY=1");

	while (!may_leave(&loop) && atomic_load(&loop.milter_result) == 1)
		wait_and_handle(&loop);

	if (!loop.stopping)
		qd_log(LOG_ERR, "libmilter ended by itself");
	qd_feed_stop(&loop.feed);
	qd_control_free(&loop.control);
	qd_log(LOG_NOTICE, "stopped");
	qd_logqueue_flush(FLUSH_MS);
	return loop.stopping ? EX_OK : EX_UNAVAILABLE;
}
