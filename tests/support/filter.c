/* SPDX-License-Identifier: BSD-2-Clause */
#include "filter.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "scratch.h"

enum {
	PATIENCE_MS = 60000
};

static pid_t filter;

static const char *program(const char *name)
{
	static char path[4][512];
	static unsigned int turn;
	const char *top = getenv("QD_TOP_BUILDDIR");
	char *out = path[turn++ % 4];

	snprintf(out, sizeof(path[0]), "%s/%s", top ? top : ".", name);
	return out;
}

static void nap(void)
{
	const struct timespec moment = { 0, 5000000 };

	nanosleep(&moment, NULL);
}

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void wait_until(const char *what, bool (*condition)(void))
{
	int64_t deadline = now_ms() + PATIENCE_MS;

	while (!condition()) {
		if (now_ms() > deadline)
			fail_msg("still not: %s; log: %s", what, filter_log());
		nap();
	}
}

void filter_usage(const char *root, long used)
{
	char letter = root[5] >= 'a' && root[5] <= 'z' ? root[5] : 'q';
	char name[300], text[100];

	snprintf(name, sizeof(name), "cyrus/quota/%c/%s", letter, root);
	snprintf(text, sizeof(text),
		 "%%(S (%ld 100) M (0) AS (0) NF (1) MODSEQ 3)\n", used);
	scratch_text(name, text);
}

void filter_settings(const char *more)
{
	char text[4096];

	snprintf(text, sizeof(text),
		 "table = \"%s\"\nsocket = \"unix:%s\"\n"
		 "control_socket = \"%s\"\nimapd_conf = \"%s\"\n"
		 "source = test\nuser = nobody\nsocket_mode = 0666\n%s\n%s",
		 scratch_path("table"), scratch_path("milter.sock"),
		 scratch_path("control.sock"), scratch_path("imapd.conf"),
		 strstr(more, "domains") ? "" : "domains = example.org", more);
	scratch_text("q.conf", text);
}

int filter_set_up(void **state)
{
	char conf[600];

	scratch_make(state);
	/* as root the filter becomes another user, who must come in here */
	chmod(scratch_path(""), 0777 | S_ISVTX);
	snprintf(conf, sizeof(conf),
		 "configdirectory: %s\nvirtdomains: userid\n"
		 "defaultdomain: example.org\n",
		 scratch_path("cyrus"));
	scratch_text("imapd.conf", conf);
	filter_usage("user.full", 102401);
	filter_usage("user.fuller", 204800);
	filter_usage("user.good", 102400);
	filter_usage("user.better", 0);
	mkdir(scratch_path("table"), 0777);
	chmod(scratch_path("table"), 0777);
	filter_settings("");
	return 0;
}

int filter_tear_down(void **state)
{
	if (filter)
		filter_stop(SIGKILL);
	return scratch_remove(state);
}

static pid_t spawn(const char *const *argv, const char *output)
{
	pid_t child = fork();
	int fd;

	if (child != 0)
		return child;
	fd = open(output, O_WRONLY | O_CREAT | O_APPEND, 0644);
	dup2(fd, STDOUT_FILENO);
	dup2(fd, STDERR_FILENO);
	execv(argv[0], (char *const *)argv);
	_exit(127);
}

