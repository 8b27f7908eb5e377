/* SPDX-License-Identifier: BSD-2-Clause */
/* What the real filter answers, as an MTA sees it. */
#include "check.h"

#include <signal.h>

#include "filter.h"
#include "scratch.h"

#define FULL "451 4.2.2 mailbox full, please try again later"
#define PASS ""
#define STEPS \
	0x2175 /* connect, mail, body, headers, eoh, unknown: not sent;
			helo: no reply */

static void test_negotiation(void **state)
{
	struct mc mc;

	(void)state;
	filter_begin("");
	filter_open(&mc);
	assert_int_equal(mc.actions, MC_SETSYMLIST);
	assert_int_equal(mc.steps, STEPS);
	assert_string_equal(mc.symbols[3],
			    "i f {auth_authen} {client_addr} {client_name} "
			    "{client_port} {mail_addr} {rcpt_addr}");
	assert_string_equal(mc.symbols[4], "i");
	mc_close(&mc);
	filter_end();
}

static void test_full_and_good(void **state)
{
	struct mc mc;

	(void)state;
	filter_begin("");
	filter_open(&mc);
	expect_rcpt(&mc, "<full@example.org>", FULL);
	expect_rcpt(&mc, "<good@example.org>", PASS);
	expect_rcpt(&mc, "<fuller+x@EXAMPLE.org>", FULL);
	expect_rcpt(&mc, "<nobody@example.org>", PASS);
	expect_rcpt(&mc, "<full@elsewhere.example>", PASS);
	expect_rcpt(&mc, "full@example.org", FULL);
	/* there were deferrals: they count until the message is accepted */
	assert_int_equal(mc_event(&mc, MC_DATA, NULL, NULL).type, MC_CONTINUE);
	assert_int_equal(mc_event(&mc, MC_EOM, "", NULL).type, MC_ACCEPT);
	/* there were none: nothing after DATA is of interest */
	expect_rcpt(&mc, "<good@example.org>", PASS);
	assert_int_equal(mc_event(&mc, MC_DATA, NULL, NULL).type, MC_ACCEPT);
	mc_close(&mc);
	filter_end();
}

static void test_hostile_addresses(void **state)
{
	static const char *const addresses[] = {
		"",
		"<>",
		"<",
		">",
		"<full@example.org",
		"full@example.org>",
		"<full@[127.0.0.1]>",
		"<full(comment)@example.org>",
		"<*)(uid=*@example.org>",
		"<fu\all@example.org>",
		"<full\r\nQUIT@example.org>",
		"<full@example.org>\r\n",
		"<f\xffll@example.org>",
		"<\"full@example.org>",
		"<full%example.org>",
		"<full>",
		"<postmaster>",
		"<abuse@example.org>",
		"<%s%n%s%n@example.org>",
	};
	static char huge[6000];
	struct mc mc;

	(void)state;
	filter_begin("");
	filter_open(&mc);
	for (size_t i = 0; i < COUNT(addresses); i++)
		expect_rcpt(&mc, addresses[i], PASS);
	memset(huge, 'x', sizeof(huge) - 1);
	expect_rcpt(&mc, huge, PASS);
	/* and the session is as good as before */
	expect_rcpt(&mc, "<full@example.org>", FULL);
	mc_close(&mc);
	filter_end();
}

/* {mail_addr} of sendmail is what its mailer gets: "joe" for a local user. */
static void test_sender_of_sendmail(void **state)
{
	struct mc mc;

	(void)state;
	filter_begin("probe_senders = { \"probe@example.org\" }\n");
	filter_open(&mc);
	mc.macros.mail_addr = "joe";
	mc.macros.sender = "joe@example.org";
	expect_rcpt(&mc, "<full@example.org>", FULL);
	mc_event(&mc, MC_ABORT, NULL, NULL);
	mc.macros.mail_addr = "probe";
	mc.macros.sender = "probe@example.org";
	expect_rcpt(&mc, "<full@example.org>", PASS);
	mc_event(&mc, MC_ABORT, NULL, NULL);
	mc.macros.mail_addr = "";
	mc.macros.sender = "";
	expect_rcpt(&mc, "<full@example.org>", PASS);
	expect_data(&mc, FULL);
	mc_close(&mc);
	filter_expect_log("from=<joe@example.org>", 1);
	filter_end();
}

