/* SPDX-License-Identifier: BSD-2-Clause */
#include "table_impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>

/* Enough for every source to have a record of the same root: few do. */
enum {
	VALUE_MAX = 64 * 1024
};

static int batch_fail(struct qd_batch *batch, int code, struct qd_error *err)
{
	return qd_table_fail(batch->table, code, "write", err);
}

int qd_batch_begin(struct qd_table *table, struct qd_batch **out,
		   struct qd_error *err)
{
	struct qd_batch *batch;
	int rc;

	if (!table->env)
		return qd_error_set(err, EX_UNAVAILABLE, "table %s: not open",
				    table->dir);
	batch = calloc(1, sizeof(*batch));
	if (!batch)
		return qd_error_set(err, EX_OSERR, "table %s: %m", table->dir);
	batch->table = table;
	rc = mdb_txn_begin(table->env, NULL, 0, &batch->txn);
	if (rc) {
		if (rc == MDB_MAP_RESIZED)
			atomic_store(&table->outgrown, true);
		free(batch);
		return qd_table_fail(table, rc, "write", err);
	}
	if (qd_table_whole(table, batch->txn, err) < 0) {
		qd_batch_abort(&batch);
		return -1;
	}
	*out = batch;
	return 0;
}

/*
 * The id of a source, or an unused one if it is new (*known false). Sources
 * are few, and only writers come here.
 */
static int search_id(struct qd_batch *batch, const char *name,
		     unsigned char id[QD_SOURCE_ID], bool *known,
		     struct qd_error *err)
{
	char found[QD_SOURCE_MAX + 1];
	unsigned int next = 1;
	MDB_val key, value;
	MDB_cursor *cursor;
	int rc;

	*known = false;
	rc = mdb_cursor_open(batch->txn, batch->table->sources, &cursor);
	if (rc)
		return batch_fail(batch, rc, err);
	while (!(rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT))) {
		const unsigned char *p = key.mv_data;

		if (key.mv_size == QD_SOURCE_ID)
			next = (unsigned int)(p[0] << 8 | p[1]) + 1;
		if (qd_table_source_name(batch->txn, batch->table, p, found) &&
		    strcmp(found, name) == 0) {
			memcpy(id, p, QD_SOURCE_ID);
			*known = true;
			break;
		}
	}
	mdb_cursor_close(cursor);
	if (rc && rc != MDB_NOTFOUND)
		return batch_fail(batch, rc, err);
	if (*known)
		return 0;
	if (next > 0xffff)
		return qd_error_set(err, EX_DATAERR,
				    "table %s: too many sources",
				    batch->table->dir);
	id[0] = (unsigned char)(next >> 8);
	id[1] = (unsigned char)next;
	return 0;
}

static int find_id(struct qd_batch *batch, const char *name,
		   unsigned char id[QD_SOURCE_ID], bool *known,
		   struct qd_error *err)
{
	*known = strcmp(batch->source, name) == 0;
	if (*known) {
		memcpy(id, batch->id, QD_SOURCE_ID);
		return 0;
	}
	if (search_id(batch, name, id, known, err) < 0)
		return -1;
	if (*known) {
		strcpy(batch->source, name);
		memcpy(batch->id, id, QD_SOURCE_ID);
	}
	return 0;
}

struct text {
	char data[4096];
	size_t used;
};

static int put_field(void *arg, const char *field, const char *value)
{
	struct text *text = arg;
	size_t room = sizeof(text->data) - text->used;
	int n = snprintf(text->data + text->used, room, "%s=%s\n", field,
			 value);

	if (n >= (int)room || strchr(value, '\n'))
		return -1;
	text->used += (size_t)n;
	return 0;
}

static int pack_source(const struct qd_source *src, struct text *text)
{
	unsigned char *data = (unsigned char *)text->data;

	memcpy(data, &src->scanned, 8);
	memcpy(data + 8, &src->heartbeat, 8);
	data[16] = (unsigned char)src->rule;
	if (src->domain_roots)
		data[16] |= QD_DOMAIN_ROOTS;
	strcpy(text->data + QD_SOURCE_HEAD, src->name);
	text->used = QD_SOURCE_HEAD + strlen(src->name) + 1;
	return qd_source_each(src, put_field, text);
}

