/* SPDX-License-Identifier: BSD-2-Clause */
/* Which server is the primary: asking the sentinels, and then itself. */
#include "redis_impl.h"

#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sysexits.h>

#include <hiredis/hiredis.h>

/* A fleet must not march: what is done again is done so after MIN to MAX. */
enum {
	/* the primary that was named is none: ask again */
	PAUSE_MIN_MS = 50,
	PAUSE_MAX_MS = 150,
	/* it is one: may it be that of yesterday? */
	LOOK_MIN_MS = 2000,
	LOOK_MAX_MS = 3000,
	/* which must not keep us from our work */
	LOOK_WAIT_MS = 200
};

/*
 * The sentinel that answered well last is asked first, and the one to look at
 * next. Only hints: whatever they are, all are asked in the end.
 */
static atomic_uint first_to_ask, next_to_look_at;

static int random_between(int min, int max)
{
	unsigned int random = 0;

	if (getrandom(&random, sizeof(random), GRND_NONBLOCK) < 0)
		return min;
	return min + (int)(random % (unsigned int)(max - min + 1));
}

struct asking {
	const struct qd_settings *settings;
	int wake_fd;
	int64_t end_ms; /* of asking this one */
	struct qd_redis *sentinel;
	struct qd_redisurl_peer primary;
	char name[QD_REDISURL_NAME]; /* of the sentinel */
};

/* What is left for this sentinel; never 0, which would be for ever. */
static int64_t left_ms(const struct asking *a)
{
	int64_t left = a->end_ms - qd_redis_now_ms();

	return left > 0 ? left : 1;
}

/* Two strings: the host and the port. Nil: it does not know that name. */
static int read_address(struct asking *a, const redisReply *reply,
			struct qd_error *err)
{
	const char *master = a->settings->redis_url.master;
	const char *host, *port;
	char *end = NULL;
	long number;

	if (reply->type == REDIS_REPLY_NIL)
		return qd_error_set(err, EX_UNAVAILABLE, "it does not know %s",
				    master);
	if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2)
		return qd_error_set(err, EX_UNAVAILABLE,
				    "its reply makes no sense");
	host = qd_redis_text(reply->element[0]);
	port = qd_redis_text(reply->element[1]);
	number = port ? strtol(port, &end, 10) : 0;
	if (!host || !*host || strlen(host) >= sizeof(a->primary.host) ||
	    strpbrk(host, " \t\r\n\"'<>\\/") || number < 1 || number > 65535 ||
	    *end)
		return qd_error_set(err, EX_UNAVAILABLE,
				    "its address of %s makes no sense", master);
	snprintf(a->primary.host, sizeof(a->primary.host), "%s", host);
	a->primary.port = (int)number;
	return 0;
}

static int ask(struct asking *a, struct qd_error *err)
{
	redisReply *reply;
	int rc;

	a->sentinel->timeout_ms = left_ms(a);
	if (qd_redis_send(a->sentinel, err, "SENTINEL",
			  "get-master-addr-by-name",
			  a->settings->redis_url.master) < 0 ||
	    qd_redis_reply(a->sentinel, 0, &reply, err) < 0)
		return -1;
	rc = read_address(a, reply, err);
	freeReplyObject(reply);
	return rc;
}

/* One that wants a password gets that of the servers. */
static int ask_or_authenticate(struct asking *a, struct qd_error *err)
{
	if (ask(a, err) == 0)
		return 0;
	if (err->status != EX_NOPERM)
		return -1;
	a->sentinel->timeout_ms = left_ms(a);
	if (qd_redis_authenticate(a->sentinel, a->settings, err) < 0)
		return -1;
	return ask(a, err);
}

static int ask_sentinel(struct asking *a, const struct qd_redisurl_peer *peer,
			struct qd_error *err)
{
	struct qd_redis_place place = {
		.host = peer->host,
		.port = peer->port,
		.name = a->name,
		.timeout_ms = left_ms(a),
		.wake_fd = a->wake_fd,
	};
	int rc;

