/* SPDX-License-Identifier: BSD-2-Clause */
#include "feed_impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>

#include <hiredis/hiredis.h>

#include "quotadefer/log.h"

#define SCAN_COUNT "1000"
#define PORTION	   "5000"

/* Differences written at once, so that no transaction grows without bound. */
enum {
	BATCH = 5000
};

/* Roots and records in turn. What is not a record is not one: no entry. */
static int add_portion(const redisReply *pairs, int place,
		       struct qd_rootset *wanted, struct qd_error *err)
{
	for (size_t i = 0; i + 1 < pairs->elements; i += 2) {
		const char *root = qd_redis_text(pairs->element[i]);
		const redisReply *text = pairs->element[i + 1];
		struct qd_record rec;

		if (!root || strlen(root) > QD_ROOT_MAX ||
		    text->type != REDIS_REPLY_STRING ||
		    qd_record_parse(text->str, text->len, &rec) < 0)
			continue;
		if (qd_rootset_add(wanted, root, (uint16_t)place, &rec) < 0)
			return qd_error_set(err, EX_OSERR, "no memory");
	}
	return 0;
}

static int no_sense(const struct qd_feed *feed, const char *command,
		    struct qd_error *err)
{
	return qd_error_set(err, EX_DATAERR,
			    "redis %s: the reply to %s makes no sense",
			    qd_redis_name(feed->redis), command);
}

static int fetch_records(struct qd_feed *feed, int place,
			 struct qd_rootset *wanted, struct qd_error *err)
{
	char key[QD_REDIS_KEY], cursor[24] = "0";

	qd_redis_key(key, feed->settings->prefix, "root",
		     feed->sources[place].src.name);
	do {
		redisReply *reply;
		int rc = -1;

		if (qd_redis_send(feed->redis, err, "HSCAN", key, cursor,
				  "COUNT", SCAN_COUNT) < 0 ||
		    qd_redis_reply(feed->redis, 0, &reply, err) < 0)
			return -1;
		if (reply->type == REDIS_REPLY_ARRAY && reply->elements == 2 &&
		    qd_redis_text(reply->element[0])) {
			snprintf(cursor, sizeof(cursor), "%s",
				 reply->element[0]->str);
			rc = add_portion(reply->element[1], place, wanted, err);
		} else {
			no_sense(feed, "HSCAN", err);
		}
		freeReplyObject(reply);
		if (rc < 0)
			return -1;
	} while (strcmp(cursor, "0") != 0);
	return 0;
}

/* The id of the last entry of the stream, "0-0" if there is none. */
static int last_position(struct qd_feed *feed, char out[QD_STREAM_ID],
			 struct qd_error *err)
{
	struct qd_feed_change ignored;
	redisReply *reply;

	if (qd_redis_send(feed->redis, err, "XREVRANGE", feed->log_key, "+",
			  "-", "COUNT", "1") < 0 ||
	    qd_redis_reply(feed->redis, 0, &reply, err) < 0)
		return -1;
	strcpy(out, "0-0");
	if (reply->type == REDIS_REPLY_ARRAY && reply->elements == 1)
		qd_feed_read_entry(reply->element[0], out, &ignored);
	freeReplyObject(reply);
	return 0;
}

/* Changes from feed->position on, on top of what the hashes held. */
static int add_changes(struct qd_feed *feed, const redisReply *entries,
		       struct qd_rootset *wanted, struct qd_error *err)
{
	for (size_t i = 0; i < entries->elements; i++) {
		struct qd_feed_change change;
		int place;

		if (!qd_feed_read_entry(entries->element[i], feed->position,
					&change) ||
		    change.is_junk)
			continue;
		place = change.root[0] ?
				qd_feed_source(feed, change.source, err) :
				qd_feed_fetch_source(feed, change.source, err);
		if (place < 0)
			return -1;
		if (change.root[0] &&
		    qd_rootset_add(wanted, change.root, (uint16_t)place,
				   change.has_record ? &change.rec : NULL) < 0)
			return qd_error_set(err, EX_OSERR, "no memory");
	}
	return 0;
}

/*
 * What changed while the hashes were read. All of it is applied in one go: a
 * change that a later one took back must not show in between.
 */
static int catch_up(struct qd_feed *feed, struct qd_rootset *wanted,
		    struct qd_error *err)
{
	char end[QD_STREAM_ID], from[QD_STREAM_ID + 1];
	char before[QD_STREAM_ID];

