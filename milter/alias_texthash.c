/* SPDX-License-Identifier: BSD-2-Clause */
#include "quotadefer/aliasmap.h"

#include <string.h>

#include "alias_impl.h"

/* Behind the key: at the first blank outside quotes. */
static char *key_end(char *text, bool *in_quotes)
{
	*in_quotes = false;
	for (; *text; text++) {
		if (*text == '\\') {
			if (!*++text)
				break;
		} else if (qd_alias_is_blank(*text)) {
			if (!*in_quotes)
				break;
		} else if (*text == '"') {
			*in_quotes = !*in_quotes;
		}
	}
	return text;
}

static void trim_end(char *text)
{
	size_t length = strlen(text);

	while (length && qd_alias_is_blank(text[length - 1]))
		text[--length] = '\0';
}

/*
 * As postmap(1) of Postfix reads a line. A NUL ends it there, too, but what
 * is behind it counts when the encoding is checked.
 */
static int read_line(struct qd_alias_content *content,
		     const struct qd_alias_line *line, struct qd_error *err)
{
	char *key = line->text, *value;
	bool in_quotes;

	if (!qd_alias_line_is_utf8(line)) {
		qd_alias_content_bad(content, line->number,
				     "is not in UTF-8, which it must be");
		return 0;
	}
	value = key_end(key, &in_quotes);
	if (in_quotes) {
		qd_alias_content_bad(content, line->number,
				     "a quote has no end; write \\\" for a "
				     "quote that is part of the address");
		return 0;
	}
	if (*value)
		*value++ = '\0';
	while (qd_alias_is_blank(*value))
		value++;
	trim_end(value);
	if (!*key || !*value) {
		qd_alias_content_bad(content, line->number,
				     "has no value; expected an address, a "
				     "blank, and what it stands for");
		return 0;
	}
	if (key[strlen(key) - 1] == ':')
		qd_alias_content_odd(content, line->number,
				     "the address ends in a colon, as in an "
				     "alias file, which is \"aliases:\" here");
	return qd_alias_content_add(content, line, key, value, err);
}

static const struct qd_aliasmap_ops texthash_ops = {
	.get = qd_alias_file_get,
	.close = qd_alias_file_close,
};

int qd_alias_texthash_open(const char *name, bool strict,
			   void (*say)(int priority, const char *text),
			   struct qd_aliasmap **out, struct qd_error *err)
{
	struct qd_alias_file *file = qd_alias_file_open(
		name, strict, say, &texthash_ops, read_line, err);

	if (!file)
		return -1;
	file->map.kind = QD_ALIASMAP_VIRTUAL;
	*out = &file->map;
	return 0;
}