	snprintf(a->name, sizeof(a->name), "sentinel %s:%d", peer->host,
		 peer->port);
	if (qd_redis_dial(&place, &a->sentinel, err) < 0)
		return -1;
	rc = ask_or_authenticate(a, err);
	qd_redis_close(&a->sentinel);
	return rc;
}

/* One failure more, in a line that has room for all of them. */
static void note_failure(const struct asking *a, const struct qd_error *why,
			 char *text, size_t size)
{
	const char *reason = why->text;
	size_t used = strlen(text);
	char prefix[QD_REDISURL_NAME + 16];
	int share = (int)(size / (size_t)a->settings->redis_url.sentinel_count);

	snprintf(prefix, sizeof(prefix), "redis %s: ", a->name);
	if (strncmp(reason, prefix, strlen(prefix)) == 0)
		reason += strlen(prefix);
	snprintf(text + used, size - used, "%s%.*s: %.*s", used ? ", " : "",
		 share / 2, a->name + strlen("sentinel "), share / 2 - 4,
		 reason);
}

/*
 * Each is given an equal share of the time that is left, so that one that is
 * silent does not use up that of the others.
 */
static int ask_sentinels(struct asking *a, struct qd_error *err)
{
	const struct qd_redisurl *url = &a->settings->redis_url;
	int64_t end = qd_redis_now_ms() + a->settings->redis_timeout_ms;
	unsigned int count = (unsigned int)url->sentinel_count;
	unsigned int first = atomic_load(&first_to_ask);
	struct qd_error why;
	char text[400] = "";
	int status = 0;

	for (unsigned int i = 0; i < count; i++) {
		unsigned int which = (first + i) % count;
		int64_t now = qd_redis_now_ms();

		a->end_ms = now + (end - now) / (int64_t)(count - i);
		if (ask_sentinel(a, &url->sentinels[which], &why) == 0) {
			atomic_store(&first_to_ask, which);
			return 0;
		}
		if (why.status == EX_TEMPFAIL) {
			*err = why;
			return -1; /* we were told to stop */
		}
		note_failure(a, &why, text, sizeof(text));
		if (status && status != why.status)
			why.status = EX_UNAVAILABLE;
		status = why.status;
	}
	return qd_error_set(err, status,
			    "no sentinel names the primary of %.60s: %s",
			    url->master, text);
}

enum opinion {
	NO_ANSWER,
	SAME,
	ANOTHER
};

/* Does this sentinel name the server that we are connected to? */
static enum opinion ask_about(struct asking *a, const struct qd_redis *redis,
			      unsigned int which)
{
	const struct qd_redisurl *url = &redis->sentinels_of->redis_url;
	struct qd_error ignored;

	*a = (struct asking){
		.settings = redis->sentinels_of,
		.wake_fd = redis->wake_fd,
		.end_ms = qd_redis_now_ms() + LOOK_WAIT_MS,
	};
	which %= (unsigned int)url->sentinel_count;
	if (ask_sentinel(a, &url->sentinels[which], &ignored) < 0)
		return NO_ANSWER;
	if (a->primary.port == redis->peer.port &&
	    strcmp(a->primary.host, redis->peer.host) == 0)
		return SAME;
	return ANOTHER;
}

static int not_primary(const struct qd_redis *redis, const char *who,
		       struct qd_error *err)
{
	return qd_error_set(err, EX_UNAVAILABLE,
			    "redis %s: not the primary any more, %.200s says",
			    redis->name, who);
}

/*
 * A primary that was cut off, or stopped for a while, takes itself for the
 * primary until a sentinel tells it. One of them is asked, another each time;
 * that it does not answer is no news.
 */
static int look_at_sentinel(struct qd_redis *redis, struct qd_error *err)
{
	unsigned int which = atomic_fetch_add(&next_to_look_at, 1);
	struct asking a;

	redis->look_at_ms =
		qd_redis_now_ms() + random_between(LOOK_MIN_MS, LOOK_MAX_MS);
	if (ask_about(&a, redis, which) != ANOTHER)
		return 0;
	return not_primary(redis, a.name, err);
}

