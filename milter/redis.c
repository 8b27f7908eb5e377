/* SPDX-License-Identifier: BSD-2-Clause */
#include "quotadefer/redis.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include <hiredis/hiredis.h>

struct qd_redis {
	redisContext *context;
	int64_t timeout_ms;
	int wake_fd;
	long awaited; /* replies that are still to come */
	char name[300];
};

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int fail(const struct qd_redis *redis, const char *what,
		struct qd_error *err)
{
	return qd_error_set(err, EX_UNAVAILABLE, "redis %s: %s", redis->name,
			    what);
}

static int context_failed(const struct qd_redis *redis, struct qd_error *err)
{
	const redisContext *context = redis->context;

	if (!context)
		return fail(redis, "no memory", err);
	return fail(redis,
		    context->errstr[0] ? context->errstr : "connection lost",
		    err);
}

int qd_redis_refused(const struct qd_redis *redis, const char *text,
		     struct qd_error *err)
{
	static const char *const auth[] = { "NOAUTH", "WRONGPASS", "NOPERM",
					    "ERR invalid password",
					    "ERR Client sent AUTH" };
	const char *hint = "";
	int status = EX_UNAVAILABLE;

	for (size_t i = 0; i < sizeof(auth) / sizeof(auth[0]); i++)
		if (strncmp(text, auth[i], strlen(auth[i])) == 0)
			status = EX_NOPERM;
	if (strncmp(text, "READONLY", 8) == 0)
		hint = " (a scanner publishes to the primary)";
	else if (strncmp(text, "WRONGTYPE", 9) == 0)
		hint = " (something else uses a key of ours: DEL it, or set "
		       "another prefix)";
	else if (strncmp(text, "MOVED", 5) == 0)
		hint = " (Redis Cluster is not supported)";
	return qd_error_set(err, status, "redis %s: %.200s%s", redis->name,
			    text, hint);
}

static struct timeval to_timeval(int64_t ms)
{
	return (struct timeval){ .tv_sec = ms / 1000,
				 .tv_usec = ms % 1000 * 1000 };
}

/* The first line of a file that others cannot read. */
static int read_secret(const char *path, char *out, size_t size,
		       struct qd_error *err)
{
	struct stat st;
	ssize_t n = -1;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);

	if (fd < 0)
		return qd_error_set(
			err, errno == EACCES ? EX_NOPERM : EX_CONFIG,
			"redis_password_file %s: %m%s", path,
			errno == EACCES ? "; let a group read it that the "
					  "scanner's user and the filter's "
					  "are in" :
					  "");
	if (fstat(fd, &st) == 0 && (st.st_mode & S_IROTH))
		qd_error_set(err, EX_CONFIG,
			     "redis_password_file %s: everybody may read it; "
			     "chmod o-r it",
			     path);
	else if ((n = read(fd, out, size - 1)) < 0)
		qd_error_set(err, EX_CONFIG, "redis_password_file %s: %m",
			     path);
	close(fd);
	if (n < 0)
		return -1;
	out[n] = '\0';
	out[strcspn(out, "\r\n")] = '\0';
	return 0;
}

static int authenticate(struct qd_redis *redis,
			const struct qd_settings *settings,
			struct qd_error *err)
{
	const struct qd_redisurl *url = &settings->redis_url;
	char secret[512];
	int rc;

	if (settings->redis_password_file) {
		if (read_secret(settings->redis_password_file, secret,
				sizeof(secret), err) < 0)
			return -1;
	} else {
		snprintf(secret, sizeof(secret), "%s", url->password);
	}
	if (!secret[0] && !url->user[0])
		return 0;
	if (url->user[0])
		rc = qd_redis_send(redis, err, "AUTH", url->user, secret);
	else
		rc = qd_redis_send(redis, err, "AUTH", secret);
	explicit_bzero(secret, sizeof(secret));
	return rc < 0 ? -1 : qd_redis_skip(redis, 1, err);
}

static int greet(struct qd_redis *redis, const struct qd_settings *settings,
		 struct qd_error *err)
{
	char db[8];

	if (authenticate(redis, settings, err) < 0)
		return -1;
	snprintf(db, sizeof(db), "%d", settings->redis_url.db);
	if (qd_redis_send(redis, err, "SELECT", db) < 0)
		return -1;
	return qd_redis_skip(redis, 1, err);
}

int qd_redis_open(const struct qd_settings *settings, int wake_fd,
		  struct qd_redis **out, struct qd_error *err)
{
	const struct qd_redisurl *url = &settings->redis_url;
	struct timeval timeout = to_timeval(settings->redis_timeout_ms);
	struct qd_redis *redis = calloc(1, sizeof(*redis));

