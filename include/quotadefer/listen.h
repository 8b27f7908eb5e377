/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef QUOTADEFER_LISTEN_H
#define QUOTADEFER_LISTEN_H

#include <sys/types.h>

#include "quotadefer/error.h"
#include "quotadefer/socketspec.h"

/*
 * Make sure that a server socket may be bound: nobody else serves it, and a
 * stale unix socket is gone. libmilter itself would take a live one away.
 *
 * A unix socket is claimed by a lock on "PATH.lock", which the process holds
 * until it ends; its directory must exist and be writable to its owner and
 * group only, or sticky. Anything but a socket at the path is refused.
 * Returns 0, or -1 with *err: EX_TEMPFAIL if somebody serves it already.
 */
int qd_listen_claim(const struct qd_socketspec *spec, struct qd_error *err);

/*
 * The group that may connect: the one of that name, or if name is NULL that of
 * Postfix; (gid_t)-1 if there is no Postfix. Returns 0 or -1 with *err.
 */
int qd_listen_group(const char *name, gid_t *out, struct qd_error *err);

/* Bind and listen on a unix stream socket of this mode, after claiming it. */
int qd_listen_unix(const char *path, mode_t mode, struct qd_error *err);

#endif
