/* SPDX-License-Identifier: BSD-2-Clause */
#include "quotadefer/load.h"

#include <math.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

static int64_t microseconds(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* What all processors together have worked: neither idle nor waiting. */
static int64_t work_of_all(void)
{
	long long user, nice, system, irq, softirq;
	long tick = sysconf(_SC_CLK_TCK);
	FILE *file = fopen("/proc/stat", "re");
	int fields = 0;

	if (file) {
		fields = fscanf(file, "cpu %lld %lld %lld %*d %*d %lld %lld",
				&user, &nice, &system, &irq, &softirq);
		fclose(file);
	}
	if (fields != 5 || tick <= 0)
		return -1;
	return (user + nice + system + irq + softirq) * (1000000 / tick);
}

void qd_load_begin(struct qd_load *load)
{
	load->wall_us = microseconds(CLOCK_MONOTONIC);
	load->all_us = work_of_all();
	load->own_us = microseconds(CLOCK_PROCESS_CPUTIME_ID);
}

void qd_load_since(struct qd_load *load, double *own, double *others)
{
	struct qd_load before = *load;
	double wall, all;

	qd_load_begin(load);
	wall = (double)(load->wall_us - before.wall_us);
	*own = (double)(load->own_us - before.own_us) / wall;
	*others = INFINITY;
	if (before.all_us < 0 || load->all_us < 0)
		return;
	all = (double)(load->all_us - before.all_us) / wall;
	*others = all > *own ? all - *own : 0;
}
