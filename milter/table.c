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
#include <sys/statvfs.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

enum {
	READERS = 512,
	LOCK_FILE = READERS * 64 + 4096 /* at least what LMDB makes it */
};

/* LMDB says EIO when the disk took half a page. */
static int disk_failed(const struct qd_table *table, int code, const char *what,
		       struct qd_error *err)
{
	struct statvfs disk = { 0 };

	statvfs(table->dir, &disk);
	return qd_error_set(
		err, EX_IOERR, "table %s: %s: %s; its disk has %llu KiB left",
		table->dir, what, mdb_strerror(code),
		(unsigned long long)disk.f_bavail * disk.f_frsize / 1024);
}

int qd_table_fail(const struct qd_table *table, int code, const char *what,
		  struct qd_error *err)
{
	if (code == EACCES)
		return qd_error_set(err, EX_NOPERM,
				    "table %s: %s: permission denied; both the "
				    "scanner's and the filter's user need to "
				    "write to the directory and its files: "
				    "give them a common group, mode 2770",
				    table->dir, what);
	if (code == ENOENT)
		return qd_error_set(err, EX_UNAVAILABLE,
				    "table %s: there is none yet; "
				    "quotadefer-scan makes it",
				    table->dir);
	if (code == MDB_MAP_FULL)
		return qd_error_set(err, EX_IOERR,
				    "table %s: %s: it is full; raise "
				    "table_size and restart",
				    table->dir, what);
	if (code == MDB_INVALID || code == MDB_VERSION_MISMATCH ||
	    code == MDB_CORRUPTED || code == MDB_PAGE_NOTFOUND)
		return qd_error_set(err, EX_DATAERR,
				    "table %s: data.mdb is damaged: %s",
				    table->dir, mdb_strerror(code));
	if (code == MDB_READERS_FULL)
		return qd_error_set(err, EX_IOERR,
				    "table %s: %s: over %d readers", table->dir,
				    what, READERS);
	if (code == EIO || code == ENOSPC)
		return disk_failed(table, code, what, err);
	return qd_error_set(err, EX_IOERR, "table %s: %s: %s", table->dir, what,
			    mdb_strerror(code));
}

static int cut_short(const struct qd_table *table, struct qd_error *err)
{
	return qd_error_set(err, EX_DATAERR,
			    "table %s: data.mdb was cut short while it was "
			    "open",
			    table->dir);
}

int qd_table_whole(struct qd_table *table, MDB_txn *txn, struct qd_error *err)
{
	MDB_stat stat;

	if (mdb_stat(txn, table->main, &stat) != 0 || stat.ms_entries == 0)
		atomic_store(&table->emptied, true);
	return qd_table_is_cut(table) ? cut_short(table, err) : 0;
}

static int data_path(const char *dir, const char *file, char *out, size_t size)
{
	return snprintf(out, size, "%s/%s", dir, file) < (int)size ? 0 : -1;
}

/* A file shorter than its header says would be SIGBUS on the first look. */
static int check_length(struct qd_table *table, int fd, struct qd_error *err)
{
	MDB_envinfo info;
	MDB_stat stat;
	struct stat st;
	off_t need;

	if (fstat(fd, &st) < 0)
		return qd_table_fail(table, errno, "fstat", err);
	mdb_env_info(table->env, &info);
	mdb_env_stat(table->env, &stat);
	need = (off_t)(info.me_last_pgno + 1) * (off_t)stat.ms_psize;
	if (st.st_size < need)
		return qd_error_set(err, EX_DATAERR,
				    "table %s: data.mdb is %lld bytes long, "
				    "its header says %lld",
				    table->dir, (long long)st.st_size,
				    (long long)need);
	table->inode = st.st_ino;
	table->device = st.st_dev;
	return 0;
}

static int open_databases(struct qd_table *table, struct qd_error *err)
{
	unsigned int flags = table->writable ? MDB_CREATE : 0;
	unsigned int txn_flags = table->writable ? 0 : MDB_RDONLY;
	MDB_val key = qd_val_text("schema"), one = qd_val_text("1"), found;
	MDB_txn *txn;
	int rc;

	rc = mdb_txn_begin(table->env, NULL, txn_flags, &txn);
	if (rc)
		return qd_table_fail(table, rc, "begin", err);
	rc = mdb_dbi_open(txn, NULL, 0, &table->main);
	if (!rc)
		rc = mdb_dbi_open(txn, "roots", flags, &table->roots);
	if (!rc)
		rc = mdb_dbi_open(txn, "sources", flags, &table->sources);
	if (!rc)
		rc = mdb_dbi_open(txn, "meta", flags, &table->meta);
	if (!rc && mdb_get(txn, table->meta, &key, &found) == MDB_NOTFOUND &&
	    table->writable)
		rc = mdb_put(txn, table->meta, &key, &one, 0);
	if (!rc)
		rc = mdb_txn_commit(txn);
	else
		mdb_txn_abort(txn);
	/* the process that made the file was killed before it filled it */
	if (rc == MDB_NOTFOUND)
		rc = ENOENT;
	if (rc)
		return qd_table_fail(table, rc, "open", err);
	return 0;
}

