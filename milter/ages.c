/* SPDX-License-Identifier: BSD-2-Clause */
#include "quotadefer/ages.h"

#include <string.h>

#include "quotadefer/log.h"

struct watch {
	struct qd_ages *ages;
	int64_t max_age, now;
	int seen;
};

/* The place of a source; a new one is taken to be fresh. -1: no room. */
static int find(struct qd_ages *ages, const char *name)
{
	for (int i = 0; i < ages->count; i++)
		if (strcmp(ages->sources[i].name, name) == 0)
			return i;
	if (ages->count ==
	    (int)(sizeof(ages->sources) / sizeof(*ages->sources)))
		return -1;
	strcpy(ages->sources[ages->count].name, name);
	ages->sources[ages->count].stale = false;
	return ages->count++;
}

static int look_at(void *arg, const struct qd_source *src)
{
	struct watch *watch = arg;
	int64_t age = qd_source_age(src, watch->now, watch->max_age);
	int place = find(watch->ages, src->name);
	bool stale = age > watch->max_age;

	watch->seen++;
	if (place < 0 || watch->ages->sources[place].stale == stale)
		return 0;
	watch->ages->sources[place].stale = stale;
	if (stale)
		qd_log(LOG_WARNING,
		       "source %s: not heard of for over max_age (%lld s): "
		       "its full mailboxes pass; is quotadefer-scan running "
		       "there?",
		       src->name, (long long)watch->max_age);
	else
		qd_log(LOG_NOTICE, "source %s: heard of again", src->name);
	return 0;
}

void qd_ages_watch(struct qd_ages *ages, struct qd_table *table,
		   int64_t max_age, int64_t now)
{
	struct watch watch = { ages, max_age, now, 0 };
	struct qd_view *view = qd_view_begin(table, NULL);

	if (!view)
		return;
	qd_view_each_source(view, look_at, &watch, NULL);
	qd_view_end(view);
	if (!watch.seen && !ages->said_empty)
		qd_log(LOG_WARNING, "no source has published yet: all "
				    "recipients pass; run quotadefer-scan");
	ages->said_empty = watch.seen == 0;
}
