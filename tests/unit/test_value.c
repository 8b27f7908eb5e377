/* SPDX-License-Identifier: BSD-2-Clause */
#include "check.h"

#include "quotadefer/value.h"

enum {
	BAD = -1000
};

static const struct {
	const char *text;
	int64_t want;
} durations[] = {
	{ "500ms", 500 },
	{ "90s", 90000 },
	{ "15m", 900000 },
	{ "3h", 10800000 },
	{ "7d", 604800000 },
	{ "0s", 0 },
	{ "010s", 10000 },
	{ "3", BAD },
	{ "", BAD },
	{ "s", BAD },
	{ "-3s", BAD },
	{ "3 s", BAD },
	{ " 3s", BAD },
	{ "3S", BAD },
	{ "3sec", BAD },
	{ "1.5h", BAD },
	{ "99999999999999999999s", BAD },
	{ "9223372036854775807d", BAD },
};

static void test_duration(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(durations); i++) {
		int64_t got = BAD;

		qd_value_duration(durations[i].text, &got);
		if (got != durations[i].want)
			fail_msg("\"%s\": got %lld, want %lld",
				 durations[i].text, (long long)got,
				 (long long)durations[i].want);
	}
}

static const struct {
	const char *text;
	int64_t want;
} sizes[] = {
	{ "0", 0 },	     { "512", 512 },
	{ "1K", 1024 },	     { "64M", 64 << 20 },
	{ "4G", 4LL << 30 }, { "16T", 16LL << 40 },
	{ "1k", BAD },	     { "M", BAD },
	{ "1KB", BAD },	     { "+1", BAD },
	{ "0x10", BAD },     { "9223372036854775807", INT64_MAX },
	{ "8388608T", BAD }, { "9223372036854775808", BAD },
};

static void test_size(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(sizes); i++) {
		int64_t got = BAD;

		qd_value_size(sizes[i].text, &got);
		if (got != sizes[i].want)
			fail_msg("\"%s\": got %lld, want %lld", sizes[i].text,
				 (long long)got, (long long)sizes[i].want);
	}
}

static void test_integer(void **state)
{
	static const struct {
		const char *text;
		int64_t min, max, want;
	} cases[] = {
		{ "8", 0, 10, 8 },     { "010", 0, 10, 10 },
		{ "11", 0, 10, BAD },  { "0", 1, 10, BAD },
		{ "8x", 0, 10, BAD },  { "", 0, 10, BAD },
		{ "0x8", 0, 10, BAD }, { "-1", -5, 10, BAD },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		int64_t got = BAD;

		qd_value_integer(cases[i].text, cases[i].min, cases[i].max,
				 &got);
		if (got != cases[i].want)
			fail_msg("\"%s\": got %lld, want %lld", cases[i].text,
				 (long long)got, (long long)cases[i].want);
	}
}

static void test_percent_and_mode(void **state)
{
	int64_t got;

	(void)state;
	assert_int_equal(qd_value_percent("25%", &got), 0);
	assert_int_equal(got, 25);
	assert_int_equal(qd_value_percent("100%", &got), 0);
	assert_int_equal(qd_value_percent("101%", &got), -1);
	assert_int_equal(qd_value_percent("25", &got), -1);
	assert_int_equal(qd_value_percent("%", &got), -1);
	assert_int_equal(qd_value_mode("0660", &got), 0);
	assert_int_equal(got, 0660);
	assert_int_equal(qd_value_mode("660", &got), 0);
	assert_int_equal(got, 0660);
	assert_int_equal(qd_value_mode("0668", &got), -1);
	assert_int_equal(qd_value_mode("66", &got), -1);
	assert_int_equal(qd_value_mode("4755", &got), -1);
	assert_int_equal(qd_value_mode("00660", &got), -1);
}

static void test_bool_and_choice(void **state)
{
	static const char *const names[] = { "a", "b", NULL };
	bool yes = false;
	int which = 7;

	(void)state;
	assert_int_equal(qd_value_bool("yes", &yes), 0);
	assert_true(yes);
	assert_int_equal(qd_value_bool("off", &yes), 0);
	assert_false(yes);
	assert_int_equal(qd_value_bool("maybe", &yes), -1);
	assert_int_equal(qd_value_choice("b", names, &which), 0);
	assert_int_equal(which, 1);
	assert_int_equal(qd_value_choice("c", names, &which), -1);
	assert_int_equal(which, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_duration),
		cmocka_unit_test(test_size),
		cmocka_unit_test(test_integer),
		cmocka_unit_test(test_percent_and_mode),
		cmocka_unit_test(test_bool_and_choice),
	};

	return RUN_TESTS(tests);
}
