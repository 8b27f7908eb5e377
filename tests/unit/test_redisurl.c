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
	{ "sentinel://s1/mymaster", "s1:26379/mymaster/0", "", "" },
	{ "sentinel://s1:1,s2,[::1]:3,[::2]/m/4",
	  "s1:1,s2:26379,[::1]:3,[::2]:26379/m/4", "", "" },
	{ "sentinel://s1,s2/quota-1.x_Y/", "s1:26379,s2:26379/quota-1.x_Y/0",
	  "", "" },
	{ "sentinel://u%2c:p%2f,@s1,s2/m", "s1:26379,s2:26379/m/0", "u,",
	  "p/," },
	{ "sentinel://:p@q@s1/m", "s1:26379/m/0", "", "p@q" },
	{ .url = "" },
	{ .url = "sentinel:" },
	{ .url = "sentinel://" },
	{ .url = "sentinel://s1" },
	{ .url = "sentinel://s1/" },
	{ .url = "sentinel:///m" },
	{ .url = "sentinel://,s1/m" },
	{ .url = "sentinel://s1,/m" },
	{ .url = "sentinel://s1,,s2/m" },
	{ .url = "sentinel://s1 s2/m" },
	{ .url = "sentinel://s1:0/m" },
	{ .url = "sentinel://[::1/m" },
	{ .url = "sentinel://s1/m/db" },
	{ .url = "sentinel://s1/m/1/2" },
	{ .url = "sentinel://s1/my master" },
	{ .url = "sentinel://s1/my%20master" },
	{ .url = "sentinel://1,2,3,4,5,6,7,8,9,10/m" },
	{ .url = "rediss://u:p@mx1/0" },
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
		char name[QD_REDISURL_NAME];
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

/* Whatever the room: never more than it, and always ended. */
static void test_names_that_do_not_fit(void **state)
{
	struct qd_redisurl url;
	char whole[QD_REDISURL_NAME], part[QD_REDISURL_NAME];

	(void)state;
	assert_int_equal(qd_redisurl_parse("sentinel://u:p@[::1],s2:7/mine/3",
					   &url, NULL),
			 0);
	qd_redisurl_name(&url, whole, sizeof(whole));
	for (int size = 1; size <= (int)strlen(whole) + 1; size++) {
		memset(part, 'x', sizeof(part));
		qd_redisurl_name(&url, part, size);
		assert_int_equal(strlen(part), size - 1);
		assert_memory_equal(part, whole, (size_t)size - 1);
	}
}

static void test_long_names(void **state)
{
	char text[400] = "sentinel://s1/";
	struct qd_redisurl got;

	(void)state;
	memset(text + strlen(text), 'm', QD_REDIS_MASTER - 1);
	assert_int_equal(qd_redisurl_parse(text, &got, NULL), 0);
	assert_int_equal(strlen(got.master), QD_REDIS_MASTER - 1);
	strcat(text, "m");
	assert_int_equal(qd_redisurl_parse(text, &got, NULL), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cases),
		cmocka_unit_test(test_too_long),
		cmocka_unit_test(test_names_that_do_not_fit),
		cmocka_unit_test(test_long_names),
	};

	return RUN_TESTS(tests);
}
