/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef QUOTADEFER_SOCKETSPEC_H
#define QUOTADEFER_SOCKETSPEC_H

#include "quotadefer/error.h"

/*
 * Where the MTA finds the filter.
 *
 * family is AF_UNIX, AF_INET or AF_INET6. path is for AF_UNIX; host (may be
 * empty: every address) and port for the others. milter is the same in
 * libmilter's own order, "inet:8891@127.0.0.1".
 */
struct qd_socketspec {
	int family;
	char path[108];
	char host[256];
	int port;
	char milter[320];
};

/*
 * Read "unix:PATH", "local:PATH", "inet:PORT@HOST", "inet6:PORT@HOST" as
 * libmilter spells them, or "inet:HOST:PORT" as Postfix does. A unix path
 * must be absolute and fit sockaddr_un. Returns 0, or -1 with *err.
 */
int qd_socketspec_parse(const char *text, struct qd_socketspec *out,
			struct qd_error *err);

#endif
