/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef QUOTADEFER_REQUESTS_H
#define QUOTADEFER_REQUESTS_H

#include <stdio.h>

#include "quotadefer/daemon.h"

/*
 * Answer a read-only request of the control socket:
 *
 *   status   lines "key value", then one line "source NAME key=value ..."
 *            for each source
 *   stats    lines "name value"
 *   metrics  OpenMetrics text
 *   ping     nothing
 *   cached   TAB MAP TAB KEY: the state of a key in the cache of an alias map
 *
 * Returns 0 or -1 with *err.
 */
int qd_requests_answer(struct qd_daemon *daemon, const char *request, FILE *out,
		       struct qd_error *err);

#endif