static int put_meta(struct qd_batch *batch, const char *name, MDB_val value,
		    struct qd_error *err)
{
	MDB_val key = qd_val_text(name);
	int rc = mdb_put(batch->txn, batch->table->meta, &key, &value, 0);

	return rc ? batch_fail(batch, rc, err) : 0;
}

static int put_naming(struct qd_batch *batch, const struct qd_naming *naming,
		      struct qd_error *err)
{
	char data[2 + sizeof(naming->defaultdomain) + sizeof(naming->postuser)];
	size_t used = 2, length;

	data[0] = (char)naming->virtdomains;
	data[1] = (char)(naming->unixhierarchysep |
			 naming->lmtp_downcase_rcpt << 1 |
			 naming->tests_folder << 2);
	length = strlen(naming->defaultdomain) + 1;
	memcpy(data + used, naming->defaultdomain, length);
	used += length;
	length = strlen(naming->postuser) + 1;
	memcpy(data + used, naming->postuser, length);
	used += length;
	return put_meta(batch, "naming", qd_val(data, used), err);
}

/* Whether any source asks for SIZE, looked up once here and never at RCPT. */
static int update_wants_size(struct qd_batch *batch, struct qd_error *err)
{
	MDB_val name = qd_val_text("wants-size"), key, value;
	bool wanted = false;
	MDB_cursor *cursor;
	int rc;

	rc = mdb_cursor_open(batch->txn, batch->table->sources, &cursor);
	if (rc)
		return batch_fail(batch, rc, err);
	while (!mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) {
		const unsigned char *data = value.mv_data;

		if (value.mv_size > QD_SOURCE_HEAD &&
		    (data[16] & ~QD_DOMAIN_ROOTS) == QD_RULE_STRICT)
			wanted = true;
	}
	mdb_cursor_close(cursor);
	if (wanted)
		return put_meta(batch, "wants-size", qd_val_text("1"), err);
	rc = mdb_del(batch->txn, batch->table->meta, &name, NULL);
	return rc && rc != MDB_NOTFOUND ? batch_fail(batch, rc, err) : 0;
}

int qd_batch_source(struct qd_batch *batch, const struct qd_source *src,
		    struct qd_error *err)
{
	unsigned char id[QD_SOURCE_ID];
	struct text text = { .used = 0 };
	MDB_val key, value;
	bool known;
	int rc;

	if (pack_source(src, &text) < 0)
		return qd_error_set(err, EX_DATAERR,
				    "source %s: a field cannot be stored",
				    src->name);
	if (find_id(batch, src->name, id, &known, err) < 0)
		return -1;
	key = qd_val(id, QD_SOURCE_ID);
	value = qd_val(text.data, text.used);
	rc = mdb_put(batch->txn, batch->table->sources, &key, &value, 0);
	if (rc)
		return batch_fail(batch, rc, err);
	if (put_naming(batch, &src->naming, err) < 0)
		return -1;
	return update_wants_size(batch, err);
}

/* The entries of a root without those of one source. */
static bool copy_others(const MDB_val *value, const unsigned char *id,
			unsigned char *out, size_t *used)
{
	const unsigned char *at = value->mv_data, *end = at + value->mv_size;
	struct qd_entry entry;

	*used = 0;
	while (at < end) {
		if (!qd_entry_next(&at, end, &entry))
			return false;
		if (memcmp(entry.id, id, QD_SOURCE_ID) == 0)
			continue;
		memcpy(out + *used, entry.start, entry.size);
		*used += entry.size;
	}
	return true;
}

static void append_entry(unsigned char *out, size_t *used,
			 const unsigned char *id, const struct qd_record *rec)
{
	unsigned char *entry = out + *used;
	size_t length = qd_record_pack(rec, entry + QD_ENTRY_HEAD);

	memcpy(entry, id, QD_SOURCE_ID);
	entry[2] = (unsigned char)length;
	*used += QD_ENTRY_HEAD + length;
}

