/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef QUOTADEFER_TABLE_IMPL_H
#define QUOTADEFER_TABLE_IMPL_H

/* What the table_*.c files share; no other file may include this. */

#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <sys/types.h>

#include <lmdb.h>

#include "quotadefer/table.h"

/*
 * Layout of the environment: three named databases.
 *
 * roots    quota root -> entries, one per source: id (2 bytes, big endian),
 *          length (1), packed record
 * sources  id (2 bytes, big endian) -> scanned (8), heartbeat (8), rule (1,
 *          with QD_DOMAIN_ROOTS added if they count),
 *          name NUL, then "field=value\n" lines as in qd_source_each
 * meta     "schema" -> "1"; "naming" -> a packed naming; "wants-size" -> "1";
 *          "note/NAME" -> text
 */
enum {
	QD_SOURCE_ID = 2,
	QD_ENTRY_HEAD = QD_SOURCE_ID + 1
};
enum {
	QD_SOURCE_HEAD = 8 + 8 + 1,
	QD_DOMAIN_ROOTS = 0x80
};

/* More than callbacks can be inside a view at one moment on any real host. */
enum {
	QD_VIEWS = 64
};

struct qd_view {
	struct qd_table *table;
	atomic_bool busy;
	MDB_txn *txn; /* reset between uses, renewed for each */
};

struct qd_table {
	char dir[256];
	int64_t map_size;
	bool writable;
	MDB_env *env; /* NULL while there is none to read */
	MDB_dbi main, roots, sources, meta;
	ino_t inode;
	dev_t device;
	atomic_bool paused;
	atomic_bool outgrown; /* another process made the map too small */
	unsigned int trips;   /* of the guard, when it was opened */
	atomic_bool emptied;  /* see qd_table_whole() */
	struct qd_view views[QD_VIEWS];
};

struct qd_batch {
	struct qd_table *table;
	MDB_txn *txn;
	/* the source used last, as most batches are about one */
	char source[QD_SOURCE_MAX + 1];
	unsigned char id[QD_SOURCE_ID];
};

static inline MDB_val qd_val(const void *data, size_t size)
{
	return (MDB_val){ .mv_size = size, .mv_data = (void *)data };
}

static inline MDB_val qd_val_text(const char *text)
{
	return qd_val(text, strlen(text));
}

/* *err from an LMDB code; always -1. what is what was being done. */
int qd_table_fail(const struct qd_table *table, int code, const char *what,
		  struct qd_error *err);

/* Where a file of the table is; whether it has data, as 1 or 0. */
void qd_table_path(const char *dir, const char *file, char *out, size_t size);
int qd_table_has_data(const char *dir);

/*
 * In a child process, read all of the table in dir, so that a damaged file
 * can do no harm here. Returns 0 if it is good, 1 if it is not, with the
 * reason in *err, -1 if that could not be found out.
 */
int qd_table_check(const char *dir, int64_t map_size, struct qd_error *err);

/*
 * The guard of qd_table_guard(). Watch what LMDB has mapped now; and how often
 * a file was found to have been cut short under its map.
 */
unsigned int qd_guard_watch(void);
unsigned int qd_guard_trips(void);

/* The file was cut short while it was open: nothing in it counts any more. */
static inline bool qd_table_is_cut(const struct qd_table *table)
{
	return qd_guard_trips() != table->trips || atomic_load(&table->emptied);
}

/*
 * Fails, with *err, if qd_table_is_cut(), or if the names of our databases are
 * gone from what txn sees: what remains of a page reads as zeros, without a
 * SIGBUS, and LMDB takes no root page for granted.
 */
int qd_table_whole(struct qd_table *table, MDB_txn *txn, struct qd_error *err);

/* Say that it is; always -1. */
int qd_table_cut_short(const struct qd_table *table, struct qd_error *err);

/* Open the environment in table->dir; read-only unless table->writable. */
int qd_table_open_env(struct qd_table *table, struct qd_error *err);

/* The name of a source; false if the id is unknown. */
bool qd_table_source_name(MDB_txn *txn, const struct qd_table *table,
			  const unsigned char *id, char *name);

/* Steps through the entries of one root: false at the end or at damage. */
struct qd_entry {
	const unsigned char *id;
	struct qd_record rec;
	const unsigned char *start; /* of the whole entry */
	size_t size;
};
bool qd_entry_next(const unsigned char **at, const unsigned char *end,
		   struct qd_entry *entry);

/* Fill *src from a value of the sources database; false if malformed. */
bool qd_source_unpack(const MDB_val *value, struct qd_source *src);

#endif
