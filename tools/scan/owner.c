/* SPDX-License-Identifier: BSD-2-Clause */
#include "quotadefer/owner.h"

#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "quotadefer/privs.h"

static int find_owner(const struct qd_imapdconf *conf,
		      struct qd_identity *owner, struct qd_error *err)
{
	char base[1024];

	if (qd_imapdconf_quota_base(conf, base, sizeof(base)) < 0)
		return qd_error_set(err, EX_CONFIG, "quota_db_path: too long");
	if (qd_privs_owner(base, owner, err) < 0) {
		err->status = EX_TEMPFAIL;
		return qd_error_prefix(err, "configdirectory, or the place of "
					    "quota_db_path");
	}
	if (owner->uid != 0)
		return 0;
	if (qd_privs_find("cyrus", owner, err) < 0)
		return qd_error_set(err, EX_NOPERM,
				    "%s belongs to root, and there is no user "
				    "cyrus: chown it to the user of Cyrus, as "
				    "whom it is to be read",
				    base);
	return 0;
}

int qd_owner_become(const struct qd_imapdconf *conf, const char *table,
		    bool make, struct qd_error *err)
{
	struct qd_identity owner;
	gid_t group = (gid_t)-1;
	struct stat st;

	if (geteuid() != 0)
		return 0;
	if (find_owner(conf, &owner, err) < 0)
		return -1;
	if (table && make && qd_privs_directory(table, 02770, &owner, err) < 0)
		return -1;
	/* he may write the table, whose group he need not be in otherwise */
	if (table && stat(table, &st) == 0 && st.st_gid != 0)
		group = st.st_gid;
	return qd_privs_drop(&owner, group, err);
}
