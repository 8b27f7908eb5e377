/* SPDX-License-Identifier: BSD-2-Clause */
/* The filter's process: starting, stopping, reloading, being ill-treated. */
#include "check.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sysexits.h>
#include <unistd.h>

#include "filter.h"
#include "scratch.h"

#define FULL "451 4.2.2 mailbox full, please try again later"
#define PASS ""

static void prepare(const char *more)
{
	filter_settings(more);
	assert_int_equal(filter_scan("-q"), 0);
}

static void expect_full(void)
{
	struct mc mc;

	filter_open(&mc);
	expect_rcpt(&mc, "<full@example.org>", FULL);
	mc_close(&mc);
}

static void test_stop_and_start(void **state)
{
	(void)state;
	prepare("");
	for (int i = 0; i < 5; i++) {
		filter_start();
		expect_full();
		assert_int_equal(filter_stop(i % 2 ? SIGINT : SIGTERM), 0);
		/* one who was root may not remove what root made there */
		if (geteuid() != 0)
			assert_int_equal(
				access(scratch_path("milter.sock"), F_OK), -1);
		filter_expect_log("stopped", 1);
	}
}

static void test_stale_socket(void **state)
{
	(void)state;
	prepare("");
	filter_start();
	assert_int_equal(filter_stop(SIGKILL), -SIGKILL);
	assert_int_equal(access(scratch_path("milter.sock"), F_OK), 0);
	filter_start();
	expect_full();
	filter_stop(SIGTERM);
}

static void test_second_instance(void **state)
{
	struct mc mc;

	(void)state;
	prepare("");
	filter_start();
	filter_open(&mc);
	assert_int_equal(filter_start_and_fail(), EX_TEMPFAIL);
	expect_rcpt(&mc, "<full@example.org>", FULL);
	mc_close(&mc);
	expect_full();
	filter_stop(SIGTERM);
}

/* Not ours, but alive: it is not to be robbed of its socket either. */
static void test_foreign_socket(void **state)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct stat st;

	(void)state;
	prepare("");
	snprintf(address.sun_path, sizeof(address.sun_path), "%s",
		 scratch_path("milter.sock"));
	unlink(address.sun_path);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)),
			 0);
	assert_int_equal(listen(fd, 5), 0);
	assert_int_equal(chmod(address.sun_path, 0777), 0);
	assert_int_equal(filter_start_and_fail(), EX_TEMPFAIL);
	assert_int_equal(stat(address.sun_path, &st), 0);
	close(fd);
	unlink(address.sun_path);
	scratch_text("milter.sock", "a file");
	assert_int_equal(filter_start_and_fail(), EX_CONFIG);
	unlink(address.sun_path);
	assert_int_equal(symlink("/dev/null", address.sun_path), 0);
	assert_int_equal(filter_start_and_fail(), EX_CONFIG);
	unlink(address.sun_path);
}

static void test_open_directory(void **state)
{
	char text[600];

	(void)state;
	mkdir(scratch_path("open"), 0777);
	chmod(scratch_path("open"), 0777);
	snprintf(text, sizeof(text), "pidfile = \"%s\"\n", scratch_path("pid"));
	filter_settings(text);
	snprintf(text, sizeof(text), "socket=unix:%s",
		 scratch_path("open/m.sock"));
	{
		const char *argv[] = { "milter/quotadefer-milter",
				       "-f",
				       "-c",
				       scratch_path("q.conf"),
				       "-o",
				       text,
				       NULL };
		char out[1000];

		assert_int_equal(run_program(argv, out, sizeof(out)),
				 EX_CONFIG);
		assert_non_null(strstr(out, "anybody may write"));
	}
}

