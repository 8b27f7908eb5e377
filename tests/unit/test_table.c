/* SPDX-License-Identifier: BSD-2-Clause */
#include "check.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include <lmdb.h>

#include "scratch.h"

#include "quotadefer/table.h"

enum {
	MAP = 64 << 20,
	NOW = 1700000000,
	MAX_AGE = 3600
};

static struct qd_record record(int64_t used, int64_t read)
{
	struct qd_record rec;

	qd_record_init(&rec);
	rec.usage[QD_STORAGE] = (struct qd_usage){ used, 100 };
	rec.since = NOW - 50;
	rec.read = read;
	return rec;
}

static struct qd_source source(const char *name, int64_t scanned)
{
	struct qd_source src;

	qd_source_init(&src, name);
	src.scanned = scanned;
	src.naming.virtdomains = QD_VIRTDOMAINS_USERID;
	strcpy(src.naming.defaultdomain, "example.org");
	return src;
}

static struct qd_table *open_table(const char *name, enum qd_table_mode mode)
{
	struct qd_table *table;
	struct qd_error err = { 0 };

	mkdir(scratch_path(name), 0700);
	if (qd_table_open(scratch_path(name), mode, MAP, &table, NULL, &err))
		fail_msg("%s", err.text);
	return table;
}

static struct qd_batch *begin(struct qd_table *table)
{
	struct qd_batch *batch;
	struct qd_error err;

	if (qd_batch_begin(table, &batch, &err) < 0)
		fail_msg("%s", err.text);
	return batch;
}

static void put(struct qd_batch *batch, const char *src, const char *root,
		int64_t used, int64_t read)
{
	struct qd_record rec = record(used, read);
	struct qd_error err;

	if (qd_batch_put(batch, src, root, used ? &rec : NULL, &err) < 0)
		fail_msg("%s", err.text);
}

static void put_source(struct qd_batch *batch, const char *name,
		       int64_t scanned)
{
	struct qd_source src = source(name, scanned);
	struct qd_error err;

	if (qd_batch_source(batch, &src, &err) < 0)
		fail_msg("%s", err.text);
}

static void commit(struct qd_batch *batch)
{
	struct qd_error err;

	if (qd_batch_commit(&batch, &err) < 0)
		fail_msg("%s", err.text);
}

static enum qd_found get(struct qd_table *table, const char *root,
			 struct qd_hit *hit)
{
	struct qd_error err = { 0 };
	struct qd_view *view = qd_view_begin(table, &err);
	enum qd_found found;

	if (!view)
		fail_msg("%s", err.text);
	found = qd_view_get(view, root, NOW, MAX_AGE, hit, &err);
	qd_view_end(view);
	return found;
}

static void test_empty(void **state)
{
	struct qd_table *table = open_table("empty", QD_TABLE_WRITE);
	struct qd_naming naming;
	struct qd_view *view;
	struct qd_hit hit;
	struct qd_error err;
	char note[10];

	(void)state;
	assert_int_equal(get(table, "user.joe", &hit), QD_ABSENT);
	view = qd_view_begin(table, &err);
	assert_int_equal(qd_view_naming(view, &naming, &err), QD_ABSENT);
	assert_false(qd_view_wants_size(view));
	qd_view_note(view, "feed", note, sizeof(note));
	assert_string_equal(note, "");
	qd_view_end(view);
	qd_table_close(&table);
	assert_null(table);
	qd_table_close(&table);
}

