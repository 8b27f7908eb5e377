/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef QUOTADEFER_OWNER_H
#define QUOTADEFER_OWNER_H

#include <stdbool.h>

#include "quotadefer/error.h"
#include "quotadefer/imapdconf.h"

/*
 * As root, become the user who owns Cyrus's files, for good: they are never
 * read as root. Where root made the directory itself, that is "cyrus". Keeps
 * the group of the table's directory (NULL: none), which is made if missing
 * and make says so. Does nothing without root's rights. Returns 0 or -1 with
 * *err: EX_TEMPFAIL if Cyrus's directory is not there.
 */
int qd_owner_become(const struct qd_imapdconf *conf, const char *table,
		    bool make, struct qd_error *err);

#endif