static void test_inet(void **state)
{
	struct sockaddr_in address = { .sin_family = AF_INET };
	socklen_t size = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char text[200];
	struct mc mc;
	int port;

	(void)state;
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, size), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size),
			 0);
	port = ntohs(address.sin_port);
	prepare("");
	snprintf(text, sizeof(text), "socket=inet:127.0.0.1:%d", port);
	{
		const char *argv[] = { "milter/quotadefer-milter",
				       "-f",
				       "-c",
				       scratch_path("q.conf"),
				       "-o",
				       text,
				       NULL };

		assert_int_equal(run_program(argv, NULL, 0), EX_TEMPFAIL);
	}
	close(fd);
	filter_settings("");
	filter_start_with(text);
	assert_int_equal(mc_open_port(&mc, port), 0);
	assert_int_equal(mc_negotiate(&mc, MC_ALL_ACTIONS, MC_ALL_STEPS), 0);
	expect_rcpt(&mc, "<full@example.org>", FULL);
	mc_close(&mc);
	filter_stop(SIGTERM);
}

static void test_reload(void **state)
{
	struct mc mc;

	(void)state;
	prepare("");
	filter_start();
	filter_open(&mc);
	expect_rcpt(&mc, "<full@example.org>", FULL);
	filter_settings("reply_text = \"no room\"\n");
	filter_signal(SIGHUP);
	filter_wait_log("settings reloaded", 1);
	/* the same session, the new words */
	expect_rcpt(&mc, "<full@example.org>", "451 4.2.2 no room");
	filter_settings("reply_text = \"no room\"\nmax_age = never\n");
	filter_signal(SIGHUP);
	filter_wait_log("the old settings stay", 1);
	filter_expect_log("max_age = \"never\": not a duration", 1);
	expect_rcpt(&mc, "<full@example.org>", "451 4.2.2 no room");
	filter_settings("socket_group = nogroup\n"
			"pidfile = \"/run/x.pid\"\n");
	filter_signal(SIGUSR1);
	filter_wait_log("settings reloaded", 2);
	filter_expect_log("socket_group: the new value needs a "
			  "restart",
			  1);
	filter_expect_log("pidfile: the new value needs a "
			  "restart",
			  1);
	filter_expect_log("needs a restart", 2);
	expect_rcpt(&mc, "<full@example.org>", FULL);
	mc_close(&mc);
	filter_settings("");
	assert_int_equal(filter_stop(SIGTERM), 0);
}

/* libmilter has a thread that takes HUP for a stop: it must not get one. */
static void test_many_reloads(void **state)
{
	struct mc mc;

	(void)state;
	prepare("");
	filter_start();
	filter_open(&mc);
	for (int i = 0; i < 2000; i++) {
		filter_signal(SIGHUP);
		if (i % 10 == 0)
			expect_rcpt(&mc, "<full@example.org>",
				    i < 80 ? FULL : PASS);
	}
	mc_event(&mc, MC_ABORT, NULL, NULL);
	expect_rcpt(&mc, "<good@example.org>", PASS);
	mc_close(&mc);
	expect_full();
	assert_int_equal(filter_stop(SIGTERM), 0);
}

/* Whoever has read the pid file may use it. */
static void test_reload_while_starting(void **state)
{
	char override[600];

	(void)state;
	prepare("");
	snprintf(override, sizeof(override), "pidfile=%s", scratch_path("pid"));
	for (int i = 0; i < 20; i++) {
		unlink(scratch_path("pid"));
		filter_launch_with(override);
		while (access(scratch_path("pid"), F_OK) < 0)
			assert_int_equal(kill(filter_pid(), 0), 0);
		filter_signal(SIGHUP);
		filter_wait_log("settings reloaded", 1);
		assert_int_equal(filter_stop(SIGTERM), 0);
	}
}

static void test_without_a_table(void **state)
{
	struct mc mc;

	(void)state;
	filter_settings("");
	unlink(scratch_path("table/data.mdb"));
	unlink(scratch_path("table/lock.mdb"));
	filter_start();
	filter_open(&mc);
	for (int i = 0; i < 20; i++)
		expect_rcpt(&mc, "<full@example.org>", PASS);
	filter_wait_log("no source has published yet", 1);
	/* the scanner comes later */
	assert_int_equal(filter_scan("-q"), 0);
	expect_rcpt(&mc, "<full@example.org>", FULL);
	mc_close(&mc);
	filter_expect_log("no source has published yet", 1);
	assert_int_equal(filter_stop(SIGTERM), 0);
}