static void test_put_and_get(void **state)
{
	struct qd_table *table = open_table("basic", QD_TABLE_WRITE), *other;
	struct qd_batch *batch = begin(table);
	struct qd_naming naming;
	struct qd_view *view;
	struct qd_error err;
	struct qd_hit hit;
	char note[20];

	(void)state;
	put_source(batch, "mail1", NOW - 10);
	put(batch, "mail1", "user.joe", 102401, NOW - 100);
	put(batch, "mail1", "user.kim", 102402, NOW - 100);
	assert_int_equal(qd_batch_note(batch, "feed", "here", &err), 0);
	assert_int_equal(get(table, "user.joe", &hit), QD_ABSENT);
	commit(batch);
	assert_int_equal(get(table, "user.joe", &hit), QD_FOUND);
	assert_int_equal(hit.rec.usage[QD_STORAGE].used, 102401);
	assert_string_equal(hit.source, "mail1");
	assert_int_equal(hit.age, 10);
	assert_int_equal(get(table, "user.jo", &hit), QD_ABSENT);
	assert_int_equal(get(table, "user.joe.x", &hit), QD_ABSENT);

	/* another process's view of it */
	other = open_table("basic", QD_TABLE_READ);
	assert_int_equal(get(other, "user.kim", &hit), QD_FOUND);
	batch = begin(table);
	put(batch, "mail1", "user.kim", 0, 0);
	put(batch, "mail1", "user.nobody", 0, 0);
	commit(batch);
	assert_int_equal(get(other, "user.kim", &hit), QD_ABSENT);
	view = qd_view_begin(other, &err);
	assert_int_equal(qd_view_naming(view, &naming, &err), QD_FOUND);
	assert_string_equal(naming.defaultdomain, "example.org");
	qd_view_note(view, "feed", note, sizeof(note));
	assert_string_equal(note, "here");
	qd_view_end(view);
	qd_table_close(&other);
	qd_table_close(&table);
}

static void test_abort(void **state)
{
	struct qd_table *table = open_table("abort", QD_TABLE_WRITE);
	struct qd_batch *batch = begin(table);
	struct qd_hit hit;

	(void)state;
	put_source(batch, "mail1", NOW);
	put(batch, "mail1", "user.joe", 102401, NOW);
	qd_batch_abort(&batch);
	assert_null(batch);
	qd_batch_abort(&batch);
	assert_int_equal(get(table, "user.joe", &hit), QD_ABSENT);
	qd_table_close(&table);
}

/* A mailbox being moved is on two servers: the fresher one is believed. */
static void test_two_sources(void **state)
{
	struct qd_table *table = open_table("two", QD_TABLE_WRITE);
	struct qd_batch *batch = begin(table);
	struct qd_error err;
	struct qd_hit hit;

	(void)state;
	put_source(batch, "mail1", NOW - 500);
	put_source(batch, "mail2", NOW - 20);
	put(batch, "mail1", "user.joe", 1, NOW - 600);
	put(batch, "mail2", "user.joe", 2, NOW - 600);
	commit(batch);
	assert_int_equal(get(table, "user.joe", &hit), QD_FOUND);
	assert_string_equal(hit.source, "mail2");
	assert_int_equal(hit.age, 20);

	batch = begin(table);
	put_source(batch, "mail1", NOW - 5);
	commit(batch);
	assert_int_equal(get(table, "user.joe", &hit), QD_FOUND);
	assert_string_equal(hit.source, "mail1");

	batch = begin(table);
	assert_int_equal(qd_batch_drop_source(batch, "mail1", &err), 0);
	assert_int_equal(qd_batch_drop_source(batch, "unknown", &err), 0);
	commit(batch);
	assert_int_equal(get(table, "user.joe", &hit), QD_FOUND);
	assert_string_equal(hit.source, "mail2");
	batch = begin(table);
	put(batch, "mail2", "user.joe", 0, 0);
	commit(batch);
	assert_int_equal(get(table, "user.joe", &hit), QD_ABSENT);
	qd_table_close(&table);
}

static void test_kept_record_ages(void **state)
{
	struct qd_table *table = open_table("kept", QD_TABLE_WRITE);
	struct qd_batch *batch = begin(table);
	struct qd_record rec = record(5, NOW - 700);
	struct qd_error err;
	struct qd_hit hit;

	(void)state;
	rec.kept = true;
	put_source(batch, "mail1", NOW - 10);
	assert_int_equal(qd_batch_put(batch, "mail1", "user.joe", &rec, &err),
			 0);
	commit(batch);
	assert_int_equal(get(table, "user.joe", &hit), QD_FOUND);
	assert_int_equal(hit.age, 700);
	qd_table_close(&table);
}

