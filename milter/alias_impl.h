/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef QUOTADEFER_ALIAS_IMPL_H
#define QUOTADEFER_ALIAS_IMPL_H

/* What the alias*.c files of text maps share; no other file may include it. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include <pthread.h>

#include "quotadefer/aliasmap.h"
#include "quotadefer/error.h"

/* The version of a file: another one has another stamp. */
struct qd_alias_stamp {
	int error; /* errno, if there is no such file; then all else is 0 */
	dev_t device;
	ino_t inode;
	mode_t mode;
	off_t size;
	struct timespec modified, changed;
};

void qd_alias_stamp_get(const char *path, struct qd_alias_stamp *out);
bool qd_alias_stamp_same(const struct qd_alias_stamp *a,
			 const struct qd_alias_stamp *b);

/*
 * True if the file was written less than QD_ALIAS_REST_MS ago: it may be in
 * the middle of being written, and another change may leave no other stamp.
 */
enum {
	QD_ALIAS_REST_MS = 1000
};
bool qd_alias_stamp_hot(const struct qd_alias_stamp *stamp);

/*
 * Read all of a regular file of at most max bytes. Returns 0 with *out, a
 * NUL behind it, and the stamp of what was read, or -1 with *err.
 */
int qd_alias_slurp(const char *path, size_t max, char **out, size_t *length,
		   struct qd_alias_stamp *stamp, struct qd_error *err);

/*
 * A logical line: with those that continue it, and without comments. text
 * may be changed, and has a NUL behind its length bytes.
 */
struct qd_alias_line {
	char *text;
	size_t length;
	unsigned long number; /* of its first line in the file */
};

/* What a map holds; built once, then only read. */
struct qd_alias_content;

/* Takes one line apart, and adds to content. -1: no memory. */
typedef int qd_alias_line_fn(struct qd_alias_content *content,
			     const struct qd_alias_line *line,
			     struct qd_error *err);

/* All lines of a text, which is changed. NULL with *err: no memory. */
struct qd_alias_content *qd_alias_content_read(const char *path, char *text,
					       size_t length,
					       qd_alias_line_fn *read_line,
					       struct qd_error *err);
void qd_alias_content_free(struct qd_alias_content **content);

/* Add value for key, in any case; the first one for a key counts. */
int qd_alias_content_add(struct qd_alias_content *content,
			 const struct qd_alias_line *line, const char *key,
			 const char *value, struct qd_error *err);

/*
 * Take down that a line was skipped, or only looks odd; what is for people,
 * and says what would be right.
 */
void qd_alias_content_bad(struct qd_alias_content *content,
			  unsigned long number, const char *what);
void qd_alias_content_odd(struct qd_alias_content *content,
			  unsigned long number, const char *what);

/* The value of a folded key, or NULL; *number is set to its line. */
const char *qd_alias_content_get(const struct qd_alias_content *content,
				 const char *folded, unsigned long *number);

size_t qd_alias_content_bad_count(const struct qd_alias_content *content);
/* The first line that was skipped, or "". */
const char *qd_alias_content_first_bad(const struct qd_alias_content *content);
/* Tell what was taken down; the beginning of it, if it is much. */
void qd_alias_content_tell(const struct qd_alias_content *content,
			   void (*say)(int priority, const char *text));

/* True if Postfix takes the line for UTF-8 (RFC 3629). */
bool qd_alias_line_is_utf8(const struct qd_alias_line *line);
bool qd_alias_is_blank(char c); /* isspace() of ASCII, in no locale */

/* A map in a text file. */
struct qd_alias_includes;
struct qd_alias_file {
	struct qd_aliasmap map;
	const char *path;
	qd_alias_line_fn *read_line;

	pthread_rwlock_t lock; /* of content */
	struct qd_alias_content *content;

	pthread_mutex_t checking;   /* of what follows */
	struct qd_alias_stamp used; /* what content was read from */
	struct qd_alias_stamp seen; /* what was last looked at */
	int64_t recheck_ms; /* when to read it again, changed or not; 0: not */
	bool failed;	    /* seen could not be used, which was said */

	struct qd_alias_includes *includes; /* NULL: none */
};

/* Opens name with the ops; see qd_alias_texthash_open. */
struct qd_alias_file *
qd_alias_file_open(const char *name, bool strict,
		   void (*say)(int priority, const char *text),
		   const struct qd_aliasmap_ops *ops,
		   qd_alias_line_fn *read_line, struct qd_error *err);
enum qd_found qd_alias_file_get(struct qd_aliasmap *map, const char *key,
				int64_t deadline_ms,
				struct qd_aliasvalue *value,
				struct qd_error *err);
void qd_alias_file_close(struct qd_aliasmap *map);

/* The ":include:" files of one map. */
struct qd_alias_includes *qd_alias_includes_new(void);
void qd_alias_includes_free(struct qd_alias_includes **includes);
enum qd_found qd_alias_includes_get(struct qd_alias_includes *includes,
				    const char *path,
				    void (*say)(int priority, const char *text),
				    struct qd_aliasvalue *value,
				    struct qd_error *err);

#endif