static bool is_deferred(void)
{
	struct mc_reply reply;
	struct mc mc;

	filter_open(&mc);
	reply = mc_event(&mc, MC_RCPT, "<full@example.org>", NULL);
	mc_close(&mc);
	return reply.type == MC_REPLY;
}

static void test_damaged_table(void **state)
{
	struct mc mc;

	(void)state;
	prepare("");
	scratch_text("table/data.mdb", "this was a table once");
	filter_start();
	filter_open(&mc);
	for (int i = 0; i < 20; i++)
		expect_rcpt(&mc, "<full@example.org>", PASS);
	mc_close(&mc);
	filter_expect_log("it was damaged", 1);
	assert_int_equal(filter_scan("-q"), 0);
	wait_until("full@ is deferred again", is_deferred);
	assert_int_equal(filter_stop(SIGTERM), 0);
}

static void remove_table(void)
{
	unlink(scratch_path("table/data.mdb"));
	unlink(scratch_path("table/lock.mdb"));
}

/* The files vanish under the running filter. */
static void test_deleted_table(void **state)
{
	(void)state;
	prepare("");
	filter_start();
	expect_full();
	remove_table();
	filter_wait_log("no source has published yet", 1);
	assert_int_equal(filter_scan("-q"), 0);
	wait_until("full@ is deferred again", is_deferred);
	assert_int_equal(filter_stop(SIGTERM), 0);
}

/* Somebody copies a file over it, or the disk loses its end. */
static void test_truncated_table(void **state)
{
	static const off_t lengths[] = { 0, 1, 4096, 4097, 8192, 12288, 20000 };
	struct mc mc;

	(void)state;
	for (size_t i = 0; i < COUNT(lengths); i++) {
		remove_table();
		prepare("");
		filter_start();
		filter_open(&mc);
		expect_rcpt(&mc, "<full@example.org>", FULL);
		assert_int_equal(
			truncate(scratch_path("table/data.mdb"), lengths[i]),
			0);
		for (int n = 0; n < 20; n++)
			expect_rcpt(&mc, "<full@example.org>", PASS);
		filter_wait_log("opened anew", 1);
		filter_expect_log("; recipients pass\n", 1);
		assert_int_equal(filter_scan("-q"), 0);
		expect_rcpt(&mc, "<full@example.org>", FULL);
		mc_close(&mc);
		assert_int_equal(filter_stop(SIGTERM), 0);
	}
}

static void test_truncated_lock(void **state)
{
	struct mc mc;

	(void)state;
	remove_table();
	prepare("");
	filter_start();
	filter_open(&mc);
	expect_rcpt(&mc, "<full@example.org>", FULL);
	assert_int_equal(truncate(scratch_path("table/lock.mdb"), 0), 0);
	expect_rcpt(&mc, "<good@example.org>", PASS);
	filter_wait_log("opened anew", 1);
	assert_int_equal(filter_scan("-q"), 0);
	expect_rcpt(&mc, "<full@example.org>", FULL);
	mc_close(&mc);
	assert_int_equal(filter_stop(SIGTERM), 0);
}

/* Without its directory, what was read serves on, and little is said. */
static void test_deleted_directory(void **state)
{
	struct mc mc;

	(void)state;
	remove_table();
	prepare("defer_limit = 0\n");
	filter_start();
	filter_open(&mc);
	assert_int_equal(rename(scratch_path("table"), scratch_path("gone")),
			 0);
	filter_wait_log("No such file or directory", 1);
	for (int i = 0; i < 20; i++) {
		expect_rcpt(&mc, "<full@example.org>", FULL);
		filter_signal(SIGHUP);
		filter_wait_log("settings reloaded", i + 1);
	}
	filter_expect_log("No such file or directory", 1);
	assert_int_equal(filter_logged("read again"), 0);
	assert_int_equal(rename(scratch_path("gone"), scratch_path("table")),
			 0);
	filter_wait_log("the table can be read again", 1);
	expect_rcpt(&mc, "<full@example.org>", FULL);
	mc_close(&mc);
	assert_int_equal(filter_stop(SIGTERM), 0);
}