	if (!redis)
		return qd_error_set(err, EX_OSERR, "redis: no memory");
	redis->wake_fd = wake_fd;
	redis->timeout_ms = settings->redis_timeout_ms;
	qd_redisurl_name(url, redis->name, sizeof(redis->name));
	if (url->path[0])
		redis->context =
			redisConnectUnixWithTimeout(url->path, timeout);
	else
		redis->context =
			redisConnectWithTimeout(url->host, url->port, timeout);
	if (!redis->context || redis->context->err) {
		context_failed(redis, err);
		qd_redis_close(&redis);
		return -1;
	}
	redisSetTimeout(redis->context, timeout);
	redisEnableKeepAlive(redis->context);
	if (greet(redis, settings, err) < 0) {
		qd_redis_close(&redis);
		return -1;
	}
	*out = redis;
	return 0;
}

void qd_redis_close(struct qd_redis **redis)
{
	if (!*redis)
		return;
	if ((*redis)->context)
		redisFree((*redis)->context);
	free(*redis);
	*redis = NULL;
}

const char *qd_redis_name(const struct qd_redis *redis)
{
	return redis->name;
}

int qd_redis_send_words(struct qd_redis *redis, const char *const *words,
			size_t count, struct qd_error *err)
{
	/* hiredis changes none of them */
	if (redisAppendCommandArgv(redis->context, (int)count,
				   (const char **)words, NULL) != REDIS_OK)
		return context_failed(redis, err);
	redis->awaited++;
	return 0;
}

/* Wait until the server said something, the deadline, or a wake-up. */
static int wait_readable(struct qd_redis *redis, int64_t deadline,
			 struct qd_error *err)
{
	struct pollfd pfds[2] = {
		{ .fd = redis->context->fd, .events = POLLIN },
		{ .fd = redis->wake_fd, .events = POLLIN },
	};
	int64_t left;
	int n;

	do {
		left = deadline - now_ms();
		n = poll(pfds, 2, left > 0 ? (int)left : 0);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return qd_error_set(err, EX_OSERR, "poll: %m");
	if (pfds[1].revents)
		return qd_error_set(err, EX_TEMPFAIL, "redis %s: interrupted",
				    redis->name);
	if (n == 0)
		return fail(redis, "no reply in time", err);
	return 0;
}

static int flush(struct qd_redis *redis, struct qd_error *err)
{
	int done = 0;

	while (!done)
		if (redisBufferWrite(redis->context, &done) != REDIS_OK)
			return context_failed(redis, err);
	return 0;
}

int qd_redis_reply(struct qd_redis *redis, int64_t extra_ms,
		   struct redisReply **out, struct qd_error *err)
{
	int64_t deadline = now_ms() + redis->timeout_ms + extra_ms;
	redisReply *reply;
	void *any = NULL;

	if (flush(redis, err) < 0)
		return -1;
	for (;;) {
		if (redisGetReplyFromReader(redis->context, &any) != REDIS_OK)
			return context_failed(redis, err);
		if (any)
			break;
		if (wait_readable(redis, deadline, err) < 0)
			return -1;
		if (redisBufferRead(redis->context) != REDIS_OK)
			return context_failed(redis, err);
	}
	redis->awaited--;
	reply = any;
	if (reply->type == REDIS_REPLY_ERROR) {
		qd_redis_refused(redis, reply->str, err);
		freeReplyObject(reply);
		return -1;
	}
	*out = reply;
	return 0;
}

const char *qd_redis_text(const struct redisReply *reply)
{
	if (reply->type != REDIS_REPLY_STRING ||
	    strlen(reply->str) != (size_t)reply->len)
		return NULL;
	return reply->str;
}

int qd_redis_skip(struct qd_redis *redis, int count, struct qd_error *err)
{
	redisReply *reply;

	while (count-- > 0) {
		if (qd_redis_reply(redis, 0, &reply, err) < 0)
			return -1;
		freeReplyObject(reply);
	}
	return 0;
}

int qd_redis_settle(struct qd_redis *redis)
{
	struct qd_error ignored;

	while (redis->awaited > 0) {
		long before = redis->awaited;

		qd_redis_skip(redis, 1, &ignored);
		if (redis->awaited == before)
			return -1; /* the connection, not a command */
	}
	return 0;
}

const char *qd_redis_key(char out[QD_REDIS_KEY], const char *prefix,
			 const char *kind, const char *source)
{
	snprintf(out, QD_REDIS_KEY, "{%s}:%s%s%s", prefix, kind,
		 source ? ":" : "", source ? source : "");
	return out;
}
