/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef QUOTADEFER_NOTIFY_H
#define QUOTADEFER_NOTIFY_H

#include <stdint.h>

/*
 * Tell the service manager something, sd_notify(3): "READY=1",
 * "STOPPING=1", "STATUS=...". Nothing happens where there is none; failures
 * are ignored, as there is nobody to tell. Does not block.
 */
void qd_notify(const char *state);

/*
 * "RELOADING=1" with the time stamp that the protocol asks for; send
 * "READY=1" when done.
 */
void qd_notify_reloading(void);

/* Every how many milliseconds to send "WATCHDOG=1"; 0: never. */
int64_t qd_notify_watchdog_ms(void);

#endif