int qd_redis_confirm(const struct qd_redis *redis, struct qd_error *err)
{
	int same = 0, another = 0, count;
	char who[QD_REDISURL_NAME];
	struct asking a;

	count = redis->sentinels_of ?
			redis->sentinels_of->redis_url.sentinel_count :
			0;
	for (int i = 0; i < count; i++) {
		enum opinion opinion = ask_about(&a, redis, (unsigned int)i);

		same += opinion == SAME;
		another += opinion == ANOTHER;
		if (opinion == ANOTHER)
			memcpy(who, a.name, sizeof(who));
	}
	/* one alone may have been cut off itself */
	return another > same ? not_primary(redis, who, err) : 0;
}

int qd_redis_ask_role(struct qd_redis *redis, struct qd_error *err)
{
	return redis->sentinels_of ? qd_redis_send(redis, err, "ROLE") : 0;
}

static int check_role(const struct qd_redis *redis, const redisReply *reply,
		      struct qd_error *err)
{
	const char *role = NULL;

	if (reply->type == REDIS_REPLY_ARRAY && reply->elements > 0)
		role = qd_redis_text(reply->element[0]);
	if (role && strcmp(role, "master") == 0)
		return 0;
	return qd_error_set(err, EX_UNAVAILABLE,
			    "redis %s: not the primary, it calls itself %.20s",
			    redis->name, role ? role : "nothing");
}

int qd_redis_take_role(struct qd_redis *redis, struct qd_error *err)
{
	redisReply *reply;
	int rc;

	if (!redis->sentinels_of)
		return 0;
	if (qd_redis_reply(redis, 0, &reply, err) < 0)
		return -1;
	rc = check_role(redis, reply, err);
	freeReplyObject(reply);
	if (rc == 0 && qd_redis_now_ms() >= redis->look_at_ms)
		rc = look_at_sentinel(redis, err);
	return rc;
}

static int connect_primary(const struct asking *a, struct qd_redis **out,
			   struct qd_error *err)
{
	const struct qd_redisurl_peer *primary = &a->primary;
	char name[QD_REDISURL_NAME];
	const struct qd_redis_place place = {
		.host = primary->host,
		.port = primary->port,
		.name = name,
		.timeout_ms = a->settings->redis_timeout_ms,
		.wake_fd = a->wake_fd,
	};
	struct qd_redis *redis;

	snprintf(name, sizeof(name), "%s:%d/%d", primary->host, primary->port,
		 a->settings->redis_url.db);
	if (qd_redis_dial(&place, &redis, err) < 0)
		return -1;
	redis->sentinels_of = a->settings;
	redis->peer = *primary;
	redis->look_at_ms =
		qd_redis_now_ms() + random_between(LOOK_MIN_MS, LOOK_MAX_MS);
	if (qd_redis_greet(redis, a->settings, err) < 0 ||
	    qd_redis_ask_role(redis, err) < 0 ||
	    qd_redis_take_role(redis, err) < 0) {
		qd_redis_close(&redis);
		return -1;
	}
	*out = redis;
	return 0;
}

/* false: we are to stop instead. */
static bool wait_a_little(int wake_fd)
{
	struct pollfd pfd = { .fd = wake_fd, .events = POLLIN };

	return poll(&pfd, 1, random_between(PAUSE_MIN_MS, PAUSE_MAX_MS)) <= 0;
}

/*
 * What the sentinels name may be dead, or a replica already, as long as they
 * have not noticed. It may also be that one of them never will: so the next
 * time another one has the first word.
 */
int qd_redis_open_primary(const struct qd_settings *settings, int wake_fd,
			  struct qd_redis **out, struct qd_error *err)
{
	struct asking a = { .settings = settings, .wake_fd = wake_fd };
	int64_t end = qd_redis_now_ms() + settings->redis_timeout_ms;

	for (;;) {
		if (ask_sentinels(&a, err) < 0)
			return -1;
		if (connect_primary(&a, out, err) == 0)
			return 0;
		atomic_fetch_add(&first_to_ask, 1);
		if (err->status != EX_UNAVAILABLE || qd_redis_now_ms() >= end)
			return -1;
		if (!wait_a_little(wake_fd))
			return qd_error_set(err, EX_TEMPFAIL,
					    "redis %s: interrupted",
					    a.primary.host);
	}
}
