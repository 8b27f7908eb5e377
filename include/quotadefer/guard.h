/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef QUOTADEFER_GUARD_H
#define QUOTADEFER_GUARD_H

#include "quotadefer/error.h"
#include "quotadefer/source.h"

/*
 * The figures of two scans of a source. before has roots 0 if it is the
 * first. The limits are in percent: how much of the roots may be gone, by
 * how much the share that is over may grow.
 */
struct qd_guard {
	int64_t roots_before, over_before;
	int64_t roots, over;
	int64_t unreadable, unreadable_directories;
	int64_t roots_limit, full_limit;
};

/*
 * Is this scan to be believed? Returns 0, or -1 with *err (EX_TEMPFAIL): no
 * root at all, far fewer than before, far more of them over, too many that
 * could not be read. Small numbers may change as they like.
 */
int qd_guard_check(const struct qd_guard *guard, struct qd_error *err);

#endif
