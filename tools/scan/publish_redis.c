/* SPDX-License-Identifier: BSD-2-Clause */
/* The connection, the lease, and transactions under it. */
#include "publish_redis_impl.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include <hiredis/hiredis.h>

/* A lease ends by itself, that long after its holder is gone. */
#define LEASE_MS "60000"
#define BRIEF_MS "10000"

/* To which all was published. It outlives a connection. */
static char server_with_all[QD_REDIS_IDENTITY];

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
	if (qd_redis_open(settings, -1, &r->redis, err) < 0 ||
	    qd_redis_identity(r->redis, r->server, err) < 0) {
		qd_redis_close(&r->redis);
		free(r);
		return -1;
	}
	*self = r;
	return 0;
}

bool qd_remote_has_all(const struct remote *r)
{
	return strcmp(server_with_all, r->server) == 0;
}

void qd_remote_now_has_all(const struct remote *r)
{
	memcpy(server_with_all, r->server, sizeof(server_with_all));
}

/* It may also have become a replica and a primary again, with other data. */
static int remote_look(void *self, struct qd_error *err)
{
	struct remote *r = self;
	char server[QD_REDIS_IDENTITY];

	if (qd_redis_ask_role(r->redis, err) < 0 ||
	    qd_redis_take_role(r->redis, err) < 0 ||
	    qd_redis_identity(r->redis, server, err) < 0)
		return -1;
	if (strcmp(server, r->server) != 0)
		return qd_error_set(err, EX_UNAVAILABLE,
				    "redis %s: it has other data now",
				    qd_redis_name(r->redis));
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

/*
 * A lease whose holder is gone: a connection of ours that broke, or a scanner
 * that ended. Whatever else he may have sent comes to nothing, should it arrive
 * after this.
 */
static int take_over(struct remote *r, const char *holder, struct qd_error *err)
{
	char ours[sizeof(r->holder)];

	memcpy(ours, r->holder, sizeof(ours));
	snprintf(r->holder, sizeof(r->holder), "%s", holder);
	if (qd_remote_begin_transaction(r, err) < 0 ||
	    qd_redis_send(r->redis, err, "SET", r->lease_key, ours, "PX",
			  r->lease_ms) < 0 ||
	    qd_remote_end_transaction(r, 1, err) < 0)
		return -1;
	memcpy(r->holder, ours, sizeof(ours));
	r->leased = true;
	return 0;
}

static int remote_lock(void *self, const char *source, bool brief,
		       struct qd_error *err)
{
	struct remote *r = self;
	char answer[400];

	name_keys(r, source);
	r->lease_ms = brief ? BRIEF_MS : LEASE_MS;
	if (qd_remote_name_holder(r->holder, sizeof(r->holder), err) < 0 ||
	    qd_redis_send(r->redis, err, "SET", r->lease_key, r->holder, "NX",
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
	if (qd_remote_holder_is_gone(answer))
		return take_over(r, answer, err);
	return lost(r, answer, err);
}

/*
 * Begin a transaction that comes to nothing if the lease is no longer ours,
 * or goes while we write.
 */
int qd_remote_begin_transaction(struct remote *r, struct qd_error *err)
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
int qd_remote_end_transaction(struct remote *r, int queued,
			      struct qd_error *err)
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

int qd_remote_renew_lease(struct remote *r, struct qd_error *err)
{
	return qd_redis_send(r->redis, err, "PEXPIRE", r->lease_key,
			     r->lease_ms);
}

static int remote_renew(void *self, struct qd_error *err)
{
	struct remote *r = self;

	if (!r->leased)
		return 0;
	if (qd_redis_ask_role(r->redis, err) < 0 ||
	    qd_redis_take_role(r->redis, err) < 0 ||
	    qd_remote_begin_transaction(r, err) < 0 ||
	    qd_remote_renew_lease(r, err) < 0)
		return -1;
	return qd_remote_end_transaction(r, 1, err);
}

/* The next scanner need not wait for the lease to end. */
static void remote_unlock(void *self)
{
	struct remote *r = self;
	struct qd_error ignored;

	qd_remote_forget_pending(r);
	if (!r->leased)
		return;
	r->leased = false;
	/* a refused transaction has its EXEC behind it, and replies to come */
	if (qd_redis_settle(r->redis) == 0 &&
	    qd_remote_begin_transaction(r, &ignored) == 0 &&
	    qd_redis_send(r->redis, &ignored, "DEL", r->lease_key) == 0)
		qd_remote_end_transaction(r, 1, &ignored);
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
	.look = remote_look,
	.load = qd_remote_load,
	.load_some = qd_remote_load_some,
	.sources = qd_remote_sources,
	.begin = qd_remote_begin,
	.change = qd_remote_change,
	.finish = qd_remote_finish,
	.close = remote_close,
};
