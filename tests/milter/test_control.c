/* SPDX-License-Identifier: BSD-2-Clause */
/* The control socket, and quotadefer-ctl on it. */
#include "check.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sysexits.h>
#include <unistd.h>

#include "filter.h"
#include "scratch.h"

#define FULL "451 4.2.2 mailbox full, please try again later"

static char output[100000];

static int ctl(const char *a, const char *b)
{
	const char *argv[] = {
		"tools/quotadefer-ctl", "-c", scratch_path("q.conf"), a, b, NULL
	};

	return run_program(argv, output, sizeof(output));
}

static void start(void)
{
	struct mc mc;

	filter_settings("");
	assert_int_equal(filter_scan("-q"), 0);
	filter_start();
	filter_open(&mc);
	expect_rcpt(&mc, "<full@example.org>", FULL);
	expect_rcpt(&mc, "<good@example.org>", "");
	expect_rcpt(&mc, "<postmaster@example.org>", "");
	mc_close(&mc);
}

static void expect_output(const char *text)
{
	if (!strstr(output, text))
		fail_msg("no \"%s\" in: %s", text, output);
}

static void test_status(void **state)
{
	(void)state;
	start();
	assert_int_equal(ctl("status", NULL), 0);
	expect_output("deferred 1\n");
	expect_output("mode enforce\n");
	expect_output("table readable\n");
	expect_output("feed none\n");
	expect_output("source test state=fresh age=");
	expect_output(" roots=4 over=2 records=2 malformed=0 unreadable=0 "
		      "rule=lmtpd\n");
	assert_int_equal(ctl("-j", "status"), 0);
	expect_output("\"deferred\": 1,");
	expect_output("\"name\": \"test\",");
	filter_stop(SIGTERM);
	assert_int_equal(ctl("status", NULL), EX_UNAVAILABLE);
	expect_output("is quotadefer-milter running?");
}

static void test_stats(void **state)
{
	(void)state;
	start();
	assert_int_equal(ctl("stats", NULL), 0);
	expect_output("rcpt_total{verdict=\"defer\"} 1\n");
	expect_output("rcpt_total{verdict=\"accept\"} 1\n");
	expect_output("rcpt_total{verdict=\"exempt\"} 1\n");
	expect_output("rcpt_duration_seconds_count 3\n");
	expect_output("table_entries{source=\"test\"} 2\n");
	expect_output("sessions_total 1\n");
	assert_int_equal(ctl("stats", "--openmetrics"), 0);
	expect_output("# TYPE quotadefer_rcpt counter\n");
	expect_output("quotadefer_rcpt_total{verdict=\"defer\"} 1\n");
	assert_string_equal(output + strlen(output) - 6, "# EOF\n");
	/* no address, no mailbox: they are many, and nobody's business */
	assert_null(strstr(output, "full@"));
	assert_null(strstr(output, "user."));
	assert_int_equal(ctl("-j", "stats"), 0);
	expect_output("\"sessions_total\": 1");
	filter_stop(SIGTERM);
}

static void test_reload(void **state)
{
	(void)state;
	start();
	assert_int_equal(ctl("reload", NULL), 0);
	filter_expect_log("settings reloaded", 1);
	filter_settings("mode = sideways\n");
	{
		/* the tool reads the same file, and refuses it as well */
		assert_int_equal(ctl("reload", NULL), EX_CONFIG);
	}
	filter_signal(SIGHUP);
	filter_wait_log("the old settings stay", 1);
	filter_settings("");
	assert_int_equal(ctl("status", NULL), 0);
	expect_output("settings old, a reload failed\n");
	assert_int_equal(ctl("reload", NULL), 0);
	assert_int_equal(ctl("stats", NULL), 0);
	expect_output("config_last_reload_successful 1\n");
	expect_output("config_reload_errors_total 1\n");
	filter_stop(SIGTERM);
}

/* Names from strangers, in output that programs read. */
static void test_hostile_names(void **state)
{
	const char *argv[] = {
		"tools/quotadefer-ctl",
		"-c",
		scratch_path("q.conf"),
		"-j",
		"query",
		"<\"\\\"\\\\\x01\xff\n\"@b\xc3\xbc\xe2\x80\xae.org>",
		NULL
	};

	(void)state;
	filter_settings("");
	filter_usage("user.\xff\"\\odd", 102401);
	filter_usage("user.\xc3\xbc", 102401);
	assert_int_equal(filter_scan("--force"), 0);
	assert_int_equal(ctl("-j", "list"), 0);
	expect_output("\"root\": \"user.\\\\xff\\\\x22\\\\x5codd\"");
	expect_output("\"root\": \"user.\xc3\xbc\"");
	assert_int_equal(run_program(argv, output, sizeof(output)), 0);
	for (const char *p = output; *p; p++)
		assert_true(*p == '\n' || (*p >= 0x20 && *p < 0x7f));
	filter_usage("user.\xff\"\\odd", 0);
	filter_usage("user.\xc3\xbc", 0);
	assert_int_equal(filter_scan("--force"), 0);
}

static void test_status_in_json(void **state)
{
	char socket[600];

	(void)state;
	filter_settings("");
	snprintf(socket, sizeof(socket), "socket=unix:%s",
		 scratch_path("a b.sock"));
	filter_start_with(socket);
	assert_int_equal(ctl("-j", "status"), 0);
	expect_output("\"socket\": \"unix:");
	filter_stop(SIGTERM);
}

static int connect_control(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s",
		 scratch_path("control.sock"));
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		fail_msg("connect");
	return fd;
}

static const char *talk(const char *data, size_t length)
{
	static char answer[2000];
	int fd = connect_control();
	size_t used = 0;
	ssize_t n;

	if (send(fd, data, length, MSG_NOSIGNAL) < 0)
		fail_msg("send");
	while ((n = recv(fd, answer + used, sizeof(answer) - 1 - used, 0)) > 0)
		used += (size_t)n;
	answer[used] = '\0';
	close(fd);
	return answer;
}