static void test_connect_and_leave(void **state)
{
	static const unsigned char half[] = { 0, 0, 0, 13, 'O', 0, 0 };
	static const unsigned char huge[] = { 0xff, 0xff, 0xff, 0xff, 'R' };
	struct mc mc, good;

	(void)state;
	prepare("");
	filter_start();
	filter_open(&good);
	for (int i = 0; i < 500; i++) {
		assert_int_equal(mc_open_unix(&mc, scratch_path("milter.sock")),
				 0);
		if (i % 4 == 1)
			assert_int_equal(write(mc.fd, half, sizeof(half)),
					 sizeof(half));
		else if (i % 4 == 2)
			assert_int_equal(write(mc.fd, huge, sizeof(huge)),
					 sizeof(huge));
		else if (i % 4 == 3)
			assert_int_equal(
				mc_negotiate(&mc, MC_ALL_ACTIONS, MC_ALL_STEPS),
				0);
		close(mc.fd);
	}
	expect_rcpt(&good, "<full@example.org>", FULL);
	mc_close(&good);
	expect_full();
	assert_int_equal(filter_stop(SIGTERM), 0);
}

/* Events before, after and instead of those that were asked for. */
static void test_disorder(void **state)
{
	static const char order[] = "ATERMHCNLB";
	struct mc mc;

	(void)state;
	prepare("");
	filter_start();
	for (const char *p = order; *p; p++) {
		filter_open(&mc);
		mc_send(&mc, *p, "<full@example.org>\0", 20);
		close(mc.fd);
	}
	/* RCPT without a session, as no negotiation made one */
	assert_int_equal(mc_open_unix(&mc, scratch_path("milter.sock")), 0);
	mc_send(&mc, MC_RCPT, "<full@example.org>", 19);
	close(mc.fd);
	expect_full();
	assert_int_equal(filter_stop(SIGTERM), 0);
}

static int notify_socket(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s",
		 scratch_path("notify"));
	unlink(address.sun_path);
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    chmod(address.sun_path, 0777) < 0)
		fail_msg("notify socket");
	setenv("NOTIFY_SOCKET", address.sun_path, 1);
	setenv("WATCHDOG_USEC", "200000", 1);
	return fd;
}

/* Wait for a message of the service manager's protocol. */
static void expect_notify(int fd, const char *want)
{
	char text[200];

	do {
		ssize_t n = recv(fd, text, sizeof(text) - 1, 0);

		assert_true(n > 0);
		text[n] = '\0';
	} while (strncmp(text, want, strlen(want)) != 0);
}

static void test_service_manager(void **state)
{
	int fd = notify_socket();

	(void)state;
	prepare("");
	filter_start();
	expect_notify(fd, "READY=1");
	expect_notify(fd, "WATCHDOG=1");
	expect_notify(fd, "WATCHDOG=1");
	filter_signal(SIGHUP);
	expect_notify(fd, "RELOADING=1\nMONOTONIC_USEC=");
	expect_notify(fd, "READY=1");
	assert_int_equal(filter_stop(SIGTERM), 0);
	expect_notify(fd, "STOPPING=1");
	close(fd);
	unsetenv("NOTIFY_SOCKET");
	unsetenv("WATCHDOG_USEC");
}

static bool nobody_listens(void)
{
	struct mc mc;

	if (mc_open_unix(&mc, scratch_path("milter.sock")) < 0)
		return true;
	close(mc.fd);
	return false;
}

/* Without -f: the parent leaves when the filter serves, or says why not. */
static void test_background(void **state)
{
	char text[64], out[1000];
	const char *argv[] = { "milter/quotadefer-milter", "-c",
			       scratch_path("q.conf"),	   "-P",
			       scratch_path("pid"),	   NULL };
	const char *cat[] = { "/bin/cat", scratch_path("pid"), NULL };
	pid_t pid;

	(void)state;
	prepare("");
	assert_int_equal(run_program(argv, out, sizeof(out)), 0);
	assert_string_equal(out, "");
	expect_full();
	assert_int_equal(run_program(argv, out, sizeof(out)), EX_TEMPFAIL);
	assert_non_null(strstr(out, "another instance serves it"));
	run_program(cat, text, sizeof(text));
	pid = (pid_t)atoi(text);
	assert_true(pid > 1);
	assert_int_equal(kill(pid, SIGTERM), 0);
	wait_until("nobody listens", nobody_listens);
}

