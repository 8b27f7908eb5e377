/* SPDX-License-Identifier: BSD-2-Clause */
#include "quotadefer/publish.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "quotadefer/log.h"
#include "quotadefer/table.h"

/* Changes that are written at once: some ms, and the disk is asked once. */
enum {
	BATCH = 5000
};

struct local {
	struct qd_table *table;
	struct qd_batch *batch;
	struct qd_source src;
	char dir[256];
	int lock; /* -1: not held */
	int changes;
};

static void local_unlock(void *self)
{
	struct local *local = self;

	qd_batch_abort(&local->batch);
	if (local->lock >= 0)
		close(local->lock);
	local->lock = -1;
}

static void local_close(void **self)
{
	struct local *local = *self;

	if (!local)
		return;
	local_unlock(local);
	qd_table_close(&local->table);
	free(local);
	*self = NULL;
}

static int local_open(const struct qd_settings *settings, bool read_only,
		      void **self, struct qd_error *err)
{
	struct local *local = calloc(1, sizeof(*local));
	void *opened = local;
	char aside[256] = "";

	if (!local)
		return qd_error_set(err, EX_OSERR, "no memory");
	local->lock = -1;
	snprintf(local->dir, sizeof(local->dir), "%s", settings->table);
	if (qd_table_open(
		    settings->table, read_only ? QD_TABLE_READ : QD_TABLE_WRITE,
		    settings->table_size, &local->table, aside, err) < 0) {
		qd_table_close(&local->table);
		/* a dry run may come before there is a table */
		if (!read_only || err->status != EX_UNAVAILABLE) {
			local_close(&opened);
			return -1;
		}
	}
	if (aside[0])
		qd_log(LOG_WARNING,
		       "table %s: it was damaged; kept as %s, and begun anew",
		       settings->table, aside);
	*self = local;
	return 0;
}

/* "host 123", as the holder wrote it. */
static void read_holder(int fd, char *out, size_t size)
{
	ssize_t n = pread(fd, out, size - 1, 0);

	out[n > 0 ? n : 0] = '\0';
	out[strcspn(out, "\n")] = '\0';
}

/* Never empty meanwhile: somebody may read it. */
static int write_holder(int fd)
{
	char text[300], host[256] = "";
	int length;

	gethostname(host, sizeof(host) - 1);
	length = snprintf(text, sizeof(text), "process %ld on %s\n",
			  (long)getpid(), host);
	if (pwrite(fd, text, (size_t)length, 0) != length)
		return -1;
	return ftruncate(fd, length);
}

static int local_lock(void *self, const char *source, bool brief,
		      struct qd_error *err)
{
	struct local *local = self;
	char path[400], holder[300];
	mode_t mask;

	(void)brief; /* it goes with the process */

	/* the filter may have set a damaged file aside since */
	if (qd_table_refresh(local->table, err) < 0)
		return -1;
	mask = umask(0007);
	snprintf(path, sizeof(path), "%s/scan-%s.lock", local->dir, source);
	local->lock =
		open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0660);
	umask(mask);
	if (local->lock < 0)
		return qd_error_set(err, errno == EACCES ? EX_NOPERM : EX_IOERR,
				    "%s: %m%s", path,
				    errno == EACCES ?
					    "; give it to the group of its "
					    "directory, mode 0660, or remove "
					    "it" :
					    "");
	if (flock(local->lock, LOCK_EX | LOCK_NB) < 0) {
		read_holder(local->lock, holder, sizeof(holder));
		local_unlock(local);
		return qd_error_set(err, EX_TEMPFAIL,
				    "source %s is being scanned by %s", source,
				    holder[0] ? holder : "another process");
	}
	if (write_holder(local->lock) < 0)
		return qd_error_set(err, EX_IOERR, "%s: %m", path);
	return 0;
}

static int local_renew(void *self, struct qd_error *err)
{
	(void)self;
	(void)err;
	return 0; /* the lock goes with the process */
}

struct load {
	const char *source;
	bool known;
	struct qd_source *before;
	struct qd_rootset *records;
};

