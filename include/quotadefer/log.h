/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef QUOTADEFER_LOG_H
#define QUOTADEFER_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <syslog.h>

/* Room for one log line; what does not fit is cut. */
#define QD_LOG_LINE 2048

/*
 * Say where the log goes: syslog facility mail as ident, or, with to_stderr,
 * standard error. Lines less important than max_priority (LOG_INFO, LOG_DEBUG)
 * are dropped. ident is borrowed. Call once, before the first thread.
 */
void qd_log_open(const char *ident, bool to_stderr, int max_priority);

/*
 * Write one line. Control characters come out as \xNN, so one call is one line
 * whatever the arguments hold. Safe from several threads. Blocks as long as
 * syslog(3) does, if it is not through a queue.
 */
void qd_log(int priority, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* One line that is finished already; otherwise as qd_log. */
void qd_log_text(int priority, const char *text);

/* Is a line of that priority written? To save the making of it. */
bool qd_log_is_on(int priority);

/* Hand finished lines to put from now on, which qd_log_write would write. */
void qd_log_through(void (*put)(int priority, const char *line));
void qd_log_write(int priority, const char *line);

/*
 * Copy text for a log line: control characters, quotes, backslashes, angle
 * brackets, blanks and bytes over 0x7e become \xNN. Cuts at size, always
 * terminates. Returns out.
 */
const char *qd_log_quote(char *out, size_t size, const char *text);

#endif