static int store_root(struct qd_batch *batch, MDB_val *key, MDB_val value,
		      struct qd_error *err)
{
	int rc;

	if (value.mv_size)
		rc = mdb_put(batch->txn, batch->table->roots, key, &value, 0);
	else
		rc = mdb_del(batch->txn, batch->table->roots, key, NULL);
	return rc && rc != MDB_NOTFOUND ? batch_fail(batch, rc, err) : 0;
}

/* Replace (rec) or remove (NULL) the entry of source id under a root. */
static int change_root(struct qd_batch *batch, const unsigned char *id,
		       MDB_val *key, const struct qd_record *rec,
		       struct qd_error *err)
{
	unsigned char data[VALUE_MAX + QD_ENTRY_HEAD + QD_RECORD_PACK];
	size_t used = 0;
	MDB_val value;
	int rc;

	rc = mdb_get(batch->txn, batch->table->roots, key, &value);
	if (rc && rc != MDB_NOTFOUND)
		return batch_fail(batch, rc, err);
	if (!rc && (value.mv_size > VALUE_MAX ||
		    !copy_others(&value, id, data, &used)))
		return qd_error_set(err, EX_DATAERR,
				    "table %s: malformed record",
				    batch->table->dir);
	if (rec)
		append_entry(data, &used, id, rec);
	return store_root(batch, key, qd_val(data, used), err);
}

int qd_batch_put(struct qd_batch *batch, const char *source, const char *root,
		 const struct qd_record *rec, struct qd_error *err)
{
	unsigned char id[QD_SOURCE_ID];
	MDB_val key = qd_val_text(root);
	bool known;

	if (key.mv_size == 0 || key.mv_size > QD_ROOT_MAX)
		return qd_error_set(err, EX_DATAERR, "a root name of %zu bytes",
				    key.mv_size);
	if (find_id(batch, source, id, &known, err) < 0)
		return -1;
	if (!known)
		return qd_error_set(err, EX_DATAERR, "source %s: not known",
				    source);
	return change_root(batch, id, &key, rec, err);
}

int qd_batch_drop_source(struct qd_batch *batch, const char *source,
			 struct qd_error *err)
{
	unsigned char id[QD_SOURCE_ID];
	MDB_val key, value;
	MDB_cursor *cursor;
	bool known;
	int rc;

	if (find_id(batch, source, id, &known, err) < 0)
		return -1;
	if (!known)
		return 0;
	rc = mdb_cursor_open(batch->txn, batch->table->roots, &cursor);
	if (rc)
		return batch_fail(batch, rc, err);
	while (!mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) {
		char root[QD_ROOT_MAX + 1];
		MDB_val copy = qd_val(root, key.mv_size);

		/* the page that key points into may move under the change */
		memcpy(root, key.mv_data, key.mv_size);
		if (change_root(batch, id, &copy, NULL, err) < 0) {
			mdb_cursor_close(cursor);
			return -1;
		}
	}
	mdb_cursor_close(cursor);
	key = qd_val(id, QD_SOURCE_ID);
	rc = mdb_del(batch->txn, batch->table->sources, &key, NULL);
	if (rc)
		return batch_fail(batch, rc, err);
	batch->source[0] = '\0';
	return update_wants_size(batch, err);
}

int qd_batch_note(struct qd_batch *batch, const char *name, const char *text,
		  struct qd_error *err)
{
	char key[64];

	snprintf(key, sizeof(key), "note/%s", name);
	return put_meta(batch, key, qd_val_text(text), err);
}

int qd_batch_commit(struct qd_batch **batch, struct qd_error *err)
{
	int rc;

	if (qd_table_whole((*batch)->table, (*batch)->txn, err) < 0) {
		qd_batch_abort(batch);
		return -1;
	}
	rc = mdb_txn_commit((*batch)->txn);
	if (rc)
		batch_fail(*batch, rc, err);
	free(*batch);
	*batch = NULL;
	return rc ? -1 : 0;
}

void qd_batch_abort(struct qd_batch **batch)
{
	if (!*batch)
		return;
	mdb_txn_abort((*batch)->txn);
	free(*batch);
	*batch = NULL;
}
