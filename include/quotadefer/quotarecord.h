/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef QUOTADEFER_QUOTARECORD_H
#define QUOTADEFER_QUOTARECORD_H

#include <stddef.h>

#include "quotadefer/record.h"

enum qd_quotarecord {
	QD_QUOTA_ROOT,	   /* a record */
	QD_QUOTA_NONE,	   /* no root: an empty file */
	QD_QUOTA_MALFORMED /* not to be believed in any part */
};

/*
 * Read the contents of a quotalegacy file, newline at the end included. Fills
 * the usage of *rec for ROOT; *why is a few words for MALFORMED.
 *
 * Both the list form of Cyrus 2.5 and later and the older forms are read.
 * Stricter than Cyrus: what it would guess about is MALFORMED here, so that
 * a guess never defers mail. From quota_parseval in imap/quota_db.c, myfetch
 * in lib/cyrusdb_quotalegacy.c.
 */
enum qd_quotarecord qd_quotarecord_file(const char *data, size_t length,
					struct qd_record *rec,
					const char **why);

/* The same for a value of a quotas.db, which has no newline at the end. */
enum qd_quotarecord qd_quotarecord_value(const char *data, size_t length,
					 struct qd_record *rec,
					 const char **why);

#endif
