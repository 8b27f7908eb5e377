/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef QUOTADEFER_IMAPDCONF_H
#define QUOTADEFER_IMAPDCONF_H

#include <stdbool.h>
#include <stddef.h>

#include "quotadefer/error.h"
#include "quotadefer/naming.h"

/* What matters here of imapd.conf(5), with Cyrus 3.x's defaults. */
struct qd_imapdconf {
	char path[1024]; /* of imapd.conf itself */
	char configdirectory[1024];
	char quota_db[32];
	char quota_db_path[1024]; /* "" if not set */
	bool fulldirhash;
	bool quota_use_conversations;
	bool lmtp_strict_quota;
	struct qd_naming naming;
};

/*
 * Read path as Cyrus does: "key: value" lines, "\" at the end continues, "#"
 * begins a comment line, "@include: FILE", {configdirectory} at the front of
 * a value. A duplicate, an unknown directive and an unusable value of a key
 * in the struct are errors, as they are to Cyrus; other keys are skipped.
 *
 * Returns 0, or -1 with *err, which names file and line. Blocks for reading
 * small local files. From config_read_file in lib/libconfig.c.
 */
int qd_imapdconf_read(const char *path, struct qd_imapdconf *out,
		      struct qd_error *err);

/*
 * The directory that holds quota/ and domain/ of a quotalegacy database.
 * Returns 0, or -1 if it does not fit.
 */
int qd_imapdconf_quota_base(const struct qd_imapdconf *conf, char *out,
			    size_t size);

#endif