/* QUIT that keeps the connection: the next session comes with no greeting. */
static void test_connection_is_used_again(void **state)
{
	struct mc mc;

	(void)state;
	filter_begin("");
	filter_open(&mc);
	expect_rcpt(&mc, "<full@example.org>", FULL);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(mc_send(&mc, 'K', "", 0), 0);
		mc_event(&mc, MC_HELO, "next.ext.test", NULL);
		expect_rcpt(&mc, "<full@example.org>", FULL);
		expect_rcpt(&mc, "<good@example.org>", PASS);
	}
	mc_close(&mc);
	filter_end();
}

/* An MTA that cannot choose macros, or leave out replies. */
static void test_old_mta(void **state)
{
	struct mc mc;

	(void)state;
	filter_begin("");
	assert_int_equal(mc_open_unix(&mc, scratch_path("milter.sock")), 0);
	assert_int_equal(mc_negotiate(&mc, 0x3f, 0x7f), 0);
	assert_int_equal(mc.actions, 0);
	assert_int_equal(mc_connect(&mc, "old.ext.test", "192.0.2.9").type,
			 MC_CONTINUE);
	assert_int_equal(mc_event(&mc, MC_HELO, "old.helo", NULL).type,
			 MC_CONTINUE);
	assert_int_equal(mc_event(&mc, MC_MAIL, "<b@ext.test>", NULL).type,
			 MC_CONTINUE);
	expect_rcpt(&mc, "<full@example.org>", FULL);
	mc_event(&mc, MC_ABORT, NULL, NULL);
	assert_int_equal(mc_event(&mc, MC_MAIL, "<>", NULL).type, MC_CONTINUE);
	expect_rcpt(&mc, "<full@example.org>", PASS);
	mc_close(&mc);
	filter_expect_log("client=old.ext.test[192.0.2.9] "
			  "from=<b@ext.test> helo=<old.helo>",
			  1);
	filter_end();
}

static void test_strict_rule(void **state)
{
	static const char *const small[] = { "BODY=8BITMIME", "SIZE=0", NULL };
	static const char *const large[] = { "SIZE=1", NULL };
	struct mc mc;

	(void)state;
	filter_begin("rule = lmtpd-strict\n");
	filter_open(&mc);
	/* now MAIL is wanted, still without a reply */
	assert_int_equal(mc.steps, (STEPS & ~0x4) | 0x4000);
	assert_int_equal(mc_event(&mc, MC_MAIL, "<a@x>", small).type,
			 MC_NOREPLY);
	expect_rcpt(&mc, "<good@example.org>", PASS);
	mc_event(&mc, MC_ABORT, NULL, NULL);
	mc_event(&mc, MC_MAIL, "<a@x>", large);
	expect_rcpt(&mc, "<good@example.org>", FULL);
	expect_rcpt(&mc, "<better@example.org>", PASS);
	mc_event(&mc, MC_ABORT, NULL, NULL);
	mc_event(&mc, MC_MAIL, "<a@x>", NULL);
	expect_rcpt(&mc, "<good@example.org>", PASS);
	mc_close(&mc);
	filter_end();
}

