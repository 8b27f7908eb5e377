/* SPDX-License-Identifier: BSD-2-Clause */
#include "table_impl.h"

#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <sysexits.h>

/* Threads begin at different slots: their stacks are far apart. */
static unsigned int first_slot(void)
{
	char here;
	uintptr_t address = (uintptr_t)&here;

	return (unsigned int)(address >> 12 ^ address >> 20);
}

/* A view of ours alone, with the table not paused. */
static struct qd_view *take_slot(struct qd_table *table)
{
	unsigned int slot = first_slot();

	for (;;) {
		for (int i = 0; i < QD_VIEWS; i++) {
			struct qd_view *view =
				&table->views[(slot + (unsigned int)i) %
					      QD_VIEWS];

			if (atomic_exchange(&view->busy, true))
				continue;
			if (!atomic_load(&table->paused))
				return view;
			atomic_store(&view->busy, false);
			break;
		}
		sched_yield();
	}
}

struct qd_view *qd_view_begin(struct qd_table *table, struct qd_error *err)
{
	struct qd_view *view = take_slot(table);
	int rc;

	if (!table->env) {
		atomic_store(&view->busy, false);
		qd_error_set(err, EX_UNAVAILABLE, "table %s: not open",
			     table->dir);
		return NULL;
	}
	if (view->txn)
		rc = mdb_txn_renew(view->txn);
	else
		rc = mdb_txn_begin(table->env, NULL, MDB_RDONLY, &view->txn);
	if (rc) {
		if (rc == MDB_MAP_RESIZED)
			atomic_store(&table->outgrown, true);
		qd_table_fail(table, rc, "read", err);
		atomic_store(&view->busy, false);
		return NULL;
	}
	if (qd_table_whole(table, view->txn, err) < 0) {
		qd_view_end(view);
		return NULL;
	}
	return view;
}

void qd_view_end(struct qd_view *view)
{
	mdb_txn_reset(view->txn);
	atomic_store(&view->busy, false);
}

static enum qd_found view_error(struct qd_view *view, int code,
				struct qd_error *err)
{
	qd_table_fail(view->table, code, "read", err);
	return QD_ERROR;
}

static enum qd_found damaged(struct qd_view *view, const char *what,
			     struct qd_error *err)
{
	qd_error_set(err, EX_DATAERR, "table %s: malformed %s",
		     view->table->dir, what);
	return QD_ERROR;
}

/* packed: virtdomains, flags, defaultdomain NUL, postuser NUL */
static bool unpack_naming(const MDB_val *value, struct qd_naming *out)
{
	const char *data = value->mv_data, *end = data + value->mv_size;
	const char *domain = data + 2, *postuser;

	if (value->mv_size < 4 || end[-1] != '\0' ||
	    (unsigned char)data[0] > QD_VIRTDOMAINS_ON)
		return false;
	postuser = domain + strlen(domain) + 1;
	if (postuser >= end || postuser + strlen(postuser) + 1 != end)
		return false;
	if ((size_t)(postuser - domain) > sizeof(out->defaultdomain) ||
	    (size_t)(end - postuser) > sizeof(out->postuser))
		return false;
	out->virtdomains = (enum qd_virtdomains)data[0];
	out->unixhierarchysep = data[1] & 1;
	out->lmtp_downcase_rcpt = data[1] & 2;
	out->tests_folder = data[1] & 4;
	memcpy(out->defaultdomain, domain, (size_t)(postuser - domain));
	memcpy(out->postuser, postuser, (size_t)(end - postuser));
	return true;
}

enum qd_found qd_view_naming(struct qd_view *view, struct qd_naming *naming,
			     struct qd_error *err)
{
	MDB_val key = qd_val_text("naming"), value;
	int rc = mdb_get(view->txn, view->table->meta, &key, &value);

	if (rc == MDB_NOTFOUND)
		return QD_ABSENT;
	if (rc)
		return view_error(view, rc, err);
	if (!unpack_naming(&value, naming))
		return damaged(view, "naming", err);
	return QD_FOUND;
}

bool qd_view_wants_size(struct qd_view *view)
{
	MDB_val key = qd_val_text("wants-size"), value;

	return mdb_get(view->txn, view->table->meta, &key, &value) == 0;
}

void qd_view_note(struct qd_view *view, const char *name, char *out,
		  size_t size)
{
	char key_text[64];
	MDB_val key, value;

	out[0] = '\0';
	snprintf(key_text, sizeof(key_text), "note/%s", name);
	key = qd_val_text(key_text);
	if (mdb_get(view->txn, view->table->meta, &key, &value) == 0 &&
	    value.mv_size < size)
		snprintf(out, size, "%.*s", (int)value.mv_size,
			 (const char *)value.mv_data);
}