static int load_source(void *arg, const struct qd_source *src)
{
	struct load *load = arg;

	if (strcmp(src->name, load->source) == 0) {
		*load->before = *src;
		load->known = true;
	}
	return 0;
}

static int load_record(void *arg, const char *root, const char *source,
		       const struct qd_record *rec)
{
	struct load *load = arg;

	if (strcmp(source, load->source) != 0)
		return 0;
	return qd_rootset_add(load->records, root, 0, rec);
}

static int local_load(void *self, const char *source, bool *known,
		      struct qd_source *before, struct qd_rootset *records,
		      struct qd_error *err)
{
	struct local *local = self;
	struct load load = { source, false, before, records };
	struct qd_view *view;
	int rc;

	*known = false;
	if (!local->table)
		return 0;
	view = qd_view_begin(local->table, err);
	if (!view)
		return -1;
	qd_error_set(err, EX_OSERR, "no memory for the records");
	rc = qd_view_each_source(view, load_source, &load, err);
	if (rc == 0)
		rc = qd_view_each_record(view, load_record, &load, err);
	qd_view_end(view);
	*known = load.known;
	return rc;
}

static int local_load_some(void *self, const char *source,
			   const struct qd_rootset *names, bool *known,
			   struct qd_source *before, struct qd_rootset *records,
			   struct qd_error *err)
{
	struct local *local = self;
	struct load load = { source, false, before, records };
	struct qd_view *view = qd_view_begin(local->table, err);
	struct qd_rootset_entry entry;
	struct qd_record rec;
	enum qd_found found;
	int rc;

	if (!view)
		return -1;
	rc = qd_view_each_source(view, load_source, &load, err);
	for (size_t i = 0; rc == 0 && i < names->count; i++) {
		qd_rootset_get(names, i, &entry);
		found = qd_view_get_of(view, source, entry.root, &rec, err);
		if (found == QD_FOUND)
			rc = load_record(&load, entry.root, source, &rec);
		else if (found == QD_ERROR)
			rc = -1;
	}
	qd_view_end(view);
	*known = load.known;
	return rc;
}

static int local_sources(void *self,
			 int (*each)(void *arg, const struct qd_source *src),
			 void *arg, struct qd_error *err)
{
	struct local *local = self;
	struct qd_view *view;
	int rc;

	if (!local->table)
		return 0;
	view = qd_view_begin(local->table, err);
	if (!view)
		return -1;
	rc = qd_view_each_source(view, each, arg, err);
	qd_view_end(view);
	return rc;
}

static int local_begin(void *self, const struct qd_source *src, bool announce,
		       struct qd_error *err)
{
	struct local *local = self;

	local->src = *src;
	if (!announce)
		return 0;
	if (qd_batch_begin(local->table, &local->batch, err) < 0)
		return -1;
	return qd_batch_source(local->batch, src, err);
}

static int local_change(void *self, const char *root,
			const struct qd_record *before,
			const struct qd_record *after, struct qd_error *err)
{
	struct local *local = self;

	(void)before;
	if (!local->batch &&
	    qd_batch_begin(local->table, &local->batch, err) < 0)
		return -1;
	if (qd_batch_put(local->batch, local->src.name, root, after, err) < 0)
		return -1;
	if (++local->changes % BATCH)
		return 0;
	return qd_batch_commit(&local->batch, err);
}

static int local_finish(void *self, const struct qd_source *src, bool beat,
			struct qd_error *err)
{
	struct local *local = self;

	(void)beat; /* it costs nothing here */
	if (!local->batch &&
	    qd_batch_begin(local->table, &local->batch, err) < 0)
		return -1;
	if (qd_batch_source(local->batch, src, err) < 0)
		return -1;
	return qd_batch_commit(&local->batch, err);
}

const struct qd_publisher qd_publisher_lmdb = {
	.name = "table",
	.open = local_open,
	.lock = local_lock,
	.unlock = local_unlock,
	.renew = local_renew,
	.load = local_load,
	.load_some = local_load_some,
	.sources = local_sources,
	.begin = local_begin,
	.change = local_change,
	.finish = local_finish,
	.close = local_close,
};
