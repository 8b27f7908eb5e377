/* SPDX-License-Identifier: BSD-2-Clause */
#include "quotadefer/publish.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sysexits.h>
#include <unistd.h>

#include <hiredis/hiredis.h>

#include "quotadefer/redis.h"

/*
 * BATCH changes are one transaction: about a millisecond of the server's
 * time. A lease ends by itself, that long after its holder is gone.
 */
enum {
	BATCH = 500
};
#define LEASE_MS   "60000"
#define BRIEF_MS   "10000"
#define SCAN_COUNT "1000"

struct pending {
	char *root;
	char text[QD_RECORD_TEXT]; /* "": to be removed */
};

struct remote {
	struct qd_redis *redis;
	char holder[400]; /* what the lease says, if we hold it */
	bool leased;
	const char *lease_ms;
	int64_t stream_length;
	char prefix[QD_SOURCE_MAX + 1];
	char source[QD_SOURCE_MAX + 1];
	char lease_key[QD_REDIS_KEY], root_key[QD_REDIS_KEY];
	char source_key[QD_REDIS_KEY], log_key[QD_REDIS_KEY];
	char sources_key[QD_REDIS_KEY];
	int64_t records; /* in the hash, with what is pending */
	struct pending pending[BATCH];
	int waiting;
};

static void name_keys(struct remote *r, const char *source)
{
	snprintf(r->source, sizeof(r->source), "%s", source);
	qd_redis_key(r->lease_key, r->prefix, "lease", source);
	qd_redis_key(r->root_key, r->prefix, "root", source);
	qd_redis_key(r->source_key, r->prefix, "source", source);
	qd_redis_key(r->log_key, r->prefix, "log", NULL);
	qd_redis_key(r->sources_key, r->prefix, "sources", NULL);
}

static int remote_open(const struct qd_settings *settings, bool read_only,
		       void **self, struct qd_error *err)
{
	struct remote *r = calloc(1, sizeof(*r));

	(void)read_only;
	if (!r)
		return qd_error_set(err, EX_OSERR, "no memory");
	snprintf(r->prefix, sizeof(r->prefix), "%s", settings->prefix);
	r->stream_length = settings->stream_length;
	name_keys(r, settings->source);
	if (qd_redis_open(settings, -1, &r->redis, err) < 0) {
		free(r);
		return -1;
	}
	*self = r;
	return 0;
}

/* One command's reply, as text; "" for nil. */
static int ask_text(struct remote *r, char *out, size_t size,
		    struct qd_error *err)
{
	redisReply *reply;

	if (qd_redis_reply(r->redis, 0, &reply, err) < 0)
		return -1;
	snprintf(out, size, "%s",
		 reply->type == REDIS_REPLY_STRING ||
				 reply->type == REDIS_REPLY_STATUS ?
			 reply->str :
			 "");
	freeReplyObject(reply);
	return 0;
}

static int lost(struct remote *r, const char *holder, struct qd_error *err)
{
	bool had_it = r->leased;

	r->leased = false;
	if (!holder[0] && had_it)
		return qd_error_set(err, EX_TEMPFAIL,
				    "the lease of source %s ran out while it "
				    "was being scanned; nothing more is "
				    "published",
				    r->source);
	return qd_error_set(err, EX_TEMPFAIL,
			    "source %s is being scanned by %s", r->source,
			    holder[0] ? holder : "somebody else");
}

static int remote_lock(void *self, const char *source, bool brief,
		       struct qd_error *err)
{
	struct remote *r = self;
	char host[256] = "", answer[400];
	uint64_t token = 0;

	name_keys(r, source);
	r->lease_ms = brief ? BRIEF_MS : LEASE_MS;
	gethostname(host, sizeof(host) - 1);
	if (getrandom(&token, sizeof(token), 0) < 0)
		return qd_error_set(err, EX_OSERR, "getrandom: %m");
	snprintf(r->holder, sizeof(r->holder),
		 "process %ld on %s (%016" PRIx64 ")", (long)getpid(), host,
		 token);
	if (qd_redis_send(r->redis, err, "SET", r->lease_key, r->holder, "NX",
			  "PX", r->lease_ms) < 0 ||
	    ask_text(r, answer, sizeof(answer), err) < 0)
		return -1;
	if (strcmp(answer, "OK") == 0) {
		r->leased = true;
		return 0;
	}
	if (qd_redis_send(r->redis, err, "GET", r->lease_key) < 0 ||
	    ask_text(r, answer, sizeof(answer), err) < 0)
		return -1;
	return lost(r, answer, err);
}

/*
 * Begin a transaction that comes to nothing if the lease is no longer ours,
 * or goes while we write.
 */
static int begin_transaction(struct remote *r, struct qd_error *err)
{
	char holder[400];

	if (qd_redis_send(r->redis, err, "WATCH", r->lease_key) < 0 ||
	    qd_redis_send(r->redis, err, "GET", r->lease_key) < 0 ||
	    qd_redis_skip(r->redis, 1, err) < 0 ||
	    ask_text(r, holder, sizeof(holder), err) < 0)
		return -1;
	if (strcmp(holder, r->holder) != 0)
		return lost(r, holder, err);
	return qd_redis_send(r->redis, err, "MULTI");
}

