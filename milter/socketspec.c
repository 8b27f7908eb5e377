/* SPDX-License-Identifier: BSD-2-Clause */
#include "quotadefer/socketspec.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "quotadefer/value.h"

_Static_assert(sizeof(((struct qd_socketspec *)0)->path) ==
		       sizeof(((struct sockaddr_un *)0)->sun_path),
	       "a path that fits here must fit there");

#define EXPECTED "write unix:/absolute/path, inet:PORT@HOST or inet:HOST:PORT"

static int parse_unix(const char *path, struct qd_socketspec *out,
		      struct qd_error *err)
{
	size_t length = strlen(path);

	if (path[0] != '/')
		return qd_error_set(err, EX_CONFIG,
				    "\"%s\" is not an absolute path; %s", path,
				    EXPECTED);
	if (path[length - 1] == '/')
		return qd_error_set(err, EX_CONFIG,
				    "\"%s\" names a directory; %s", path,
				    EXPECTED);
	if (length >= sizeof(out->path))
		return qd_error_set(err, EX_CONFIG,
				    "the path is %zu bytes long; a socket path "
				    "can have at most %zu",
				    length, sizeof(out->path) - 1);
	out->family = AF_UNIX;
	memcpy(out->path, path, length + 1);
	snprintf(out->milter, sizeof(out->milter), "unix:%s", path);
	return 0;
}

/* A name or an address, as far as can be seen without asking for it. */
static bool is_host(const char *text, size_t length, int family)
{
	static const char name[] = "abcdefghijklmnopqrstuvwxyz"
				   "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				   "0123456789.-_";
	size_t colons = 0, good = 0;

	for (size_t i = 0; i < length; i++) {
		colons += text[i] == ':';
		good += strchr(name, text[i]) || text[i] == ':' ||
			text[i] == '%';
	}
	return good == length && (family == AF_INET6 || colons == 0);
}

static int copy_host(struct qd_socketspec *out, const char *host, size_t length)
{
	/* [::1] is how both MTAs bracket an IPv6 address */
	if (length >= 2 && host[0] == '[' && host[length - 1] == ']') {
		host++;
		length -= 2;
	}
	if (length >= sizeof(out->host) || !is_host(host, length, out->family))
		return -1;
	memcpy(out->host, host, length);
	out->host[length] = '\0';
	return 0;
}

static int split_inet(const char *rest, struct qd_socketspec *out)
{
	const char *at = strchr(rest, '@');
	const char *colon = strrchr(rest, ':');
	char port[8] = "";
	int64_t number;

	if (at) { /* PORT@HOST */
		if (at - rest >= (int)sizeof(port))
			return -1;
		memcpy(port, rest, (size_t)(at - rest));
		if (copy_host(out, at + 1, strlen(at + 1)) < 0)
			return -1;
	} else if (colon) { /* HOST:PORT */
		snprintf(port, sizeof(port), "%s", colon + 1);
		if (copy_host(out, rest, (size_t)(colon - rest)) < 0)
			return -1;
	} else {
		snprintf(port, sizeof(port), "%s", rest);
	}
	if (qd_value_integer(port, 1, 65535, &number) < 0)
		return -1;
	out->port = (int)number;
	return 0;
}

static int parse_inet(const char *text, const char *rest, int family,
		      struct qd_socketspec *out, struct qd_error *err)
{
	const char *scheme = family == AF_INET6 ? "inet6" : "inet";

	out->family = family;
	if (split_inet(rest, out) < 0)
		return qd_error_set(
			err, EX_CONFIG,
			"\"%s\" has no port from 1 to 65535 or no "
			"good host%s; %s",
			text, family == AF_INET ? " (inet6: is for IPv6)" : "",
			EXPECTED);
	if (out->host[0])
		snprintf(out->milter, sizeof(out->milter), "%s:%d@%s", scheme,
			 out->port, out->host);
	else
		snprintf(out->milter, sizeof(out->milter), "%s:%d", scheme,
			 out->port);
	return 0;
}

int qd_socketspec_parse(const char *text, struct qd_socketspec *out,
			struct qd_error *err)
{
	struct qd_socketspec spec = { 0 };
	int rc;

	if (strncmp(text, "unix:", 5) == 0)
		rc = parse_unix(text + 5, &spec, err);
	else if (strncmp(text, "local:", 6) == 0)
		rc = parse_unix(text + 6, &spec, err);
	else if (strncmp(text, "inet:", 5) == 0)
		rc = parse_inet(text, text + 5, AF_INET, &spec, err);
	else if (strncmp(text, "inet6:", 6) == 0)
		rc = parse_inet(text, text + 6, AF_INET6, &spec, err);
	else
		rc = qd_error_set(err, EX_CONFIG, "\"%s\" is not a socket; %s",
				  text, EXPECTED);
	if (rc == 0)
		*out = spec;
	return rc;
}
