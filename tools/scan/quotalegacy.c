/* SPDX-License-Identifier: BSD-2-Clause */
#include "quotalegacy_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "quotadefer/quotarecord.h"

char qd_quotalegacy_letter(const char *name, bool skip_user, bool full)
{
	const char *dot = skip_user ? strchr(name, '.') : NULL;
	uint32_t n = 0;
	int c;

	if (dot)
		name = dot + 1;
	if (full) {
		for (; *name && *name != '.'; name++)
			n = (n << 3 ^ n >> 5) ^ (unsigned char)*name;
		return (char)('A' + n % 23);
	}
	c = *name >= 'A' && *name <= 'Z' ? *name + ('a' - 'A') : *name;
	return c >= 'a' && c <= 'z' ? (char)c : 'q';
}

static const char *path_of(const struct qd_quotadir *dir, const char *file,
			   char *out, size_t size)
{
	snprintf(out, size, "%s/%s", dir->path, file);
	return out;
}

static void malformed(struct qd_legacy_reader *reader,
		      const struct qd_quotadir *dir, const char *file,
		      const char *why)
{
	char path[600];

	qd_findings_malformed(&reader->found,
			      path_of(dir, file, path, sizeof(path)), why);
}

static void unreadable(struct qd_legacy_reader *reader,
		       const struct qd_quotadir *dir, const char *file,
		       int error)
{
	char path[600];

	qd_findings_unreadable(
		&reader->found, dir->domain, dir->letter ? file : "",
		path_of(dir, file, path, sizeof(path)), strerror(error));
}

/* Where Cyrus would not look for it, a root is none. */
static bool is_in_place(struct qd_legacy_reader *reader,
			const struct qd_quotadir *dir, const char *file)
{
	const struct qd_imapdconf *conf = reader->conf;
	char why[80], letter;

	if (!dir->letter)
		return true;
	if (conf->naming.virtdomains != QD_VIRTDOMAINS_OFF &&
	    strchr(file, '!')) {
		malformed(reader, dir, file, "a \"!\" belongs to a domain");
		return false;
	}
	letter = qd_quotalegacy_letter(file, true, conf->fulldirhash);
	if (letter == dir->letter)
		return true;
	snprintf(why, sizeof(why), "misplaced: Cyrus looks in %c/ for it",
		 letter);
	malformed(reader, dir, file, why);
	return false;
}

static bool is_regular_file(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
}

/*
 * All of a file, up to size; or -1. Cyrus replaces files and never writes
 * into one, so one read has all of it.
 */
static ssize_t read_whole(int fd, bool is_regular, char *buffer, size_t size)
{
	ssize_t n;

	if (!is_regular && !is_regular_file(fd)) {
		errno = EISDIR;
		return -1;
	}
	do {
		n = read(fd, buffer, size);
	} while (n < 0 && errno == EINTR);
	return n;
}

/* Is it a root? */
static bool note(struct qd_legacy_reader *reader, const struct qd_quotadir *dir,
		 const char *file, size_t length)
{
	struct qd_record rec;
	const char *why = "";

	if (length > QD_RECORD_FILE_MAX) {
		malformed(reader, dir, file, "longer than 65536 bytes");
		return false;
	}
	switch (qd_quotarecord_file(reader->buffer, length, &rec, &why)) {
	case QD_QUOTA_ROOT:
		qd_findings_root(&reader->found, dir->domain,
				 dir->letter ? file : "", &rec);
		return true;
	case QD_QUOTA_MALFORMED:
		malformed(reader, dir, file, why);
		break;
	case QD_QUOTA_NONE:
		break;
	}
	return false;
}

/* As read_whole, into the buffer; what went wrong is noted. */
static ssize_t read_root(struct qd_legacy_reader *reader,
			 const struct qd_quotadir *dir, const char *file,
			 bool is_regular)
{
	ssize_t length = -1;
	int fd;

	/* no link is followed, no FIFO waited for */
	fd = openat(dir->fd, file,
		    O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd >= 0)
		length = read_whole(fd, is_regular, reader->buffer,
				    sizeof(reader->buffer));
	/* deleted meanwhile, or not a file, or no longer one: no root */
	if (length < 0 && errno != ENOENT && errno != ELOOP && errno != ENXIO &&
	    errno != EISDIR && errno != EAGAIN)
		unreadable(reader, dir, file, errno);
	if (fd >= 0)
		close(fd);
	return length;
}

void qd_legacy_read(struct qd_legacy_reader *reader,
		    const struct qd_quotadir *dir, const char *file,
		    bool is_regular)
{
	ssize_t length = read_root(reader, dir, file, is_regular);

	if (length > 0 && !is_in_place(reader, dir, file))
		return;
	if (length <= 0 || !note(reader, dir, file, (size_t)length))
		qd_legacy_hidden(reader, dir, file);
}

void qd_legacy_hidden(struct qd_legacy_reader *reader,
		      const struct qd_quotadir *dir, const char *name)
{
	bool full = reader->conf->fulldirhash;

	if (dir->letter &&
	    dir->letter == qd_quotalegacy_letter(name, true, full))
		qd_findings_hidden(&reader->found, dir->domain, name);
}
