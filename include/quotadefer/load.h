/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef QUOTADEFER_LOAD_H
#define QUOTADEFER_LOAD_H

#include <stdint.h>

/* Since when, and what had been done by then. */
struct qd_load {
	int64_t wall_us;
	int64_t all_us; /* -1: not to be had */
	int64_t own_us;
};

/* Begin to measure. */
void qd_load_begin(struct qd_load *load);

/*
 * How much this process and all the others have worked since the last call,
 * or the beginning: 1.0 is one processor all the time. *others is INFINITY if
 * it cannot be found out; its figures are in steps of 10 ms, so leave some of
 * those between two calls. From proc(5), /proc/stat.
 */
void qd_load_since(struct qd_load *load, double *own, double *others);

#endif
