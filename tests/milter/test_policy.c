/* SPDX-License-Identifier: BSD-2-Clause */
/* The settings that say whom the real filter defers, and how. */
#include "check.h"

#include <time.h>

#include "filter.h"
#include "scratch.h"

#include "quotadefer/table.h"

#define FULL "451 4.2.2 mailbox full, please try again later"
#define PASS ""

static void test_reply_settings(void **state)
{
	struct mc mc;

	(void)state;
	filter_begin("reply_code = 452\nreply_text = \"100% full, %s\"\n");
	filter_open(&mc);
	expect_rcpt(&mc, "<full@example.org>", "452 4.2.2 100% full, %s");
	mc_close(&mc);
	filter_end();
}

/* One text for each code and line; as Postfix passes them on. */
static void test_reply_of_lines(void **state)
{
	struct mc mc;

	(void)state;
	filter_begin(
		"reply_enhanced_code = \"4.2.1\"\n"
		"reply_text = \"{resource} full\\nhttps://h.example/?m={recipient}"
		"\\n100%\"\n");
	filter_open(&mc);
	expect_rcpt(&mc, "<Full+a/b@example.org>",
		    "451-4.2.1 storage full\r\n"
		    "451-4.2.1 https://h.example/"
		    "?m=Full%2Ba%2Fb%40example.org\r\n"
		    "451 4.2.1 100%");
	mc.macros.mail_addr = "";
	expect_rcpt(&mc, "<fuller@example.org>", PASS);
	expect_rcpt(&mc, "<full@example.org>", PASS);
	/* the first of them */
	assert_non_null(strstr(mc_event(&mc, MC_DATA, NULL, NULL).text,
			       "m=fuller%40example.org\r\n"));
	mc_close(&mc);
	filter_end();
}

/* The longest that the settings allow: libmilter must take it. */
static void test_longest_reply(void **state)
{
	char text[600], rcpt[400], want[1024];
	struct mc mc;

	(void)state;
	snprintf(text, sizeof(text), "reply_text = '%0480d'\n", 0);
	memset(strchr(text, '\'') + 1, '%', 480);
	filter_begin(text);
	filter_open(&mc);
	snprintf(want, sizeof(want), "451 4.2.2 %.480s",
		 strchr(text, '\'') + 1);
	expect_rcpt(&mc, "<full@example.org>", want);
	mc_close(&mc);
	filter_end();
	filter_begin(
		"reply_text = 'a\\n{recipient}\\n{recipient}\\n{recipient}\\n"
		"{recipient}\\n{recipient}\\n{recipient}\\nb'\n");
	filter_open(&mc);
	/* the address is left out, not cut: 483 and 16 are too many */
	snprintf(rcpt, sizeof(rcpt), "<full+%0300d@example.org>", 0);
	memset(strchr(rcpt, '+') + 1, '=', 161);
	expect_rcpt(&mc, rcpt, "451-4.2.2 a\r\n451 4.2.2 b");
	mc_close(&mc);
	filter_end();
	assert_int_equal(filter_logged("refused the reply"), 0);
}

static void test_null_sender(void **state)
{
	static const char *const senders[] = { "", "double-bounce@mx.test" };
	struct mc mc;

	(void)state;
	filter_begin("");
	filter_open(&mc);
	for (size_t i = 0; i < COUNT(senders); i++) {
		mc.macros.mail_addr = senders[i];
		/* a callout asks no further */
		expect_rcpt(&mc, "<full@example.org>", PASS);
		mc_event(&mc, MC_ABORT, NULL, NULL);
		/* a bounce does, twice if need be */
		expect_rcpt(&mc, "<full@example.org>", PASS);
		mc.macros.queue_id = "ABC123";
		expect_data(&mc, FULL);
		mc.macros.queue_id = NULL;
		mc_event(&mc, MC_ABORT, NULL, NULL);
		/* the next message has nothing to do with it */
		expect_rcpt(&mc, "<good@example.org>", PASS);
		expect_data(&mc, PASS);
		/* one who is not full must get it: then all do */
		expect_rcpt(&mc, "<full@example.org>", PASS);
		expect_rcpt(&mc, "<good@example.org>", PASS);
		expect_data(&mc, PASS);
		expect_rcpt(&mc, "<full@example.org>", PASS);
		expect_rcpt(&mc, "<fuller@example.org>", PASS);
		expect_data(&mc, FULL);
		mc_event(&mc, MC_ABORT, NULL, NULL);
	}
	mc_close(&mc);
	filter_expect_log("ABC123: defer: to=<full@", 2);
	filter_expect_log(": defer: ", 4);
	filter_end();
}

