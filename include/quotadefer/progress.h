/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef QUOTADEFER_PROGRESS_H
#define QUOTADEFER_PROGRESS_H

#include <stdint.h>

#include "quotadefer/quotastore.h"

/* The line that shows on a terminal how far a scan is. */
struct qd_progress {
	int64_t started_ms;
	int enabled;
};

/* Begin; nothing is ever shown if quiet, or if stderr is not a terminal. */
void qd_progress_begin(struct qd_progress *progress, int quiet);

/* Show the counts and the rate, in place of what was shown before. */
void qd_progress_show(const struct qd_progress *progress,
		      const struct qd_scan *scan);

/* Take the line away. */
void qd_progress_end(const struct qd_progress *progress);

/* Seconds since it began. */
double qd_progress_seconds(const struct qd_progress *progress);

#endif
