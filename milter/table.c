/* SPDX-License-Identifier: BSD-2-Clause */
#include "table_impl.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

/*
 * Move the files out of the way, the lock file too: processes that still
 * have the old pair open keep it to themselves.
 */
static int set_aside(const char *dir, char aside[256], struct qd_error *err)
{
	char from[300], to[300];
	long long now = (long long)time(NULL);

	qd_table_path(dir, "lock.mdb", from, sizeof(from));
	if (unlink(from) < 0 && errno != ENOENT)
		return qd_error_set(err, EX_IOERR, "%s: %m", from);
	qd_table_path(dir, "data.mdb", from, sizeof(from));
	snprintf(to, sizeof(to), "%s/data.mdb.bad-%lld", dir, now);
	if (rename(from, to) < 0)
		return qd_error_set(err, EX_IOERR, "%s: rename: %m", from);
	snprintf(aside, 256, "data.mdb.bad-%lld", now);
	return 0;
}

static int check_and_open(struct qd_table *table, char aside[256],
			  struct qd_error *err)
{
	int bad = 0;

	if (qd_table_has_data(table->dir))
		bad = qd_table_check(table->dir, table->map_size, err);
	if (bad < 0)
		return -1;
	if (bad && (!table->writable || set_aside(table->dir, aside, err) < 0))
		return -1;
	return qd_table_open_env(table, err);
}

static struct qd_table *new_table(const char *dir, enum qd_table_mode mode,
				  int64_t map_size)
{
	struct qd_table *table = calloc(1, sizeof(*table));

	if (!table)
		return NULL;
	assert(strlen(dir) < sizeof(table->dir)); /* settings see to it */
	strcpy(table->dir, dir);
	table->map_size = map_size;
	table->writable = mode == QD_TABLE_WRITE;
	for (int i = 0; i < QD_VIEWS; i++)
		table->views[i].table = table;
	return table;
}

static int directory_not_opened(const char *dir, struct qd_error *err)
{
	if (errno == ENOENT)
		return qd_error_set(err, EX_UNAVAILABLE,
				    "table %s: %m; quotadefer-scan and the "
				    "filter make it when root starts them",
				    dir);
	if (errno == EACCES)
		return qd_error_set(err, EX_NOPERM,
				    "table %s: %m; run it as root, or as a "
				    "member of the directory's group",
				    dir);
	return qd_error_set(err, EX_UNAVAILABLE, "table %s: %m", dir);
}

/* The directory, locked: only one process at a time opens and sets aside. */
static int lock_directory(const char *dir, struct qd_error *err)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return directory_not_opened(dir, err);
	if (flock(fd, LOCK_EX) < 0) {
		qd_error_set(err, EX_IOERR, "table %s: flock: %m", dir);
		close(fd);
		return -1;
	}
	return fd;
}

int qd_table_open(const char *dir, enum qd_table_mode mode, int64_t map_size,
		  struct qd_table **out, char aside[256], struct qd_error *err)
{
	char unused[256];
	int lock, rc;

	if (!aside)
		aside = unused;
	aside[0] = '\0';
	*out = new_table(dir, mode, map_size);
	if (!*out)
		return qd_error_set(err, EX_OSERR, "table %s: %m", dir);
	lock = lock_directory(dir, err);
	if (lock < 0)
		return -1;
	rc = check_and_open(*out, aside, err);
	close(lock);
	return rc;
}

/* After this no view is open, and none will be until resume_views. */
static void pause_views(struct qd_table *table)
{
	atomic_store(&table->paused, true);
	for (int i = 0; i < QD_VIEWS; i++)
		while (atomic_load(&table->views[i].busy))
			sched_yield();
}

static void resume_views(struct qd_table *table)
{
	atomic_store(&table->paused, false);
}

static void close_env(struct qd_table *table)
{
	if (!table->env)
		return;
	for (int i = 0; i < QD_VIEWS; i++) {
		if (table->views[i].txn)
			mdb_txn_abort(table->views[i].txn);
		table->views[i].txn = NULL;
	}
	mdb_env_close(table->env);
	table->env = NULL;
}

void qd_table_close(struct qd_table **table)
{
	if (!*table)
		return;
	close_env(*table);
	free(*table);
	*table = NULL;
}

/* Is the file on disk the one that is, or was last, open? */
static bool is_same_file(const struct qd_table *table)
{
	char path[300];
	struct stat st;

	qd_table_path(table->dir, "data.mdb", path, sizeof(path));
	return stat(path, &st) == 0 && st.st_ino == table->inode &&
	       st.st_dev == table->device;
}

static bool is_current(const struct qd_table *table)
{
	return table->env && !atomic_load(&table->outgrown) &&
	       !qd_table_is_cut(table) && is_same_file(table);
}

/* Without the check of every record: a child process is not to be had here. */
static int reopen(struct qd_table *table, bool is_cut, struct qd_error *err)
{
	char aside[256];

	/* another process may have begun a new one already */
	if (is_cut && is_same_file(table))
		qd_table_cut_short(table, err);
	else if (qd_table_open_env(table, err) == 0)
		return 0;
	if (err->status != EX_DATAERR || !table->writable)
		return -1;
	if (set_aside(table->dir, aside, err) < 0)
		return -1;
	return qd_table_open_env(table, err);
}

int qd_table_refresh(struct qd_table *table, struct qd_error *err)
{
	bool is_cut = qd_table_is_cut(table);
	int lock, rc;

	if (is_current(table))
		return 0;
	lock = lock_directory(table->dir, err);
	if (lock < 0)
		return -1;
	pause_views(table);
	close_env(table);
	rc = reopen(table, is_cut, err);
	atomic_store(&table->outgrown, false);
	resume_views(table);
	close(lock);
	return rc < 0 ? -1 : 1;
}