static void test_drop_many(void **state)
{
	struct qd_table *table = open_table("drop", QD_TABLE_WRITE);
	struct qd_batch *batch = begin(table);
	struct qd_error err;
	struct qd_hit hit;
	char root[32];
	int left = 0;

	(void)state;
	put_source(batch, "mail1", NOW);
	put_source(batch, "mail2", NOW);
	for (int i = 0; i < 5000; i++) {
		snprintf(root, sizeof(root), "user.u%d", i);
		put(batch, i % 2 ? "mail1" : "mail2", root, 5, NOW);
	}
	commit(batch);
	batch = begin(table);
	assert_int_equal(qd_batch_drop_source(batch, "mail1", &err), 0);
	commit(batch);
	for (int i = 0; i < 5000; i++) {
		snprintf(root, sizeof(root), "user.u%d", i);
		left += get(table, root, &hit) == QD_FOUND;
	}
	assert_int_equal(left, 2500);
	qd_table_close(&table);
}

static void test_refusals(void **state)
{
	struct qd_table *table = open_table("refuse", QD_TABLE_WRITE);
	struct qd_batch *batch = begin(table);
	struct qd_record rec = record(5, NOW);
	char root[QD_ROOT_MAX + 2];
	struct qd_source src = source("mail1", NOW);
	struct qd_error err;

	(void)state;
	assert_int_equal(qd_batch_put(batch, "mail1", "user.x", &rec, &err),
			 -1);
	assert_int_equal(qd_batch_source(batch, &src, &err), 0);
	memset(root, 'a', sizeof(root));
	root[QD_ROOT_MAX + 1] = '\0';
	assert_int_equal(qd_batch_put(batch, "mail1", root, &rec, &err), -1);
	root[QD_ROOT_MAX] = '\0';
	assert_int_equal(qd_batch_put(batch, "mail1", root, &rec, &err), 0);
	assert_int_equal(qd_batch_put(batch, "mail1", "", &rec, &err), -1);
	strcpy(src.host, "two\nlines");
	assert_int_equal(qd_batch_source(batch, &src, &err), -1);
	qd_batch_abort(&batch);
	qd_table_close(&table);
}

static void test_wants_size(void **state)
{
	struct qd_table *table = open_table("size", QD_TABLE_WRITE);
	struct qd_batch *batch = begin(table);
	struct qd_source src = source("mail1", NOW);
	struct qd_view *view;
	struct qd_error err;

	(void)state;
	src.rule = QD_RULE_STRICT;
	assert_int_equal(qd_batch_source(batch, &src, &err), 0);
	put_source(batch, "mail2", NOW);
	commit(batch);
	view = qd_view_begin(table, &err);
	assert_true(qd_view_wants_size(view));
	qd_view_end(view);
	batch = begin(table);
	put_source(batch, "mail1", NOW);
	commit(batch);
	view = qd_view_begin(table, &err);
	assert_false(qd_view_wants_size(view));
	qd_view_end(view);
	qd_table_close(&table);
}

/* What is wrong with the file, how it is set aside, and that it is. */
static void check_set_aside(const char *name)
{
	char aside[256] = "";
	struct qd_error err = { 0 };
	struct qd_table *table;
	struct qd_hit hit;

	assert_int_equal(qd_table_open(scratch_path(name), QD_TABLE_READ, MAP,
				       &table, NULL, &err),
			 -1);
	assert_int_equal(err.status, EX_DATAERR);
	assert_null(qd_view_begin(table, &err));
	qd_table_close(&table);
	if (qd_table_open(scratch_path(name), QD_TABLE_WRITE, MAP, &table,
			  aside, &err) < 0)
		fail_msg("%s: %s", name, err.text);
	assert_true(strncmp(aside, "data.mdb.bad-", 13) == 0);
	assert_int_equal(get(table, "user.joe", &hit), QD_ABSENT);
	qd_table_close(&table);
}

