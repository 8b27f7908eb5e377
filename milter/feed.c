/* SPDX-License-Identifier: BSD-2-Clause */
#include "feed_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sysexits.h>
#include <unistd.h>

#include <hiredis/hiredis.h>

#include "quotadefer/log.h"
#include "quotadefer/signals.h"

/*
 * The stream is asked for PORTION changes at a time, and for up to BLOCK_MS
 * if there are none: so often is also checked that it is still the same.
 */
#define PORTION	 "5000"
#define BLOCK_MS 1000

/* Wait a moment longer after each failure in a row; a fleet must not march. */
enum {
	BACKOFF_MIN_MS = 50,
	BACKOFF_MAX_MS = 1000
};

/* false: it was begun anew under us, or somebody else writes to it. */
static bool table_is_where_we_are(struct qd_feed *feed)
{
	struct qd_view *view = qd_view_begin(feed->daemon->table, NULL);
	char want[QD_FEED_NOTE], text[QD_FEED_NOTE];

	if (!view)
		return true; /* there will be one, or the process ends */
	qd_view_note(view, "feed", text, sizeof(text));
	qd_view_end(view);
	snprintf(want, sizeof(want), "%s %s", feed->server, feed->position);
	return strcmp(text, want) == 0;
}

static int apply_change(struct qd_feed *feed, struct qd_batch *batch,
			const struct qd_feed_change *change,
			struct qd_error *err)
{
	int place = qd_feed_source(feed, change->source, err);

	if (place < 0)
		return -1;
	if (!feed->sources[place].usable)
		return 0;
	return qd_batch_put(batch, change->source, change->root,
			    change->has_record ? &change->rec : NULL, err);
}

/* A stream with junk in it is not to be followed: the hashes will tell. */
static bool has_junk(const redisReply *entries)
{
	for (size_t i = 0; i < entries->elements; i++) {
		struct qd_feed_change change;
		char id[QD_STREAM_ID];

		if (qd_feed_read_entry(entries->element[i], id, &change) &&
		    change.is_junk)
			return true;
	}
	return false;
}

/* Sources that are new or were announced, before any of their records. */
static int refresh_sources(struct qd_feed *feed, const redisReply *entries,
			   struct qd_error *err)
{
	const char *last = "";

	for (size_t i = 0; i < entries->elements; i++) {
		struct qd_feed_change change;
		char id[QD_STREAM_ID];
		int rc = 0;

		if (!qd_feed_read_entry(entries->element[i], id, &change))
			continue;
		if (change.root[0])
			rc = qd_feed_source(feed, change.source, err);
		else if (strcmp(last, change.source) != 0)
			rc = qd_feed_fetch_source(feed, change.source, err);
		if (rc < 0)
			return -1;
		if (!change.root[0])
			last = change.source;
	}
	return 0;
}

static int write_sources(struct qd_feed *feed, struct qd_batch *batch,
			 struct qd_error *err)
{
	for (int i = 0; i < feed->source_count; i++) {
		struct qd_feed_source *source = &feed->sources[i];

		if (source->usable && source->changed &&
		    qd_batch_source(batch, &source->src, err) < 0)
			return -1;
		source->changed = false;
	}
	return 0;
}

static int write_entries(struct qd_feed *feed, const redisReply *entries,
			 struct qd_error *err)
{
	struct qd_batch *batch = NULL;
	char before[QD_STREAM_ID];
	int rc;

	memcpy(before, feed->position, sizeof(before));
	rc = qd_batch_begin(feed->daemon->table, &batch, err);
	if (rc == 0)
		rc = write_sources(feed, batch, err);
	for (size_t i = 0; rc == 0 && i < entries->elements; i++) {
		struct qd_feed_change change;

		if (qd_feed_read_entry(entries->element[i], feed->position,
				       &change) &&
		    change.root[0])
			rc = apply_change(feed, batch, &change, err);
	}
	if (rc == 0)
		rc = qd_feed_save_position(feed, batch, err);
	if (rc == 0)
		rc = qd_batch_commit(&batch, err);
	qd_batch_abort(&batch);
	if (rc < 0)
		memcpy(feed->position, before, sizeof(before));
	return rc;
}

