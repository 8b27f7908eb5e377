/* SPDX-License-Identifier: BSD-2-Clause */
#include "check.h"

#include <sys/socket.h>

#include "quotadefer/socketspec.h"

/* milter: as libmilter wants it; NULL: to be refused */
static const struct {
	const char *text, *milter;
	int family, port;
	const char *host;
} cases[] = {
	{ "unix:/run/q.sock", "unix:/run/q.sock", AF_UNIX, 0, "" },
	{ "local:/run/q.sock", "unix:/run/q.sock", AF_UNIX, 0, "" },
	{ "inet:8891@127.0.0.1", "inet:8891@127.0.0.1", AF_INET, 8891,
	  "127.0.0.1" },
	{ "inet:127.0.0.1:8891", "inet:8891@127.0.0.1", AF_INET, 8891,
	  "127.0.0.1" },
	{ "inet:localhost:8891", "inet:8891@localhost", AF_INET, 8891,
	  "localhost" },
	{ "inet:8891", "inet:8891", AF_INET, 8891, "" },
	{ "inet6:8891@::1", "inet6:8891@::1", AF_INET6, 8891, "::1" },
	{ "inet6:8891@[::1]", "inet6:8891@::1", AF_INET6, 8891, "::1" },
	{ "inet6:[::1]:8891", "inet6:8891@::1", AF_INET6, 8891, "::1" },
	{ "inet:65535@h", "inet:65535@h", AF_INET, 65535, "h" },
	{ .text = "" },
	{ .text = "/run/q.sock" },
	{ .text = "unix:" },
	{ .text = "unix:run/q.sock" },
	{ .text = "unix:/run/" },
	{ .text = "inet:" },
	{ .text = "inet:0@127.0.0.1" },
	{ .text = "inet:65536@127.0.0.1" },
	{ .text = "inet:99999@127.0.0.1" },
	{ .text = "inet:smtp@127.0.0.1" },
	{ .text = "inet:127.0.0.1" },
	{ .text = "inet:127.0.0.1:" },
	{ .text = "inet:-1@127.0.0.1" },
	{ .text = "inet: 8891@127.0.0.1" },
	{ .text = "inet:1.2.3.4:5:6" },
	{ .text = "inet:8891@a b" },
	{ .text = "inet:8891@::1" },
	{ .text = "inet:[::1]:8891" },
	{ .text = "tcp:8891" },
	{ .text = "UNIX:/run/q.sock" },
};

static void test_cases(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct qd_socketspec got;
		struct qd_error err = { 0 };
		int rc = qd_socketspec_parse(cases[i].text, &got, &err);

		if ((rc == 0) != (cases[i].milter != NULL))
			fail_msg("\"%s\": got %d, %s", cases[i].text, rc,
				 err.text);
		if (rc < 0) {
			assert_non_null(strstr(err.text, "unix:/"));
			continue;
		}
		assert_string_equal(got.milter, cases[i].milter);
		assert_string_equal(got.host, cases[i].host);
		assert_int_equal(got.family, cases[i].family);
		assert_int_equal(got.port, cases[i].port);
	}
}

static void test_path_length(void **state)
{
	char text[200] = "unix:/";
	struct qd_socketspec got;
	struct qd_error err;

	(void)state;
	memset(text + 6, 'x', 106);
	assert_int_equal(qd_socketspec_parse(text, &got, &err), 0);
	assert_int_equal(strlen(got.path), 107);
	strcat(text, "x");
	assert_int_equal(qd_socketspec_parse(text, &got, &err), -1);
	assert_non_null(strstr(err.text, "107"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cases),
		cmocka_unit_test(test_path_length),
	};

	return RUN_TESTS(tests);
}
