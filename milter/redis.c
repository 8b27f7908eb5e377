/* SPDX-License-Identifier: BSD-2-Clause */
#include "redis_impl.h"

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

int64_t qd_redis_now_ms(void)
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

int qd_redis_authenticate(struct qd_redis *redis,
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

int qd_redis_greet(struct qd_redis *redis, const struct qd_settings *settings,
		   struct qd_error *err)
{
	char db[8];

	if (qd_redis_authenticate(redis, settings, err) < 0)
		return -1;
	snprintf(db, sizeof(db), "%d", settings->redis_url.db);
	if (qd_redis_send(redis, err, "SELECT", db) < 0)
		return -1;
	return qd_redis_skip(redis, 1, err);
}

int qd_redis_dial(const struct qd_redis_place *place, struct qd_redis **out,
		  struct qd_error *err)
{
	struct timeval timeout = to_timeval(place->timeout_ms);
	struct qd_redis *redis = calloc(1, sizeof(*redis));

	if (!redis)
		return qd_error_set(err, EX_OSERR, "redis: no memory");
	redis->wake_fd = place->wake_fd;
	redis->timeout_ms = place->timeout_ms;
	snprintf(redis->name, sizeof(redis->name), "%s", place->name);
	if (place->path)
		redis->context =
			redisConnectUnixWithTimeout(place->path, timeout);
	else
		redis->context = redisConnectWithTimeout(place->host,
							 place->port, timeout);
	if (!redis->context || redis->context->err) {
		context_failed(redis, err);
		qd_redis_close(&redis);
		return -1;
	}
	redisSetTimeout(redis->context, timeout);
	redisEnableKeepAlive(redis->context);
	*out = redis;
	return 0;
}

static int open_server(const struct qd_settings *settings, int wake_fd,
		       struct qd_redis **out, struct qd_error *err)
{
	const struct qd_redisurl *url = &settings->redis_url;
	char name[QD_REDISURL_NAME];
	const struct qd_redis_place place = {
		.path = url->path[0] ? url->path : NULL,
		.host = url->host,
		.port = url->port,
		.name = qd_redisurl_name(url, name, sizeof(name)),
		.timeout_ms = settings->redis_timeout_ms,
		.wake_fd = wake_fd,
	};
	struct qd_redis *redis;

	if (qd_redis_dial(&place, &redis, err) < 0)
		return -1;
	if (qd_redis_greet(redis, settings, err) < 0) {
		qd_redis_close(&redis);
		return -1;
	}
	*out = redis;
	return 0;
}

int qd_redis_open(const struct qd_settings *settings, int wake_fd,
		  struct qd_redis **out, struct qd_error *err)
{
	if (settings->redis_url.sentinel_count)
		return qd_redis_open_primary(settings, wake_fd, out, err);
	return open_server(settings, wake_fd, out, err);
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
		left = deadline - qd_redis_now_ms();
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
	int64_t deadline = qd_redis_now_ms() + redis->timeout_ms + extra_ms;
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

/* The value of a line "name:value" of INFO, "" if there is none. */
static void find_info(const redisReply *info, const char *name, char *out,
		      size_t size)
{
	const char *at = qd_redis_text(info);
	size_t length = strlen(name);

	out[0] = '\0';
	while (at && (at = strchr(at, '\n')) != NULL) {
		at++;
		if (strncmp(at, name, length) != 0 || at[length] != ':')
			continue;
		at += length + 1;
		snprintf(out, size, "%.*s", (int)strcspn(at, "\r\n"), at);
		return;
	}
}

static int take_info(struct qd_redis *redis, const char *name, char *out,
		     size_t size, struct qd_error *err)
{
	redisReply *reply;

	if (qd_redis_reply(redis, 0, &reply, err) < 0)
		return -1;
	find_info(reply, name, out, size);
	freeReplyObject(reply);
	return 0;
}

int qd_redis_identity(struct qd_redis *redis, char out[QD_REDIS_IDENTITY],
		      struct qd_error *err)
{
	char run[QD_REDIS_IDENTITY / 2], data[QD_REDIS_IDENTITY / 2];

	if (qd_redis_send(redis, err, "INFO", "server") < 0 ||
	    qd_redis_send(redis, err, "INFO", "replication") < 0 ||
	    take_info(redis, "run_id", run, sizeof(run), err) < 0 ||
	    take_info(redis, "master_replid", data, sizeof(data), err) < 0)
		return -1;
	snprintf(out, QD_REDIS_IDENTITY, "%s%s%s", run, data[0] ? "/" : "",
		 data);
	/* a proxy may not say */
	if (!run[0])
		out[0] = '\0';
	return 0;
}

const char *qd_redis_key(char out[QD_REDIS_KEY], const char *prefix,
			 const char *kind, const char *source)
{
	snprintf(out, QD_REDIS_KEY, "{%s}:%s%s%s", prefix, kind,
		 source ? ":" : "", source ? source : "");
	return out;
}
