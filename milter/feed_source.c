/* SPDX-License-Identifier: BSD-2-Clause */
/* What Redis says of the sources, and whether it can be used. */
#include "feed_impl.h"

#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>

#include <hiredis/hiredis.h>

#include "quotadefer/log.h"

int64_t qd_feed_max_age(const struct qd_feed *feed)
{
	return feed->settings->max_age_ms / 1000;
}

int qd_feed_find_source(const struct qd_feed *feed, const char *name)
{
	for (int i = 0; i < feed->source_count; i++)
		if (strcmp(feed->sources[i].src.name, name) == 0)
			return i;
	return -1;
}

static int add_source(struct qd_feed *feed, const char *name,
		      struct qd_error *err)
{
	size_t size = ((size_t)feed->source_count + 1) * sizeof(*feed->sources);
	struct qd_feed_source *sources;

	if (feed->source_count == QD_FEED_SOURCES)
		return qd_error_set(err, EX_DATAERR,
				    "redis %s: over %d "
				    "sources",
				    qd_redis_name(feed->redis),
				    QD_FEED_SOURCES);
	sources = realloc(feed->sources, size);
	if (!sources)
		return qd_error_set(err, EX_OSERR, "no memory");
	feed->sources = sources;
	memset(&sources[feed->source_count], 0, sizeof(*sources));
	qd_source_init(&sources[feed->source_count].src, name);
	return feed->source_count++;
}

static bool read_fields(const redisReply *reply, struct qd_source *src)
{
	if (reply->type != REDIS_REPLY_ARRAY || !reply->elements)
		return false;
	for (size_t i = 0; i + 1 < reply->elements; i += 2) {
		const char *field = qd_redis_text(reply->element[i]);
		const char *value = qd_redis_text(reply->element[i + 1]);

		if (!field || !value || qd_source_set(src, field, value) < 0)
			return false;
	}
	return src->schema == QD_SCHEMA;
}

/* Sources that are alive must name mailboxes alike; the first one counts. */
static bool naming_agrees(const struct qd_feed *feed,
			  const struct qd_source *src)
{
	int64_t now = (int64_t)time(NULL);

	for (int i = 0; i < feed->source_count; i++) {
		const struct qd_feed_source *other = &feed->sources[i];

		if (other->usable && strcmp(other->src.name, src->name) != 0 &&
		    qd_source_age(&other->src, now, qd_feed_max_age(feed)) <=
			    qd_feed_max_age(feed))
			return qd_naming_equal(&other->src.naming,
					       &src->naming);
	}
	return true;
}

/* Said when it begins to be so, not each time it still is. */
static void complain(const struct qd_feed_source *source,
		     const struct qd_feed_source *before, bool readable,
		     int64_t records)
{
	const char *name = source->src.name;

	if (!source->usable && (before->usable || !before->asked))
		qd_log(LOG_WARNING, "source %s: %s; its records are ignored",
		       name,
		       readable ? "it names mailboxes otherwise than the "
				  "others" :
				  "what it says of itself cannot be used "
				  "(another version?)");
	else if (source->usable && !source->complete &&
		 (before->complete || !before->asked))
		qd_log(LOG_WARNING,
		       "source %s: %lld records in Redis, %lld were "
		       "published; is Redis evicting keys?",
		       name, (long long)records,
		       (long long)source->src.records);
}

static void judge_source(struct qd_feed *feed, int place, bool readable,
			 int64_t records)
{
	struct qd_feed_source *source = &feed->sources[place];
	struct qd_feed_source before = *source;

	source->usable = readable && naming_agrees(feed, &source->src);
	source->complete = readable && records == source->src.records;
	source->changed = true;
	source->asked = true;
	complain(source, &before, readable, records);
}

int qd_feed_fetch_source(struct qd_feed *feed, const char *name,
			 struct qd_error *err)
{
	const char *prefix = feed->settings->prefix;
	char source_key[QD_REDIS_KEY], root_key[QD_REDIS_KEY];
	int place = qd_feed_find_source(feed, name);
	redisReply *reply;
	bool readable = false;
	int64_t records = -1;

	if (place < 0)
		place = add_source(feed, name, err);
	if (place < 0)
		return -1;
	qd_redis_key(source_key, prefix, "source", name);
	qd_redis_key(root_key, prefix, "root", name);
	if (qd_redis_send(feed->redis, err, "MULTI") < 0 ||
	    qd_redis_send(feed->redis, err, "HGETALL", source_key) < 0 ||
	    qd_redis_send(feed->redis, err, "HLEN", root_key) < 0 ||
	    qd_redis_send(feed->redis, err, "EXEC") < 0 ||
	    qd_redis_skip(feed->redis, 3, err) < 0 ||
	    qd_redis_reply(feed->redis, 0, &reply, err) < 0)
		return -1;
	if (reply->type == REDIS_REPLY_ARRAY && reply->elements == 2) {
		readable = read_fields(reply->element[0],
				       &feed->sources[place].src);
		records = reply->element[1]->type == REDIS_REPLY_INTEGER ?
				  reply->element[1]->integer :
				  -1;
	}
	freeReplyObject(reply);
	judge_source(feed, place, readable, records);
	return place;
}

int qd_feed_source(struct qd_feed *feed, const char *name, struct qd_error *err)
{
	int place = qd_feed_find_source(feed, name);

	return place >= 0 ? place : qd_feed_fetch_source(feed, name, err);
}

int qd_feed_fetch_sources(struct qd_feed *feed, struct qd_error *err)
{
	char key[QD_REDIS_KEY];
	redisReply *names;
	int rc = 0;

	feed->source_count = 0;
	qd_redis_key(key, feed->settings->prefix, "sources", NULL);
	if (qd_redis_send(feed->redis, err, "SMEMBERS", key) < 0 ||
	    qd_redis_reply(feed->redis, 0, &names, err) < 0)
		return -1;
	for (size_t i = 0; rc == 0 && i < names->elements; i++) {
		const char *name = qd_redis_text(names->element[i]);

		if (name && qd_source_name_valid(name) &&
		    qd_feed_fetch_source(feed, name, err) < 0)
			rc = -1;
	}
	freeReplyObject(names);
	return rc;
}
