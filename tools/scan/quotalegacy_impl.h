/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef QUOTADEFER_QUOTALEGACY_IMPL_H
#define QUOTADEFER_QUOTALEGACY_IMPL_H

/* What the quotalegacy*.c files share; no other file may include this. */

#include <stdatomic.h>

#include "quotadefer/findings.h"
#include "quotadefer/quotalegacy.h"

/* A record is some 50 bytes; SCAN may add a mailbox name. */
enum {
	QD_RECORD_FILE_MAX = 64 * 1024
};

/*
 * An open directory, shared by the tasks that read its files. path is for
 * messages, from the base directory on. domain is "" for the default one;
 * letter 0 is a domain's own quota directory, where the file "root" is the
 * domain's.
 */
struct qd_quotadir {
	int fd;
	atomic_int users;
	char letter;
	char domain[256];
	char path[300];
};

/* One thread of the walk. */
struct qd_legacy_reader {
	struct qd_findings found;
	const struct qd_imapdconf *conf;
	char buffer[QD_RECORD_FILE_MAX + 1];
};

/*
 * Read one root and note what is found. is_regular: the directory says that
 * it is a file; this is then not asked again.
 */
void qd_legacy_read(struct qd_legacy_reader *reader,
		    const struct qd_quotadir *dir, const char *file,
		    bool is_regular);

/* Note that something which is no root is there under the name of one. */
void qd_legacy_hidden(struct qd_legacy_reader *reader,
		      const struct qd_quotadir *dir, const char *name);

#endif
