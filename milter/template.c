/* SPDX-License-Identifier: BSD-2-Clause */
#include "quotadefer/template.h"

#include <stdbool.h>
#include <string.h>

static const char word_letters[] = "abcdefghijklmnopqrstuvwxyz"
				   "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";

/* The length of the "{word}" at text, 0 if there is none. */
static size_t word_length(const char *text)
{
	size_t letters;

	if (*text != '{')
		return 0;
	letters = strspn(text + 1, word_letters);
	return letters && text[1 + letters] == '}' ? letters + 2 : 0;
}

static bool is_word(const char *text, size_t length, const char *word)
{
	return length == strlen(word) && strncmp(text, word, length) == 0;
}

/* Its value, or NULL. */
static const char *find_word(const char *text, size_t length,
			     const struct qd_template_words *words)
{
	if (is_word(text, length, "{resource}"))
		return words->resource;
	if (is_word(text, length, "{recipient}"))
		return words->recipient;
	return NULL;
}

const char *qd_template_unknown(const char *text, size_t *length)
{
	static const struct qd_template_words any = { "", "" };

	for (; *text; text++) {
		*length = word_length(text);
		if (*length && !find_word(text, *length, &any))
			return text;
	}
	return NULL;
}

const char *qd_template_line(const char *text,
			     const struct qd_template_words *words, char *out,
			     size_t size)
{
	size_t used = 0;

	while (*text && *text != '\n') {
		size_t length = word_length(text);
		const char *value =
			length ? find_word(text, length, words) : NULL;

		if (!value) {
			if (used + 1 < size)
				out[used++] = *text;
			text++;
			continue;
		}
		text += length;
		length = strlen(value);
		if (used + length >= size)
			continue;
		memcpy(out + used, value, length);
		used += length;
	}
	out[used] = '\0';
	return text;
}
