/* SPDX-License-Identifier: BSD-2-Clause */
#include "quotadefer/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int qd_error_set(struct qd_error *err, int status, const char *format, ...)
{
	va_list args;

	if (!err)
		return -1;
	va_start(args, format);
	vsnprintf(err->text, sizeof(err->text), format, args);
	va_end(args);
	err->status = status;
	return -1;
}

int qd_error_prefix(struct qd_error *err, const char *prefix)
{
	char text[sizeof(err->text)];

	if (!err)
		return -1;
	memcpy(text, err->text, sizeof(text));
	return qd_error_set(err, err->status, "%s: %s", prefix, text);
}
