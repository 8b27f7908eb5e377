/* SPDX-License-Identifier: BSD-2-Clause */
#include "alias_impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <syslog.h>

#include "quotadefer/fold.h"

/* More than any list of aliases; what is larger was named by mistake. */
#define FILE_MAX ((size_t)64 << 20)

/* When to try again to read a file that could not be. */
enum {
	RETRY_MS = 1000
};

static void tell(const struct qd_alias_file *file, int priority,
		 const char *what, const char *outcome)
{
	char text[640];

	if (!file->map.say)
		return;
	snprintf(text, sizeof(text), "%s%s", what, outcome);
	file->map.say(priority, text);
}

static struct qd_alias_content *load(struct qd_alias_file *file,
				     struct qd_alias_stamp *stamp,
				     struct qd_error *err)
{
	struct qd_alias_content *content;
	size_t length;
	char *text;

	if (qd_alias_slurp(file->path, FILE_MAX, &text, &length, stamp, err) <
	    0)
		return NULL;
	content = qd_alias_content_read(file->path, text, length,
					file->read_line, err);
	free(text);
	return content;
}

/* What was read is in force, or was refused, and that is said. */
static void settle(struct qd_alias_file *file,
		   const struct qd_alias_stamp *stamp)
{
	file->seen = *stamp;
	file->recheck_ms = qd_alias_stamp_hot(stamp) ?
				   qd_aliasmap_now_ms() + QD_ALIAS_REST_MS :
				   0;
}

static void keep_old(struct qd_alias_file *file,
		     const struct qd_alias_stamp *stamp, const char *why)
{
	bool said = file->failed && qd_alias_stamp_same(stamp, &file->seen);

	settle(file, stamp);
	file->failed = true;
	if (!said)
		tell(file, LOG_ERR, why, "; the old content stays in use");
}

static void use_new(struct qd_alias_file *file,
		    struct qd_alias_content *content,
		    const struct qd_alias_stamp *stamp)
{
	bool again = qd_alias_stamp_same(stamp, &file->used);
	struct qd_alias_content *old;

	pthread_rwlock_wrlock(&file->lock);
	old = file->content;
	file->content = content;
	pthread_rwlock_unlock(&file->lock);
	qd_alias_content_free(&old);
	if (file->failed)
		tell(file, LOG_NOTICE, file->path, ": in use again");
	else if (!again)
		tell(file, LOG_INFO, file->path, ": changed, and read again");
	if (!again)
		qd_alias_content_tell(content, file->map.say);
	settle(file, stamp);
	file->used = *stamp;
	file->failed = false;
}

/* More lines that are skipped than there are in what is in use: a mistake. */
static bool is_worse(const struct qd_alias_file *file,
		     const struct qd_alias_content *content)
{
	return qd_alias_content_bad_count(content) >
	       qd_alias_content_bad_count(file->content);
}

static void reload(struct qd_alias_file *file,
		   const struct qd_alias_stamp *found)
{
	struct qd_alias_stamp stamp = *found;
	struct qd_alias_content *content;
	struct qd_error err;

	content = load(file, &stamp, &err);
	if (!content) {
		keep_old(file, &stamp, err.text);
		file->recheck_ms = qd_aliasmap_now_ms() + RETRY_MS;
		return;
	}
	if (is_worse(file, content)) {
		keep_old(file, &stamp, qd_alias_content_first_bad(content));
		qd_alias_content_free(&content);
		return;
	}
	use_new(file, content, &stamp);
}

/*
 * Written in place, and perhaps not to the end yet? A new file that got the
 * number of the old inode looks the same, and waits as well.
 */
static bool is_being_written(const struct qd_alias_file *file,
			     const struct qd_alias_stamp *stamp)
{
	return S_ISREG(stamp->mode) && stamp->inode == file->used.inode &&
	       stamp->device == file->used.device && qd_alias_stamp_hot(stamp);
}

