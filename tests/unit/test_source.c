/* SPDX-License-Identifier: BSD-2-Clause */
#include "check.h"

#include "quotadefer/source.h"

static int copy_field(void *arg, const char *field, const char *value)
{
	return qd_source_set(arg, field, value);
}

static int stop_at_once(void *arg, const char *field, const char *value)
{
	(void)field;
	(void)value;
	++*(int *)arg;
	return 7;
}

static void test_fields_come_back(void **state)
{
	struct qd_source src, back;
	int calls = 0;

	(void)state;
	qd_source_init(&src, "mail1");
	strcpy(src.host, "mail1.example");
	src.scanned = 1700000000;
	src.heartbeat = 1700000001;
	src.roots = 5;
	src.over = 4;
	src.malformed = 3;
	src.unreadable = 2;
	src.records = 6;
	src.rule = QD_RULE_STRICT;
	src.largest_message = 1 << 26;
	src.naming.virtdomains = QD_VIRTDOMAINS_ON;
	src.naming.unixhierarchysep = false;
	src.naming.lmtp_downcase_rcpt = false;
	strcpy(src.naming.defaultdomain, "example.org");
	strcpy(src.naming.postuser, "bb");
	qd_source_init(&back, "mail1");
	assert_int_equal(qd_source_each(&src, copy_field, &back), 0);
	assert_memory_equal(&src, &back, sizeof(src));
	assert_int_equal(qd_source_each(&src, stop_at_once, &calls), 7);
	assert_int_equal(calls, 1);
}

static void test_bad_fields(void **state)
{
	static const struct {
		const char *field, *value;
		int want;
	} cases[] = {
		{ "roots", "5", 0 },	     { "roots", "-5", -1 },
		{ "roots", "", -1 },	     { "scanned", "now", -1 },
		{ "rule", "smmapd", 0 },     { "rule", "other", -1 },
		{ "virtdomains", "2", -1 },  { "unixhierarchysep", "?", -1 },
		{ "a newer field", "x", 0 },
	};
	struct qd_source src;

	(void)state;
	qd_source_init(&src, "mail1");
	for (size_t i = 0; i < COUNT(cases); i++)
		if (qd_source_set(&src, cases[i].field, cases[i].value) !=
		    cases[i].want)
			fail_msg("%s=%s", cases[i].field, cases[i].value);
}

static void test_names(void **state)
{
	char longest[QD_SOURCE_MAX + 2];

	(void)state;
	assert_true(qd_source_name_valid("mail1.example-2_x"));
	assert_false(qd_source_name_valid(""));
	assert_false(qd_source_name_valid("a b"));
	assert_false(qd_source_name_valid("a:b"));
	assert_false(qd_source_name_valid("a/b"));
	memset(longest, 'a', sizeof(longest));
	longest[QD_SOURCE_MAX + 1] = '\0';
	assert_false(qd_source_name_valid(longest));
	longest[QD_SOURCE_MAX] = '\0';
	assert_true(qd_source_name_valid(longest));
}

/* Seconds; what is further ahead than max_age is nobody's clock. */
static void test_age(void **state)
{
	struct qd_source src;

	(void)state;
	assert_int_equal(qd_age(100, 160, 50), 60);
	assert_int_equal(qd_age(100, 100, 50), 0);
	assert_int_equal(qd_age(140, 100, 50), 0);
	assert_int_equal(qd_age(150, 100, 50), 0);
	assert_true(qd_age(151, 100, 50) == INT64_MAX);
	qd_source_init(&src, "x");
	src.scanned = 1000;
	src.heartbeat = 1100;
	assert_int_equal(qd_source_age(&src, 1150, 50), 50);
	src.heartbeat = 0;
	assert_int_equal(qd_source_age(&src, 1150, 50), 150);
	/* a heartbeat from a broken clock does not hide a good scan */
	src.heartbeat = 999999;
	assert_int_equal(qd_source_age(&src, 1150, 50), 150);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fields_come_back),
		cmocka_unit_test(test_bad_fields),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_age),
	};

	return RUN_TESTS(tests);
}
