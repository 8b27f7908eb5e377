/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef QUOTADEFER_PRIVS_H
#define QUOTADEFER_PRIVS_H

#include <sys/types.h>

#include "quotadefer/error.h"

/* Who to become. */
struct qd_identity {
	char name[65];
	uid_t uid;
	gid_t gid;
};

/* Look up a user by name. Returns 0 or -1 with *err. */
int qd_privs_find(const char *name, struct qd_identity *out,
		  struct qd_error *err);

/* The user who owns path. Returns 0 or -1 with *err. */
int qd_privs_owner(const char *path, struct qd_identity *out,
		   struct qd_error *err);

/*
 * Become that user for good, with all his groups and extra_group (or -1), and
 * prove that root cannot come back. Does nothing if already him. The process
 * must be root or him. Returns 0 or -1 with *err.
 */
int qd_privs_drop(const struct qd_identity *who, gid_t extra_group,
		  struct qd_error *err);

/*
 * Make directory path, and its parents, if missing; as root, give the last
 * one to owner with mode. An existing one is left as it is. Returns 0 or -1.
 */
int qd_privs_directory(const char *path, mode_t mode,
		       const struct qd_identity *owner, struct qd_error *err);

/*
 * As root: see to it that who may use the table in directory dir, which is
 * made if missing: mode 2770, group of who, and the same for its files.
 */
int qd_privs_table(const char *dir, const struct qd_identity *who,
		   struct qd_error *err);

#endif
