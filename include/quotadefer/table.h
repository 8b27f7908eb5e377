/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef QUOTADEFER_TABLE_H
#define QUOTADEFER_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "quotadefer/error.h"
#include "quotadefer/found.h"
#include "quotadefer/record.h"
#include "quotadefer/source.h"

/*
 * The over-quota table: an LMDB environment in a directory of its own, shared
 * by the processes of one host. Any number of them read while one writes;
 * LMDB serialises the writers and never lets a reader wait for one.
 */
struct qd_table;

/*
 * What a look-up found: the freshest record of the root, the source that
 * published it, the rule that source asks for, whether domain roots count
 * there, and the record's age in seconds (INT64_MAX: nobody knows).
 */
struct qd_hit {
	struct qd_record rec;
	char source[QD_SOURCE_MAX + 1];
	enum qd_rule rule;
	bool domain_roots;
	int64_t age;
};

enum qd_table_mode {
	QD_TABLE_READ, /* the table must exist; it is never changed */
	QD_TABLE_WRITE /* made if missing; a bad one is set aside */
};

/*
 * Open the table in directory dir, which must exist.
 *
 * In mode WRITE a missing table is created, and one that is damaged or of
 * another schema is renamed to data.mdb.bad-TIME and replaced by an empty
 * one; aside (may be NULL) then gets the new name, else "". map_size is the
 * largest the file may become, in bytes.
 *
 * Every record is read once, in a child process so that a damaged file can
 * kill no more than that; so call before starting threads. Blocks for about
 * 0.1 s per million records, and while another process opens the table.
 *
 * Returns 0, or -1 with *err. In both cases *out is a table to be closed with
 * qd_table_close, or NULL if there was no memory for it: after -1 one whose
 * views fail until qd_table_refresh has succeeded.
 */
int qd_table_open(const char *dir, enum qd_table_mode mode, int64_t map_size,
		  struct qd_table **out, char aside[256], struct qd_error *err);

/* Close and set *table to NULL. No view or batch may be open. NULL is fine. */
void qd_table_close(struct qd_table **table);

/*
 * Outlive a file that is cut short while it is open: reading the lost part of
 * LMDB's map is a SIGBUS, which is handled from now on. Views and batches then
 * fail, and qd_table_refresh sets the rest aside and begins anew. For a
 * process that is to go on; call before threads. Returns 0 or -1 with errno.
 */
int qd_table_guard(void);

/*
 * If the file on disk is no longer the one that is open (another process set it
 * aside, or it was deleted or cut short) or has outgrown its map, open what is
 * there now. Waits for views to end, which takes microseconds; views begun
 * meanwhile wait too. Returns 1 if it was reopened, 0 if there was no need, -1
 * if the table cannot be opened: views then fail until a later call succeeds,
 * or, if not even the directory is there, go on with what was open.
 * One thread at a time, not while a batch is open.
 */
int qd_table_refresh(struct qd_table *table, struct qd_error *err);

/*
 * A view: the table as it was at one moment. Begin and end it in one thread;
 * hold it for one decision only. No system call and no allocation, once each
 * of the process's concurrent callers has had its first. Returns NULL with
 * *err if the table cannot be read.
 */
struct qd_view;
struct qd_view *qd_view_begin(struct qd_table *table, struct qd_error *err);
void qd_view_end(struct qd_view *view);

/* The naming that the sources agree on; ABSENT if nothing was published. */
enum qd_found qd_view_naming(struct qd_view *view, struct qd_naming *naming,
			     struct qd_error *err);

/* True if some source's rule makes the SIZE of MAIL matter. */
bool qd_view_wants_size(struct qd_view *view);

/*
 * Look up one quota root. Of several sources' records the freshest is taken;
 * with QD_FOUND its age may still be over max_age (in seconds): judge that.
 * QD_ABSENT: the root is known not to be over quota. QD_ERROR: unknown.
 */
enum qd_found qd_view_get(struct qd_view *view, const char *root, int64_t now,
			  int64_t max_age, struct qd_hit *hit,
			  struct qd_error *err);

/* The record of one root that this source published; not its age. */
enum qd_found qd_view_get_of(struct qd_view *view, const char *source,
			     const char *root, struct qd_record *rec,
			     struct qd_error *err);

/*
 * Call each for every source, or for every record of every source in the
 * order of root names. Stops at, and returns, its first non-zero result;
 * -1 with *err if the table cannot be read.
 */
int qd_view_each_source(struct qd_view *view,
			int (*each)(void *arg, const struct qd_source *src),
			void *arg, struct qd_error *err);
int qd_view_each_record(struct qd_view *view,
			int (*each)(void *arg, const char *root,
				    const char *source,
				    const struct qd_record *rec),
			void *arg, struct qd_error *err);

/* Copy the note of that name; "" if there is none. */
void qd_view_note(struct qd_view *view, const char *name, char *out,
		  size_t size);

/*
 * A batch: changes that readers see all at once, when it is committed. One at
 * a time and in one thread; begin blocks while another process has one open.
 * Every function returns 0, or -1 with *err; the batch is then good for
 * qd_batch_abort only.
 */
struct qd_batch;
int qd_batch_begin(struct qd_table *table, struct qd_batch **out,
		   struct qd_error *err);

/* Add or replace a source, then the table's naming and size flag. */
int qd_batch_source(struct qd_batch *batch, const struct qd_source *src,
		    struct qd_error *err);

/* Forget a source and all its records. Unknown ones are fine. */
int qd_batch_drop_source(struct qd_batch *batch, const char *source,
			 struct qd_error *err);

/* Set (rec) or remove (NULL) a record of a source that the table knows. */
int qd_batch_put(struct qd_batch *batch, const char *source, const char *root,
		 const struct qd_record *rec, struct qd_error *err);

/* Keep a short text beside the records. */
int qd_batch_note(struct qd_batch *batch, const char *name, const char *text,
		  struct qd_error *err);

/* Write the batch to disk and end it; or throw it away. Both set it NULL. */
int qd_batch_commit(struct qd_batch **batch, struct qd_error *err);
void qd_batch_abort(struct qd_batch **batch);

#endif
