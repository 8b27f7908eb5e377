/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef QUOTADEFER_FEED_H
#define QUOTADEFER_FEED_H

#include "quotadefer/daemon.h"

/*
 * The feed: a thread that keeps the local table equal to what all sources
 * published in Redis. It compares everything once, then follows the stream of
 * changes; a gap in the stream, another server process or a failover makes it
 * compare again. While Redis is away the table stays as it is, and ages.
 */
struct qd_feed;

/*
 * Start the thread, for a daemon whose settings have redis. settings is
 * borrowed for the call; the thread takes a reference. NULL with *err if it
 * cannot be started.
 */
struct qd_feed *qd_feed_start(struct qd_daemon *daemon,
			      struct qd_settings *settings,
			      struct qd_error *err);

/*
 * Stop the thread and set *feed to NULL. NULL is fine. Does not wait: the
 * thread may be waiting for a server or a name, but writes no more after what
 * it is just writing, which it does with daemon->writing held.
 */
void qd_feed_stop(struct qd_feed **feed);

#endif