/* EXEC, after queued commands. */
static int end_transaction(struct remote *r, int queued, struct qd_error *err)
{
	redisReply *reply;
	int rc = 0;

	if (qd_redis_send(r->redis, err, "EXEC") < 0 ||
	    qd_redis_skip(r->redis, 1 + queued, err) < 0 ||
	    qd_redis_reply(r->redis, 0, &reply, err) < 0)
		return -1;
	if (reply->type != REDIS_REPLY_ARRAY)
		rc = lost(r, "", err);
	for (size_t i = 0; rc == 0 && i < reply->elements; i++)
		if (reply->element[i]->type == REDIS_REPLY_ERROR)
			rc = qd_redis_refused(r->redis, reply->element[i]->str,
					      err);
	freeReplyObject(reply);
	return rc;
}

static int renew_lease(struct remote *r, struct qd_error *err)
{
	return qd_redis_send(r->redis, err, "PEXPIRE", r->lease_key,
			     r->lease_ms);
}

static int remote_renew(void *self, struct qd_error *err)
{
	struct remote *r = self;

	if (!r->leased)
		return 0;
	if (begin_transaction(r, err) < 0 || renew_lease(r, err) < 0)
		return -1;
	return end_transaction(r, 1, err);
}

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
	for (size_t i = 0; i + 1 < pairs->elements; i += 2)
		if (add_record(pairs->element[i]->str, pairs->element[i + 1],
			       records, err) < 0)
			return -1;
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

static int remote_load(void *self, const char *source, bool *known,
		       struct qd_source *before, struct qd_rootset *records,
		       struct qd_error *err)
{
	struct remote *r = self;

	if (fetch_source(r, source, known, before, err) < 0 ||
	    fetch_records(r, records, err) < 0)
		return -1;
	qd_rootset_sort(records);
	r->records = (int64_t)records->count;
	return 0;
}

