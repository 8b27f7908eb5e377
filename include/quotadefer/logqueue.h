/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef QUOTADEFER_LOGQUEUE_H
#define QUOTADEFER_LOGQUEUE_H

#include "quotadefer/error.h"

/*
 * From now on qd_log() only puts lines into a queue, and a thread of its own
 * writes them: a syslog daemon that hangs, or a full pipe, holds up no mail.
 * When the queue is full, lines are lost, and how many is said when there is
 * room again. Call once. Returns 0 or -1 with *err.
 */
int qd_logqueue_start(struct qd_error *err);

/* Wait until everything is written, but at most timeout_ms. */
void qd_logqueue_flush(int timeout_ms);

#endif