/* 1: there is a table file with something in it. */
static int has_data(const char *dir)
{
	char path[300];
	struct stat st;

	return data_path(dir, "data.mdb", path, sizeof(path)) == 0 &&
	       stat(path, &st) == 0 && st.st_size > 0;
}

/*
 * LMDB makes its lock file a sparse one, and writes into it through a map: on
 * a full disk the first look into the table would be SIGBUS.
 */
static int reserve_locks(const struct qd_table *table, struct qd_error *err)
{
	char path[300];
	int fd, rc;

	if (!table->writable && !has_data(table->dir))
		return 0;
	data_path(table->dir, "lock.mdb", path, sizeof(path));
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0660);
	if (fd < 0)
		return 0; /* LMDB will fail too, and say why */
	rc = fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, LOCK_FILE);
	if (rc < 0 && errno == ENOSPC)
		disk_failed(table, errno, "open", err);
	else
		rc = 0; /* not every file system can */
	close(fd);
	return rc;
}

/* the other program's user shares the files through its group */
static int open_files(struct qd_table *table, struct qd_error *err)
{
	unsigned int flags = MDB_NOTLS | MDB_NOMETASYNC;
	mode_t mask = umask(0007);
	int rc;

	if (!table->writable)
		flags |= MDB_RDONLY;
	rc = reserve_locks(table, err);
	if (rc == 0) {
		rc = mdb_env_open(table->env, table->dir, flags, 0660);
		if (rc)
			qd_table_fail(table, rc, "open", err);
	}
	umask(mask);
	return rc ? -1 : 0;
}

int qd_table_open_env(struct qd_table *table, struct qd_error *err)
{
	mdb_filehandle_t fd;
	int rc, dead;

	rc = mdb_env_create(&table->env);
	if (rc)
		return qd_table_fail(table, rc, "create", err);
	mdb_env_set_maxdbs(table->env, 3);
	mdb_env_set_maxreaders(table->env, READERS);
	mdb_env_set_mapsize(table->env, (size_t)table->map_size);
	if (open_files(table, err) < 0)
		goto fail;
	table->trips = qd_guard_watch();
	atomic_store(&table->emptied, false);
	mdb_env_get_fd(table->env, &fd);
	if (check_length(table, fd, err) < 0)
		goto fail;
	mdb_reader_check(table->env, &dead);
	if (open_databases(table, err) < 0)
		goto fail;
	return 0;
fail:
	mdb_env_close(table->env);
	table->env = NULL;
	return -1;
}

/*
 * Move the files out of the way, the lock file too: processes that still
 * have the old pair open keep it to themselves.
 */
static int set_aside(const char *dir, char aside[256], struct qd_error *err)
{
	char from[300], to[300];
	long long now = (long long)time(NULL);

	data_path(dir, "lock.mdb", from, sizeof(from));
	if (unlink(from) < 0 && errno != ENOENT)
		return qd_error_set(err, EX_IOERR, "%s: %m", from);
	data_path(dir, "data.mdb", from, sizeof(from));
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

	if (has_data(table->dir))
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
	return qd_error_set(err, errno == EACCES ? EX_NOPERM : EX_UNAVAILABLE,
			    "table %s: %m", dir);
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

static bool is_current(const struct qd_table *table)
{
	char path[300];
	struct stat st;

	if (!table->env || atomic_load(&table->outgrown) ||
	    qd_table_is_cut(table))
		return false;
	data_path(table->dir, "data.mdb", path, sizeof(path));
	return stat(path, &st) == 0 && st.st_ino == table->inode &&
	       st.st_dev == table->device;
}

/* Without the check of every record: a child process is not to be had here. */
static int reopen(struct qd_table *table, bool is_cut, struct qd_error *err)
{
	char aside[256];

	if (is_cut)
		cut_short(table, err);
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
