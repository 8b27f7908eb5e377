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

const char *ctl_usage(const struct qd_record *rec, enum qd_resource res,
		      char out[64])
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB" };
	const struct qd_usage *usage = &rec->usage[res];
	double limit = (double)qd_usage_limit(rec, res), scale = 1;
	int unit = 0;

	if (res == QD_MESSAGE || res == QD_MAILBOX_COUNT) {
		snprintf(out, 64, "%" PRId64 " of %" PRId64, usage->used,
			 usage->limit);
		return out;
	}
	while (unit < 4 && limit / scale >= 1024) {
		scale *= 1024;
		unit++;
	}
	snprintf(out, 64, "%.1f of %.1f %s", (double)usage->used / scale,
		 limit / scale, units[unit]);
	return out;
}
