/* SPDX-License-Identifier: BSD-2-Clause */
/* Entries of the stream, and the note of how far it was read. */
#include "feed_impl.h"

#include <stdio.h>
#include <string.h>

#include <hiredis/hiredis.h>

/* The value of a field, or NULL. */
static const redisReply *find_field(const redisReply *fields, const char *name)
{
	for (size_t i = 0; i + 1 < fields->elements; i += 2) {
		const char *text = qd_redis_text(fields->element[i]);

		if (text && strcmp(text, name) == 0)
			return fields->element[i + 1];
	}
	return NULL;
}

static void read_record(const redisReply *record, struct qd_feed_change *change)
{
	change->has_record = false;
	change->is_junk = false;
	if (!record || (record->type == REDIS_REPLY_STRING && !record->len))
		return; /* it is gone */
	change->has_record =
		record->type == REDIS_REPLY_STRING &&
		qd_record_parse(record->str, record->len, &change->rec) == 0;
	change->is_junk = !change->has_record;
}

bool qd_feed_read_entry(const struct redisReply *entry, char id[QD_STREAM_ID],
			struct qd_feed_change *change)
{
	const redisReply *fields, *source, *root;

	if (entry->type != REDIS_REPLY_ARRAY || entry->elements != 2 ||
	    !qd_redis_text(entry->element[0]))
		return false;
	snprintf(id, QD_STREAM_ID, "%s", entry->element[0]->str);
	fields = entry->element[1]; /* deleted entries have none */
	source = find_field(fields, "source");
	root = find_field(fields, "root");
	change->source = source ? qd_redis_text(source) : NULL;
	change->root = root ? qd_redis_text(root) : NULL;
	if (!change->source || !change->root ||
	    !qd_source_name_valid(change->source) ||
	    strlen(change->root) > QD_ROOT_MAX)
		return false;
	read_record(find_field(fields, "record"), change);
	return true;
}

int qd_feed_save_position(struct qd_feed *feed, struct qd_batch *batch,
			  struct qd_error *err)
{
	char text[QD_FEED_NOTE];

	snprintf(text, sizeof(text), "%s %s", feed->server, feed->position);
	return qd_batch_note(batch, "feed", text, err);
}

int qd_feed_ask_entry(struct qd_feed *feed, const char *id,
		      struct qd_error *err)
{
	return qd_redis_send(feed->redis, err, "XRANGE", feed->log_key, id, id);
}

int qd_feed_entry_is_there(struct qd_feed *feed, bool *there,
			   struct qd_error *err)
{
	redisReply *reply;

	if (qd_redis_reply(feed->redis, 0, &reply, err) < 0)
		return -1;
	*there = reply->type == REDIS_REPLY_ARRAY && reply->elements == 1;
	freeReplyObject(reply);
	return 0;
}
