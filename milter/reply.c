/* SPDX-License-Identifier: BSD-2-Clause */
#include "quotadefer/reply.h"

#include <stdio.h>
#include <string.h>

enum {
	/* local part, "@" and domain, each byte as "%XX" */
	ENCODED = 3 * (QD_LOCAL_MAX + 1 + QD_DOMAIN_MAX) + 1
};

/* RFC 3986 2.3, without asking the locale */
static bool is_unreserved(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       (c >= '0' && c <= '9') || (c && strchr("-._~", c));
}

static char *encode(const char *text, char *out)
{
	static const char hex[] = "0123456789ABCDEF";

	for (; *text; text++) {
		unsigned char byte = (unsigned char)*text;

		if (is_unreserved(*text)) {
			*out++ = *text;
			continue;
		}
		*out++ = '%';
		*out++ = hex[byte >> 4];
		*out++ = hex[byte & 15];
	}
	*out = '\0';
	return out;
}

static void encode_address(const struct qd_address *address,
			   char out[static ENCODED])
{
	out = encode(address->local, out);
	out = encode("@", out);
	encode(address->domain, out);
}

/* A line of which nothing is left is none; a reply has one at least. */
static void expand(const char *text, const struct qd_template_words *words,
		   char out[static QD_REPLY_TEXT])
{
	char line[QD_REPLY_LINE + 1];
	size_t used = 0;

	for (int lines = 0; lines < QD_REPLY_LINES; lines++) {
		size_t length;

		text = qd_template_line(text, words, line, sizeof(line));
		length = strlen(line);
		if (length && used)
			out[used++] = '\n';
		memcpy(out + used, line, length);
		used += length;
		if (!*text++)
			break;
	}
	out[used] = '\0';
	if (!used)
		strcpy(out, "mailbox full");
}

void qd_reply_make(const struct qd_settings *settings, enum qd_verdict verdict,
		   enum qd_resource resource,
		   const struct qd_address *recipient, struct qd_reply *reply)
{
	char encoded[ENCODED] = "";
	struct qd_template_words words = {
		.resource = qd_resource_name(resource),
		.recipient = encoded,
	};

	if (recipient)
		encode_address(recipient, encoded);
	if (verdict == QD_REJECT) {
		strcpy(reply->code, "552");
		strcpy(reply->dsn, "5.2.2");
		expand(settings->reject_text, &words, reply->text);
		return;
	}
	snprintf(reply->code, sizeof(reply->code), "%d",
		 (int)settings->reply_code);
	snprintf(reply->dsn, sizeof(reply->dsn), "%s",
		 settings->reply_enhanced_code);
	expand(settings->reply_text, &words, reply->text);
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
