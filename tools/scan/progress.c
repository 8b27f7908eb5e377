/* SPDX-License-Identifier: BSD-2-Clause */
#include "quotadefer/progress.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void qd_progress_begin(struct qd_progress *progress, int quiet)
{
	progress->started_ms = now_ms();
	progress->enabled = !quiet && isatty(STDERR_FILENO);
}

double qd_progress_seconds(const struct qd_progress *progress)
{
	return (double)(now_ms() - progress->started_ms) / 1000;
}

void qd_progress_show(const struct qd_progress *progress,
		      const struct qd_scan *scan)
{
	double seconds = qd_progress_seconds(progress);
	long long roots = atomic_load(&scan->roots);

	if (!progress->enabled)
		return;
	fprintf(stderr, "\r%lld roots, %lld over, %.0f roots/s\033[K", roots,
		atomic_load(&scan->over),
		seconds > 0 ? (double)roots / seconds : 0);
	fflush(stderr);
}

void qd_progress_end(const struct qd_progress *progress)
{
	if (progress->enabled)
		fputs("\r\033[K", stderr);
}
