/* SPDX-License-Identifier: BSD-2-Clause */
#include "quotadefer/deferline.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "quotadefer/log.h"

enum {
	QUOTED = 400
};

const char *qd_time_text(int64_t seconds, char out[32])
{
	time_t t = (time_t)seconds;
	struct tm tm;

	strcpy(out, "-");
	if (seconds > 0 && gmtime_r(&t, &tm))
		strftime(out, 32, "%Y-%m-%dT%H:%M:%SZ", &tm);
	return out;
}

/* An address without its angle brackets, fit for a log line. */
static const char *bare(const char *path, char out[QUOTED])
{
	char inner[QUOTED];
	size_t length = path ? strlen(path) : 0;

	if (length >= 2 && path[0] == '<' && path[length - 1] == '>') {
		path++;
		length -= 2;
	}
	if (length >= sizeof(inner))
		length = sizeof(inner) - 1;
	if (length)
		memcpy(inner, path, length);
	inner[length] = '\0';
	return qd_log_quote(out, QUOTED, inner);
}

static const char *quoted(const char *text, const char *fallback,
			  char out[QUOTED])
{
	return qd_log_quote(out, QUOTED, text && *text ? text : fallback);
}

/* "IPv6:" is for address literals; MTAs do not log it. */
static const char *bare_address(const char *address)
{
	bool tagged = address && strncasecmp(address, "IPv6:", 5) == 0;

	return tagged ? address + 5 : address;
}

void qd_deferline(const struct qd_request *request,
		  const struct qd_answer *answer,
		  const struct qd_client *client, char *out, size_t size)
{
	const struct qd_record *rec = &answer->hit.rec;
	char to[QUOTED], mailbox[QUOTED], root[QUOTED], since[32];
	char name[QUOTED], address[QUOTED], from[QUOTED], helo[QUOTED];

	snprintf(out, size,
		 "to=<%s> mailbox=%s root=%s %s=%" PRId64 "/%" PRId64
		 " since=%s source=%s client=%s[%s] from=<%s> helo=<%s>",
		 bare(request->rcpt, to),
		 quoted(answer->mailbox.name, "-", mailbox),
		 quoted(answer->root, "-", root),
		 qd_resource_name(answer->resource),
		 rec->usage[answer->resource].used,
		 qd_usage_limit(rec, answer->resource),
		 qd_time_text(rec->since, since), answer->hit.source,
		 quoted(client->name, "unknown", name),
		 quoted(bare_address(client->address), "unknown", address),
		 bare(request->sender, from), quoted(client->helo, "", helo));
}

void qd_passline(const struct qd_request *request,
		 const struct qd_answer *answer, char *out, size_t size)
{
	char to[QUOTED], mailbox[QUOTED], root[QUOTED], from[QUOTED];

	snprintf(out, size, "to=<%s> mailbox=%s root=%s from=<%s>: %s",
		 bare(request->rcpt, to),
		 quoted(answer->mailbox.name, "-", mailbox),
		 quoted(answer->root, "-", root), bare(request->sender, from),
		 qd_why_text(answer->why));
}