	if (last_position(feed, end, err) < 0)
		return -1;
	do {
		redisReply *reply;
		int rc;

		if (strcmp(feed->position, end) == 0)
			return 0;
		snprintf(from, sizeof(from), "(%s", feed->position);
		if (qd_redis_send(feed->redis, err, "XRANGE", feed->log_key,
				  from, end, "COUNT", PORTION) < 0 ||
		    qd_redis_reply(feed->redis, 0, &reply, err) < 0)
			return -1;
		memcpy(before, feed->position, sizeof(before));
		rc = add_changes(feed, reply, wanted, err);
		freeReplyObject(reply);
		if (rc < 0)
			return -1;
	} while (strcmp(feed->position, before) != 0);
	strcpy(feed->position, end);
	return 0;
}

/*
 * Changes that were trimmed away before they were read are missing. Then the
 * place to follow from is the one before them, where a gap is found at once.
 */
static int mind_the_gap(struct qd_feed *feed, const char *start,
			struct qd_error *err)
{
	bool there;

	if (strcmp(feed->position, start) == 0)
		return 0;
	if (qd_feed_ask_entry(feed, start, err) < 0 ||
	    qd_feed_entry_is_there(feed, &there, err) < 0)
		return -1;
	if (!there)
		memcpy(feed->position, start, QD_STREAM_ID);
	return 0;
}

static int fetch_all(struct qd_feed *feed, struct qd_rootset *wanted,
		     struct qd_error *err)
{
	char start[QD_STREAM_ID];

	if (last_position(feed, feed->position, err) < 0 ||
	    qd_feed_fetch_sources(feed, err) < 0)
		return -1;
	memcpy(start, feed->position, sizeof(start));
	for (int i = 0; i < feed->source_count; i++)
		if (feed->sources[i].usable &&
		    fetch_records(feed, i, wanted, err) < 0)
			return -1;
	if (catch_up(feed, wanted, err) < 0 ||
	    mind_the_gap(feed, start, err) < 0)
		return -1;
	qd_rootset_sort(wanted);
	return 0;
}

struct reading {
	struct qd_feed *feed;
	struct qd_rootset *current;
};

/* Only of sources that Redis has: what others left behind may grow old. */
static int read_current(void *arg, const char *root, const char *source,
			const struct qd_record *rec)
{
	struct reading *reading = arg;
	int place = qd_feed_find_source(reading->feed, source);

	if (place < 0 || !reading->feed->sources[place].usable)
		return 0;
	return qd_rootset_add(reading->current, root, (uint16_t)place, rec);
}

static int fetch_current(struct qd_feed *feed, struct qd_rootset *current,
			 struct qd_error *err)
{
	struct reading reading = { feed, current };
	struct qd_view *view = qd_view_begin(feed->daemon->table, err);
	int rc;

	if (!view)
		return -1;
	rc = qd_view_each_record(view, read_current, &reading, err);
	qd_view_end(view);
	qd_rootset_sort(current);
	return rc;
}

/* Writes differences in batches; the caller commits the last one. */
struct writer {
	struct qd_feed *feed;
	struct qd_batch *batch;
	int changes;
	struct qd_error *err;
};

static int write_one(struct writer *w, const struct qd_rootset_entry *entry)
{
	const char *name = w->feed->sources[entry->source].src.name;

	if (!w->feed->sources[entry->source].usable)
		return 0;
	if (!w->batch &&
	    qd_batch_begin(w->feed->daemon->table, &w->batch, w->err) < 0)
		return -1;
	if (qd_batch_put(w->batch, name, entry->root,
			 entry->has_record ? &entry->rec : NULL, w->err) < 0)
		return -1;
	return ++w->changes % BATCH ? 0 : qd_batch_commit(&w->batch, w->err);
}

/* Gone from Redis: removed, unless the hash has lost entries by itself. */
static int remove_one(struct writer *w, struct qd_rootset_entry *entry)
{
	if (!w->feed->sources[entry->source].complete)
		return 0;
	entry->has_record = false;
	return write_one(w, entry);
}

static bool is_same(const struct qd_rootset_entry *current,
		    const struct qd_rootset_entry *wanted)
{
	return wanted->has_record &&
	       qd_record_same(&current->rec, &wanted->rec) &&
	       current->rec.read == wanted->rec.read;
}

/*
 * Readers see one batch after the other. What shields a mailbox from a root
 * that is over has a longer name than that: so the last names come first, and
 * go last.
 */
