/* SPDX-License-Identifier: BSD-2-Clause */
#include "alias_impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <syslog.h>

/* out of memory is an answer too */
#define HASH_NONFATAL_OOM	     1
#define uthash_nonfatal_oom(element) ((element)->lost = true)
#include <uthash.h>

#define FILE_MAX ((size_t)1 << 20)

enum {
	/* line_length_limit of Postfix: what is longer is another line */
	LINE_MAX_LENGTH = 2048,
	/* a list can name files, and its owner can name many */
	FILES = 1000,
	RETRY_MS = 1000
};

struct included {
	UT_hash_handle hh;
	struct qd_alias_stamp seen;
	int64_t recheck_ms; /* 0: not */
	char *text;	    /* NULL: never read */
	struct qd_error err;
	bool failed; /* seen could not be used, and err says why */
	bool lost;   /* there was no memory to add it */
	char path[];
};

struct qd_alias_includes {
	pthread_mutex_t lock;
	struct included *files;
};

struct qd_alias_includes *qd_alias_includes_new(void)
{
	struct qd_alias_includes *includes = calloc(1, sizeof(*includes));

	if (includes)
		pthread_mutex_init(&includes->lock, NULL);
	return includes;
}

static void included_free(struct included *file)
{
	free(file->text);
	free(file);
}

void qd_alias_includes_free(struct qd_alias_includes **includes)
{
	struct included *file, *next;

	if (!*includes)
		return;
	HASH_ITER(hh, (*includes)->files, file, next)
	{
		HASH_DEL((*includes)->files, file);
		included_free(file);
	}
	pthread_mutex_destroy(&(*includes)->lock);
	free(*includes);
	*includes = NULL;
}

/*
 * As local(8) of Postfix reads the file: lines of at most so many bytes, up to
 * a NUL, and "#" only as the first character makes a comment. A line feed more
 * than there was is a NUL less, or there is one for each longest line.
 */
static char *read_lines(const char *text, size_t length)
{
	const char *end = text + length;
	char *lines = malloc(length + length / LINE_MAX_LENGTH + 2);
	char *out = lines;

	while (lines && text < end) {
		size_t left = (size_t)(end - text), size;
		size_t step = left < LINE_MAX_LENGTH ? left : LINE_MAX_LENGTH;
		const char *feed = memchr(text, '\n', step);

		if (feed)
			step = (size_t)(feed - text) + 1;
		size = strnlen(text, step);
		if (size && *text != '#') {
			if (out > lines && out[-1] != '\n')
				*out++ = '\n';
			memcpy(out, text, size);
			out += size;
		}
		text += step;
	}
	if (lines)
		*out = '\0';
	return lines;
}

static int load(struct included *file, struct qd_alias_stamp *stamp,
		struct qd_error *err)
{
	size_t length;
	char *text, *lines;

	if (qd_alias_slurp(file->path, FILE_MAX, &text, &length, stamp, err) <
	    0)
		return -1;
	if (stamp->mode & S_IWOTH) {
		free(text);
		return qd_error_set(err, EX_NOPERM,
				    "%s: everybody may write to it, and "
				    "Postfix does not deliver to such a file",
				    file->path);
	}
	lines = read_lines(text, length);
	free(text);
	if (!lines)
		return qd_error_set(err, EX_OSERR, "%s: out of memory",
				    file->path);
	free(file->text);
	file->text = lines;
	return 0;
}

static void tell(void (*say)(int priority, const char *text), int priority,
		 const char *what, const char *outcome)
{
	char text[640];

	if (!say)
		return;
	snprintf(text, sizeof(text), "%s%s", what, outcome);
	say(priority, text);
}