bool qd_entry_next(const unsigned char **at, const unsigned char *end,
		   struct qd_entry *entry)
{
	const unsigned char *p = *at;

	if (end - p < QD_ENTRY_HEAD || end - p < QD_ENTRY_HEAD + p[2])
		return false;
	entry->id = p;
	entry->start = p;
	entry->size = QD_ENTRY_HEAD + (size_t)p[2];
	if (qd_record_unpack(p + QD_ENTRY_HEAD, p[2], &entry->rec) < 0)
		return false;
	*at = p + entry->size;
	return true;
}

/* The fixed part of a source's value. */
struct source_head {
	int64_t scanned, heartbeat;
	enum qd_rule rule;
	bool domain_roots;
	const char *name;
};

static bool read_source_head(const MDB_val *value, struct source_head *head)
{
	const unsigned char *data = value->mv_data;

	if (value->mv_size < QD_SOURCE_HEAD + 2 ||
	    (data[16] & ~QD_DOMAIN_ROOTS) > QD_RULE_SMMAPD ||
	    !memchr(data + QD_SOURCE_HEAD, '\0',
		    value->mv_size - QD_SOURCE_HEAD))
		return false;
	memcpy(&head->scanned, data, 8);
	memcpy(&head->heartbeat, data + 8, 8);
	head->rule = (enum qd_rule)(data[16] & ~QD_DOMAIN_ROOTS);
	head->domain_roots = data[16] & QD_DOMAIN_ROOTS;
	head->name = (const char *)data + QD_SOURCE_HEAD;
	return strlen(head->name) <= QD_SOURCE_MAX;
}

static bool find_source(MDB_txn *txn, const struct qd_table *table,
			const unsigned char *id, struct source_head *head)
{
	MDB_val key = qd_val(id, QD_SOURCE_ID), value;

	return mdb_get(txn, table->sources, &key, &value) == 0 &&
	       read_source_head(&value, head);
}

bool qd_table_source_name(MDB_txn *txn, const struct qd_table *table,
			  const unsigned char *id, char *name)
{
	struct source_head head;

	if (!find_source(txn, table, id, &head))
		return false;
	strcpy(name, head.name);
	return true;
}

/* A record nobody could re-read lately does not profit from later scans. */
static int64_t record_age(const struct qd_record *rec,
			  const struct source_head *head, int64_t now,
			  int64_t max_age)
{
	struct qd_source src = { .scanned = head->scanned,
				 .heartbeat = head->heartbeat };
	int64_t read_age = qd_age(rec->read, now, max_age);
	int64_t source_age;

	if (rec->kept)
		return read_age;
	source_age = qd_source_age(&src, now, max_age);
	return read_age < source_age ? read_age : source_age;
}

enum qd_found qd_view_get(struct qd_view *view, const char *root, int64_t now,
			  int64_t max_age, struct qd_hit *hit,
			  struct qd_error *err)
{
	struct qd_table *table = view->table;
	MDB_val key = qd_val_text(root), value;
	const unsigned char *at, *end;
	enum qd_found found = QD_ABSENT;
	struct source_head head;
	struct qd_entry entry;
	int rc;

	rc = mdb_get(view->txn, table->roots, &key, &value);
	if (rc == MDB_NOTFOUND)
		return QD_ABSENT;
	if (rc)
		return view_error(view, rc, err);
	at = value.mv_data;
	end = at + value.mv_size;
	while (at < end) {
		int64_t age;

		if (!qd_entry_next(&at, end, &entry) ||
		    !find_source(view->txn, table, entry.id, &head))
			return damaged(view, "record", err);
		age = record_age(&entry.rec, &head, now, max_age);
		if (found == QD_FOUND && age >= hit->age)
			continue;
		hit->rec = entry.rec;
		hit->rule = head.rule;
		hit->domain_roots = head.domain_roots;
		hit->age = age;
		strcpy(hit->source, head.name);
		found = QD_FOUND;
	}
	return found;
}

enum qd_found qd_view_get_of(struct qd_view *view, const char *source,
			     const char *root, struct qd_record *rec,
			     struct qd_error *err)
{
	struct qd_table *table = view->table;
	MDB_val key = qd_val_text(root), value;
	const unsigned char *at, *end;
	char name[QD_SOURCE_MAX + 1];
	struct qd_entry entry;
	int rc;

	rc = mdb_get(view->txn, table->roots, &key, &value);
	if (rc)
		return rc == MDB_NOTFOUND ? QD_ABSENT :
					    view_error(view, rc, err);
	at = value.mv_data;
	end = at + value.mv_size;
	while (at < end) {
		if (!qd_entry_next(&at, end, &entry) ||
		    !qd_table_source_name(view->txn, table, entry.id, name))
			return damaged(view, "record", err);
		if (strcmp(name, source) != 0)
			continue;
		*rec = entry.rec;
		return QD_FOUND;
	}
	return QD_ABSENT;
}

