/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef QUOTADEFER_REDIS_IMPL_H
#define QUOTADEFER_REDIS_IMPL_H

/* What the redis*.c files share; no other file may include this. */

#include <stdbool.h>
#include <stdint.h>

#include "quotadefer/redis.h"

struct redisContext;

struct qd_redis {
	struct redisContext *context;
	int64_t timeout_ms;
	int wake_fd;
	long awaited; /* replies that are still to come */
	/* NULL, or those of a server that sentinels called the primary */
	const struct qd_settings *sentinels_of;
	struct qd_redisurl_peer peer;
	int64_t look_at_ms; /* when to ask one of them again */
	char name[QD_REDISURL_NAME];
};

/* Milliseconds that go by, whatever the clock says. */
int64_t qd_redis_now_ms(void);

/*
 * Connect to the server at path (NULL: host and port), and say no word yet.
 * Blocks at most timeout_ms. Returns 0, or -1 with *err.
 */
struct qd_redis_place {
	const char *path, *host;
	int port;
	const char *name; /* for messages */
	int64_t timeout_ms;
	int wake_fd;
};
int qd_redis_dial(const struct qd_redis_place *place, struct qd_redis **out,
		  struct qd_error *err);

/* AUTH, if the settings have a user or a password. */
int qd_redis_authenticate(struct qd_redis *redis,
			  const struct qd_settings *settings,
			  struct qd_error *err);

/* AUTH and SELECT. */
int qd_redis_greet(struct qd_redis *redis, const struct qd_settings *settings,
		   struct qd_error *err);

/* qd_redis_open, for settings with sentinels. */
int qd_redis_open_primary(const struct qd_settings *settings, int wake_fd,
			  struct qd_redis **out, struct qd_error *err);

#endif
