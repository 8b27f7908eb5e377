/* SPDX-License-Identifier: BSD-2-Clause */
#include "quotadefer/reply.h"

#include <stdio.h>

void qd_reply_defer(const struct qd_settings *settings, struct qd_reply *reply)
{
	snprintf(reply->code, sizeof(reply->code), "%d",
		 (int)settings->reply_code);
	snprintf(reply->dsn, sizeof(reply->dsn), "4.2.2");
	snprintf(reply->text, sizeof(reply->text), "%s", settings->reply_text);
}

const char *qd_reply_escape(const char *text, char *out, size_t size)
{
	size_t n = 0;

	for (; *text && n + 2 < size; text++) {
		if (*text == '%')
			out[n++] = '%';
		out[n++] = *text;
	}
	out[n] = '\0';
	return out;
}