static void test_garbage(void **state)
{
	static char huge[10000];

	(void)state;
	start();
	assert_string_equal(talk("ping\n", 5), "ok\n");
	assert_string_equal(talk("ping\r\n", 6), "ok\n");
	assert_true(strncmp(talk("frob\n", 5), "error 64: no such request",
			    25) == 0);
	assert_true(strncmp(talk("\n", 1), "error 64: ", 10) == 0);
	assert_true(strncmp(talk("%s%n\n", 5), "error 64: ", 10) == 0);
	assert_true(strncmp(talk("a\0b\n", 4), "error 64: ", 10) == 0);
	memset(huge, 'x', sizeof(huge));
	assert_string_equal(talk(huge, 511), "");
	assert_string_equal(talk("ping\n", 5), "ok\n");
	filter_stop(SIGTERM);
}

/* Nobody who holds connections open keeps mail waiting, or others for long. */
static void test_idle_clients(void **state)
{
	int fds[100];
	struct mc mc;

	(void)state;
	start();
	for (size_t i = 0; i < 15; i++)
		fds[i] = connect_control();
	assert_string_equal(talk("ping\n", 5), "ok\n");
	for (size_t i = 0; i < 15; i++)
		close(fds[i]);
	for (size_t i = 0; i < 16; i++)
		fds[i] = connect_control();
	filter_open(&mc);
	expect_rcpt(&mc, "<full@example.org>", FULL);
	mc_close(&mc);
	/* the idle ones are shown out, and the next comes in */
	assert_string_equal(talk("ping\n", 5), "ok\n");
	for (size_t i = 0; i < 16; i++)
		close(fds[i]);
	filter_stop(SIGTERM);
}

static void test_query(void **state)
{
	(void)state;
	filter_settings("");
	assert_int_equal(filter_scan("-q"), 0);
	assert_int_equal(ctl("query", "full@example.org"), 1);
	expect_output("mailbox             user.full\n");
	expect_output("root                user.full\n");
	expect_output("record              S=102401/100 since=");
	expect_output("rule                lmtpd\n");
	expect_output("verdict             defer: the mailbox is full\n");
	expect_output("reply               " FULL "\n");
	assert_int_equal(ctl("query", "good@example.org"), 0);
	expect_output("verdict             pass: the mailbox is not full\n");
	assert_int_equal(ctl("query", "full@elsewhere.example"), 0);
	assert_int_equal(ctl("query", "full@[127.0.0.1]"), 0);
	filter_settings("max_age = 1s\n");
	{
		/* with the clock, not with a wait: a scan long ago */
		assert_int_equal(ctl("-j", "list"), 0);
		expect_output("\"root\": \"user.full\"");
	}
	filter_settings("table = \"/nonexistent\"\n");
}

static void test_query_options(void **state)
{
	const char *argv[] = { "tools/quotadefer-ctl",
			       "-c",
			       scratch_path("q.conf"),
			       "query",
			       "--sender",
			       "<>",
			       "full@example.org",
			       NULL };

	(void)state;
	filter_settings("");
	assert_int_equal(run_program(argv, output, sizeof(output)), 1);
	expect_output("defer, at the DATA command");
	argv[4] = "--size";
	argv[5] = "5M";
	argv[6] = "good@example.org";
	assert_int_equal(run_program(argv, output, sizeof(output)), 0);
	argv[5] = "much";
	assert_int_equal(run_program(argv, output, sizeof(output)), EX_USAGE);
	expect_output("--size much: not a size");
}

static void test_query_unknown(void **state)
{
	char table[600];
	const char *argv[] = { "tools/quotadefer-ctl",
			       "-c",
			       scratch_path("q.conf"),
			       "-o",
			       table,
			       "query",
			       "full@example.org",
			       NULL };

	(void)state;
	filter_settings("");
	snprintf(table, sizeof(table), "table=%s", scratch_path("nowhere"));
	assert_int_equal(run_program(argv, output, sizeof(output)), 75);
	/* asking makes nothing */
	assert_int_equal(access(scratch_path("nowhere"), F_OK), -1);
	snprintf(table, sizeof(table), "table=%s", scratch_path("cyrus"));
	assert_int_equal(run_program(argv, output, sizeof(output)), 75);
	assert_int_equal(access(scratch_path("cyrus/data.mdb"), F_OK), -1);
}

static void test_usage(void **state)
{
	(void)state;
	assert_int_equal(ctl("frobnicate", NULL), EX_USAGE);
	assert_int_equal(ctl("query", NULL), EX_USAGE);
	assert_int_equal(ctl("list", "extra"), EX_USAGE);
	assert_int_equal(ctl("--no-such-option", NULL), EX_USAGE);
	assert_int_equal(ctl("-V", NULL), 0);
	assert_true(strncmp(output, "quotadefer-ctl ", 15) == 0);
	assert_int_equal(ctl("-n", NULL), 0);
	assert_int_equal(ctl("-n", "-v"), 0);
	expect_output("max_age = \"3h\" # default\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_status),
		cmocka_unit_test(test_stats),
		cmocka_unit_test(test_reload),
		cmocka_unit_test(test_hostile_names),
		cmocka_unit_test(test_status_in_json),
		cmocka_unit_test(test_garbage),
		cmocka_unit_test(test_idle_clients),
		cmocka_unit_test(test_query),
		cmocka_unit_test(test_query_options),
		cmocka_unit_test(test_query_unknown),
		cmocka_unit_test(test_usage),
	};

	return cmocka_run_group_tests(tests, filter_set_up, filter_tear_down);
}
