/* SPDX-License-Identifier: BSD-2-Clause */
#include "quotadefer/aliasmap.h"

#include <time.h>

int64_t qd_aliasmap_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

int64_t qd_aliasmap_now_ms(void)
{
	return qd_aliasmap_now_ns() / 1000000;
}

void qd_aliasmap_count(struct qd_aliasmap_stats *stats, enum qd_found found,
		       int64_t start_ns)
{
	int64_t ns = qd_aliasmap_now_ns() - start_ns;
	int bucket = 0;

	while (bucket < QD_ALIAS_BUCKETS - 1 && ns > INT64_C(1000) << bucket)
		bucket++;
	atomic_fetch_add(found == QD_FOUND  ? &stats->found :
			 found == QD_ABSENT ? &stats->absent :
					      &stats->errors,
			 1);
	atomic_fetch_add(&stats->nanoseconds, (unsigned long long)ns);
	atomic_fetch_add(&stats->bucket[bucket], 1);
}
