/* SPDX-License-Identifier: BSD-2-Clause */
/* Writing differences, a transaction at a time. */
#include "publish_redis_impl.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

struct field_words {
	const char *words[64];
	char values[32][QD_LOCAL_MAX + 1];
	int count;
};

static int add_field(void *arg, const char *field, const char *value)
{
	struct field_words *f = arg;
	char *copy = f->values[(f->count - 2) / 2];

	snprintf(copy, sizeof(f->values[0]), "%s", value);
	f->words[f->count++] = field;
	f->words[f->count++] = copy;
	return 0;
}

static int send_source(struct remote *r, const struct qd_source *src,
		       struct qd_error *err)
{
	struct field_words f = { .words = { "HSET", r->source_key },
				 .count = 2 };

	qd_source_each(src, add_field, &f);
	return qd_redis_send_words(r->redis, f.words, (size_t)f.count, err);
}

/* One entry of the stream; root NULL: the source itself changed. */
static int send_log(struct remote *r, const char *root, const char *record,
		    struct qd_error *err)
{
	char length[24];

	snprintf(length, sizeof(length), "%" PRId64, r->stream_length);
	return qd_redis_send(r->redis, err, "XADD", r->log_key, "MAXLEN", "~",
			     length, "*", "source", r->source, "root",
			     root ? root : "", "record", record ? record : "");
}

static int announce(struct remote *r, const struct qd_source *src, int *queued,
		    struct qd_error *err)
{
	struct qd_source counted = *src;

	*queued += 3;
	counted.records = r->records;
	if (qd_redis_send(r->redis, err, "SADD", r->sources_key, r->source) <
		    0 ||
	    send_source(r, &counted, err) < 0)
		return -1;
	return send_log(r, NULL, NULL, err);
}

int qd_remote_begin(void *self, const struct qd_source *src, bool is_new,
		    struct qd_error *err)
{
	struct remote *r = self;
	int queued = 1;

	if (!is_new)
		return 0;
	if (qd_remote_begin_transaction(r, err) < 0 ||
	    qd_remote_renew_lease(r, err) < 0 ||
	    announce(r, src, &queued, err) < 0)
		return -1;
	return qd_remote_end_transaction(r, queued, err);
}

/* HSET and HDEL of all that waits, as one command each. */
static int send_hash_changes(struct remote *r, int *queued,
			     struct qd_error *err)
{
	const char *set[2 + 2 * QD_REMOTE_BATCH] = { "HSET", r->root_key };
	const char *del[2 + QD_REMOTE_BATCH] = { "HDEL", r->root_key };
	size_t sets = 2, dels = 2;

	for (int i = 0; i < r->waiting; i++) {
		const struct pending *p = &r->pending[i];

		if (p->text[0]) {
			set[sets++] = p->root;
			set[sets++] = p->text;
		} else {
			del[dels++] = p->root;
		}
	}
	if (sets > 2) {
		++*queued;
		if (qd_redis_send_words(r->redis, set, sets, err) < 0)
			return -1;
	}
	if (dels > 2) {
		++*queued;
		if (qd_redis_send_words(r->redis, del, dels, err) < 0)
			return -1;
	}
	return 0;
}

static int send_pending(struct remote *r, int *queued, struct qd_error *err)
{
	char records[24];

	snprintf(records, sizeof(records), "%" PRId64, r->records);
	if (send_hash_changes(r, queued, err) < 0)
		return -1;
	/* a reader can tell a hash that lost entries to eviction */
	if (qd_redis_send(r->redis, err, "HSET", r->source_key, "records",
			  records) < 0)
		return -1;
	for (int i = 0; i < r->waiting; i++)
		if (send_log(r, r->pending[i].root, r->pending[i].text, err) <
		    0)
			return -1;
	*queued += 1 + r->waiting;
	return 0;
}

void qd_remote_forget_pending(struct remote *r)
{
	while (r->waiting)
		free(r->pending[--r->waiting].root);
}

static int flush(struct remote *r, struct qd_error *err)
{
	int queued = 1;

	if (qd_remote_begin_transaction(r, err) < 0 ||
	    qd_remote_renew_lease(r, err) < 0 ||
	    send_pending(r, &queued, err) < 0 ||
	    qd_remote_end_transaction(r, queued, err) < 0)
		return -1;
	qd_remote_forget_pending(r);
	return 0;
}

int qd_remote_change(void *self, const char *root,
		     const struct qd_record *before,
		     const struct qd_record *after, struct qd_error *err)
{
	struct remote *r = self;
	struct pending *p = &r->pending[r->waiting];

	p->root = strdup(root);
	if (!p->root)
		return qd_error_set(err, EX_OSERR, "no memory");
	p->text[0] = '\0';
	if (after)
		qd_record_format(after, p->text);
	r->records += !before;
	r->records -= !after;
	return ++r->waiting == QD_REMOTE_BATCH ? flush(r, err) : 0;
}

/* One transaction, which gives the lease back as well. */
int qd_remote_finish(void *self, const struct qd_source *src, bool beat,
		     struct qd_error *err)
{
	struct remote *r = self;
	int queued = 1;

	if (!r->waiting && !beat)
		return 0;
	if (qd_remote_begin_transaction(r, err) < 0 ||
	    (r->waiting && send_pending(r, &queued, err) < 0) ||
	    (beat && announce(r, src, &queued, err) < 0) ||
	    qd_redis_send(r->redis, err, "DEL", r->lease_key) < 0 ||
	    qd_remote_end_transaction(r, queued, err) < 0)
		return -1;
	r->leased = false;
	qd_remote_forget_pending(r);
	if (!r->whole)
		return 0;
	if (qd_redis_confirm(r->redis, err) < 0)
		return -1;
	qd_remote_now_has_all(r);
	return 0;
}
