/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef QUOTADEFER_FINDINGS_H
#define QUOTADEFER_FINDINGS_H

#include <pthread.h>
#include <stdbool.h>

#include "quotadefer/quotastore.h"

/*
 * What one thread of a scan finds. Counters and complaints go to the scan at
 * once, roots when the thread is done and qd_findings_merge is called.
 */
struct qd_findings {
	struct qd_scan *scan;
	const struct qd_scan_options *options;
	pthread_mutex_t *lock; /* of the scan's complaints */
	struct qd_rootset publish, shields, unreadable;
	bool no_memory;
};

/*
 * A root was read: name within domain, either may be "", not both. Keeps it
 * if it is to be published, or may be a shield.
 */
void qd_findings_root(struct qd_findings *found, const char *domain,
		      const char *name, struct qd_record *rec);

/*
 * Something is there under the name of a root, and is none, or none that can
 * be read. For Cyrus it hides the roots above it all the same: quota_findroot
 * asks only stat(2). So it may be a shield, one that has no limits.
 */
void qd_findings_hidden(struct qd_findings *found, const char *domain,
			const char *name);

/* A root is there, and could not be read or makes no sense. */
void qd_findings_unreadable(struct qd_findings *found, const char *domain,
			    const char *name, const char *what,
			    const char *why);
void qd_findings_malformed(struct qd_findings *found, const char *what,
			   const char *why);

/* A whole directory could not be read. */
void qd_findings_directory(struct qd_findings *found, const char *what,
			   const char *why);

/* Move the roots into the scan and free the rest. -1: no memory, now or ever
   before. One caller at a time. */
int qd_findings_merge(struct qd_findings *found);

/*
 * When all are merged: sort what is to be published, and add the shields. Only
 * the nearest root counts, so a root that is not over, below one that is, must
 * be in the table, or a look-up would pass it by. -1: no memory.
 */
int qd_findings_finish(struct qd_scan *scan,
		       const struct qd_scan_options *options);

#endif
