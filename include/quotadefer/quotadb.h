/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef QUOTADEFER_QUOTADB_H
#define QUOTADEFER_QUOTADB_H

#include "quotadefer/quotastore.h"

/* The file that holds all quota roots. Returns 0, or -1 if it does not fit. */
int qd_quotadb_path(const struct qd_imapdconf *conf, char *out, size_t size);

/*
 * As qd_quotastore_scan, for a quota_db that is one file, whatever its format:
 * Cyrus's own "cyr_dbtool FILE FORMAT show" reads it, with Cyrus's locks.
 * Runs that program, without a shell, and ends it if a tick stops the scan.
 */
int qd_quotadb_scan(const struct qd_imapdconf *conf,
		    const struct qd_scan_options *options, struct qd_scan *scan,
		    struct qd_error *err);

#endif