static void check(struct qd_alias_file *file)
{
	struct qd_alias_stamp stamp;

	qd_alias_stamp_get(file->path, &stamp);
	if (qd_alias_stamp_same(&stamp, &file->seen)) {
		if (!file->recheck_ms ||
		    qd_aliasmap_now_ms() < file->recheck_ms)
			return;
	} else if (is_being_written(file, &stamp)) {
		return;
	}
	reload(file, &stamp);
}

static enum qd_found look_up(struct qd_alias_file *file, const char *folded,
			     struct qd_aliasvalue *value, struct qd_error *err)
{
	unsigned long number = 0;
	enum qd_found found = QD_FOUND;
	const char *text;

	pthread_rwlock_rdlock(&file->lock);
	text = qd_alias_content_get(file->content, folded, &number);
	value->text = text ? strdup(text) : NULL;
	pthread_rwlock_unlock(&file->lock);
	if (!text)
		return QD_ABSENT;
	if (!value->text) {
		qd_error_set(err, EX_OSERR, "%s: out of memory",
			     file->map.name);
		found = QD_ERROR;
	}
	if (value->explain && number)
		snprintf(value->detail, sizeof(value->detail), "line %lu of %s",
			 number, file->path);
	return found;
}

enum qd_found qd_alias_file_get(struct qd_aliasmap *map, const char *key,
				int64_t deadline_ms,
				struct qd_aliasvalue *value,
				struct qd_error *err)
{
	struct qd_alias_file *file = (struct qd_alias_file *)map;
	char folded[QD_ALIAS_KEY_MAX * QD_FOLD_GROWTH + 1];
	enum qd_found found = QD_ABSENT;
	int64_t start = qd_aliasmap_now_ns();

	(void)deadline_ms; /* it is all in memory */
	value->text = NULL;
	value->detail[0] = '\0';
	/* one looks; the others need not wait for what it finds */
	if (pthread_mutex_trylock(&file->checking) == 0) {
		check(file);
		pthread_mutex_unlock(&file->checking);
	}
	if (strlen(key) <= QD_ALIAS_KEY_MAX &&
	    qd_fold(key, folded, sizeof(folded)) == 0)
		found = look_up(file, folded, value, err);
	qd_aliasmap_count(&map->stats, found, start);
	return found;
}

/* The content that is there at the start; it is strict or tells. */
static int first_load(struct qd_alias_file *file, bool strict,
		      struct qd_error *err)
{
	file->content = load(file, &file->used, err);
	if (!file->content) {
		if (err)
			err->status = EX_CONFIG;
		return -1;
	}
	settle(file, &file->used);
	if (strict && qd_alias_content_bad_count(file->content))
		return qd_error_set(err, EX_CONFIG, "%s",
				    qd_alias_content_first_bad(file->content));
	qd_alias_content_tell(file->content, file->map.say);
	return 0;
}

struct qd_alias_file *
qd_alias_file_open(const char *name, bool strict,
		   void (*say)(int priority, const char *text),
		   const struct qd_aliasmap_ops *ops,
		   qd_alias_line_fn *read_line, struct qd_error *err)
{
	const char *path = strchr(name, ':');
	struct qd_alias_file *file;

	if (!path || path[1] != '/') {
		qd_error_set(err, EX_CONFIG,
			     "%s: the path of the file must begin with \"/\"",
			     name);
		return NULL;
	}
	file = calloc(1, sizeof(*file));
	if (!file) {
		qd_error_set(err, EX_OSERR, "%s: out of memory", name);
		return NULL;
	}
	file->map.ops = ops;
	file->map.name = name;
	file->map.say = say;
	file->path = path + 1;
	file->read_line = read_line;
	pthread_rwlock_init(&file->lock, NULL);
	pthread_mutex_init(&file->checking, NULL);
	if (first_load(file, strict, err) < 0) {
		qd_alias_file_close(&file->map);
		return NULL;
	}
	return file;
}

void qd_alias_file_close(struct qd_aliasmap *map)
{
	struct qd_alias_file *file = (struct qd_alias_file *)map;

	qd_alias_includes_free(&file->includes);
	qd_alias_content_free(&file->content);
	pthread_mutex_destroy(&file->checking);
	pthread_rwlock_destroy(&file->lock);
	free(file);
}
