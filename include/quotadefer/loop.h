/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef QUOTADEFER_LOOP_H
#define QUOTADEFER_LOOP_H

#include "quotadefer/daemon.h"
#include "quotadefer/options.h"

/*
 * From here on a SIGHUP or SIGUSR1 waits for qd_loop_run, instead of ending
 * the process while it starts. Call before the pid file is there to be used.
 */
void qd_loop_hold_reloads(void);

/* The calling thread leaves all signals to the main thread. */
void qd_loop_leave_signals(void);

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