static void fill(const char *name)
{
	struct qd_table *table = open_table(name, QD_TABLE_WRITE);
	struct qd_batch *batch = begin(table);
	char root[32];

	put_source(batch, "mail1", NOW);
	put(batch, "mail1", "user.joe", 5, NOW);
	for (int i = 0; i < 2000; i++) {
		snprintf(root, sizeof(root), "user.u%d", i);
		put(batch, "mail1", root, 5, NOW);
	}
	commit(batch);
	qd_table_close(&table);
}

static void test_garbage(void **state)
{
	char data[20000];

	(void)state;
	memset(data, 'x', sizeof(data));
	scratch_write("garbage/data.mdb", data, sizeof(data));
	check_set_aside("garbage");
	scratch_write("short/data.mdb", "x", 1);
	check_set_aside("short");
}

static void test_truncated(void **state)
{
	struct stat st;

	(void)state;
	fill("truncated");
	assert_int_equal(stat(scratch_path("truncated/data.mdb"), &st), 0);
	assert_int_equal(
		truncate(scratch_path("truncated/data.mdb"), st.st_size / 2),
		0);
	check_set_aside("truncated");
}

/* The header is good, the inside is not. */
static void test_damaged_inside(void **state)
{
	static const char junk[4096] = { 1, 2, 3 };
	struct stat st;
	int fd;

	(void)state;
	fill("inside");
	fd = open(scratch_path("inside/data.mdb"), O_RDWR);
	assert_int_equal(fstat(fd, &st), 0);
	for (off_t at = 2 * 4096; at < st.st_size; at += 4096)
		assert_int_equal(pwrite(fd, junk, sizeof(junk), at),
				 sizeof(junk));
	close(fd);
	check_set_aside("inside");
}

/* Made by a process that was killed before it came to write anything. */
static void test_not_filled(void **state)
{
	struct qd_error err = { 0 };
	struct qd_table *table;
	MDB_env *env;

	(void)state;
	mkdir(scratch_path("bare"), 0700);
	assert_int_equal(mdb_env_create(&env), 0);
	assert_int_equal(mdb_env_open(env, scratch_path("bare"), 0, 0600), 0);
	mdb_env_close(env);
	assert_int_equal(qd_table_open(scratch_path("bare"), QD_TABLE_READ, MAP,
				       &table, NULL, &err),
			 -1);
	assert_int_equal(err.status, EX_UNAVAILABLE);
	qd_table_close(&table);
	table = open_table("bare", QD_TABLE_WRITE);
	qd_table_close(&table);
}

static void test_missing(void **state)
{
	struct qd_error err = { 0 };
	struct qd_table *table;

	(void)state;
	assert_int_equal(qd_table_open(scratch_path("nowhere"), QD_TABLE_WRITE,
				       MAP, &table, NULL, &err),
			 -1);
	assert_int_equal(err.status, EX_UNAVAILABLE);
	assert_null(qd_view_begin(table, &err));
	/* the directory comes later: the next look finds it */
	mkdir(scratch_path("nowhere"), 0700);
	assert_int_equal(qd_table_refresh(table, &err), 1);
	assert_int_equal(qd_table_refresh(table, &err), 0);
	qd_table_close(&table);
	mkdir(scratch_path("unmade"), 0700);
	assert_int_equal(qd_table_open(scratch_path("unmade"), QD_TABLE_READ,
				       MAP, &table, NULL, &err),
			 -1);
	assert_int_equal(err.status, EX_UNAVAILABLE);
	qd_table_close(&table);
}

/* Somebody deletes or replaces the files while they are open. */
static void test_replaced(void **state)
{
	struct qd_table *table = open_table("replaced", QD_TABLE_WRITE);
	struct qd_batch *batch = begin(table);
	struct qd_error err;
	struct qd_hit hit;

	(void)state;
	put_source(batch, "mail1", NOW);
	put(batch, "mail1", "user.joe", 5, NOW);
	commit(batch);
	assert_int_equal(qd_table_refresh(table, &err), 0);
	unlink(scratch_path("replaced/data.mdb"));
	unlink(scratch_path("replaced/lock.mdb"));
	assert_int_equal(get(table, "user.joe", &hit), QD_FOUND);
	assert_int_equal(qd_table_refresh(table, &err), 1);
	assert_int_equal(get(table, "user.joe", &hit), QD_ABSENT);
	qd_table_close(&table);
}