/* "field=value\n" lines, which values cannot contain, into *src */
static bool read_fields(const char *at, const char *end, struct qd_source *src)
{
	char line[512];

	while (at < end) {
		const char *stop = memchr(at, '\n', (size_t)(end - at));
		char *equal;

		if (!stop || stop - at >= (int)sizeof(line))
			return false;
		memcpy(line, at, (size_t)(stop - at));
		line[stop - at] = '\0';
		equal = strchr(line, '=');
		if (!equal)
			return false;
		*equal = '\0';
		if (qd_source_set(src, line, equal + 1) < 0)
			return false;
		at = stop + 1;
	}
	return true;
}

bool qd_source_unpack(const MDB_val *value, struct qd_source *src)
{
	const char *end = (const char *)value->mv_data + value->mv_size;
	struct source_head head;

	if (!read_source_head(value, &head))
		return false;
	qd_source_init(src, head.name);
	return read_fields(head.name + strlen(head.name) + 1, end, src);
}

/* Step a cursor through a database; each gets every pair. */
static int each_pair(struct qd_view *view, MDB_dbi dbi,
		     int (*each)(struct qd_view *view, const MDB_val *key,
				 const MDB_val *value, void *arg,
				 struct qd_error *err),
		     void *arg, struct qd_error *err)
{
	MDB_val key, value;
	MDB_cursor *cursor;
	int rc, result = 0;

	rc = mdb_cursor_open(view->txn, dbi, &cursor);
	if (rc)
		return qd_table_fail(view->table, rc, "cursor", err);
	rc = mdb_cursor_get(cursor, &key, &value, MDB_FIRST);
	while (!rc && !result) {
		result = each(view, &key, &value, arg, err);
		if (!result)
			rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
	}
	mdb_cursor_close(cursor);
	if (rc && rc != MDB_NOTFOUND)
		return qd_table_fail(view->table, rc, "read", err);
	return result;
}

struct source_visitor {
	int (*each)(void *arg, const struct qd_source *src);
	void *arg;
};

static int visit_source(struct qd_view *view, const MDB_val *key,
			const MDB_val *value, void *arg, struct qd_error *err)
{
	const struct source_visitor *visitor = arg;
	struct qd_source src;

	(void)key;
	if (!qd_source_unpack(value, &src)) {
		damaged(view, "source", err);
		return -1;
	}
	return visitor->each(visitor->arg, &src);
}

int qd_view_each_source(struct qd_view *view,
			int (*each)(void *arg, const struct qd_source *src),
			void *arg, struct qd_error *err)
{
	struct source_visitor visitor = { each, arg };

	return each_pair(view, view->table->sources, visit_source, &visitor,
			 err);
}

/* With the source of the record before, which is mostly that of the next. */
struct record_visitor {
	int (*each)(void *arg, const char *root, const char *source,
		    const struct qd_record *rec);
	void *arg;
	unsigned char id[QD_SOURCE_ID];
	char source[QD_SOURCE_MAX + 1];
};

static bool name_source(struct qd_view *view, const unsigned char *id,
			struct record_visitor *visitor)
{
	if (visitor->source[0] && memcmp(id, visitor->id, QD_SOURCE_ID) == 0)
		return true;
	memcpy(visitor->id, id, QD_SOURCE_ID);
	return qd_table_source_name(view->txn, view->table, id,
				    visitor->source);
}

static int visit_root(struct qd_view *view, const MDB_val *key,
		      const MDB_val *value, void *arg, struct qd_error *err)
{
	struct record_visitor *visitor = arg;
	const unsigned char *at = value->mv_data, *end = at + value->mv_size;
	char root[QD_ROOT_MAX + 1];
	struct qd_entry entry;
	int rc = 0;

	if (key->mv_size >= sizeof(root)) {
		damaged(view, "root name", err);
		return -1;
	}
	memcpy(root, key->mv_data, key->mv_size);
	root[key->mv_size] = '\0';
	while (!rc && at < end) {
		if (!qd_entry_next(&at, end, &entry) ||
		    !name_source(view, entry.id, visitor)) {
			damaged(view, "record", err);
			return -1;
		}
		rc = visitor->each(visitor->arg, root, visitor->source,
				   &entry.rec);
	}
	return rc;
}

int qd_view_each_record(struct qd_view *view,
			int (*each)(void *arg, const char *root,
				    const char *source,
				    const struct qd_record *rec),
			void *arg, struct qd_error *err)
{
	struct record_visitor visitor = { .each = each, .arg = arg };

	return each_pair(view, view->table->roots, visit_root, &visitor, err);
}
