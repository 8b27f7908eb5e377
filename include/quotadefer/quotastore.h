/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef QUOTADEFER_QUOTASTORE_H
#define QUOTADEFER_QUOTASTORE_H

#include <stdatomic.h>
#include <stdint.h>

#include "quotadefer/error.h"
#include "quotadefer/imapdconf.h"
#include "quotadefer/record.h"
#include "quotadefer/rootset.h"
#include "quotadefer/settings.h"

/* At most so many malformed and unreadable roots are named. */
enum {
	QD_COMPLAINTS = 20
};

struct qd_complaint {
	char what[600]; /* the file */
	char why[200];
};

/*
 * What a scan found. publish: the roots that go into the table; unreadable:
 * those of which nothing is known now; shields: others, that may have one that
 * is over above them. The first two are sorted at the end. The counters may be
 * read by other threads meanwhile.
 */
struct qd_scan {
	struct qd_rootset publish;
	struct qd_rootset unreadable_roots;
	struct qd_rootset shields;
	atomic_llong roots;
	atomic_llong over;
	atomic_llong malformed;
	atomic_llong unreadable;
	atomic_llong unreadable_directories;
	struct qd_complaint complaints[QD_COMPLAINTS];
	int complaint_count;
};

/*
 * What is to be found: roots over by rule for a message of up to size bytes,
 * and those that shield what is below them from one that is over.
 * threads 0: as many as pay. tick is called about every 100 ms in the calling
 * thread; not 0 stops the scan.
 */
struct qd_scan_options {
	enum qd_rule rule;
	int64_t size;
	bool domain_roots;
	const char *cyr_dbtool;
	int threads;
	int64_t now;
	int (*tick)(void *arg, const struct qd_scan *scan);
	void *arg;
};

/*
 * Read every quota root of a Cyrus server, of the store that conf names. Writes
 * nothing there, and takes no lock itself (cyr_dbtool does). Symbolic links,
 * FIFOs, empty files and Cyrus's own *.NEW are no roots; one that Cyrus would
 * look for elsewhere is malformed.
 *
 * Returns 0, also if roots or directories were unreadable (see the counters),
 * or -1 with *err if nothing could be read. Blocks as long as it takes; uses
 * threads of its own. *scan is zeroed first; free it with qd_scan_free.
 */
int qd_quotastore_scan(const struct qd_imapdconf *conf,
		       const struct qd_scan_options *options,
		       struct qd_scan *scan, struct qd_error *err);

/* Refuse stores and settings that cannot be scanned; 0 or -1 with *err. */
int qd_quotastore_check(const struct qd_imapdconf *conf, struct qd_error *err);

/* The rule that the settings ask for; "auto" is as imapd.conf has it. */
enum qd_rule qd_quotastore_rule(const struct qd_settings *settings,
				const struct qd_imapdconf *conf);

void qd_scan_free(struct qd_scan *scan);

#endif
