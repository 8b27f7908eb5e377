/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef QUOTADEFER_REDISURL_H
#define QUOTADEFER_REDISURL_H

#include "quotadefer/error.h"

enum {
	QD_REDIS_SENTINELS = 9,
	QD_REDIS_MASTER = 128,
	/* of a server, without its secrets */
	QD_REDISURL_NAME = 300
};

struct qd_redisurl_peer {
	char host[256];
	int port;
};

/*
 * Where Redis is: one server, from redis://[[user]:[password]@]host[:port][/db]
 * (the form of the IANA-registered scheme) or unix:/path; or the primary that
 * sentinels name, from
 * sentinel://[[user]:[password]@]host[:port],host[:port]/MASTER[/db].
 *
 * One of path, host and sentinel_count is set. user and password are empty
 * when not given.
 */
struct qd_redisurl {
	char path[108];
	char host[256];
	int port;
	int db;
	char user[128];
	char password[256];
	char master[QD_REDIS_MASTER];
	struct qd_redisurl_peer sentinels[QD_REDIS_SENTINELS];
	int sentinel_count;
};

/*
 * Read url. Percent escapes are decoded, [::1] is an IPv6 host, port and db
 * default to 6379 (26379 for sentinels) and 0. Returns 0, or -1 with *err,
 * which never holds the password.
 */
int qd_redisurl_parse(const char *url, struct qd_redisurl *out,
		      struct qd_error *err);

/*
 * Without secrets: "mx1:6379/0", "/run/redis.sock" or
 * "s1:26379,s2:26379/mymaster/0". Cut short if it does not fit.
 */
const char *qd_redisurl_name(const struct qd_redisurl *url, char *out,
			     int size);

/* What stands before that name in a URL: "redis://", "unix:" and so on. */
const char *qd_redisurl_scheme(const struct qd_redisurl *url);

#endif
