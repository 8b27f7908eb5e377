/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef QUOTADEFER_REDISURL_H
#define QUOTADEFER_REDISURL_H

#include "quotadefer/error.h"

/*
 * One Redis server, from redis://[[user]:[password]@]host[:port][/db] (the
 * form of the IANA-registered scheme) or unix:/path.
 *
 * Either path or host is set. user and password are empty when not given.
 */
struct qd_redisurl {
	char path[108];
	char host[256];
	int port;
	int db;
	char user[128];
	char password[256];
};

/*
 * Read url. Percent escapes are decoded, [::1] is an IPv6 host, port and db
 * default to 6379 and 0. Returns 0, or -1 with *err, which never holds the
 * password.
 */
int qd_redisurl_parse(const char *url, struct qd_redisurl *out,
		      struct qd_error *err);

/* The server without its secrets, "mx1:6379/0" or "/run/redis.sock". */
const char *qd_redisurl_name(const struct qd_redisurl *url, char *out,
			     int size);

#endif
