/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef QUOTADEFER_CALLBACKS_H
#define QUOTADEFER_CALLBACKS_H

#include "quotadefer/daemon.h"

/*
 * The filter as libmilter sees it. Register the callbacks, which will use
 * daemon until the process ends, and bind the socket of the settings with the
 * mode and group they ask for. Call once, before threads and while the
 * process may still create the socket. Returns 0 or -1 with *err.
 */
int qd_callbacks_register(struct qd_daemon *daemon,
			  const struct qd_settings *settings,
			  struct qd_error *err);

/* Serve for as long as the process lives. Returns -1 if libmilter failed. */
int qd_callbacks_serve(void);

#endif