static int apply(struct qd_feed *feed, const redisReply *entries,
		 struct qd_error *err)
{
	int rc;

	if (refresh_sources(feed, entries, err) < 0 ||
	    qd_feed_lock_table(feed, err) < 0)
		return -1;
	rc = write_entries(feed, entries, err);
	qd_feed_unlock_table(feed);
	if (rc == 0)
		atomic_fetch_add(&feed->daemon->metrics.feed_changes,
				 entries->elements);
	return rc;
}

/* XREAD's reply: the entries of our one stream, or NULL if there were none */
static const redisReply *entries_of(const redisReply *reply)
{
	const redisReply *stream;

	if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 1)
		return NULL;
	stream = reply->element[0];
	if (stream->type != REDIS_REPLY_ARRAY || stream->elements != 2)
		return NULL;
	return stream->element[1];
}

/*
 * The next changes, for which is waited up to block_ms. The position is looked
 * for after they were read: were it trimmed away before, it would be gone
 * after as well. So is what the server says of itself.
 */
static int follow_once(struct qd_feed *feed, int block_ms, bool *gap,
		       struct qd_error *err)
{
	const redisReply *entries;
	redisReply *reply;
	char block[16];
	bool there = false;
	int rc = 0;

	snprintf(block, sizeof(block), "%d", block_ms);
	if (qd_redis_send(feed->redis, err, "XREAD", "COUNT", PORTION, "BLOCK",
			  block, "STREAMS", feed->log_key,
			  feed->position) < 0 ||
	    qd_feed_ask_entry(feed, feed->position, err) < 0 ||
	    qd_redis_ask_role(feed->redis, err) < 0 ||
	    qd_redis_reply(feed->redis, block_ms, &reply, err) < 0)
		return -1;
	entries = entries_of(reply);
	rc = qd_feed_entry_is_there(feed, &there, err);
	/* before anything is believed that it says */
	if (rc == 0)
		rc = qd_redis_take_role(feed->redis, err);
	/* an empty stream has no position yet, and so no gap */
	if (rc == 0 && !there && strcmp(feed->position, "0-0") == 0)
		there = !entries;
	if (rc == 0 && there && entries && has_junk(entries))
		there = false;
	if (rc == 0 && there && entries)
		rc = apply(feed, entries, err);
	freeReplyObject(reply);
	*gap = !there;
	return rc;
}

/* Where the table says it is, if this is still the same stream. */
static int can_resume(struct qd_feed *feed, const char *server, bool *can,
		      struct qd_error *err)
{
	char text[QD_FEED_NOTE] = "", *space;
	struct qd_view *view = qd_view_begin(feed->daemon->table, NULL);

	*can = false;
	if (!view)
		return 0;
	qd_view_note(view, "feed", text, sizeof(text));
	qd_view_end(view);
	space = strchr(text, ' ');
	if (!space || !server[0])
		return 0;
	*space = '\0';
	if (strcmp(text, server) != 0)
		return 0;
	snprintf(feed->position, sizeof(feed->position), "%.*s",
		 QD_STREAM_ID - 1, space + 1);
	if (qd_feed_ask_entry(feed, feed->position, err) < 0)
		return -1;
	return qd_feed_entry_is_there(feed, can, err);
}

static void say_up(struct qd_feed *feed)
{
	if (!feed->was_up || feed->said_down)
		qd_log(LOG_NOTICE, "redis %s: following",
		       qd_redis_name(feed->redis));
	feed->was_up = true;
	feed->said_down = false;
	atomic_store(&feed->daemon->metrics.feed_up, true);
}

static int connect_and_follow(struct qd_feed *feed, int *failures,
			      struct qd_error *err)
{
	struct qd_metrics *metrics = &feed->daemon->metrics;
	char server[QD_REDIS_IDENTITY];
	bool in_step;