/* Of names[from] and those behind it, as far as one request goes. */
static int ask_some(struct remote *r, const struct qd_rootset *names,
		    size_t from, struct qd_error *err)
{
	const char *words[2 + BATCH] = { "HMGET", r->root_key };
	struct qd_rootset_entry entry;
	size_t count = 2;

	for (size_t i = from; i < names->count && i < from + BATCH; i++) {
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
	for (size_t i = 0; rc == 0 && i < reply->elements; i++) {
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

static int remote_load_some(void *self, const char *source,
			    const struct qd_rootset *names, bool *known,
			    struct qd_source *before,
			    struct qd_rootset *records, struct qd_error *err)
{
	struct remote *r = self;

	/* all in one go: each waiting for a reply is a round trip */
	if (ask_source(r, source, err) < 0 ||
	    qd_redis_send(r->redis, err, "HLEN", r->root_key) < 0)
		return -1;
	for (size_t i = 0; i < names->count; i += BATCH)
		if (ask_some(r, names, i, err) < 0)
			return -1;
	if (take_source(r, source, known, before, err) < 0 ||
	    take_count(r, before->records, known, err) < 0)
		return -1;
	for (size_t i = 0; i < names->count; i += BATCH)
		if (take_some(r, names, i, records, err) < 0)
			return -1;
	r->records = before->records;
	return 0;
}

static int remote_sources(void *self,
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
		const char *name = names->element[i]->str;
		struct qd_source src;
		bool known;

		if (!qd_source_name_valid(name))
			continue;
		rc = fetch_source(r, name, &known, &src, err);
		if (rc == 0 && known)
			rc = each(arg, &src);
	}
	freeReplyObject(names);
	return rc;
}

struct field_words {
	const char *words[64];
	char values[32][QD_LOCAL_MAX + 1];
	int count;
};

static int add_field(void *arg, const char *field, const char *value)
{
	struct field_words *f = arg;
	char *copy = f->values[(f->count - 2) / 2];

	snprintf(copy, sizeof(f->values[0]), "%s", value);
	f->words[f->count++] = field;
	f->words[f->count++] = copy;
	return 0;
}

static int send_source(struct remote *r, const struct qd_source *src,
		       struct qd_error *err)
{
	struct field_words f = { .words = { "HSET", r->source_key },
				 .count = 2 };

	qd_source_each(src, add_field, &f);
	return qd_redis_send_words(r->redis, f.words, (size_t)f.count, err);
}

/* One entry of the stream; root NULL: the source itself changed. */
static int send_log(struct remote *r, const char *root, const char *record,
		    struct qd_error *err)
{
	char length[24];

	snprintf(length, sizeof(length), "%" PRId64, r->stream_length);
	return qd_redis_send(r->redis, err, "XADD", r->log_key, "MAXLEN", "~",
			     length, "*", "source", r->source, "root",
			     root ? root : "", "record", record ? record : "");
}

static int announce(struct remote *r, const struct qd_source *src, int *queued,
		    struct qd_error *err)
{
	struct qd_source counted = *src;

	*queued += 3;
	counted.records = r->records;
	if (qd_redis_send(r->redis, err, "SADD", r->sources_key, r->source) <
		    0 ||
	    send_source(r, &counted, err) < 0)
		return -1;
	return send_log(r, NULL, NULL, err);
}

static int remote_begin(void *self, const struct qd_source *src, bool is_new,
			struct qd_error *err)
{
	struct remote *r = self;
	int queued = 1;

	if (!is_new)
		return 0;
	if (begin_transaction(r, err) < 0 || renew_lease(r, err) < 0 ||
	    announce(r, src, &queued, err) < 0)
		return -1;
	return end_transaction(r, queued, err);
}

/* HSET and HDEL of all that waits, as one command each. */
static int send_hash_changes(struct remote *r, int *queued,
			     struct qd_error *err)
{
	const char *set[2 + 2 * BATCH] = { "HSET", r->root_key };
	const char *del[2 + BATCH] = { "HDEL", r->root_key };
	size_t sets = 2, dels = 2;

	for (int i = 0; i < r->waiting; i++) {
		const struct pending *p = &r->pending[i];

		if (p->text[0]) {
			set[sets++] = p->root;
			set[sets++] = p->text;
		} else {
			del[dels++] = p->root;
		}
	}
	if (sets > 2) {
		++*queued;
		if (qd_redis_send_words(r->redis, set, sets, err) < 0)
			return -1;
	}
	if (dels > 2) {
		++*queued;
		if (qd_redis_send_words(r->redis, del, dels, err) < 0)
			return -1;
	}
	return 0;
}

static int send_pending(struct remote *r, int *queued, struct qd_error *err)
{
	char records[24];

	snprintf(records, sizeof(records), "%" PRId64, r->records);
	if (send_hash_changes(r, queued, err) < 0)
		return -1;
	/* a reader can tell a hash that lost entries to eviction */
	if (qd_redis_send(r->redis, err, "HSET", r->source_key, "records",
			  records) < 0)
		return -1;
	for (int i = 0; i < r->waiting; i++)
		if (send_log(r, r->pending[i].root, r->pending[i].text, err) <
		    0)
			return -1;
	*queued += 1 + r->waiting;
	return 0;
}

static void forget_pending(struct remote *r)
{
	while (r->waiting)
		free(r->pending[--r->waiting].root);
}

static int flush(struct remote *r, struct qd_error *err)
{
	int queued = 1;

	if (begin_transaction(r, err) < 0 || renew_lease(r, err) < 0 ||
	    send_pending(r, &queued, err) < 0 ||
	    end_transaction(r, queued, err) < 0)
		return -1;
	forget_pending(r);
	return 0;
}

static int remote_change(void *self, const char *root,
			 const struct qd_record *before,
			 const struct qd_record *after, struct qd_error *err)
{
	struct remote *r = self;
	struct pending *p = &r->pending[r->waiting];

	p->root = strdup(root);
	if (!p->root)
		return qd_error_set(err, EX_OSERR, "no memory");
	p->text[0] = '\0';
	if (after)
		qd_record_format(after, p->text);
	r->records += !before;
	r->records -= !after;
	return ++r->waiting == BATCH ? flush(r, err) : 0;
}

/* One transaction, which gives the lease back as well. */
static int remote_finish(void *self, const struct qd_source *src, bool beat,
			 struct qd_error *err)
{
	struct remote *r = self;
	int queued = 1;

	if (!r->waiting && !beat)
		return 0;
	if (begin_transaction(r, err) < 0 ||
	    (r->waiting && send_pending(r, &queued, err) < 0) ||
	    (beat && announce(r, src, &queued, err) < 0) ||
	    qd_redis_send(r->redis, err, "DEL", r->lease_key) < 0 ||
	    end_transaction(r, queued, err) < 0)
		return -1;
	r->leased = false;
	forget_pending(r);
	return 0;
}

/* The next scanner need not wait for the lease to end. */
static void remote_unlock(void *self)
{
	struct remote *r = self;
	struct qd_error ignored;

	forget_pending(r);
	if (!r->leased)
		return;
	r->leased = false;
	/* a refused transaction has its EXEC behind it, and replies to come */
	if (qd_redis_settle(r->redis) == 0 &&
	    begin_transaction(r, &ignored) == 0 &&
	    qd_redis_send(r->redis, &ignored, "DEL", r->lease_key) == 0)
		end_transaction(r, 1, &ignored);
}

static void remote_close(void **self)
{
	struct remote *r = *self;

	if (!r)
		return;
	remote_unlock(r);
	qd_redis_close(&r->redis);
	free(r);
	*self = NULL;
}

const struct qd_publisher qd_publisher_redis = {
	.name = "redis",
	.open = remote_open,
	.lock = remote_lock,
	.unlock = remote_unlock,
	.renew = remote_renew,
	.load = remote_load,
	.load_some = remote_load_some,
	.sources = remote_sources,
	.begin = remote_begin,
	.change = remote_change,
	.finish = remote_finish,
	.close = remote_close,
};
