/* SPDX-License-Identifier: BSD-2-Clause */
/* Reading what was published. */
#include "publish_redis_impl.h"

#include <string.h>
#include <sysexits.h>

#include <hiredis/hiredis.h>

#define SCAN_COUNT "1000"

/* Field and value pairs into *src; false if one is malformed. */
static bool read_source(const redisReply *reply, struct qd_source *src)
{
	if (reply->type != REDIS_REPLY_ARRAY || reply->elements % 2)
		return false;
	for (size_t i = 0; i < reply->elements; i += 2) {
		const redisReply *field = reply->element[i];
		const redisReply *value = reply->element[i + 1];

		if (field->type != REDIS_REPLY_STRING ||
		    value->type != REDIS_REPLY_STRING ||
		    qd_source_set(src, field->str, value->str) < 0)
			return false;
	}
	return true;
}

static int ask_source(struct remote *r, const char *name, struct qd_error *err)
{
	char key[QD_REDIS_KEY];

	qd_redis_key(key, r->prefix, "source", name);
	return qd_redis_send(r->redis, err, "HGETALL", key);
}

static int take_source(struct remote *r, const char *name, bool *known,
		       struct qd_source *src, struct qd_error *err)
{
	redisReply *reply;

	if (qd_redis_reply(r->redis, 0, &reply, err) < 0)
		return -1;
	qd_source_init(src, name);
	/* one that is malformed is published anew, whole */
	*known = reply->type == REDIS_REPLY_ARRAY && reply->elements > 0 &&
		 read_source(reply, src);
	freeReplyObject(reply);
	return 0;
}

static int fetch_source(struct remote *r, const char *name, bool *known,
			struct qd_source *src, struct qd_error *err)
{
	if (ask_source(r, name, err) < 0)
		return -1;
	return take_source(r, name, known, src, err);
}

/* A foreign or future record is overwritten or removed. */
static int add_record(const char *root, const redisReply *text,
		      struct qd_rootset *records, struct qd_error *err)
{
	struct qd_record rec;

	if (qd_record_parse(text->str, text->len, &rec) < 0) {
		qd_record_init(&rec);
		rec.kept = true; /* as no record of a scan is */
	}
	if (qd_rootset_add(records, root, 0, &rec) < 0)
		return qd_error_set(err, EX_OSERR, "no memory");
	return 0;
}

/* A portion of HSCAN: the cursor, then roots and records in turn. */
static int add_portion(const redisReply *pairs, struct qd_rootset *records,
		       struct qd_error *err)
{
	for (size_t i = 0; i + 1 < pairs->elements; i += 2) {
		const char *root = qd_redis_text(pairs->element[i]);

		if (root &&
		    add_record(root, pairs->element[i + 1], records, err) < 0)
			return -1;
	}
	return 0;
}

static int fetch_records(struct remote *r, struct qd_rootset *records,
			 struct qd_error *err)
{
	char cursor[24] = "0";

	do {
		redisReply *reply;
		int rc = -1;

		if (qd_redis_send(r->redis, err, "HSCAN", r->root_key, cursor,
				  "COUNT", SCAN_COUNT) < 0 ||
		    qd_redis_reply(r->redis, 0, &reply, err) < 0)
			return -1;
		if (reply->type == REDIS_REPLY_ARRAY && reply->elements == 2 &&
		    reply->element[0]->type == REDIS_REPLY_STRING) {
			snprintf(cursor, sizeof(cursor), "%s",
				 reply->element[0]->str);
			rc = add_portion(reply->element[1], records, err);
		}
		freeReplyObject(reply);
		if (rc < 0)
			return -1;
	} while (strcmp(cursor, "0") != 0);
	return 0;
}

int qd_remote_load(void *self, const char *source, bool *known,
		   struct qd_source *before, struct qd_rootset *records,
		   struct qd_error *err)
{
	struct remote *r = self;

	if (fetch_source(r, source, known, before, err) < 0 ||
	    fetch_records(r, records, err) < 0)
		return -1;
	qd_rootset_sort(records);
	r->records = (int64_t)records->count;
	r->whole = true;
	return 0;
}

/* Of names[from] and those behind it, as far as one request goes. */
static int ask_some(struct remote *r, const struct qd_rootset *names,
		    size_t from, struct qd_error *err)
{
	const char *words[2 + QD_REMOTE_BATCH] = { "HMGET", r->root_key };
	struct qd_rootset_entry entry;
	size_t count = 2;

	for (size_t i = from; i < names->count && i < from + QD_REMOTE_BATCH;
	     i++) {
		qd_rootset_get(names, i, &entry);
		words[count++] = entry.root;
	}
	return qd_redis_send_words(r->redis, words, count, err);
}

static int take_some(struct remote *r, const struct qd_rootset *names,
		     size_t from, struct qd_rootset *records,
		     struct qd_error *err)
{
	struct qd_rootset_entry entry;
	redisReply *reply;
	int rc = 0;

	if (qd_redis_reply(r->redis, 0, &reply, err) < 0)
		return -1;
	for (size_t i = 0;
	     rc == 0 && i < reply->elements && from + i < names->count; i++) {
		qd_rootset_get(names, from + i, &entry);
		if (reply->element[i]->type == REDIS_REPLY_STRING)
			rc = add_record(entry.root, reply->element[i], records,
					err);
	}
	freeReplyObject(reply);
	return rc;
}

/* Is the number of records that which was written beside them? */
static int take_count(struct remote *r, int64_t wanted, bool *known,
		      struct qd_error *err)
{
	redisReply *reply;

	if (qd_redis_reply(r->redis, 0, &reply, err) < 0)
		return -1;
	if (reply->type != REDIS_REPLY_INTEGER || reply->integer != wanted)
		*known = false;
	freeReplyObject(reply);
	return 0;
}

int qd_remote_load_some(void *self, const char *source,
			const struct qd_rootset *names, bool *known,
			struct qd_source *before, struct qd_rootset *records,
			struct qd_error *err)
{
	struct remote *r = self;

	/* all in one go: each waiting for a reply is a round trip */
	if (ask_source(r, source, err) < 0 ||
	    qd_redis_send(r->redis, err, "HLEN", r->root_key) < 0)
		return -1;
	for (size_t i = 0; i < names->count; i += QD_REMOTE_BATCH)
		if (ask_some(r, names, i, err) < 0)
			return -1;
	if (take_source(r, source, known, before, err) < 0 ||
	    take_count(r, before->records, known, err) < 0)
		return -1;
	for (size_t i = 0; i < names->count; i += QD_REMOTE_BATCH)
		if (take_some(r, names, i, records, err) < 0)
			return -1;
	r->records = before->records;
	r->whole = false;
	if (!qd_remote_has_all(r))
		*known = false;
	return 0;
}

int qd_remote_sources(void *self,
		      int (*each)(void *arg, const struct qd_source *src),
		      void *arg, struct qd_error *err)
{
	struct remote *r = self;
	redisReply *names;
	int rc = 0;

	if (qd_redis_send(r->redis, err, "SMEMBERS", r->sources_key) < 0 ||
	    qd_redis_reply(r->redis, 0, &names, err) < 0)
		return -1;
	for (size_t i = 0; rc == 0 && i < names->elements; i++) {
		const char *name = qd_redis_text(names->element[i]);
		struct qd_source src;
		bool known;

		if (!name || !qd_source_name_valid(name))
			continue;
		rc = fetch_source(r, name, &known, &src, err);
		if (rc == 0 && known)
			rc = each(arg, &src);
	}
	freeReplyObject(names);
	return rc;
}
