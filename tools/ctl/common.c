/* SPDX-License-Identifier: BSD-2-Clause */
#include "ctl.h"

#include <inttypes.h>
#include <stdio.h>

struct qd_table *ctl_open_table(struct ctl *ctl, int *status)
{
	const struct qd_settings *settings = ctl->settings;
	struct qd_error err = { 0 };
	struct qd_table *table;

	if (qd_table_open(settings->table, QD_TABLE_READ, settings->table_size,
			  &table, NULL, &err) == 0)
		return table;
	*status = qd_options_fail(&ctl->common, &err);
	qd_table_close(&table);
	return NULL;
}

const char *ctl_age(int64_t seconds, char out[32])
{
	if (seconds == INT64_MAX)
		snprintf(out, 32, "unknown");
	else if (seconds < 120)
		snprintf(out, 32, "%" PRId64 " s", seconds);
	else if (seconds < 7200)
		snprintf(out, 32, "%" PRId64 " min", seconds / 60);
	else if (seconds < 2 * 86400)
		snprintf(out, 32, "%" PRId64 " h %" PRId64 " min",
			 seconds / 3600, seconds % 3600 / 60);
	else
		snprintf(out, 32, "%" PRId64 " days", seconds / 86400);
	return out;
}

/* "101.3 MiB"; a person's figure, and so not for comparing. */
static const char *human(int64_t bytes, char out[32])
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB" };
	double scaled = (double)bytes;
	int unit = 0;

	for (; unit < 4 && scaled >= 1024; unit++)
		scaled /= 1024;
	snprintf(out, 32, unit ? "%.1f %s" : "%.0f %s", scaled, units[unit]);
	return out;
}

const char *ctl_usage(const struct qd_record *rec, enum qd_resource res,
		      char out[CTL_USAGE])
{
	int64_t used = rec->usage[res].used, limit = qd_usage_limit(rec, res);
	char a[32], b[32], more[32];

	if (res == QD_MESSAGE || res == QD_MAILBOX_COUNT)
		snprintf(out, CTL_USAGE, "%" PRId64 " of %" PRId64, used,
			 limit);
	else if (used > limit)
		/* one byte makes the difference, and is to be seen */
		snprintf(out, CTL_USAGE, "%s of %s, %s over", human(used, a),
			 human(limit, b), human(used - limit, more));
	else
		snprintf(out, CTL_USAGE, "%s of %s", human(used, a),
			 human(limit, b));
	return out;
}
