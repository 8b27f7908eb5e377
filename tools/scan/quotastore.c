/* SPDX-License-Identifier: BSD-2-Clause */
#include "quotadefer/quotastore.h"

#include <string.h>
#include <sysexits.h>

#include "quotadefer/findings.h"
#include "quotadefer/quotadb.h"
#include "quotadefer/quotalegacy.h"

/* Those of lib/cyrusdb.c, old and new. */
static int check_format(const struct qd_imapdconf *conf, struct qd_error *err)
{
	static const char *const formats[] = { "quotalegacy", "twoskip",
					       "skiplist",    "flat",
					       "berkeley",    "berkeley-hash",
					       "lmdb",	      "twom" };

	for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++)
		if (strcmp(conf->quota_db, formats[i]) == 0)
			return 0;
	return qd_error_set(err, EX_CONFIG,
			    "quota_db: %.30s: not a format of Cyrus: "
			    "quotalegacy, twoskip, skiplist, flat",
			    conf->quota_db);
}

int qd_quotastore_check(const struct qd_imapdconf *conf, struct qd_error *err)
{
	if (conf->quota_use_conversations)
		return qd_error_set(
			err, EX_CONFIG,
			"quota_use_conversations is on: Cyrus then counts "
			"usage in its conversations databases, and the quota "
			"files are not the truth; this server cannot be "
			"scanned unless it is turned off, and quota -f run");
	if (strcmp(conf->quota_db, "sql") == 0)
		return qd_error_set(
			err, EX_CONFIG,
			"quota_db: sql: not a file that can be read; convert "
			"it with cvt_cyrusdb(8) to quotalegacy or twoskip, and "
			"set quota_db to that");
	return check_format(conf, err);
}

static bool is_quotalegacy(const struct qd_imapdconf *conf)
{
	return strcmp(conf->quota_db, "quotalegacy") == 0;
}

int qd_quotastore_scan(const struct qd_imapdconf *conf,
		       const struct qd_scan_options *options,
		       struct qd_scan *scan, struct qd_error *err)
{
	memset(scan, 0, sizeof(*scan));
	if (qd_quotastore_check(conf, err) < 0)
		return -1;
	if (is_quotalegacy(conf) ?
		    qd_quotalegacy_scan(conf, options, scan, err) < 0 :
		    qd_quotadb_scan(conf, options, scan, err) < 0)
		return -1;
	if (qd_findings_finish(scan, options) < 0)
		return qd_error_set(err, EX_OSERR,
				    "no memory for what was found");
	return 0;
}

enum qd_rule qd_quotastore_rule(const struct qd_settings *settings,
				const struct qd_imapdconf *conf)
{
	switch (settings->rule) {
	case QD_USE_LMTPD:
		return QD_RULE_LMTPD;
	case QD_USE_STRICT:
		return QD_RULE_STRICT;
	case QD_USE_SMMAPD:
		return QD_RULE_SMMAPD;
	default:
		return conf->lmtp_strict_quota ? QD_RULE_STRICT : QD_RULE_LMTPD;
	}
}

void qd_scan_free(struct qd_scan *scan)
{
	qd_rootset_free(&scan->publish);
	qd_rootset_free(&scan->unreadable_roots);
	qd_rootset_free(&scan->shields);
}