static void test_null_sender_settings(void **state)
{
	struct mc mc;

	(void)state;
	filter_begin("null_sender = rcpt\n");
	filter_open(&mc);
	mc.macros.mail_addr = "";
	expect_rcpt(&mc, "<full@example.org>", FULL);
	mc_close(&mc);
	filter_end();
	filter_begin("null_sender = pass\nprobe_senders = {}\n");
	filter_open(&mc);
	mc.macros.mail_addr = "";
	expect_rcpt(&mc, "<full@example.org>", PASS);
	expect_data(&mc, PASS);
	mc.macros.mail_addr = "double-bounce@mx.test";
	expect_rcpt(&mc, "<full@example.org>", FULL);
	mc_close(&mc);
	filter_end();
}

/* Whom the settings let through, and who is none of those. */
static void test_exemptions(void **state)
{
	struct mc mc;

	(void)state;
	filter_begin(
		"exempt_recipients = { \"FULL@*\" }\n"
		"exempt_senders = { \"*@friend.test\" }\n"
		"exempt_clients = { \"198.51.100.0/24\", \"2001:db8::/32\" }\n");
	filter_open(&mc);
	expect_rcpt(&mc, "<full+x@example.org>", PASS);
	expect_rcpt(&mc, "<fuller@example.org>", FULL);
	mc.macros.mail_addr = "ann@Friend.test";
	expect_rcpt(&mc, "<fuller@example.org>", PASS);
	mc.macros.mail_addr = "ann@friend.test.example";
	expect_rcpt(&mc, "<fuller@example.org>", FULL);
	mc.macros.client_addr = "198.51.100.7";
	expect_rcpt(&mc, "<fuller@example.org>", PASS);
	mc.macros.client_addr = "IPv6:2001:db8::25";
	expect_rcpt(&mc, "<fuller@example.org>", PASS);
	mc.macros.client_addr = "IPv6:2001:db9::25";
	expect_rcpt(&mc, "<fuller@example.org>", FULL);
	mc.macros.client_addr = "unknown";
	expect_rcpt(&mc, "<fuller@example.org>", FULL);
	mc.macros.client_addr = NULL;
	expect_rcpt(&mc, "<fuller@example.org>", FULL);
	mc_close(&mc);
	filter_end();
}

static void test_modes(void **state)
{
	struct mc mc;

	(void)state;
	filter_begin("domains = { example.org, virt.example }\n"
		     "mode_domains = { \"EXAMPLE.org=monitor\" }\n");
	filter_open(&mc);
	expect_rcpt(&mc, "<full@Example.Org>", PASS);
	mc_close(&mc);
	filter_expect_log("NOQUEUE: would-defer: to=<full@Example.Org>", 1);
	filter_end();
	filter_begin("enforce_share = 0%\n");
	filter_open(&mc);
	expect_rcpt(&mc, "<full@example.org>", PASS);
	mc.macros.mail_addr = "";
	expect_rcpt(&mc, "<full@example.org>", PASS);
	expect_data(&mc, PASS);
	mc_close(&mc);
	filter_expect_log("NOQUEUE: would-defer: to=<full@example.org>", 2);
	filter_end();
}

static void test_monitor(void **state)
{
	struct mc mc;

	(void)state;
	filter_begin("mode = monitor\n");
	filter_open(&mc);
	expect_rcpt(&mc, "<full@example.org>", PASS);
	expect_rcpt(&mc, "<good@example.org>", PASS);
	mc_close(&mc);
	filter_expect_log("NOQUEUE: would-defer: to=<full@", 1);
	filter_expect_log("defer:", 1);
	filter_end();
}

