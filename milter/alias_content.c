/* SPDX-License-Identifier: BSD-2-Clause */
#include "alias_impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <syslog.h>

/* out of memory is an answer too */
#define HASH_NONFATAL_OOM	     1
#define uthash_nonfatal_oom(element) ((element)->lost = true)
#include <uthash.h>

#include "quotadefer/fold.h"
#include "quotadefer/utf8.h"

/* Lines that are told one by one; of more, only how many. */
enum {
	NOTES = 20
};

struct entry {
	UT_hash_handle hh;
	unsigned long number;
	const char *value; /* behind key */
	bool lost;	   /* there was no memory to add it */
	char key[];
};

struct qd_alias_content {
	const char *path;
	struct entry *entries;
	size_t bad, notes;
	char first_bad[384];
	char note[NOTES][384];
};

bool qd_alias_is_blank(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

/* All of it counts, if what is in front of a NUL is not ASCII. */
bool qd_alias_line_is_utf8(const struct qd_alias_line *line)
{
	const char *at = line->text, *end = line->text + line->length;

	while (*at && (unsigned char)*at < 0x80)
		at++;
	if (!*at)
		return true;
	while (at < end) {
		uint32_t c;
		size_t step = *at ? qd_utf8_next(at, &c) : 1;

		if (!step)
			return false;
		at += step;
	}
	return true;
}

static void note(struct qd_alias_content *content, unsigned long number,
		 const char *what, const char *outcome)
{
	if (content->notes < NOTES)
		snprintf(content->note[content->notes],
			 sizeof(content->note[0]), "%s:%lu: %s%s",
			 content->path, number, what, outcome);
	content->notes++;
}

void qd_alias_content_bad(struct qd_alias_content *content,
			  unsigned long number, const char *what)
{
	if (!content->bad++)
		snprintf(content->first_bad, sizeof(content->first_bad),
			 "%s:%lu: %s", content->path, number, what);
	note(content, number, what, "; the line is skipped");
}

void qd_alias_content_odd(struct qd_alias_content *content,
			  unsigned long number, const char *what)
{
	note(content, number, what, "");
}

static struct entry *entry_new(const char *key, const char *value,
			       unsigned long number)
{
	size_t key_size = strlen(key) + 1, value_size = strlen(value) + 1;
	struct entry *entry = calloc(1, sizeof(*entry) + key_size + value_size);

	if (!entry)
		return NULL;
	memcpy(entry->key, key, key_size);
	memcpy(entry->key + key_size, value, value_size);
	entry->value = entry->key + key_size;
	entry->number = number;
	return entry;
}

static struct entry *find(const struct qd_alias_content *content,
			  const char *folded)
{
	struct entry *entry;

	HASH_FIND_STR(content->entries, folded, entry);
	return entry;
}

int qd_alias_content_add(struct qd_alias_content *content,
			 const struct qd_alias_line *line, const char *key,
			 const char *value, struct qd_error *err)
{
	char folded[QD_ALIAS_KEY_MAX * QD_FOLD_GROWTH + 1], what[128];
	struct entry *entry;

	if (strlen(key) > QD_ALIAS_KEY_MAX ||
	    qd_fold(key, folded, sizeof(folded)) < 0) {
		qd_alias_content_odd(content, line->number,
				     "the key is too long to be looked up");
		return 0;
	}
	entry = find(content, folded);
	if (entry) {
		snprintf(what, sizeof(what),
			 "the key is in line %lu already, which counts",
			 entry->number);
		qd_alias_content_bad(content, line->number, what);
		return 0;
	}
	entry = entry_new(folded, value, line->number);
	if (!entry)
		return qd_error_set(err, EX_OSERR, "out of memory");
	HASH_ADD_STR(content->entries, key, entry);
	if (!entry->lost)
		return 0;
	free(entry);
	return qd_error_set(err, EX_OSERR, "out of memory");
}

const char *qd_alias_content_get(const struct qd_alias_content *content,
				 const char *folded, unsigned long *number)
{
	const struct entry *entry = find(content, folded);

	if (!entry)
		return NULL;
	*number = entry->number;
	return entry->value;
}

size_t qd_alias_content_bad_count(const struct qd_alias_content *content)
{
	return content->bad;
}

const char *qd_alias_content_first_bad(const struct qd_alias_content *content)
{
	return content->first_bad;
}

void qd_alias_content_tell(const struct qd_alias_content *content,
			   void (*say)(int priority, const char *text))
{
	char more[384];

	if (!say)
		return;
	for (size_t i = 0; i < content->notes && i < NOTES; i++)
		say(LOG_WARNING, content->note[i]);
	if (content->notes <= NOTES)
		return;
	snprintf(more, sizeof(more), "%s: %zu more such lines", content->path,
		 content->notes - NOTES);
	say(LOG_WARNING, more);
}

/* A cursor in the text of a file. */
struct reader {
	char *at, *end;
	unsigned long number;
};

/* The next physical line, without its end; false at the end of the file. */
static bool physical_line(struct reader *r, char **text, size_t *length)
{
	char *end;

	if (r->at == r->end)
		return false;
	end = memchr(r->at, '\n', (size_t)(r->end - r->at));
	*text = r->at;
	*length = (size_t)((end ? end : r->end) - r->at);
	r->at = end ? end + 1 : r->end;
	r->number++;
	return true;
}

static bool is_void(const char *text, size_t length)
{
	while (length && qd_alias_is_blank(*text)) {
		text++;
		length--;
	}
	return !length || *text == '#';
}

/*
 * As readllines(3) of Postfix: a line that begins with a blank continues the
 * one before, also across comments and empty lines. Lines are joined where
 * they are: the result is never longer than what it is made of.
 */
static bool logical_line(struct reader *r, struct qd_alias_line *line)
{
	char *text;
	size_t length;

	line->length = 0;
	while (physical_line(r, &text, &length)) {
		if (!is_void(text, length)) {
			if (!line->length) {
				line->text = text;
				line->number = r->number;
			}
			memmove(line->text + line->length, text, length);
			line->length += length;
		}
		if (line->length &&
		    (r->at == r->end ||
		     (*r->at != '#' && !qd_alias_is_blank(*r->at))))
			break;
	}
	if (!line->length)
		return false;
	/* over the end of a line that has been read, or behind the text */
	line->text[line->length] = '\0';
	return true;
}

struct qd_alias_content *qd_alias_content_read(const char *path, char *text,
					       size_t length,
					       qd_alias_line_fn *read_line,
					       struct qd_error *err)
{
	struct reader r = { .at = text, .end = text + length };
	struct qd_alias_content *content = calloc(1, sizeof(*content));
	struct qd_alias_line line;

	if (!content) {
		qd_error_set(err, EX_OSERR, "out of memory");
		return NULL;
	}
	content->path = path;
	while (logical_line(&r, &line)) {
		if (qd_alias_is_blank(line.text[0]))
			qd_alias_content_bad(content, line.number,
					     "begins with a blank, but there "
					     "is no line to continue");
		else if (read_line(content, &line, err) < 0)
			goto fail;
	}
	return content;
fail:
	qd_alias_content_free(&content);
	return NULL;
}

void qd_alias_content_free(struct qd_alias_content **content)
{
	struct entry *entry, *next;

	if (!*content)
		return;
	HASH_ITER(hh, (*content)->entries, entry, next)
	{
		HASH_DEL((*content)->entries, entry);
		free(entry);
	}
	free(*content);
	*content = NULL;
}
