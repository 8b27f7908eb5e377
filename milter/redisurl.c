/* SPDX-License-Identifier: BSD-2-Clause */
#include "quotadefer/redisurl.h"

#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "quotadefer/value.h"

#define EXPECTED "write redis://[user:password@]host[:port][/db] or unix:/path"

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

/* "host", "host:port", "[v6]:port" of length bytes */
static int parse_hostport(const char *text, size_t length,
			  struct qd_redisurl *out)
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

static int parse_tcp(const char *rest, struct qd_redisurl *out)
{
	size_t authority = strcspn(rest, "/");
	const char *slash = rest + authority;
	const char *at = NULL;
	int64_t number;

	/* a password may hold an "@" that somebody forgot to escape */
	for (size_t i = 0; i < authority; i++)
		if (rest[i] == '@')
			at = rest + i;
	if (at) {
		if (parse_userinfo(rest, (size_t)(at - rest), out) < 0)
			return -1;
		authority -= (size_t)(at + 1 - rest);
		rest = at + 1;
	}
	if (parse_hostport(rest, authority, out) < 0)
		return -1;
	if (*slash == '\0' || strcmp(slash, "/") == 0)
		return 0;
	if (qd_value_integer(slash + 1, 0, 65535, &number) < 0)
		return -1;
	out->db = (int)number;
	return 0;
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
	struct qd_redisurl parsed = { .port = 6379 };
	int rc = 0;

	if (strncmp(url, "unix:", 5) == 0)
		rc = parse_path(url + 5, &parsed, err);
	else if (strncmp(url, "rediss://", 9) == 0)
		rc = qd_error_set(err, EX_CONFIG,
				  "rediss:// needs TLS, which this build of "
				  "hiredis does not have; use redis:// through "
				  "stunnel or WireGuard");
	else if (strncmp(url, "redis://", 8) != 0)
		rc = qd_error_set(err, EX_CONFIG,
				  "it does not begin with redis:// or unix:; "
				  "%s",
				  EXPECTED);
	else if (parse_tcp(url + 8, &parsed) < 0)
		rc = qd_error_set(err, EX_CONFIG, "it is not a Redis URL; %s",
				  EXPECTED);
	if (rc == 0)
		*out = parsed;
	return rc;
}

const char *qd_redisurl_name(const struct qd_redisurl *url, char *out, int size)
{
	if (url->path[0])
		snprintf(out, (size_t)size, "%s", url->path);
	else
		snprintf(out, (size_t)size, "%s:%d/%d", url->host, url->port,
			 url->db);
	return out;
}
