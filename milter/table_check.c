/* SPDX-License-Identifier: BSD-2-Clause */
#include "table_impl.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

static int count_record(void *arg, const char *root, const char *source,
			const struct qd_record *rec)
{
	(void)arg;
	(void)root;
	(void)source;
	(void)rec;
	return 0;
}

static int count_source(void *arg, const struct qd_source *src)
{
	(void)arg;
	(void)src;
	return 0;
}

static bool schema_is_ours(MDB_txn *txn, const struct qd_table *table)
{
	MDB_val key = qd_val_text("schema"), value;

	return mdb_get(txn, table->meta, &key, &value) == 0 &&
	       value.mv_size == 1 && *(const char *)value.mv_data == '1';
}

static int read_all(struct qd_table *table, struct qd_error *err)
{
	struct qd_view *view = qd_view_begin(table, err);
	struct qd_naming naming;

	if (!view)
		return -1;
	if (!schema_is_ours(view->txn, table))
		return qd_error_set(err, EX_DATAERR,
				    "table %s: another schema than %d",
				    table->dir, QD_SCHEMA);
	if (qd_view_naming(view, &naming, err) == QD_ERROR)
		return -1;
	if (qd_view_each_source(view, count_source, NULL, err) < 0)
		return -1;
	return qd_view_each_record(view, count_record, NULL, err);
}

static void on_assert(MDB_env *env, const char *message)
{
	(void)env;
	(void)message;
	_exit(EX_DATAERR);
}

/* Runs in the child; says why on fd and in the status of its end. */
static _Noreturn void check_in_child(const char *dir, int64_t map_size, int fd)
{
	struct qd_table table = { .map_size = map_size };
	struct qd_error err = { 0 };
	const struct rlimit no_core = { 0, 0 };
	int status = EX_OK;

	setrlimit(RLIMIT_CORE, &no_core);
	alarm(600);
	snprintf(table.dir, sizeof(table.dir), "%s", dir);
	for (int i = 0; i < QD_VIEWS; i++)
		table.views[i].table = &table;
	if (qd_table_open_env(&table, &err) == 0)
		mdb_env_set_assert(table.env, on_assert);
	if (!table.env && err.status == EX_UNAVAILABLE)
		_exit(EX_OK); /* nothing in it yet */
	if (!table.env || read_all(&table, &err) < 0)
		status = err.status;
	if (write(fd, err.text, strlen(err.text)) < 0)
		status = status ? status : EX_IOERR;
	_exit(status);
}

static bool died_of_damage(int status)
{
	int sig = WIFSIGNALED(status) ? WTERMSIG(status) : 0;

	return sig == SIGSEGV || sig == SIGBUS || sig == SIGABRT;
}

static int verdict(const char *dir, int status, struct qd_error *err)
{
	int ended = WIFEXITED(status) ? WEXITSTATUS(status) : EX_IOERR;

	if (ended == EX_OK)
		return 0;
	if (died_of_damage(status) || ended == EX_DATAERR) {
		err->status = EX_DATAERR;
		if (!err->text[0])
			qd_error_set(err, EX_DATAERR,
				     "table %s: data.mdb is damaged", dir);
		return 1;
	}
	err->status = ended;
	if (!err->text[0])
		qd_error_set(err, EX_IOERR, "table %s: could not be read", dir);
	return -1;
}

int qd_table_check(const char *dir, int64_t map_size, struct qd_error *err)
{
	struct qd_error reason = { 0 };
	int fds[2], status, rc;
	ssize_t length;
	pid_t child;

	if (pipe(fds) < 0)
		return qd_error_set(err, EX_OSERR, "pipe: %m");
	child = fork();
	if (child == 0)
		check_in_child(dir, map_size, fds[1]);
	close(fds[1]);
	if (child < 0) {
		close(fds[0]);
		return qd_error_set(err, EX_OSERR, "fork: %m");
	}
	length = read(fds[0], reason.text, sizeof(reason.text) - 1);
	reason.text[length > 0 ? length : 0] = '\0';
	close(fds[0]);
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	rc = verdict(dir, status, &reason);
	if (rc && err)
		*err = reason;
	return rc;
}
