/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef QUOTADEFER_SIGNALS_H
#define QUOTADEFER_SIGNALS_H

/*
 * Signals as bytes in a pipe, for a poll(2) loop: 'H' for SIGHUP and SIGUSR1,
 * 'T' for SIGTERM and SIGINT. One for the process.
 */

/*
 * From here on a SIGHUP or SIGUSR1 waits for qd_signals_catch, instead of
 * ending the process while it starts. Call before the pid file is there to be
 * used.
 */
void qd_signals_hold_reloads(void);

/*
 * Catch them all, in the calling thread alone. Returns the end of the pipe to
 * poll and read, which does not block; or -1.
 */
int qd_signals_catch(void);

/* The calling thread leaves all signals to the one that catches them. */
void qd_signals_leave(void);

/* Put a byte of one's own into the pipe; from any thread. */
void qd_signals_tell(char what);

#endif
