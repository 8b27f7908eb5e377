/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef FILTER_H
#define FILTER_H

/*
 * The real programs, run by a test in its scratch directory: a small Cyrus
 * tree to scan, the filter in the foreground with its log in a file.
 */

#include <stdbool.h>
#include <sys/types.h>

#include "milterclient.h"

/*
 * Set-up for a test program: the scratch directory with an imapd.conf, and a
 * quota tree in which full@ and fuller@example.org are over, good@ and
 * better@ are not. Tear-down ends what is left running.
 */
int filter_set_up(void **state);
int filter_tear_down(void **state);

/* Write q.conf: the usual settings, and more lines. */
void filter_settings(const char *more);

/* Set a root's usage of its 100 KiB; roots are user.full and so on. */
void filter_usage(const char *root, long used);

/* Run the scanner with q.conf; its exit status. */
int filter_scan(const char *option);

/* Start the filter with q.conf, wait until it serves. */
void filter_start(void);

/* Run the filter with an override, and wait for nothing. */
void filter_launch_with(const char *override);

/* The same with an override such as "mode=monitor", on any socket. */
void filter_start_with(const char *override);

/* The same as filter_start, not waiting; for what is not to come up. Its exit status. */
int filter_start_and_fail(void);

pid_t filter_pid(void);

/* Send a signal. */
void filter_signal(int number);

/* Ask it to stop, or wait for its end; the exit status, -N for signal N. */
int filter_stop(int number);

/* filter_settings, a scan and filter_start; and a stop. All must go well. */
void filter_begin(const char *more);
void filter_end(void);

/* Everything logged since filter_start. */
const char *filter_log(void);

/* How often text is in the log, which is written a moment after its cause. */
int filter_logged(const char *text);

/* Wait until text is in the log so many times; fails after a minute. */
void filter_wait_log(const char *text, int times);

/* The same, and it must not be there more often by then. */
void filter_expect_log(const char *text, int times);

/* Wait for a condition; fails after a minute. */
void wait_until(const char *what, bool (*condition)(void));

/* A session as Postfix opens it: connected, negotiated, HELO said. */
void filter_open(struct mc *mc);

/* One recipient; fails unless the answer is that ("" for continue). */
void expect_rcpt(struct mc *mc, const char *rcpt, const char *want);

/* The DATA command, and if it goes on the end of the message; "" if accepted. */
void expect_data(struct mc *mc, const char *want);

/* Run a program to its end; its exit status, output in out. */
int run_program(const char *const *argv, char *out, size_t size);

#endif
