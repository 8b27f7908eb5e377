/* SPDX-License-Identifier: BSD-2-Clause */
#include "quotadefer/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* set once by qd_log_open and qd_log_through, before there are threads */
static const char *log_ident = "quotadefer";
static bool log_to_stderr = true;
static int log_max_priority = LOG_INFO;
static void (*log_put)(int priority, const char *line) = qd_log_write;

void qd_log_open(const char *ident, bool to_stderr, int max_priority)
{
	log_ident = ident;
	log_to_stderr = to_stderr;
	log_max_priority = max_priority;
	if (!to_stderr)
		openlog(ident, LOG_PID | LOG_NDELAY, LOG_MAIL);
}

static bool is_control(unsigned char c)
{
	return c < 0x20 || c == 0x7f;
}

/* A line break or an escape sequence in a log line would forge another. */
static void escape_controls(char *out, size_t size, const char *text)
{
	size_t n = 0;

	for (; *text && n + 5 < size; text++) {
		unsigned char c = (unsigned char)*text;

		if (is_control(c))
			n += (size_t)snprintf(out + n, size - n, "\\x%02x", c);
		else
			out[n++] = *text;
	}
	out[n] = '\0';
}

static void write_stderr(const char *line)
{
	char whole[QD_LOG_LINE + 64];
	int n = snprintf(whole, sizeof(whole), "%s: %s\n", log_ident, line);

	if (n >= (int)sizeof(whole))
		n = (int)sizeof(whole) - 1;
	/* one write, so that lines of several threads do not mix */
	if (write(STDERR_FILENO, whole, (size_t)n) < 0)
		return;
}

bool qd_log_is_on(int priority)
{
	return priority <= log_max_priority;
}

void qd_log_write(int priority, const char *line)
{
	if (log_to_stderr)
		write_stderr(line);
	else
		syslog(priority, "%s", line);
}

void qd_log_through(void (*put)(int priority, const char *line))
{
	log_put = put;
}

void qd_log(int priority, const char *format, ...)
{
	char raw[QD_LOG_LINE], line[QD_LOG_LINE];
	va_list args;

	if (priority > log_max_priority)
		return;
	va_start(args, format);
	vsnprintf(raw, sizeof(raw), format, args);
	va_end(args);
	escape_controls(line, sizeof(line), raw);
	log_put(priority, line);
}

void qd_log_text(int priority, const char *text)
{
	qd_log(priority, "%s", text);
}

/* What needs no escape between quotes or blanks. */
static bool is_plain(unsigned char c)
{
	switch (c) {
	case '"':
	case '\'':
	case '\\':
	case '<':
	case '>':
		return false;
	default:
		return c > 0x20 && c < 0x7f;
	}
}

const char *qd_log_quote(char *out, size_t size, const char *text)
{
	size_t n = 0;

	for (; *text && n + 5 < size; text++) {
		unsigned char c = (unsigned char)*text;

		if (is_plain(c))
			out[n++] = *text;
		else
			n += (size_t)snprintf(out + n, size - n, "\\x%02x", c);
	}
	out[n] = '\0';
	return out;
}
