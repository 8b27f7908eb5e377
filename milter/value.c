/* SPDX-License-Identifier: BSD-2-Clause */
#include "quotadefer/value.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct unit {
	const char *name;
	int64_t factor;
};

static const struct unit durations[] = {
	{ "ms", 1 },	      { "s", 1000 },	     { "m", 60 * 1000 },
	{ "h", 3600 * 1000 }, { "d", 86400 * 1000 }, { NULL, 0 },
};

static const struct unit sizes[] = {
	{ "", 1 },
	{ "K", INT64_C(1) << 10 },
	{ "M", INT64_C(1) << 20 },
	{ "G", INT64_C(1) << 30 },
	{ "T", INT64_C(1) << 40 },
	{ NULL, 0 },
};

/* Digits only: strtoll would also take blanks, signs and hexadecimal. */
static int read_digits(const char *text, int base, const char **end,
		       int64_t *out)
{
	char *stop;
	long long number;

	if (*text < '0' || *text > '9')
		return -1;
	errno = 0;
	number = strtoll(text, &stop, base);
	if (errno)
		return -1;
	*end = stop;
	*out = number;
	return 0;
}

static int read_with_unit(const char *text, const struct unit *units,
			  int64_t *out)
{
	const char *end;
	int64_t number;

	if (read_digits(text, 10, &end, &number) < 0)
		return -1;
	for (; units->name; units++) {
		if (strcmp(units->name, end) != 0)
			continue;
		if (number > INT64_MAX / units->factor)
			return -1;
		*out = number * units->factor;
		return 0;
	}
	return -1;
}

int qd_value_integer(const char *text, int64_t min, int64_t max, int64_t *out)
{
	const char *end;
	int64_t number;

	if (read_digits(text, 10, &end, &number) < 0 || *end)
		return -1;
	if (number < min || number > max)
		return -1;
	*out = number;
	return 0;
}

int qd_value_duration(const char *text, int64_t *out_ms)
{
	return read_with_unit(text, durations, out_ms);
}

int qd_value_size(const char *text, int64_t *out_bytes)
{
	return read_with_unit(text, sizes, out_bytes);
}

int qd_value_percent(const char *text, int64_t *out)
{
	const char *end;
	int64_t number;

	if (read_digits(text, 10, &end, &number) < 0)
		return -1;
	if (strcmp(end, "%") != 0 || number > 100)
		return -1;
	*out = number;
	return 0;
}

int qd_value_mode(const char *text, int64_t *out)
{
	const char *end;
	int64_t number;
	size_t length = strlen(text);

	if (length < 3 || length > 4)
		return -1;
	if (read_digits(text, 8, &end, &number) < 0 || *end || number > 0777)
		return -1;
	*out = number;
	return 0;
}

int qd_value_bool(const char *text, bool *out)
{
	static const char *const names[] = { "no", "yes",   "off",
					     "on", "false", "true",
					     "0",  "1",	    NULL };
	int which;

	if (qd_value_choice(text, names, &which) < 0)
		return -1;
	*out = which % 2;
	return 0;
}

int qd_value_choice(const char *text, const char *const *names, int *out)
{
	for (int i = 0; names[i]; i++) {
		if (strcmp(names[i], text) == 0) {
			*out = i;
			return 0;
		}
	}
	return -1;
}
