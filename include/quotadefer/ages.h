/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef QUOTADEFER_AGES_H
#define QUOTADEFER_AGES_H

#include <stdbool.h>

#include "quotadefer/table.h"

/* What was last said about each source. Zero-initialise. */
struct qd_ages {
	struct {
		char name[QD_SOURCE_MAX + 1];
		bool stale;
	} sources[1024]; /* of more, nothing is said */
	int count;
	bool said_empty;
};

/*
 * Log when a source becomes stale (older than max_age, in seconds) and when
 * it is back; and once, that nothing was published at all. Call every second
 * or so, in one thread.
 */
void qd_ages_watch(struct qd_ages *ages, struct qd_table *table,
		   int64_t max_age, int64_t now);

#endif
