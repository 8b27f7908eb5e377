/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef QUOTADEFER_CONTROL_H
#define QUOTADEFER_CONTROL_H

#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdbool.h>

#include "quotadefer/error.h"

/*
 * The control socket: a client connects, sends one line, reads an answer and
 * the end of file. The first line of the answer is "ok" or
 * "error STATUS: REASON", with the sysexits(3) code that it would end a program
 * with.
 * Served from the caller's poll(2) loop; clients are few, bounded and timed.
 */
struct qd_control;

enum {
	QD_CONTROL_CLIENTS = 16
};

/*
 * What a request does: write the answer, without the first line, to out, or
 * return -1 with *err. trusted: the peer is root or our own user, and may
 * change things.
 */
typedef int qd_control_handler(void *arg, const char *request, bool trusted,
			       FILE *out, struct qd_error *err);

/* Serve the listening socket fd, which is taken over. NULL: no memory. */
struct qd_control *qd_control_new(int fd, qd_control_handler *handler,
				  void *arg);

/* What to poll for; returns how many of pfds (at least clients + 1) are set. */
int qd_control_poll(struct qd_control *control, struct pollfd *pfds);

/*
 * Act on what poll found, and show out clients whose time is up; so call it
 * after every poll. now_ms: a monotonic clock. Never blocks.
 */
void qd_control_handle(struct qd_control *control, const struct pollfd *pfds,
		       int count, int64_t now_ms);

/* Close everything and set *control to NULL. */
void qd_control_free(struct qd_control **control);

/*
 * The client side: send request to the daemon at path, copy the answer to
 * out. Returns 0, or -1 with *err (EX_UNAVAILABLE: no daemon there). Blocks
 * at most timeout_ms.
 */
int qd_control_ask(const char *path, const char *request, int timeout_ms,
		   FILE *out, struct qd_error *err);

#endif