static int write_wanted(struct writer *w, const struct qd_rootset *current,
			const struct qd_rootset *wanted)
{
	struct qd_rootset_entry have, want;
	int rc = 0;

	for (size_t i = wanted->count; rc == 0 && i-- > 0;) {
		qd_rootset_get(wanted, i, &want);
		if (!want.has_record ||
		    (qd_rootset_find(current, want.root, want.source, &have) &&
		     is_same(&have, &want)))
			continue;
		rc = write_one(w, &want);
	}
	return rc;
}

static int remove_unwanted(struct writer *w, const struct qd_rootset *current,
			   const struct qd_rootset *wanted)
{
	struct qd_rootset_entry have, want;
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < current->count; i++) {
		qd_rootset_get(current, i, &have);
		if (!qd_rootset_find(wanted, have.root, have.source, &want))
			rc = remove_one(w, &have);
		else if (!want.has_record)
			rc = write_one(w, &want);
	}
	return rc;
}

/*
 * Sources that are stale here and that Redis has not: nobody misses them.
 * Should there be more, the next comparison finds the others.
 */
struct strangers {
	const struct qd_feed *feed;
	int64_t now;
	char names[64][QD_SOURCE_MAX + 1];
	int count;
};

static int note_stranger(void *arg, const struct qd_source *src)
{
	struct strangers *s = arg;
	int64_t most = qd_feed_max_age(s->feed);

	if (s->count < (int)(sizeof(s->names) / sizeof(s->names[0])) &&
	    qd_feed_find_source(s->feed, src->name) < 0 &&
	    qd_source_age(src, s->now, most) > most)
		strcpy(s->names[s->count++], src->name);
	return 0;
}

static int find_strangers(struct qd_feed *feed, struct strangers *strangers,
			  struct qd_error *err)
{
	struct qd_view *view = qd_view_begin(feed->daemon->table, err);
	int rc;

	strangers->feed = feed;
	strangers->now = (int64_t)time(NULL);
	strangers->count = 0;
	if (!view)
		return -1;
	rc = qd_view_each_source(view, note_stranger, strangers, err);
	qd_view_end(view);
	return rc;
}

static int write_sources(struct qd_feed *feed, struct qd_error *err)
{
	struct qd_batch *batch = NULL;
	struct strangers strangers;
	int rc = 0;

	if (find_strangers(feed, &strangers, err) < 0 ||
	    qd_batch_begin(feed->daemon->table, &batch, err) < 0)
		return -1;
	for (int i = 0; rc == 0 && i < strangers.count; i++)
		rc = qd_batch_drop_source(batch, strangers.names[i], err);
	for (int i = 0; rc == 0 && i < feed->source_count; i++)
		if (feed->sources[i].usable)
			rc = qd_batch_source(batch, &feed->sources[i].src, err);
	if (rc == 0)
		rc = qd_batch_commit(&batch, err);
	for (int i = 0; rc == 0 && i < feed->source_count; i++)
		feed->sources[i].changed = false;
	qd_batch_abort(&batch);
	return rc;
}

static int write_all(struct qd_feed *feed, const struct qd_rootset *wanted,
		     struct qd_rootset *current, struct qd_error *err)
{
	struct writer w = { .feed = feed, .err = err };
	int rc;

	if (write_sources(feed, err) < 0 ||
	    fetch_current(feed, current, err) < 0)
		return -1;
	rc = write_wanted(&w, current, wanted);
	if (rc == 0)
		rc = remove_unwanted(&w, current, wanted);
	if (rc == 0 && !w.batch)
		rc = qd_batch_begin(feed->daemon->table, &w.batch, err);
	if (rc == 0)
		rc = qd_feed_save_position(feed, w.batch, err);
	if (rc == 0)
		rc = qd_batch_commit(&w.batch, err);
	qd_batch_abort(&w.batch);
	return rc;
}

int qd_feed_load(struct qd_feed *feed, struct qd_error *err)
{
	struct qd_rootset wanted = { 0 }, current = { 0 };
	int rc = fetch_all(feed, &wanted, err);

	if (rc == 0)
		rc = qd_feed_lock_table(feed, err);
	if (rc == 0) {
		rc = write_all(feed, &wanted, &current, err);
		qd_feed_unlock_table(feed);
	}
	qd_rootset_free(&wanted);
	qd_rootset_free(&current);
	return rc;
}
