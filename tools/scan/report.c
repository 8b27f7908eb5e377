/* SPDX-License-Identifier: BSD-2-Clause */
/* What the program prints. */
#include "run.h"

#include <inttypes.h>
#include <stdio.h>

#include "quotadefer/log.h"

static void print_record(const struct qd_record *rec)
{
	char text[QD_RECORD_TEXT];

	qd_record_format(rec, text);
	printf(" %s", text + 2); /* without the version */
}

void report_difference(void *arg, const char *root,
		       const struct qd_record *before,
		       const struct qd_record *after)
{
	char quoted[QD_ROOT_MAX * 4 + 8];

	(void)arg;
	printf("%s %s",
	       !before ? "add" :
	       after   ? "change" :
			 "remove",
	       qd_log_quote(quoted, sizeof(quoted), root));
	if (after)
		print_record(after);
	putchar('\n');
}

void report_complaints(const struct run *run)
{
	const struct qd_scan *scan = &run->scan;
	long long all = atomic_load(&scan->malformed) +
			atomic_load(&scan->unreadable) +
			atomic_load(&scan->unreadable_directories);
	char quoted[1200];

	if (run->quiet)
		return;
	for (int i = 0; i < scan->complaint_count; i++)
		fprintf(stderr, "%s: %s: %s\n", run->common.program,
			qd_log_quote(quoted, sizeof(quoted),
				     scan->complaints[i].what),
			scan->complaints[i].why);
	if (all > scan->complaint_count)
		fprintf(stderr, "%s: and %lld more\n", run->common.program,
			all - scan->complaint_count);
}

void report_summary(const struct run *run)
{
	const struct qd_scan *scan = &run->scan;

	if (run->quiet)
		return;
	printf("%s: source=%s roots=%lld over=%lld malformed=%lld "
	       "unreadable=%lld added=%" PRId64 " changed=%" PRId64
	       " removed=%" PRId64 " seconds=%.3f%s\n",
	       run->common.program, run->settings->source,
	       atomic_load(&scan->roots), atomic_load(&scan->over),
	       atomic_load(&scan->malformed), atomic_load(&scan->unreadable),
	       run->done.added, run->done.changed, run->done.removed,
	       qd_progress_seconds(&run->progress),
	       run->dry_run ? " (dry run)" : "");
	fflush(stdout);
}
