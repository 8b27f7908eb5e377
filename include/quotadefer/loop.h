/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef QUOTADEFER_LOOP_H
#define QUOTADEFER_LOOP_H

#include "quotadefer/daemon.h"
#include "quotadefer/options.h"

/*
 * Run the filter: libmilter in a thread, the feed in another if there is
 * Redis, and in this one signals, the control socket and what is due every
 * second. Called in the main thread, while it is the only one.
 *
 * control is the listening control socket, taken over. options are what a
 * reload loads again. ready(arg) is called once everything runs. Returns the
 * exit status, after SIGTERM or SIGINT, or if libmilter failed. The threads
 * of libmilter may still be there: do not free what they use.
 */
int qd_loop_run(struct qd_daemon *daemon, int control,
		const struct qd_options *options, void (*ready)(int arg),
		int arg);

#endif
