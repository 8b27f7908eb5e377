/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef QUOTADEFER_METRICS_H
#define QUOTADEFER_METRICS_H

#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>

#include "quotadefer/rcpt.h"

/* How recipients are counted. */
enum qd_class {
	QD_CLASS_ACCEPT,
	QD_CLASS_DEFER,
	QD_CLASS_REJECT,
	QD_CLASS_WOULD_DEFER,
	QD_CLASS_LIMITED,
	QD_CLASS_EXEMPT,
	QD_CLASS_UNKNOWN,
	QD_CLASSES
};

enum {
	QD_BUCKETS = 16
};

/*
 * What the daemon counts. Each member is atomic on its own; a reader sees
 * figures of about the same moment.
 */
struct qd_metrics {
	int64_t started; /* seconds since 1970; set once */
	atomic_ullong rcpt[QD_CLASSES];
	atomic_ullong rcpt_seconds_bucket[QD_BUCKETS];
	atomic_ullong rcpt_nanoseconds;
	atomic_ullong data_deferred;
	atomic_ullong reply_errors;
	atomic_ullong sessions_total;
	atomic_llong sessions;
	atomic_ullong reloads;
	atomic_ullong reload_errors;
	atomic_bool last_reload_good;
	/* the feed from Redis */
	atomic_bool feed_up;
	atomic_ullong feed_connects;
	atomic_ullong feed_errors;
	atomic_ullong feed_loads;
	atomic_ullong feed_changes;
};

enum qd_class qd_metrics_class(const struct qd_answer *answer);

/* Count one answered recipient. Thread-safe, no lock. */
void qd_metrics_rcpt(struct qd_metrics *metrics, const struct qd_answer *answer,
		     int64_t nanoseconds);

/*
 * Write all figures, with those of the table and of the alias maps (NULL:
 * none), as text lines "name value", or as OpenMetrics 1.0 with "# EOF".
 * Neither holds an address or a mailbox name.
 */
void qd_metrics_write(struct qd_metrics *metrics, struct qd_table *table,
		      struct qd_aliases *aliases, int64_t now, bool openmetrics,
		      FILE *out);

#endif