static void reload(struct included *file, struct qd_alias_stamp stamp,
		   void (*say)(int priority, const char *text))
{
	bool said = file->failed && qd_alias_stamp_same(&stamp, &file->seen);
	bool failed = load(file, &stamp, &file->err) < 0;

	file->recheck_ms = 0;
	if (failed)
		file->recheck_ms = qd_aliasmap_now_ms() + RETRY_MS;
	else if (qd_alias_stamp_hot(&stamp))
		file->recheck_ms = qd_aliasmap_now_ms() + QD_ALIAS_REST_MS;
	if (failed && !said)
		tell(say, LOG_ERR, file->err.text,
		     file->text ? "; the old content stays in use" : "");
	if (!failed && file->failed)
		tell(say, LOG_NOTICE, file->path, ": in use again");
	file->failed = failed;
	file->seen = stamp;
}

static void check(struct included *file,
		  void (*say)(int priority, const char *text))
{
	struct qd_alias_stamp stamp;

	qd_alias_stamp_get(file->path, &stamp);
	if (file->text || file->failed) {
		bool same = qd_alias_stamp_same(&stamp, &file->seen);

		if (same && (!file->recheck_ms ||
			     qd_aliasmap_now_ms() < file->recheck_ms))
			return;
		/* written in place, and perhaps not to the end yet */
		if (!same && file->text && S_ISREG(stamp.mode) &&
		    stamp.inode == file->seen.inode &&
		    stamp.device == file->seen.device &&
		    qd_alias_stamp_hot(&stamp))
			return;
	}
	reload(file, stamp, say);
}

/* The file of that name, new if need be; NULL if there is no memory. */
static struct included *find(struct qd_alias_includes *includes,
			     const char *path)
{
	size_t size = strlen(path) + 1;
	struct included *file;

	HASH_FIND_STR(includes->files, path, file);
	if (file)
		return file;
	file = calloc(1, sizeof(*file) + size);
	if (!file)
		return NULL;
	memcpy(file->path, path, size);
	if (HASH_COUNT(includes->files) >= FILES) {
		struct included *oldest = includes->files;

		HASH_DEL(includes->files, oldest);
		included_free(oldest);
	}
	HASH_ADD_STR(includes->files, path, file);
	if (!file->lost)
		return file;
	free(file);
	return NULL;
}

static enum qd_found answer(const struct included *file,
			    struct qd_aliasvalue *value, struct qd_error *err)
{
	if (!file->text) {
		qd_error_set(err, file->err.status, "%s", file->err.text);
		return QD_ERROR;
	}
	value->text = strdup(file->text);
	if (!value->text) {
		qd_error_set(err, EX_OSERR, "out of memory");
		return QD_ERROR;
	}
	if (value->explain)
		snprintf(value->detail, sizeof(value->detail), "%s%s",
			 file->failed ? "old content, as " : "read from ",
			 file->failed ? file->err.text : file->path);
	return QD_FOUND;
}

/* The path is from a list, which may be anybody's, and gets into the log. */
static int check_path(const char *path, struct qd_error *err)
{
	for (const char *at = path; *at; at++)
		if ((unsigned char)*at < ' ' || *at == 0x7f)
			return qd_error_set(err, EX_DATAERR,
					    ":include: with a control "
					    "character in its path");
	if (path[0] != '/')
		return qd_error_set(err, EX_DATAERR,
				    ":include:%s: the path must begin "
				    "with \"/\"",
				    path);
	return 0;
}

enum qd_found qd_alias_includes_get(struct qd_alias_includes *includes,
				    const char *path,
				    void (*say)(int priority, const char *text),
				    struct qd_aliasvalue *value,
				    struct qd_error *err)
{
	enum qd_found found = QD_ERROR;
	struct included *file;

	value->text = NULL;
	value->detail[0] = '\0';
	if (check_path(path, err) < 0)
		return QD_ERROR;
	pthread_mutex_lock(&includes->lock);
	file = find(includes, path);
	if (file) {
		check(file, say);
		found = answer(file, value, err);
	} else {
		qd_error_set(err, EX_OSERR, "out of memory");
	}
	pthread_mutex_unlock(&includes->lock);
	return found;
}