static void test_full(void **state)
{
	struct qd_error err = { 0 };
	struct qd_batch *batch;
	struct qd_table *table;
	struct qd_record rec = record(5, NOW);
	char root[64];
	int rc = 0;

	(void)state;
	mkdir(scratch_path("full"), 0700);
	assert_int_equal(qd_table_open(scratch_path("full"), QD_TABLE_WRITE,
				       1 << 20, &table, NULL, &err),
			 0);
	batch = begin(table);
	put_source(batch, "mail1", NOW);
	put(batch, "mail1", "user.joe", 5, NOW);
	commit(batch);
	batch = begin(table);
	for (int i = 0; rc == 0 && i < 100000; i++) {
		snprintf(root, sizeof(root), "user.%040d", i);
		rc = qd_batch_put(batch, "mail1", root, &rec, &err);
	}
	assert_int_equal(rc, -1);
	assert_non_null(strstr(err.text, "table_size"));
	qd_batch_abort(&batch);
	/* what was there is there still */
	assert_int_equal(get(table, "user.joe", (struct qd_hit[1]){ 0 }),
			 QD_FOUND);
	qd_table_close(&table);
}

/* Many readers, a writer and refreshes at once. */
struct crowd {
	struct qd_table *table;
	atomic_bool stop;
	atomic_int reads, errors;
};

static void *read_on(void *arg)
{
	struct crowd *crowd = arg;
	struct qd_error err;
	struct qd_hit hit;

	while (!atomic_load(&crowd->stop)) {
		struct qd_view *view = qd_view_begin(crowd->table, &err);

		if (!view || qd_view_get(view, "user.joe", NOW, MAX_AGE, &hit,
					 &err) != QD_FOUND)
			atomic_fetch_add(&crowd->errors, 1);
		if (view)
			qd_view_end(view);
		atomic_fetch_add(&crowd->reads, 1);
	}
	return NULL;
}

static void test_threads(void **state)
{
	struct crowd crowd = { .table = open_table("crowd", QD_TABLE_WRITE) };
	struct qd_batch *batch = begin(crowd.table);
	pthread_t readers[8];
	struct qd_error err;
	char root[32];

	(void)state;
	put_source(batch, "mail1", NOW);
	put(batch, "mail1", "user.joe", 5, NOW);
	commit(batch);
	for (size_t i = 0; i < COUNT(readers); i++)
		pthread_create(&readers[i], NULL, read_on, &crowd);
	for (int i = 0; i < 100 || atomic_load(&crowd.reads) < 10000; i++) {
		batch = begin(crowd.table);
		snprintf(root, sizeof(root), "user.w%d", i % 50);
		put(batch, "mail1", root, i + 1, NOW);
		commit(batch);
		if (i % 10 == 0)
			assert_int_equal(qd_table_refresh(crowd.table, &err),
					 0);
	}
	atomic_store(&crowd.stop, true);
	for (size_t i = 0; i < COUNT(readers); i++)
		pthread_join(readers[i], NULL);
	assert_int_equal(crowd.errors, 0);
	qd_table_close(&crowd.table);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_empty),
		cmocka_unit_test(test_put_and_get),
		cmocka_unit_test(test_abort),
		cmocka_unit_test(test_two_sources),
		cmocka_unit_test(test_kept_record_ages),
		cmocka_unit_test(test_drop_many),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_wants_size),
		cmocka_unit_test(test_garbage),
		cmocka_unit_test(test_truncated),
		cmocka_unit_test(test_damaged_inside),
		cmocka_unit_test(test_not_filled),
		cmocka_unit_test(test_missing),
		cmocka_unit_test(test_replaced),
		cmocka_unit_test(test_full),
		cmocka_unit_test(test_threads),
	};

	return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
