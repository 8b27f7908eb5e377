/* SPDX-License-Identifier: BSD-2-Clause */
#include "quotadefer/reply.h"

#include <stdio.h>
#include <string.h>

/* What does not fit is left out; a reply of 480 characters does. */
static void expand(const char *text, const char *resource, char *out,
		   size_t size)
{
	static const char word[] = "{resource}";
	const char *at;

	for (*out = '\0'; (at = strstr(text, word)); text = at + strlen(word)) {
		int n = snprintf(out, size, "%.*s%s", (int)(at - text), text,
				 resource);

		if (n < 0 || (size_t)n >= size)
			return;
		out += n;
		size -= (size_t)n;
	}
	snprintf(out, size, "%s", text);
}

void qd_reply_defer(const struct qd_settings *settings,
		    enum qd_resource resource, struct qd_reply *reply)
{
	snprintf(reply->code, sizeof(reply->code), "%d",
		 (int)settings->reply_code);
	snprintf(reply->dsn, sizeof(reply->dsn), "4.2.2");
	expand(settings->reply_text, qd_resource_name(resource), reply->text,
	       sizeof(reply->text));
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
