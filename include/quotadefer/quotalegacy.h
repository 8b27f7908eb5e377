/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef QUOTADEFER_QUOTALEGACY_H
#define QUOTADEFER_QUOTALEGACY_H

#include <stdbool.h>

#include "quotadefer/quotastore.h"

/*
 * The directory letter under which Cyrus keeps a root or domain, from its
 * name (dir_hash_c in lib/util.c); skip_user: the name is a root's, and what
 * precedes its first dot does not count (name_to_hashchar in
 * lib/cyrusdb_quotalegacy.c).
 */
char qd_quotalegacy_letter(const char *name, bool skip_user, bool full);

/* As qd_quotastore_scan, for quota_db: quotalegacy. */
int qd_quotalegacy_scan(const struct qd_imapdconf *conf,
			const struct qd_scan_options *options,
			struct qd_scan *scan, struct qd_error *err);

/*
 * Read the roots of these names alone into *scan, which the caller zeroed and
 * which is left unsorted. One that is gone is in none of its sets.
 */
int qd_quotalegacy_read(const struct qd_imapdconf *conf,
			const struct qd_scan_options *options,
			const struct qd_rootset *names, struct qd_scan *scan,
			struct qd_error *err);

#endif
