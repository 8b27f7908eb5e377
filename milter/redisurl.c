/* SPDX-License-Identifier: BSD-2-Clause */
#include "quotadefer/redisurl.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "quotadefer/value.h"

#define EXPECTED                                                     \
	"write redis://[user:password@]host[:port][/db], "           \
	"sentinel://[user:password@]host[:port],.../MASTER[/db] or " \
	"unix:/path"

enum {
	REDIS_PORT = 6379,
	SENTINEL_PORT = 26379,
	DB_MAX = 65535
};

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* Decode %XX from length bytes of text; -1 if it does not fit or is bad. */
static int percent_decode(const char *text, size_t length, char *out,
			  size_t size)
{
	size_t n = 0;

	for (size_t i = 0; i < length; i++) {
		char c = text[i];

		if (c == '%') {
			int high, low;

			if (i + 2 >= length)
				return -1;
			high = hex_digit(text[i + 1]);
			low = hex_digit(text[i + 2]);
			if (high < 0 || low < 0 || (high | low) == 0)
				return -1;
			c = (char)(high << 4 | low);
			i += 2;
		}
		if (n + 1 >= size)
			return -1;
		out[n++] = c;
	}
	out[n] = '\0';
	return 0;
}

static int parse_userinfo(const char *text, size_t length,
			  struct qd_redisurl *out)
{
	const char *colon = memchr(text, ':', length);
	size_t user_length = colon ? (size_t)(colon - text) : length;

	if (percent_decode(text, user_length, out->user, sizeof(out->user)))
		return -1;
	if (!colon)
		return 0;
	return percent_decode(colon + 1, length - user_length - 1,
			      out->password, sizeof(out->password));
}

/* "host", "host:port", "[v6]:port" of length bytes; out->port may be kept */
static int parse_hostport(const char *text, size_t length,
			  struct qd_redisurl_peer *out)
{
	const char *end = text + length, *host_end, *port = NULL;
	char digits[8];
	int64_t number;

	if (*text == '[') {
		host_end = memchr(text, ']', length);
		if (!host_end)
			return -1;
		text++;
		if (host_end + 1 < end)
			port = host_end + 1;
		if (port && *port != ':')
			return -1;
	} else {
		port = memchr(text, ':', length);
		host_end = port ? port : end;
	}
	if (host_end == text)
		return -1;
	if (percent_decode(text, (size_t)(host_end - text), out->host,
			   sizeof(out->host)) ||
	    strpbrk(out->host, " \t\"'<>\\"))
		return -1;
	if (!port)
		return 0;
	if (end - port - 1 >= (int)sizeof(digits))
		return -1;
	snprintf(digits, sizeof(digits), "%.*s", (int)(end - port - 1),
		 port + 1);
	if (qd_value_integer(digits, 1, 65535, &number) < 0)
		return -1;
	out->port = (int)number;
	return 0;
}

/*
 * User and password, if there are any, in front of *rest's length bytes, which
 * begin behind them afterwards.
 */
static int take_userinfo(const char **rest, size_t *length,
			 struct qd_redisurl *out)
{
	const char *at = NULL;

	/* a password may hold an "@" that somebody forgot to escape */
	for (size_t i = 0; i < *length; i++)
		if ((*rest)[i] == '@')
			at = *rest + i;
	if (!at)
		return 0;
	if (parse_userinfo(*rest, (size_t)(at - *rest), out) < 0)
		return -1;
	*length -= (size_t)(at + 1 - *rest);
	*rest = at + 1;
	return 0;
}

/* "", "/" or "/db" */
static int parse_db(const char *text, struct qd_redisurl *out)
{
	int64_t number;

	if (*text == '\0' || strcmp(text, "/") == 0)
		return 0;
	if (*text != '/' || qd_value_integer(text + 1, 0, DB_MAX, &number) < 0)
		return -1;
	out->db = (int)number;
	return 0;
}

static int parse_tcp(const char *rest, struct qd_redisurl *out)
{
	struct qd_redisurl_peer server = { .port = REDIS_PORT };
	size_t authority = strcspn(rest, "/");
	const char *slash = rest + authority;

	if (take_userinfo(&rest, &authority, out) < 0 ||
	    parse_hostport(rest, authority, &server) < 0)
		return -1;
	memcpy(out->host, server.host, sizeof(out->host));
	out->port = server.port;
	return parse_db(slash, out);
}

/* host:port,host:port of length bytes */
static int parse_sentinels(const char *text, size_t length,
			   struct qd_redisurl *out)
{
	const char *end = text + length;

