/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef QUOTADEFER_CHANGES_H
#define QUOTADEFER_CHANGES_H

#include <stdbool.h>

#include "quotadefer/error.h"
#include "quotadefer/imapdconf.h"
#include "quotadefer/rootset.h"

/*
 * What changes in Cyrus's quota roots, by inotify(7). Nothing is locked or
 * opened but directories, for reading.
 *
 * Cyrus writes NAME.NEW and renames it, so a file moved into place or deleted
 * is a change; a new directory is watched, and what is in it already counts as
 * changed. A store that is one file only says that it changed.
 */
struct qd_changes;

/*
 * Begin to watch. Returns 0, or -1 with *err (EX_UNAVAILABLE) where that cannot
 * work: a network file system, no watches left, no inotify.
 */
int qd_changes_open(const struct qd_imapdconf *conf, struct qd_changes **out,
		    struct qd_error *err);

/* Readable when there is something to take. */
int qd_changes_fd(const struct qd_changes *changes);

/*
 * Add the names of the roots that changed to roots, without records; some may
 * come twice. *all is set if any root may have changed: events were lost, or
 * the store does not say which. Does not block, and need not take all there
 * is. Returns 0, or -1 with *err (EX_UNAVAILABLE: watching cannot go on, as
 * when a directory was moved or unmounted; close, open again, and read all).
 */
int qd_changes_take(struct qd_changes *changes, struct qd_rootset *roots,
		    bool *all, struct qd_error *err);

/* Stop and set *changes to NULL. NULL is fine. */
void qd_changes_close(struct qd_changes **changes);

#endif