static void test_defer_limit(void **state)
{
	struct mc mc;

	(void)state;
	filter_begin("defer_limit = 3\n");
	filter_open(&mc);
	for (int i = 0; i < 3; i++)
		expect_rcpt(&mc, "<full@example.org>", FULL);
	expect_rcpt(&mc, "<full@example.org>", PASS);
	/* a new message, but the MTA has not forgotten the errors */
	mc_event(&mc, MC_ABORT, NULL, NULL);
	expect_rcpt(&mc, "<full@example.org>", PASS);
	expect_rcpt(&mc, "<good@example.org>", PASS);
	/* the message itself was refused, by the MTA or another filter */
	assert_int_equal(mc_event(&mc, MC_DATA, NULL, NULL).type, MC_CONTINUE);
	mc_event(&mc, MC_ABORT, NULL, NULL);
	expect_rcpt(&mc, "<full@example.org>", PASS);
	expect_rcpt(&mc, "<good@example.org>", PASS);
	expect_data(&mc, PASS);
	expect_rcpt(&mc, "<full@example.org>", FULL);
	mc_close(&mc);
	/* another session is another count */
	filter_open(&mc);
	expect_rcpt(&mc, "<full@example.org>", FULL);
	mc_close(&mc);
	filter_end();
}

/* A 451 to DATA is one more error to the MTA, as one to RCPT is. */
static void test_defer_limit_at_data(void **state)
{
	struct mc mc;

	(void)state;
	filter_begin("defer_limit = 3\n");
	filter_open(&mc);
	mc.macros.mail_addr = "";
	for (int i = 0; i < 3; i++) {
		expect_rcpt(&mc, "<full@example.org>", PASS);
		expect_rcpt(&mc, "<fuller@example.org>", PASS);
		expect_data(&mc, FULL);
		mc_event(&mc, MC_ABORT, NULL, NULL);
	}
	mc.macros.mail_addr = "a@ext.test";
	expect_rcpt(&mc, "<full@example.org>", PASS);
	mc_event(&mc, MC_ABORT, NULL, NULL);
	mc.macros.mail_addr = "";
	expect_rcpt(&mc, "<full@example.org>", PASS);
	expect_data(&mc, PASS);
	expect_rcpt(&mc, "<full@example.org>", PASS);
	expect_data(&mc, FULL);
	mc_close(&mc);
	filter_end();
}

static void test_who_submits(void **state)
{
	struct mc mc;

	(void)state;
	filter_begin("");
	filter_open(&mc);
	mc.macros.auth_authen = "joe";
	expect_rcpt(&mc, "<full@example.org>", PASS);
	mc.macros.auth_authen = NULL;
	expect_rcpt(&mc, "<full@example.org>", FULL);
	/* as Postfix describes mail from sendmail(1) to a filter */
	mc.macros.client_addr = "127.0.0.1";
	mc.macros.client_port = "0";
	expect_rcpt(&mc, "<full@example.org>", PASS);
	mc.macros.client_port = "4711";
	expect_rcpt(&mc, "<full@example.org>", FULL);
	/* as sendmail describes "sendmail -bs" */
	mc.macros.client_addr = "0";
	mc.macros.client_name = NULL;
	expect_rcpt(&mc, "<full@example.org>", FULL);
	mc.macros.client_port = "0";
	expect_rcpt(&mc, "<full@example.org>", PASS);
	mc_close(&mc);
	filter_end();
	filter_begin("authenticated = defer\n");
	filter_open(&mc);
	mc.macros.auth_authen = "joe";
	expect_rcpt(&mc, "<full@example.org>", FULL);
	mc_close(&mc);
	filter_end();
}

/* Publish that user is over since so many seconds ago, or nobody knows. */
static void age(const char *root, int64_t seconds)
{
	int64_t now = (int64_t)time(NULL);
	struct qd_batch *batch = NULL;
	struct qd_table *table = NULL;
	struct qd_error err = { 0 };
	struct qd_record rec;

	qd_record_init(&rec);
	rec.usage[QD_STORAGE] = (struct qd_usage){ 102401, 100 };
	rec.since = seconds ? now - seconds : 0;
	rec.read = now;
	if (qd_table_open(scratch_path("table"), QD_TABLE_WRITE, 16 << 20,
			  &table, NULL, &err) < 0 ||
	    qd_batch_begin(table, &batch, &err) < 0 ||
	    qd_batch_put(batch, "test", root, &rec, &err) < 0 ||
	    qd_batch_commit(&batch, &err) < 0)
		fail_msg("%s", err.text);
	qd_table_close(&table);
}

/* Only full@ for a month; a scan keeps what it finds of this. */
static void start_aged(const char *more)
{
	filter_begin(more);
	age("user.full", 31 * 86400);
	age("user.fuller", 60);
}

#define REJECT "552 5.2.2 full for a month: storage"

static const char reject_settings[] =
	"reject_after = 30d\nreject_text = \"full for a month: {resource}\"\n";

