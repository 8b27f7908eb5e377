/* SPDX-License-Identifier: BSD-2-Clause */
#include "quotadefer/guard.h"

#include <inttypes.h>
#include <sysexits.h>

/*
 * Below these a change says nothing: a server with three users has few. Two
 * more may be full on any server; three at once, and over guard_full, is a
 * restore that lost the limits sooner than it is chance.
 */
enum {
	FEW_ROOTS = 5,
	FEW_OVER = 3,
	FEW_UNREADABLE = 10
};

#define FORCE "the old records stay; --force publishes all the same"

static int check_roots(const struct qd_guard *g, struct qd_error *err)
{
	int64_t lost = g->roots_before - g->roots;

	if (g->roots == 0)
		return qd_error_set(err, EX_TEMPFAIL,
				    "not one quota root was found: is "
				    "imapd.conf the right one, and its disk "
				    "mounted? %s",
				    FORCE);
	if (lost >= FEW_ROOTS && lost * 100 > g->roots_before * g->roots_limit)
		return qd_error_set(
			err, EX_TEMPFAIL,
			"%" PRId64 " roots, and %" PRId64
			" at the last scan: over guard_roots (%d%%) "
			"are gone; %s",
			g->roots, g->roots_before, (int)g->roots_limit, FORCE);
	return 0;
}

/* In percent of the roots; the first scan has nothing to compare with. */
static int check_full(const struct qd_guard *g, struct qd_error *err)
{
	int64_t before, now;

	if (g->roots_before == 0 || g->over - g->over_before < FEW_OVER)
		return 0;
	before = g->over_before * 100 / g->roots_before;
	now = g->over * 100 / g->roots;
	if (now - before <= g->full_limit)
		return 0;
	return qd_error_set(err, EX_TEMPFAIL,
			    "%" PRId64 " of %" PRId64
			    " roots are over, and %" PRId64 " of %" PRId64
			    " at the last scan: a jump over guard_full "
			    "(%d%%); %s",
			    g->over, g->roots, g->over_before, g->roots_before,
			    (int)g->full_limit, FORCE);
}

static int check_unreadable(const struct qd_guard *g, struct qd_error *err)
{
	if (g->unreadable_directories)
		return qd_error_set(err, EX_TEMPFAIL,
				    "%" PRId64 " directories could not be "
				    "read; %s",
				    g->unreadable_directories, FORCE);
	if (g->unreadable >= FEW_UNREADABLE && g->unreadable > g->roots / 10)
		return qd_error_set(err, EX_TEMPFAIL,
				    "%" PRId64 " roots could not be read, and "
				    "%" PRId64 " could; %s",
				    g->unreadable, g->roots, FORCE);
	return 0;
}

int qd_guard_check(const struct qd_guard *guard, struct qd_error *err)
{
	if (check_unreadable(guard, err) < 0)
		return -1;
	if (check_roots(guard, err) < 0)
		return -1;
	return check_full(guard, err);
}