static int exit_status(pid_t child)
{
	int status;

	while (waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			return 127;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static void read_file(const char *name, char *out, size_t size)
{
	int fd = open(scratch_path(name), O_RDONLY);
	ssize_t n = fd < 0 ? 0 : read(fd, out, size - 1);

	out[n > 0 ? n : 0] = '\0';
	if (fd >= 0)
		close(fd);
}

int run_program(const char *const *argv, char *out, size_t size)
{
	const char *words[32] = { argv[0][0] == '/' ? argv[0] :
						      program(argv[0]) };
	int status;

	for (int i = 1; argv[i - 1] && i < 31; i++)
		words[i] = argv[i];
	unlink(scratch_path("output"));
	status = exit_status(spawn(words, scratch_path("output")));
	if (out)
		read_file("output", out, size);
	return status;
}

int filter_scan(const char *option)
{
	const char *argv[] = { "tools/quotadefer-scan", "-c",
			       scratch_path("q.conf"), option, NULL };

	return run_program(argv, NULL, 0);
}

/* Its loop runs: the sockets alone are there long before. */
static bool answers_a_ping(void)
{
	char answer[8] = "";
	struct mc mc;

	if (mc_open_unix(&mc, scratch_path("control.sock")) < 0)
		return false;
	if (send(mc.fd, "ping\n", 5, MSG_NOSIGNAL) == 5 &&
	    recv(mc.fd, answer, 3, MSG_WAITALL) != 3)
		answer[0] = '\0';
	close(mc.fd);
	return strcmp(answer, "ok\n") == 0;
}

static bool has_ended(void)
{
	int status;

	if (!filter || waitpid(filter, &status, WNOHANG) != filter)
		return false;
	filter = 0;
	return true;
}

static bool is_serving(void)
{
	struct mc mc;

	if (has_ended())
		fail_msg("the filter ended: %s", filter_log());
	if (mc_open_unix(&mc, scratch_path("milter.sock")) < 0)
		return false;
	close(mc.fd);
	return answers_a_ping();
}

static void launch(const char *override)
{
	const char *argv[] = { program("milter/quotadefer-milter"),
			       "-f",
			       "-c",
			       scratch_path("q.conf"),
			       override ? "-o" : NULL,
			       override,
			       NULL };

	if (filter) /* of a test that failed */
		filter_stop(SIGKILL);
	unlink(scratch_path("log"));
	filter = spawn(argv, scratch_path("log"));
}

void filter_start(void)
{
	launch(NULL);
	wait_until("the filter serves", is_serving);
}

void filter_launch_with(const char *override)
{
	launch(override);
}

void filter_start_with(const char *override)
{
	launch(override);
	filter_wait_log(" on ", 1);
	wait_until("the filter answers", answers_a_ping);
}

int filter_start_and_fail(void)
{
	const char *argv[] = { program("milter/quotadefer-milter"), "-f", "-c",
			       scratch_path("q.conf"), NULL };

	unlink(scratch_path("log2"));
	return exit_status(spawn(argv, scratch_path("log2")));
}

pid_t filter_pid(void)
{
	return filter;
}

void filter_signal(int number)
{
	kill(filter, number);
}

int filter_stop(int number)
{
	int status;

	if (!filter)
		return 0;
	kill(filter, number);
	status = exit_status(filter);
	filter = 0;
	return status;
}

void filter_begin(const char *more)
{
	filter_settings(more);
	assert_int_equal(filter_scan("-q"), 0);
	filter_start();
}

void filter_end(void)
{
	assert_int_equal(filter_stop(SIGTERM), 0);
}

const char *filter_log(void)
{
	static char text[1 << 20];

	read_file("log", text, sizeof(text));
	return text;
}

int filter_logged(const char *text)
{
	const char *p = filter_log();
	int times = 0;

	while ((p = strstr(p, text))) {
		times++;
		p += strlen(text);
	}
	return times;
}

void filter_wait_log(const char *text, int times)
{
	int64_t deadline = now_ms() + PATIENCE_MS;

	while (filter_logged(text) < times) {
		if (now_ms() > deadline || has_ended())
			fail_msg("not logged: %s; but: %s", text, filter_log());
		nap();
	}
}

void filter_expect_log(const char *text, int times)
{
	filter_wait_log(text, times);
	assert_int_equal(filter_logged(text), times);
}

void filter_open(struct mc *mc)
{
	if (mc_open_unix(mc, scratch_path("milter.sock")) < 0 ||
	    mc_negotiate(mc, MC_ALL_ACTIONS, MC_ALL_STEPS) < 0)
		fail_msg("no session: %s", filter_log());
	mc->macros.client_addr = "192.0.2.1";
	mc->macros.client_name = "mx.ext.test";
	mc->macros.client_port = "4711";
	mc->macros.mail_addr = "a@ext.test";
	mc_event(mc, MC_HELO, "mx.ext.test", NULL);
}

void expect_rcpt(struct mc *mc, const char *rcpt, const char *want)
{
	struct mc_reply reply = mc_event(mc, MC_RCPT, rcpt, NULL);

	if (*want ? reply.type != MC_REPLY || strcmp(reply.text, want) != 0 :
		    reply.type != MC_CONTINUE)
		fail_msg("%s: got '%c' \"%s\", want \"%s\"", rcpt, reply.type,
			 reply.type == MC_REPLY ? reply.text : "",
			 *want ? want : "continue");
}

void expect_data(struct mc *mc, const char *want)
{
	struct mc_reply reply = mc_event(mc, MC_DATA, NULL, NULL);

	if (*want) {
		assert_int_equal(reply.type, MC_REPLY);
		assert_string_equal(reply.text, want);
		return;
	}
	if (reply.type == MC_CONTINUE)
		reply = mc_event(mc, MC_EOM, "", NULL);
	assert_int_equal(reply.type, MC_ACCEPT);
}