static void test_reject(void **state)
{
	struct mc mc;

	(void)state;
	start_aged(reject_settings);
	age("user.full", 60);
	filter_open(&mc);
	expect_rcpt(&mc, "<full@example.org>", FULL);
	age("user.full", 30 * 86400 + 60);
	expect_rcpt(&mc, "<full@example.org>", REJECT);
	expect_rcpt(&mc, "<fuller@example.org>", FULL);
	expect_rcpt(&mc, "<postmaster@example.org>", PASS);
	age("user.full", 30 * 86400 - 600);
	expect_rcpt(&mc, "<full@example.org>", FULL);
	age("user.full", 0);
	expect_rcpt(&mc, "<full@example.org>", FULL);
	age("user.full", -86400);
	expect_rcpt(&mc, "<full@example.org>", FULL);
	mc_close(&mc);
	filter_expect_log("NOQUEUE: reject: to=<full@example.org> "
			  "mailbox=user.full root=user.full "
			  "storage=102401/102400 since=2",
			  1);
	filter_expect_log(": defer: ", 5);
	filter_end();
}

/* One reply for all: a rejection only if that is right for each of them. */
static void test_reject_at_data(void **state)
{
	struct mc mc;

	(void)state;
	start_aged(reject_settings);
	filter_open(&mc);
	mc.macros.mail_addr = "";
	expect_rcpt(&mc, "<full@example.org>", PASS);
	expect_data(&mc, REJECT);
	mc_event(&mc, MC_ABORT, NULL, NULL);
	for (int turn = 0; turn < 2; turn++) {
		expect_rcpt(&mc,
			    turn ? "<full@example.org>" :
				   "<fuller@example.org>",
			    PASS);
		expect_rcpt(&mc,
			    turn ? "<fuller@example.org>" :
				   "<full@example.org>",
			    PASS);
		expect_data(&mc, FULL);
		mc_event(&mc, MC_ABORT, NULL, NULL);
	}
	filter_expect_log(": defer: to=<fuller@", 2);
	filter_expect_log(": reject: to=<full@", 1);
	expect_rcpt(&mc, "<full@example.org>", PASS);
	expect_rcpt(&mc, "<good@example.org>", PASS);
	expect_data(&mc, PASS);
	age("user.fuller", 31 * 86400);
	expect_rcpt(&mc, "<full@example.org>", PASS);
	expect_rcpt(&mc, "<fuller@example.org>", PASS);
	expect_data(&mc, REJECT);
	mc_close(&mc);
	filter_expect_log(": reject: to=<full@", 2);
	filter_end();
}

static void test_would_reject(void **state)
{
	struct mc mc;

	(void)state;
	start_aged("reject_after = 30d\n"
		   "mode_domains = { \"example.org=monitor\" }\n");
	filter_open(&mc);
	expect_rcpt(&mc, "<full@example.org>", PASS);
	expect_rcpt(&mc, "<fuller@example.org>", PASS);
	mc_close(&mc);
	filter_expect_log("NOQUEUE: would-reject: to=<full@example.org>", 1);
	filter_expect_log("NOQUEUE: would-defer: to=<fuller@example.org>", 1);
	filter_end();
}

/* A rejection is an error to the MTA as a deferral is. */
static void test_reject_counts(void **state)
{
	struct mc mc;

	(void)state;
	start_aged("reject_after = 30d\ndefer_limit = 2\n");
	filter_open(&mc);
	expect_rcpt(&mc, "<full@example.org>", "552 5.2.2 mailbox full");
	expect_rcpt(&mc, "<fuller@example.org>", FULL);
	expect_rcpt(&mc, "<full@example.org>", PASS);
	mc_close(&mc);
	filter_end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reply_settings),
		cmocka_unit_test(test_reply_of_lines),
		cmocka_unit_test(test_longest_reply),
		cmocka_unit_test(test_null_sender),
		cmocka_unit_test(test_null_sender_settings),
		cmocka_unit_test(test_exemptions),
		cmocka_unit_test(test_modes),
		cmocka_unit_test(test_monitor),
		cmocka_unit_test(test_defer_limit),
		cmocka_unit_test(test_defer_limit_at_data),
		cmocka_unit_test(test_who_submits),
		cmocka_unit_test(test_reject),
		cmocka_unit_test(test_reject_at_data),
		cmocka_unit_test(test_would_reject),
		cmocka_unit_test(test_reject_counts),
	};

	return cmocka_run_group_tests(tests, filter_set_up, filter_tear_down);
}
