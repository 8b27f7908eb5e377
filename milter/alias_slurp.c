/* SPDX-License-Identifier: BSD-2-Clause */
#include "alias_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

/* How often to begin again with a file that changes under the reader. */
enum {
	TRIES = 3
};

static void stamp_from(const struct stat *st, struct qd_alias_stamp *out)
{
	memset(out, 0, sizeof(*out));
	out->device = st->st_dev;
	out->inode = st->st_ino;
	out->mode = st->st_mode;
	out->size = st->st_size;
	out->modified = st->st_mtim;
	out->changed = st->st_ctim;
}

void qd_alias_stamp_get(const char *path, struct qd_alias_stamp *out)
{
	struct stat st;

	if (stat(path, &st) < 0) {
		memset(out, 0, sizeof(*out));
		out->error = errno;
		return;
	}
	stamp_from(&st, out);
}

static bool same_time(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

bool qd_alias_stamp_same(const struct qd_alias_stamp *a,
			 const struct qd_alias_stamp *b)
{
	return a->error == b->error && a->device == b->device &&
	       a->inode == b->inode && a->mode == b->mode &&
	       a->size == b->size && same_time(&a->modified, &b->modified) &&
	       same_time(&a->changed, &b->changed);
}

static bool is_recent(const struct timespec *now, const struct timespec *then)
{
	int64_t seconds = (int64_t)now->tv_sec - then->tv_sec, ms;

	if (seconds < -2 || seconds > 2)
		return false;
	ms = seconds * 1000 + (now->tv_nsec - then->tv_nsec) / 1000000;
	return ms > -QD_ALIAS_REST_MS && ms < QD_ALIAS_REST_MS;
}

bool qd_alias_stamp_hot(const struct qd_alias_stamp *stamp)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return is_recent(&now, &stamp->modified);
}

static int open_regular(const char *path, struct stat *st, struct qd_error *err)
{
	/* a FIFO must not hold up the mail */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	if (fd < 0 && errno == EACCES)
		return qd_error_set(err, EX_NOPERM,
				    "%s: %m; the user that the filter runs as "
				    "must be able to read it",
				    path);
	if (fd < 0)
		return qd_error_set(err, EX_NOINPUT, "%s: %m", path);
	if (fstat(fd, st) == 0 && S_ISREG(st->st_mode))
		return fd;
	close(fd);
	return qd_error_set(err, EX_NOINPUT, "%s: not a regular file", path);
}

/* Up to size bytes, or all there are; -1 with errno. */
static ssize_t read_all(int fd, char *out, size_t size)
{
	size_t length = 0;

	while (length < size) {
		ssize_t n = read(fd, out + length, size - length);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		if (n == 0)
			break;
		length += (size_t)n;
	}
	return (ssize_t)length;
}

/* 1 if the file changed meanwhile */
static int read_version(int fd, const char *path, const struct stat *st,
			char **out, size_t *length, struct qd_error *err)
{
	size_t size = (size_t)st->st_size;
	struct stat now;
	char *text = malloc(size + 1);
	ssize_t got;

	if (!text)
		return qd_error_set(err, EX_OSERR, "%s: out of memory", path);
	got = read_all(fd, text, size + 1);
	if (got < 0 || fstat(fd, &now) < 0) {
		qd_error_set(err, EX_IOERR, "%s: %m", path);
		free(text);
		return -1;
	}
	/* not its ctime, which changes too when another takes its place */
	if ((size_t)got != size || now.st_size != st->st_size ||
	    !same_time(&now.st_mtim, &st->st_mtim)) {
		free(text);
		return 1;
	}
	text[got] = '\0';
	*out = text;
	*length = size;
	return 0;
}

int qd_alias_slurp(const char *path, size_t max, char **out, size_t *length,
		   struct qd_alias_stamp *stamp, struct qd_error *err)
{
	for (int i = 0; i < TRIES; i++) {
		struct stat st;
		int fd = open_regular(path, &st, err), rc;

		if (fd < 0)
			return -1;
		if ((uint64_t)st.st_size > max) {
			close(fd);
			return qd_error_set(err, EX_DATAERR,
					    "%s: larger than %zu bytes", path,
					    max);
		}
		rc = read_version(fd, path, &st, out, length, err);
		close(fd);
		if (rc < 0)
			return -1;
		if (rc == 0) {
			stamp_from(&st, stamp);
			return 0;
		}
	}
	return qd_error_set(err, EX_TEMPFAIL,
			    "%s: changes while it is being read", path);
}