	for (;;) {
		struct qd_redisurl_peer peer = { .port = SENTINEL_PORT };
		const char *comma = memchr(text, ',', (size_t)(end - text));
		const char *stop = comma ? comma : end;

		if (out->sentinel_count == QD_REDIS_SENTINELS || stop == text ||
		    parse_hostport(text, (size_t)(stop - text), &peer) < 0)
			return -1;
		out->sentinels[out->sentinel_count++] = peer;
		if (!comma)
			return 0;
		text = comma + 1;
	}
}

/* The characters that a sentinel takes for such a name. */
static int parse_master(const char *text, size_t length,
			struct qd_redisurl *out)
{
	static const char valid[] = "abcdefghijklmnopqrstuvwxyz"
				    "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				    "0123456789.-_";

	if (length == 0 || length >= sizeof(out->master) ||
	    strspn(text, valid) < length)
		return -1;
	memcpy(out->master, text, length);
	out->master[length] = '\0';
	return 0;
}

static int parse_sentinel(const char *rest, struct qd_redisurl *out)
{
	size_t authority = strcspn(rest, "/"), length;
	const char *master = rest + authority;

	if (take_userinfo(&rest, &authority, out) < 0 ||
	    parse_sentinels(rest, authority, out) < 0 || *master++ != '/')
		return -1;
	length = strcspn(master, "/");
	if (parse_master(master, length, out) < 0)
		return -1;
	return parse_db(master + length, out);
}

static int parse_path(const char *path, struct qd_redisurl *out,
		      struct qd_error *err)
{
	if (path[0] != '/' || strlen(path) >= sizeof(out->path))
		return qd_error_set(err, EX_CONFIG,
				    "unix:%s is not an absolute path of at "
				    "most %zu bytes; %s",
				    path, sizeof(out->path) - 1, EXPECTED);
	memcpy(out->path, path, strlen(path) + 1);
	return 0;
}

int qd_redisurl_parse(const char *url, struct qd_redisurl *out,
		      struct qd_error *err)
{
	struct qd_redisurl parsed = { .port = REDIS_PORT };
	int rc = 0;

	if (strncmp(url, "unix:", 5) == 0)
		rc = parse_path(url + 5, &parsed, err);
	else if (strncmp(url, "rediss://", 9) == 0)
		rc = qd_error_set(err, EX_CONFIG,
				  "rediss:// needs TLS, which this build of "
				  "hiredis does not have; use redis:// through "
				  "stunnel or WireGuard");
	else if (strncmp(url, "sentinel://", 11) == 0) {
		if (parse_sentinel(url + 11, &parsed) < 0)
			rc = qd_error_set(err, EX_CONFIG,
					  "it is not a URL of at most %d "
					  "sentinels; %s",
					  QD_REDIS_SENTINELS, EXPECTED);
	} else if (strncmp(url, "redis://", 8) != 0)
		rc = qd_error_set(err, EX_CONFIG,
				  "it does not begin with redis://, "
				  "sentinel:// or unix:; %s",
				  EXPECTED);
	else if (parse_tcp(url + 8, &parsed) < 0)
		rc = qd_error_set(err, EX_CONFIG, "it is not a Redis URL; %s",
				  EXPECTED);
	if (rc == 0)
		*out = parsed;
	return rc;
}

static size_t add(char *out, size_t size, size_t used, const char *text)
{
	int n = used < size ? snprintf(out + used, size - used, "%s", text) : 0;

	return used + (n > 0 ? (size_t)n : 0);
}

static void name_sentinels(const struct qd_redisurl *url, char *out,
			   size_t size)
{
	char end[QD_REDIS_MASTER + 16];
	size_t used = 0;

	out[0] = '\0';
	for (int i = 0; i < url->sentinel_count; i++) {
		const struct qd_redisurl_peer *peer = &url->sentinels[i];
		bool v6 = strchr(peer->host, ':') != NULL;
		char text[sizeof(peer->host) + 16];

		snprintf(text, sizeof(text), "%s%s%s%s:%d", i ? "," : "",
			 v6 ? "[" : "", peer->host, v6 ? "]" : "", peer->port);
		used = add(out, size, used, text);
	}
	snprintf(end, sizeof(end), "/%s/%d", url->master, url->db);
	add(out, size, used, end);
}

const char *qd_redisurl_name(const struct qd_redisurl *url, char *out, int size)
{
	if (url->sentinel_count)
		name_sentinels(url, out, (size_t)size);
	else if (url->path[0])
		snprintf(out, (size_t)size, "%s", url->path);
	else
		snprintf(out, (size_t)size, "%s:%d/%d", url->host, url->port,
			 url->db);
	return out;
}

const char *qd_redisurl_scheme(const struct qd_redisurl *url)
{
	if (url->sentinel_count)
		return "sentinel://";
	return url->path[0] ? "unix:" : "redis://";
}
