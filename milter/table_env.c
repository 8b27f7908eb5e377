/* SPDX-License-Identifier: BSD-2-Clause */
/* The LMDB environment of the table: its files, its failures. */
#include "table_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sysexits.h>
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

int qd_table_cut_short(const struct qd_table *table, struct qd_error *err)
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
	return qd_table_is_cut(table) ? qd_table_cut_short(table, err) : 0;
}

void qd_table_path(const char *dir, const char *file, char *out, size_t size)
{
	/* the directory's length is limited by the settings */
	snprintf(out, size, "%s/%s", dir, file);
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

int qd_table_has_data(const char *dir)
{
	char path[300];
	struct stat st;

	qd_table_path(dir, "data.mdb", path, sizeof(path));
	return stat(path, &st) == 0 && st.st_size > 0;
}

/*
 * LMDB makes its lock file a sparse one, and writes into it through a map: on
 * a full disk the first look into the table would be SIGBUS.
 */
static int reserve_locks(const struct qd_table *table, struct qd_error *err)
{
	char path[300];
	int fd, rc;

	if (!table->writable && !qd_table_has_data(table->dir))
		return 0;
	qd_table_path(table->dir, "lock.mdb", path, sizeof(path));
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