	if (qd_redis_open(feed->settings, feed->wake[0], &feed->redis, err) < 0)
		return -1;
	atomic_fetch_add(&metrics->feed_connects, 1);
	feed->source_count = 0;
	if (qd_redis_identity(feed->redis, server, err) < 0 ||
	    can_resume(feed, server, &in_step, err) < 0)
		return -1;
	memcpy(feed->server, server, sizeof(server));
	/* at first not waiting: it is only up when this has worked once */
	for (int block_ms = 1;; block_ms = BLOCK_MS) {
		bool gap = false;

		if (!in_step) {
			if (qd_feed_load(feed, err) < 0)
				return -1;
			atomic_fetch_add(&metrics->feed_loads, 1);
		}
		if (follow_once(feed, block_ms, &gap, err) < 0)
			return -1;
		say_up(feed);
		*failures = 0;
		in_step = !gap && table_is_where_we_are(feed);
	}
}

/* True if it is time to stop instead. */
static bool wait_or_stop(struct qd_feed *feed, int ms)
{
	struct pollfd pfd = { .fd = feed->wake[0], .events = POLLIN };

	poll(&pfd, 1, ms);
	return atomic_load(&feed->stopped);
}

static int backoff_ms(int failures)
{
	int most = BACKOFF_MAX_MS;
	unsigned int random = 0;

	if (failures < 5)
		most = BACKOFF_MIN_MS << failures;
	if (getrandom(&random, sizeof(random), GRND_NONBLOCK) < 0)
		random = (unsigned int)failures;
	return most / 2 + (int)(random % (unsigned int)(most / 2 + 1));
}

int qd_feed_lock_table(struct qd_feed *feed, struct qd_error *err)
{
	pthread_mutex_lock(&feed->daemon->writing);
	if (!wait_or_stop(feed, 0))
		return 0;
	pthread_mutex_unlock(&feed->daemon->writing);
	return qd_error_set(err, EX_TEMPFAIL, "feed: stopped");
}

void qd_feed_unlock_table(struct qd_feed *feed)
{
	pthread_mutex_unlock(&feed->daemon->writing);
}

/* All but wake[1]. */
static void free_feed(struct qd_feed *feed)
{
	close(feed->wake[0]);
	qd_settings_unref(&feed->settings);
	free(feed->sources);
	free(feed);
}

static void *run(void *arg)
{
	struct qd_feed *feed = arg;
	struct qd_error err = { 0 };
	int failures = 0;

	qd_signals_leave();
	do {
		connect_and_follow(feed, &failures, &err);
		qd_redis_close(&feed->redis);
		if (wait_or_stop(feed, 0))
			break;
		atomic_store(&feed->daemon->metrics.feed_up, false);
		atomic_fetch_add(&feed->daemon->metrics.feed_errors, 1);
		/* once an outage: the first try after a good time is quiet */
		if (!feed->said_down && failures > 0) {
			qd_log(LOG_WARNING,
			       "%s; the table stays as it is meanwhile",
			       err.text);
			feed->said_down = true;
		}
		failures += failures < 30;
	} while (!wait_or_stop(feed, backoff_ms(failures)));
	free_feed(feed);
	return NULL;
}

static int start_thread(struct qd_feed *feed)
{
	pthread_attr_t attr;
	pthread_t thread;
	int rc;

	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	rc = pthread_create(&thread, &attr, run, feed);
	pthread_attr_destroy(&attr);
	return rc;
}

struct qd_feed *qd_feed_start(struct qd_daemon *daemon,
			      struct qd_settings *settings,
			      struct qd_error *err)
{
	struct qd_feed *feed = calloc(1, sizeof(*feed));

	if (!feed || pipe2(feed->wake, O_CLOEXEC) < 0) {
		qd_error_set(err, EX_OSERR, "feed: %m");
		free(feed);
		return NULL;
	}
	feed->daemon = daemon;
	feed->settings = qd_settings_ref(settings);
	qd_redis_key(feed->log_key, settings->prefix, "log", NULL);
	if (start_thread(feed) != 0) {
		qd_error_set(err, EX_OSERR, "feed: no thread");
		close(feed->wake[1]);
		free_feed(feed);
		return NULL;
	}
	return feed;
}

void qd_feed_stop(struct qd_feed **feed)
{
	struct qd_feed *f = *feed;
	int wake;

	if (!f)
		return;
	*feed = NULL;
	atomic_store(&f->daemon->metrics.feed_up, false);
	wake = f->wake[1];
	/* the thread frees f, maybe already now; the close only wakes it */
	atomic_store(&f->stopped, true);
	close(wake);
}
