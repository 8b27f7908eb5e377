/* SPDX-License-Identifier: BSD-2-Clause */
#include "check.h"

#include "quotadefer/redisurl.h"

/* name: as messages show it; NULL: to be refused */
static const struct {
	const char *url, *name, *user, *password;
} cases[] = {
	{ "redis://mx1", "mx1:6379/0", "", "" },
	{ "redis://mx1/", "mx1:6379/0", "", "" },
	{ "redis://mx1:7000/3", "mx1:7000/3", "", "" },
	{ "redis://127.0.0.1:7000", "127.0.0.1:7000/0", "", "" },
	{ "redis://[::1]:7000/1", "::1:7000/1", "", "" },
	{ "redis://[::1]", "::1:6379/0", "", "" },
	{ "redis://scan:s3cret@mx1/2", "mx1:6379/2", "scan", "s3cret" },
	{ "redis://:s3cret@mx1", "mx1:6379/0", "", "s3cret" },
	{ "redis://scan@mx1", "mx1:6379/0", "scan", "" },
	{ "redis://u%40x:p%3a%2f@mx1", "mx1:6379/0", "u@x", "p:/" },
	{ "redis://u:p@q@mx1", "mx1:6379/0", "u", "p@q" },
	{ "unix:/run/redis.sock", "/run/redis.sock", "", "" },
	{ .url = "" },
	{ .url = "mx1:6379" },
	{ .url = "redis:" },
	{ .url = "redis:/mx1" },
	{ .url = "redis://" },
	{ .url = "redis://:6379" },
	{ .url = "redis://mx1:0" },
	{ .url = "redis://mx1:65536" },
	{ .url = "redis://mx1:port" },
	{ .url = "redis://mx1/db" },
	{ .url = "redis://mx1/-1" },
	{ .url = "redis://mx1/99999" },
	{ .url = "redis://[::1" },
	{ .url = "redis://[::1]7000" },
	{ .url = "redis://u%4:p@mx1" },
	{ .url = "redis://u%zz:p@mx1" },
	{ .url = "redis://u%00:p@mx1" },
	{ .url = "rediss://mx1" },
	{ .url = "unix:run/redis.sock" },
};

static void test_cases(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct qd_redisurl got;
		struct qd_error err = { 0 };
		char name[300];
		int rc = qd_redisurl_parse(cases[i].url, &got, &err);

		if ((rc == 0) != (cases[i].name != NULL))
			fail_msg("\"%s\": got %d, %s", cases[i].url, rc,
				 err.text);
		if (rc < 0)
			continue;
		assert_string_equal(qd_redisurl_name(&got, name, sizeof(name)),
				    cases[i].name);
		assert_string_equal(got.user, cases[i].user);
		assert_string_equal(got.password, cases[i].password);
	}
}

static void test_too_long(void **state)
{
	char url[1000] = "redis://u:";
	struct qd_redisurl got;
	struct qd_error err;

	(void)state;
	memset(url + 10, 'p', 300);
	strcat(url, "@mx1");
	assert_int_equal(qd_redisurl_parse(url, &got, &err), -1);
	/* a message must not give the password away */
	assert_null(strstr(err.text, "pppp"));
	memset(url + 8, 'h', 400);
	assert_int_equal(qd_redisurl_parse(url, &got, &err), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cases),
		cmocka_unit_test(test_too_long),
	};

	return RUN_TESTS(tests);
}
