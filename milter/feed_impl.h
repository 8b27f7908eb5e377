/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef QUOTADEFER_FEED_IMPL_H
#define QUOTADEFER_FEED_IMPL_H

/* What the feed*.c files share; no other file may include this. */

#include <stdatomic.h>
#include <stdbool.h>

#include "quotadefer/feed.h"
#include "quotadefer/redis.h"
#include "quotadefer/rootset.h"

/* Stream ids are "MILLISECONDS-NUMBER". */
enum {
	QD_STREAM_ID = 48,
	/* "SERVER POSITION" */
	QD_FEED_NOTE = QD_REDIS_IDENTITY + QD_STREAM_ID + 2,
	QD_FEED_SOURCES = 4096
};

/* A source as Redis had it, when it was last asked. */
struct qd_feed_source {
	struct qd_source src;
	bool usable;   /* of our schema, and named as the table is */
	bool complete; /* as many records as it says it has */
	bool changed;  /* not yet written to the table */
	bool asked;    /* the flags above mean something */
};

struct qd_feed {
	struct qd_daemon *daemon;
	struct qd_settings *settings;
	atomic_bool stopped;
	int wake[2]; /* wake[1] is closed when stopped */
	struct qd_redis *redis;
	/* which server it is, and how far its stream was read */
	char server[QD_REDIS_IDENTITY];
	char position[QD_STREAM_ID];
	char log_key[QD_REDIS_KEY];
	struct qd_feed_source *sources;
	int source_count;
	bool was_up, said_down;
};

/*
 * Compare the table with all that is in Redis, and make it equal. Afterwards
 * feed->position is where the stream is to be followed from. 0 or -1.
 */
int qd_feed_load(struct qd_feed *feed, struct qd_error *err);

/* The setting, in seconds. */
int64_t qd_feed_max_age(const struct qd_feed *feed);

/* Ask Redis which sources there are, and about each. */
int qd_feed_fetch_sources(struct qd_feed *feed, struct qd_error *err);

/* The place in feed->sources, or -1 if it is not known. */
int qd_feed_find_source(const struct qd_feed *feed, const char *name);

/* The same; asks Redis if it is a new one. -1: failure. */
int qd_feed_source(struct qd_feed *feed, const char *name,
		   struct qd_error *err);

/* Ask Redis about a source (again). The place, or -1. */
int qd_feed_fetch_source(struct qd_feed *feed, const char *name,
			 struct qd_error *err);

/* One change of the stream. */
struct qd_feed_change {
	const char *source, *root; /* root "": the source itself */
	struct qd_record rec;
	bool has_record;
	bool is_junk; /* a record that makes no sense, or of another version */
};

struct redisReply;

/*
 * Between these the table is ours to write to. Returns -1 if the thread is to
 * stop: then another feed may be at work.
 */
int qd_feed_lock_table(struct qd_feed *feed, struct qd_error *err);
void qd_feed_unlock_table(struct qd_feed *feed);

/* Read an entry of the stream. false: not one of ours. */
bool qd_feed_read_entry(const struct redisReply *entry, char id[QD_STREAM_ID],
			struct qd_feed_change *change);

/*
 * Ask whether an entry is still in the stream, and take the answer. What is
 * trimmed is the oldest: while one is there, nothing behind it was missed.
 */
int qd_feed_ask_entry(struct qd_feed *feed, const char *id,
		      struct qd_error *err);
int qd_feed_entry_is_there(struct qd_feed *feed, bool *there,
			   struct qd_error *err);

/* Keep the position, so that a restart can go on from it. */
int qd_feed_save_position(struct qd_feed *feed, struct qd_batch *batch,
			  struct qd_error *err);

#endif
