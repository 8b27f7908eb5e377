/* SPDX-License-Identifier: BSD-2-Clause */
#include "ctl.h"

#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>

#include <jansson.h>

#include "quotadefer/deferline.h"
#include "quotadefer/log.h"

struct listing {
	json_t *records; /* NULL: print lines */
	long count;
};

static json_t *json_record(const char *root, const char *source,
			   const struct qd_record *rec)
{
	json_t *object = json_object(), *usage = json_object();
	json_t *name = json_string(root);
	char quoted[QD_ROOT_MAX * 4 + 8];

	if (!name) /* JSON is UTF-8; a file name need not be */
		name = json_string(qd_log_quote(quoted, sizeof(quoted), root));
	json_object_set_new(object, "root", name);
	json_object_set_new(object, "source", json_string(source));
	for (int i = 0; i < QD_RESOURCES; i++) {
		enum qd_resource res = (enum qd_resource)i;

		if (rec->usage[i].limit < 0)
			continue;
		json_object_set_new(
			usage, qd_resource_name(res),
			json_pack("{s:I,s:I}", "used",
				  (json_int_t)rec->usage[i].used, "limit",
				  (json_int_t)qd_usage_limit(rec, res)));
	}
	json_object_set_new(object, "usage", usage);
	json_object_set_new(object, "since",
			    rec->since ? json_integer(rec->since) :
					 json_null());
	json_object_set_new(object, "read", json_integer(rec->read));
	json_object_set_new(object, "kept", json_boolean(rec->kept));
	return object;
}

static int list_one(void *arg, const char *root, const char *source,
		    const struct qd_record *rec)
{
	struct listing *listing = arg;
	char quoted[QD_ROOT_MAX * 4 + 8], usage[CTL_USAGE], since[32];

	if (listing->records) {
		json_array_append_new(listing->records,
				      json_record(root, source, rec));
		return 0;
	}
	if (listing->count++ == 0)
		printf("%-32s %-20s %-28s %s\n", "ROOT", "SINCE", "USAGE",
		       "SOURCE");
	printf("%-32s %-20s ", qd_log_quote(quoted, sizeof(quoted), root),
	       qd_time_text(rec->since, since));
	for (int i = 0; i < QD_RESOURCES; i++)
		if (rec->usage[i].limit >= 0)
			printf("%s %s  ", qd_resource_name((enum qd_resource)i),
			       ctl_usage(rec, (enum qd_resource)i, usage));
	printf("%s\n", source);
	return 0;
}

int ctl_list(struct ctl *ctl)
{
	struct listing listing = { 0 };
	struct qd_error err = { 0 };
	struct qd_table *table;
	struct qd_view *view;
	int status = EX_OK, rc = -1;

	table = ctl_open_table(ctl, &status);
	if (!table)
		return status;
	if (ctl->json)
		listing.records = json_array();
	view = qd_view_begin(table, &err);
	if (view) {
		rc = qd_view_each_record(view, list_one, &listing, &err);
		qd_view_end(view);
	}
	if (rc < 0)
		status = qd_options_fail(&ctl->common, &err);
	else if (ctl->json)
		json_dumpf(listing.records, stdout, JSON_INDENT(2));
	if (ctl->json) {
		putchar('\n');
		json_decref(listing.records);
	}
	qd_table_close(&table);
	return status;
}