/* With virtdomains off joe@anywhere is joe: nobody is, until domains is set. */
static void test_domains_unset(void **state)
{
	char conf[600];
	struct mc mc;

	(void)state;
	snprintf(conf, sizeof(conf), "configdirectory: %s\n",
		 scratch_path("cyrus"));
	scratch_text("imapd.conf", conf);
	filter_begin("domains = {}\n");
	filter_open(&mc);
	expect_rcpt(&mc, "<full@example.org>", PASS);
	expect_rcpt(&mc, "<full@elsewhere.example>", PASS);
	filter_expect_log("domains: not set", 1);
	filter_settings("domains = example.org\n");
	filter_signal(SIGHUP);
	filter_wait_log("settings reloaded", 1);
	expect_rcpt(&mc, "<full@example.org>", FULL);
	expect_rcpt(&mc, "<full@elsewhere.example>", PASS);
	mc_close(&mc);
	filter_end();
	snprintf(conf, sizeof(conf),
		 "configdirectory: %s\nvirtdomains: userid\n"
		 "defaultdomain: example.org\n",
		 scratch_path("cyrus"));
	scratch_text("imapd.conf", conf);
}

/* The form of the line is public: people grep for it. */
static void test_log_line(void **state)
{
	struct mc mc;
	const char *line, *since;

	(void)state;
	filter_begin("");
	filter_open(&mc);
	expect_rcpt(&mc, "<full@example.org>", FULL);
	mc.macros.queue_id = "4F00D";
	mc.macros.mail_addr = "x\ny@ext.test";
	expect_rcpt(&mc, "<full@example.org>", FULL);
	mc_close(&mc);
	filter_wait_log("4F00D: defer: ", 1);
	line = strstr(filter_log(), "NOQUEUE: defer: ");
	assert_non_null(line);
	since = strstr(line, " since=2");
	assert_non_null(since);
	assert_true(strncmp(line,
			    "NOQUEUE: defer: to=<full@example.org> "
			    "mailbox=user.full root=user.full "
			    "storage=102401/102400 since=2",
			    strlen("NOQUEUE: defer: to=<full@example.org> "
				   "mailbox=user.full root=user.full "
				   "storage=102401/102400 since=2")) == 0);
	assert_true(strncmp(strstr(since, "Z ") + 2,
			    "source=test client=mx.ext.test[192.0.2.1] "
			    "from=<a@ext.test> helo=<mx.ext.test>\n",
			    strlen("source=test client=mx.ext.test[192.0.2.1] "
				   "from=<a@ext.test> helo=<mx.ext.test>\n")) ==
		    0);
	filter_expect_log("4F00D: defer: ", 1);
	filter_expect_log("from=<x\\x0ay@ext.test>", 1);
	filter_end();
}

/* Room is made, or the source falls silent. */
static void test_table_changes(void **state)
{
	struct mc mc;

	(void)state;
	filter_begin("max_age = 5s\n");
	filter_open(&mc);
	expect_rcpt(&mc, "<full@example.org>", FULL);
	filter_wait_log("source test: not heard of", 1);
	expect_rcpt(&mc, "<full@example.org>", PASS);
	assert_int_equal(filter_scan("-q"), 0);
	expect_rcpt(&mc, "<full@example.org>", FULL);
	filter_wait_log("source test: heard of again", 1);
	filter_usage("user.full", 100);
	assert_int_equal(filter_scan("-q"), 0);
	expect_rcpt(&mc, "<full@example.org>", PASS);
	filter_usage("user.full", 102401);
	mc_close(&mc);
	assert_int_equal(filter_logged("no source has published"), 0);
	filter_end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_negotiation),
		cmocka_unit_test(test_full_and_good),
		cmocka_unit_test(test_hostile_addresses),
		cmocka_unit_test(test_sender_of_sendmail),
		cmocka_unit_test(test_connection_is_used_again),
		cmocka_unit_test(test_old_mta),
		cmocka_unit_test(test_strict_rule),
		cmocka_unit_test(test_domains_unset),
		cmocka_unit_test(test_log_line),
		cmocka_unit_test(test_table_changes),
	};

	return cmocka_run_group_tests(tests, filter_set_up, filter_tear_down);
}