/* Run a line of shell, with the scratch directory as $1. */
static int shell(const char *line, char *out, size_t size)
{
	const char *argv[] = { "/bin/sh",	 "-c", line, "sh",
			       scratch_path(""), NULL };

	return run_program(argv, out, size);
}

/* From the root directory, the file is found again. */
static void test_background_relative(void **state)
{
	char out[1000];

	(void)state;
	prepare("");
	assert_int_equal(shell("cd $1 && exec "
			       "$QD_TOP_BUILDDIR/milter/quotadefer-milter "
			       "-c q.conf -P $1/pid",
			       out, sizeof(out)),
			 0);
	prepare("defer_limit = 9\n");
	if (shell("$QD_TOP_BUILDDIR/tools/quotadefer-ctl -c $1/q.conf reload",
		  out, sizeof(out)) != 0)
		fail_msg("%s", out);
	shell("kill $(cat $1/pid)", NULL, 0);
	wait_until("nobody listens", nobody_listens);
}

/* Nothing of ours takes the place of what the caller had closed. */
static void test_closed_descriptors(void **state)
{
	char out[1000];

	(void)state;
	prepare("");
	assert_int_equal(shell("exec $QD_TOP_BUILDDIR/milter/quotadefer-milter "
			       "-c $1/q.conf -P $1/pid <&- >&- 2>&-",
			       out, sizeof(out)),
			 0);
	expect_full();
	shell("for fd in 0 1 2; do readlink /proc/$(cat $1/pid)/fd/$fd; done",
	      out, sizeof(out));
	assert_string_equal(out, "/dev/null\n/dev/null\n/dev/null\n");
	shell("kill $(cat $1/pid)", NULL, 0);
	wait_until("nobody listens", nobody_listens);
}

static void test_not_root_while_serving(void **state)
{
	char path[64], text[4096];
	int fd;
	ssize_t n;

	(void)state;
	if (geteuid() != 0)
		skip();
	prepare("");
	filter_start();
	snprintf(path, sizeof(path), "/proc/%d/status", filter_pid());
	fd = open(path, O_RDONLY);
	n = read(fd, text, sizeof(text) - 1);
	text[n > 0 ? n : 0] = '\0';
	close(fd);
	assert_non_null(strstr(text, "Uid:\t65534\t65534\t65534\t65534"));
	assert_non_null(strstr(text, "Gid:\t65534\t65534\t65534\t65534"));
	assert_non_null(strstr(text, "CapEff:\t0000000000000000"));
	assert_int_equal(filter_stop(SIGTERM), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_stop_and_start),
		cmocka_unit_test(test_stale_socket),
		cmocka_unit_test(test_second_instance),
		cmocka_unit_test(test_foreign_socket),
		cmocka_unit_test(test_open_directory),
		cmocka_unit_test(test_inet),
		cmocka_unit_test(test_reload),
		cmocka_unit_test(test_many_reloads),
		cmocka_unit_test(test_reload_while_starting),
		cmocka_unit_test(test_without_a_table),
		cmocka_unit_test(test_damaged_table),
		cmocka_unit_test(test_deleted_table),
		cmocka_unit_test(test_truncated_table),
		cmocka_unit_test(test_truncated_lock),
		cmocka_unit_test(test_deleted_directory),
		cmocka_unit_test(test_connect_and_leave),
		cmocka_unit_test(test_disorder),
		cmocka_unit_test(test_service_manager),
		cmocka_unit_test(test_background),
		cmocka_unit_test(test_background_relative),
		cmocka_unit_test(test_closed_descriptors),
		cmocka_unit_test(test_not_root_while_serving),
	};

	return cmocka_run_group_tests(tests, filter_set_up, filter_tear_down);
}
