/* SPDX-License-Identifier: BSD-2-Clause */
#include "check.h"

#include <sysexits.h>

#include "quotadefer/guard.h"

/* said: a word of the refusal; NULL: to be believed */
static const struct {
	const char *name;
	int64_t roots_before, over_before, roots, over;
	int64_t unreadable, directories;
	const char *said;
} cases[] = {
	{ "first scan", 0, 0, 1000, 900, 0, 0, NULL },
	{ "quiet", 1000, 10, 1001, 11, 0, 0, NULL },
	{ "empty, first", 0, 0, 0, 0, 0, 0, "not one quota root" },
	{ "empty", 1000, 10, 0, 0, 0, 0, "not one quota root" },
	{ "half is gone", 1000, 10, 500, 10, 0, 0, NULL },
	{ "over half is gone", 1000, 10, 499, 10, 0, 0, "guard_roots" },
	{ "10 to 4", 10, 0, 4, 0, 0, 0, "guard_roots" },
	{ "a few users less", 5, 0, 1, 0, 0, 0, NULL },
	{ "five less", 6, 0, 1, 0, 0, 0, "guard_roots" },
	{ "many more", 10, 1, 100000, 5, 0, 0, NULL },
	{ "full jumps by 25 points", 1000, 10, 1000, 260, 0, 0, NULL },
	{ "by over 25", 1000, 10, 1000, 270, 0, 0, "guard_full" },
	{ "all are full", 1000, 10, 1000, 1000, 0, 0, "guard_full" },
	{ "both of two", 2, 0, 2, 2, 0, 0, NULL },
	{ "two of three", 3, 0, 3, 2, 0, 0, NULL },
	{ "all three", 3, 0, 3, 3, 0, 0, "guard_full" },
	{ "all eight, as after a bad restore", 8, 0, 8, 8, 0, 0, "guard_full" },
	{ "two more of eight", 8, 1, 8, 3, 0, 0, NULL },
	{ "three of twelve", 12, 0, 12, 3, 0, 0, NULL },
	{ "four of twelve", 12, 0, 12, 4, 0, 0, "guard_full" },
	{ "all were full", 1000, 1000, 1000, 0, 0, 0, NULL },
	{ "one unreadable", 1000, 10, 999, 10, 1, 0, NULL },
	{ "a tenth unreadable", 1000, 10, 900, 10, 91, 0, "could not be read" },
	{ "a directory", 1000, 10, 990, 10, 0, 1, "directories" },
	{ "nothing but unreadable", 1000, 10, 0, 0, 1000, 0,
	  "could not be read" },
};

static void test_cases(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		const struct qd_guard guard = {
			.roots_before = cases[i].roots_before,
			.over_before = cases[i].over_before,
			.roots = cases[i].roots,
			.over = cases[i].over,
			.unreadable = cases[i].unreadable,
			.unreadable_directories = cases[i].directories,
			.roots_limit = 50,
			.full_limit = 25,
		};
		struct qd_error err = { 0 };
		int rc = qd_guard_check(&guard, &err);

		if ((rc < 0) != (cases[i].said != NULL))
			fail_msg("%s: got %d %s", cases[i].name, rc, err.text);
		if (rc == 0)
			continue;
		assert_int_equal(err.status, EX_TEMPFAIL);
		assert_non_null(strstr(err.text, "--force"));
		if (!strstr(err.text, cases[i].said))
			fail_msg("%s: got \"%s\"", cases[i].name, err.text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_cases) };

	return RUN_TESTS(tests);
}
