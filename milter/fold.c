/* SPDX-License-Identifier: BSD-2-Clause */
#include "quotadefer/fold.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include <unicode/ucasemap.h>

#include "quotadefer/utf8.h"

static bool is_ascii(const char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text > 0x7f)
			return false;
	return true;
}

/* tolower() would ask the locale */
static int fold_ascii(const char *text, char *out, size_t size)
{
	size_t length = strlen(text);

	if (length >= size)
		return -1;
	for (size_t i = 0; i <= length; i++) {
		char c = text[i];

		out[i] = c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
	}
	return 0;
}

/*
 * Opened each time: for the root locale that is a small allocation, such keys
 * are rare, and it needs no state that all threads share.
 */
static int fold_unicode(const char *text, char *out, size_t size)
{
	UErrorCode status = U_ZERO_ERROR;
	UCaseMap *map = ucasemap_open("", U_FOLD_CASE_DEFAULT, &status);
	int32_t room = size > INT32_MAX ? INT32_MAX : (int32_t)size;
	int32_t length;

	if (U_FAILURE(status))
		return -1;
	length = ucasemap_utf8FoldCase(map, out, room, text, -1, &status);
	ucasemap_close(map);
	/* one that fits but for its end is only a warning */
	return U_FAILURE(status) || length >= room ? -1 : 0;
}

int qd_fold(const char *text, char *out, size_t size)
{
	if (is_ascii(text))
		return fold_ascii(text, out, size);
	if (!qd_utf8_is_valid(text))
		return -1;
	return fold_unicode(text, out, size);
}
