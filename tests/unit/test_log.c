/* SPDX-License-Identifier: BSD-2-Clause */
#include "check.h"

#include <stdlib.h>
#include <unistd.h>

#include "quotadefer/deferline.h"
#include "quotadefer/log.h"
#include "quotadefer/logqueue.h"

static void test_quote(void **state)
{
	static const struct {
		const char *text, *want;
	} cases[] = {
		{ "joe@example.org", "joe@example.org" },
		{ "a b", "a\\x20b" },
		{ "a\r\nb", "a\\x0d\\x0ab" },
		{ "<\"'\\>", "\\x3c\\x22\\x27\\x5c\\x3e" },
		{ "\x1b[31m\x7f", "\\x1b[31m\\x7f" },
		{ "j\xc3\xb6rg", "j\\xc3\\xb6rg" },
		{ "%s%n", "%s%n" },
		{ "", "" },
	};
	char out[100];

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++)
		assert_string_equal(
			qd_log_quote(out, sizeof(out), cases[i].text),
			cases[i].want);
	assert_string_equal(qd_log_quote(out, 8, "\n\n\n"), "\\x0a");
}

/* What the logger writes to standard error for one call. */
static void capture(char *out, size_t size, int priority, const char *text)
{
	int saved = dup(STDERR_FILENO), fds[2];
	ssize_t n;

	assert_int_equal(pipe(fds), 0);
	dup2(fds[1], STDERR_FILENO);
	close(fds[1]);
	qd_log(priority, "%s", text);
	dup2(saved, STDERR_FILENO);
	close(saved);
	n = read(fds[0], out, size - 1);
	out[n > 0 ? n : 0] = '\0';
	close(fds[0]);
}

static void test_one_event_is_one_line(void **state)
{
	static char huge[3 * QD_LOG_LINE], out[3 * QD_LOG_LINE];

	(void)state;
	qd_log_open("test", true, LOG_INFO);
	capture(out, sizeof(out), LOG_INFO, "a\nb\033c");
	assert_string_equal(out, "test: a\\x0ab\\x1bc\n");
	capture(out, sizeof(out), LOG_DEBUG, "not said");
	assert_string_equal(out, "");
	memset(huge, '\n', sizeof(huge) - 1);
	capture(out, sizeof(out), LOG_INFO, huge);
	assert_ptr_equal(strchr(out, '\n'), out + strlen(out) - 1);
	assert_true(strlen(out) < QD_LOG_LINE + 16);
}

/* Read until there is want, saying say (or NULL) all the time. */
static void read_to(int fd, const char *want, const char *say)
{
	static char text[1 << 20];
	size_t used = 0;
	ssize_t n;

	while (!used || !strstr(text, want)) {
		if (say)
			qd_log(LOG_INFO, "%s", say);
		n = read(fd, text + used, sizeof(text) - 1 - used);
		assert_true(n > 0);
		used += (size_t)n;
		text[used] = '\0';
	}
}

/* Last in its process: from then on the log has a thread. */
static void test_nobody_reads_the_log(void **state)
{
	char text[500];
	struct qd_error err;
	int saved = dup(STDERR_FILENO), fds[2];

	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	assert_int_equal(pipe(fds), 0);
	dup2(fds[1], STDERR_FILENO);
	assert_int_equal(qd_logqueue_start(&err), 0);
	alarm(60); /* who waits for the reader waits for ever */
	for (int i = 0; i < 3000; i++)
		qd_log(LOG_INFO, "%s", text);
	qd_logqueue_flush(10);
	/* the pipe and the queue are full, and the rest is lost */
	read_to(fds[0], " log lines were lost", NULL);
	read_to(fds[0], "a word\n", "a word");
	alarm(0);
	dup2(saved, STDERR_FILENO);
}

static struct qd_answer full_answer(void)
{
	struct qd_answer answer = { .resource = QD_STORAGE };

	qd_record_init(&answer.hit.rec);
	answer.hit.rec.usage[QD_STORAGE] = (struct qd_usage){ 102401, 100 };
	answer.hit.rec.since = 1700000000;
	strcpy(answer.hit.source, "mail1");
	strcpy(answer.mailbox.name, "user.joe");
	strcpy(answer.root, "user.joe");
	return answer;
}

static void test_deferline(void **state)
{
	const struct qd_request request = { .rcpt = "<joe@example.org>",
					    .sender = "<a@ext.test>" };
	const struct qd_client client = { "mx.ext.test", "192.0.2.1",
					  "mx.ext.test" };
	/* as Postfix gives it in {client_addr} */
	const struct qd_client v6 = { "mx6.ext.test", "IPv6:2001:db8::1", "" };
	struct qd_answer answer = full_answer();
	char line[QD_LOG_LINE];

	(void)state;
	qd_deferline(&request, &answer, &client, line, sizeof(line));
	assert_string_equal(
		line, "to=<joe@example.org> mailbox=user.joe root=user.joe "
		      "storage=102401/102400 since=2023-11-14T22:13:20Z "
		      "source=mail1 client=mx.ext.test[192.0.2.1] "
		      "from=<a@ext.test> helo=<mx.ext.test>");
	qd_deferline(&request, &answer, &v6, line, sizeof(line));
	assert_non_null(strstr(line, " client=mx6.ext.test[2001:db8::1] "));
	answer.resource = QD_MESSAGE;
	answer.hit.rec.usage[QD_MESSAGE] = (struct qd_usage){ 11, 10 };
	qd_deferline(&request, &answer, &client, line, sizeof(line));
	assert_non_null(strstr(line, " message=11/10 "));
}

static void test_deferline_hostile(void **state)
{
	static char sender[60000];
	struct qd_request request = {
		.rcpt = "<\"x> from=<forged\"@example.org>", .sender = sender
	};
	const struct qd_client client = { "", NULL, "he\nlo>" };
	struct qd_answer answer = full_answer();
	char line[QD_LOG_LINE];

	(void)state;
	memset(sender, '\n', sizeof(sender) - 1);
	qd_deferline(&request, &answer, &client, line, sizeof(line));
	assert_null(strchr(line, '\n'));
	assert_null(strstr(line, "from=<forged"));
	assert_non_null(strstr(line, " client=unknown[unknown] "));
	assert_non_null(strstr(line, " helo=<he\\x0alo\\x3e>"));
	request.sender = NULL;
	qd_deferline(&request, &answer, &client, line, sizeof(line));
	assert_non_null(strstr(line, " from=<> "));
}

static void test_time(void **state)
{
	char text[32];

	(void)state;
	assert_string_equal(qd_time_text(0, text), "-");
	assert_string_equal(qd_time_text(-1, text), "-");
	assert_string_equal(qd_time_text(1, text), "1970-01-01T00:00:01Z");
	assert_true(strlen(qd_time_text(INT64_MAX, text)) < 32);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_quote),
		cmocka_unit_test(test_one_event_is_one_line),
		cmocka_unit_test(test_deferline),
		cmocka_unit_test(test_deferline_hostile),
		cmocka_unit_test(test_time),
		cmocka_unit_test(test_nobody_reads_the_log),
	};

	return RUN_TESTS(tests);
}
