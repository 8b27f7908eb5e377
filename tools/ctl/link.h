/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef QUOTADEFER_CTL_LINK_H
#define QUOTADEFER_CTL_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "quotadefer/error.h"

enum {
	LINK_FRAME_MAX = 65536 /* the longest answer that is believed */
};

/*
 * One connection to a server, which sends answers that have an end: frames.
 * Every step has a deadline, however slowly the server drips. After an error
 * it is good for link_close only. About 64 KiB: not for the stack.
 */
struct link {
	char name[300]; /* for messages: "smmapd /run/cyrus/socket/smmap" */
	int fd;
	bool is_local; /* a unix socket, or a loopback address */
	char in[LINK_FRAME_MAX];
	size_t have, taken;
};

/*
 * How long the frame at the front of data is: 0 if its end is not there yet,
 * -1 if it is none.
 */
typedef ssize_t link_framer(const char *data, size_t length);

/*
 * Connect to where: a path, or HOST:PORT, the host being a number or
 * "localhost", so that nothing waits for DNS. what names the server. Returns 0
 * or -1 with *err; in both cases link_close is fine.
 */
int link_open(struct link *link, const char *what, const char *where,
	      struct qd_error *err);

/* Send all of it. */
int link_send(struct link *link, const char *data, size_t length,
	      struct qd_error *err);

/* The next frame; *frame is good until the next call. Its length, or -1. */
ssize_t link_read(struct link *link, link_framer *framer, const char **frame,
		  struct qd_error *err);

void link_close(struct link *link);

#endif
