/* SPDX-License-Identifier: BSD-2-Clause */
#include "link.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

enum {
	PATIENCE_MS = 10000 /* Cyrus may have to start a process first */
};

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

static int fail(const struct link *link, const char *why, struct qd_error *err)
{
	return qd_error_set(err, EX_TEMPFAIL, "%s: %s", link->name, why);
}

/* Until the socket is ready for that, or the deadline is over. */
static int wait_for(struct link *link, short events, int64_t deadline,
		    struct qd_error *err)
{
	struct pollfd pfd = { .fd = link->fd, .events = events };
	int64_t left;
	int n;

	do {
		left = deadline - now_ms();
		n = left > 0 ? poll(&pfd, 1, (int)left) : 0;
	} while (n < 0 && errno == EINTR);
	if (n == 0)
		return fail(link, "no answer in time", err);
	return n < 0 ? fail(link, strerror(errno), err) : 0;
}

static int connect_to(struct link *link, const struct sockaddr *address,
		      socklen_t length, struct qd_error *err)
{
	int64_t deadline = now_ms() + PATIENCE_MS;
	int why = 0;
	socklen_t size = sizeof(why);

	link->fd = socket(address->sa_family,
			  SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (link->fd < 0)
		return qd_error_set(err, EX_OSERR, "socket: %m");
	if (connect(link->fd, address, length) == 0)
		return 0;
	if (errno != EINPROGRESS)
		return fail(link, strerror(errno), err);
	if (wait_for(link, POLLOUT, deadline, err) < 0)
		return -1;
	if (getsockopt(link->fd, SOL_SOCKET, SO_ERROR, &why, &size) < 0)
		why = errno;
	return why ? fail(link, strerror(why), err) : 0;
}

static int connect_unix(struct link *link, const char *path,
			struct qd_error *err)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	if (strlen(path) >= sizeof(address.sun_path))
		return qd_error_set(err, EX_USAGE, "%s: too long a path",
				    link->name);
	strcpy(address.sun_path, path);
	link->is_local = true;
	return connect_to(link, (struct sockaddr *)&address, sizeof(address),
			  err);
}

static bool is_loopback(const struct sockaddr *address)
{
	const struct sockaddr_in *v4 = (const void *)address;
	const struct sockaddr_in6 *v6 = (const void *)address;

	if (address->sa_family == AF_INET)
		return ntohl(v4->sin_addr.s_addr) >> 24 == 127;
	return address->sa_family == AF_INET6 &&
	       IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr);
}

/* "HOST:PORT" or "[::1]:PORT"; false if it is neither. */
static bool split(const char *where, char host[64], const char **port)
{
	const char *colon = strrchr(where, ':');
	size_t length = colon ? (size_t)(colon - where) : 0;

	if (!length || !colon[1])
		return false;
	*port = colon + 1;
	if (where[0] == '[' && where[length - 1] == ']') {
		where++;
		length -= 2;
	}
	if (length == 9 && strncmp(where, "localhost", 9) == 0)
		where = "127.0.0.1";
	return snprintf(host, 64, "%.*s", (int)length, where) < 64;
}

static int connect_inet(struct link *link, const char *where,
			struct qd_error *err)
{
	const struct addrinfo hints = { .ai_flags =
						AI_NUMERICHOST | AI_NUMERICSERV,
					.ai_socktype = SOCK_STREAM };
	struct addrinfo *found;
	const char *port;
	char host[64];
	int rc;

	if (!split(where, host, &port) ||
	    getaddrinfo(host, port, &hints, &found) != 0)
		return qd_error_set(err, EX_USAGE,
				    "%s: not the path of a socket, nor a "
				    "host (as a number, or localhost) and "
				    "a port such as 127.0.0.1:143",
				    link->name);
	link->is_local = is_loopback(found->ai_addr);
	rc = connect_to(link, found->ai_addr, found->ai_addrlen, err);
	freeaddrinfo(found);
	return rc;
}

int link_open(struct link *link, const char *what, const char *where,
	      struct qd_error *err)
{
	snprintf(link->name, sizeof(link->name), "%s %s", what, where);
	link->fd = -1;
	link->have = link->taken = 0;
	if (where[0] == '/')
		return connect_unix(link, where, err);
	return connect_inet(link, where, err);
}

int link_send(struct link *link, const char *data, size_t length,
	      struct qd_error *err)
{
	int64_t deadline = now_ms() + PATIENCE_MS;
	ssize_t n;

	while (length) {
		n = send(link->fd, data, length, MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno != EAGAIN)
			return fail(link, strerror(errno), err);
		if (n < 0 && wait_for(link, POLLOUT, deadline, err) < 0)
			return -1;
		if (n > 0) {
			data += n;
			length -= (size_t)n;
		}
	}
	return 0;
}

static int receive(struct link *link, int64_t deadline, struct qd_error *err)
{
	ssize_t n;

	if (link->have == sizeof(link->in))
		return fail(link, "too long an answer", err);
	if (wait_for(link, POLLIN, deadline, err) < 0)
		return -1;
	n = recv(link->fd, link->in + link->have, sizeof(link->in) - link->have,
		 0);
	if (n == 0)
		return fail(link, "it hung up", err);
	if (n > 0)
		link->have += (size_t)n;
	else if (errno != EAGAIN && errno != EINTR)
		return fail(link, strerror(errno), err);
	return 0;
}

ssize_t link_read(struct link *link, link_framer *framer, const char **frame,
		  struct qd_error *err)
{
	int64_t deadline = now_ms() + PATIENCE_MS;
	ssize_t length;

	link->have -= link->taken;
	memmove(link->in, link->in + link->taken, link->have);
	link->taken = 0;
	while ((length = framer(link->in, link->have)) == 0)
		if (receive(link, deadline, err) < 0)
			return -1;
	if (length < 0)
		return fail(link, "not an answer of its protocol", err);
	link->taken = (size_t)length;
	*frame = link->in;
	return length;
}

void link_close(struct link *link)
{
	if (link->fd >= 0)
		close(link->fd);
	link->fd = -1;
}
