/* SPDX-License-Identifier: BSD-2-Clause */
#include "check.h"

#include "quotadefer/policy.h"
#include "quotadefer/reply.h"

static char *domains[] = { "example.org", "B.Example" };
static char *probes[] = { "double-bounce@*", "verify@mx.example" };

static struct qd_settings usual(void)
{
	return (struct qd_settings){
		.domains = { domains, COUNT(domains) },
		.probe_senders = { probes, COUNT(probes) },
		.defer_limit = 8,
		.reply_code = 451,
		.reply_text = "100% full",
	};
}

/* why: QD_WHY_FULL stands for "not exempt" */
static const struct {
	const char *name, *rcpt;
	bool authenticated, local;
	enum qd_why want;
} exemptions[] = {
	{ "a user of ours", "<joe@example.org>", 0, 0, QD_WHY_FULL },
	{ "in capitals", "<joe@EXAMPLE.ORG>", 0, 0, QD_WHY_FULL },
	{ "domain set in capitals", "<joe@b.example>", 0, 0, QD_WHY_FULL },
	{ "authenticated", "<joe@example.org>", 1, 0, QD_WHY_AUTHENTICATED },
	{ "submitted here", "<joe@example.org>", 0, 1,
	  QD_WHY_LOCAL_SUBMISSION },
	{ "postmaster", "<postmaster@example.org>", 0, 0, QD_WHY_POSTMASTER },
	{ "postmaster alone", "<PostMaster>", 0, 0, QD_WHY_POSTMASTER },
	{ "abuse", "<abuse@example.org>", 0, 0, QD_WHY_POSTMASTER },
	{ "no domain", "<joe>", 0, 0, QD_WHY_NO_DOMAIN },
	{ "odd", "<joe@[127.0.0.1]>", 0, 0, QD_WHY_ODD_ADDRESS },
	{ "null recipient", "<>", 0, 0, QD_WHY_ODD_ADDRESS },
	{ "a probe's own address", "<double-bounce@example.org>", 0, 0,
	  QD_WHY_PROBE_RECIPIENT },
};

static void test_exemptions(void **state)
{
	struct qd_settings settings = usual();

	(void)state;
	for (size_t i = 0; i < COUNT(exemptions); i++) {
		struct qd_request request = {
			.rcpt = exemptions[i].rcpt,
			.authenticated = exemptions[i].authenticated,
			.local_submission = exemptions[i].local,
		};
		struct qd_answer answer = { 0 };
		enum qd_why why = QD_WHY_FULL;

		answer.kind = qd_address_parse(request.rcpt, &answer.address);
		if (qd_policy_exempts(&settings, &request, &answer, &why) !=
		    (exemptions[i].want != QD_WHY_FULL))
			fail_msg("%s: exempt or not", exemptions[i].name);
		if (why != exemptions[i].want)
			fail_msg("%s: got %s", exemptions[i].name,
				 qd_why_text(why));
	}
}

static void test_authenticated_defer(void **state)
{
	struct qd_settings settings = usual();
	const struct qd_request request = { .rcpt = "<joe@example.org>",
					    .authenticated = true };
	struct qd_answer answer = { .kind = QD_ADDRESS_MAILBOX };
	enum qd_why why;

	(void)state;
	strcpy(answer.address.local, "joe");
	strcpy(answer.address.domain, "example.org");
	settings.authenticated = QD_AUTH_DEFER;
	assert_false(qd_policy_exempts(&settings, &request, &answer, &why));
}

static void test_no_domains_is_all_domains(void **state)
{
	struct qd_settings settings = usual();
	const struct qd_request request = { .rcpt = "<joe@any.example>" };
	struct qd_answer answer = { .kind = QD_ADDRESS_MAILBOX };
	enum qd_why why;

	(void)state;
	settings.domains.count = 0;
	strcpy(answer.address.local, "joe");
	strcpy(answer.address.domain, "any.example");
	assert_false(qd_policy_exempts(&settings, &request, &answer, &why));
}

enum {
	AT_DATA = 100 /* QD_DEFER, with at_data */
};

static const struct {
	const char *name, *sender;
	int mode, null_sender;
	int64_t limit, deferred;
	int verdict;
	enum qd_why why;
} fulls[] = {
	{ "plain", "<a@x>", 0, 0, 8, 0, QD_DEFER, QD_WHY_FULL },
	{ "sender not known", NULL, 0, 0, 8, 0, QD_DEFER, QD_WHY_FULL },
	{ "null sender", "<>", 0, QD_NULL_DATA, 8, 0, AT_DATA, QD_WHY_FULL },
	{ "null sender as a macro", "", 0, QD_NULL_DATA, 8, 0, AT_DATA,
	  QD_WHY_FULL },
	{ "null sender at RCPT", "<>", 0, QD_NULL_RCPT, 8, 0, QD_DEFER,
	  QD_WHY_FULL },
	{ "null sender passes", "<>", 0, QD_NULL_PASS, 8, 0, QD_PASS,
	  QD_WHY_NULL_SENDER },
	{ "others do not then", "<a@x>", 0, QD_NULL_PASS, 8, 0, QD_DEFER,
	  QD_WHY_FULL },
	{ "probe", "<double-bounce@mx.ext.test>", 0, QD_NULL_DATA, 8, 0,
	  AT_DATA, QD_WHY_FULL },
	{ "probe in capitals", "<Double-Bounce@mx>", 0, QD_NULL_DATA, 8, 0,
	  AT_DATA, QD_WHY_FULL },
	{ "probe of one host", "<verify@mx.example>", 0, QD_NULL_DATA, 8, 0,
	  AT_DATA, QD_WHY_FULL },
	{ "not that host", "<verify@mx.example.org>", 0, QD_NULL_DATA, 8, 0,
	  QD_DEFER, QD_WHY_FULL },
	{ "not quite a probe", "<xdouble-bounce@mx>", 0, QD_NULL_DATA, 8, 0,
	  QD_DEFER, QD_WHY_FULL },
	{ "monitor", "<a@x>", QD_MODE_MONITOR, 0, 8, 0, QD_PASS,
	  QD_WHY_MONITOR },
	{ "monitor, null sender", "<>", QD_MODE_MONITOR, 0, 8, 0, QD_PASS,
	  QD_WHY_MONITOR },
	{ "under the limit", "<a@x>", 0, 0, 8, 7, QD_DEFER, QD_WHY_FULL },
	{ "at the limit", "<a@x>", 0, 0, 8, 8, QD_PASS, QD_WHY_DEFER_LIMIT },
	{ "no limit", "<a@x>", 0, 0, 0, 5000, QD_DEFER, QD_WHY_FULL },
};

static void test_full(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(fulls); i++) {
		struct qd_settings settings = usual();
		const struct qd_request request = {
			.rcpt = "<joe@example.org>",
			.sender = fulls[i].sender,
			.deferred = fulls[i].deferred,
		};
		struct qd_answer answer = { 0 };
		int got;

		settings.mode = fulls[i].mode;
		settings.null_sender = fulls[i].null_sender;
		settings.defer_limit = fulls[i].limit;
		qd_policy_full(&settings, &request, 0, &answer);
		got = answer.at_data ? AT_DATA : (int)answer.verdict;
		if (got != fulls[i].verdict || answer.why != fulls[i].why)
			fail_msg("%s: got %d, %s", fulls[i].name, got,
				 qd_why_text(answer.why));
	}
}

static void test_reply(void **state)
{
	struct qd_settings settings = usual();
	struct qd_reply reply = { 0 };
	char text[64], little[8];

	(void)state;
	qd_reply_defer(&settings, QD_STORAGE, &reply);
	assert_string_equal(reply.code, "451");
	assert_string_equal(reply.dsn, "4.2.2");
	assert_string_equal(reply.text, "100% full");
	assert_string_equal(qd_reply_escape(reply.text, text, sizeof(text)),
			    "100%% full");
	settings.reply_text = "full: {resource}, {resources}, {resource}";
	qd_reply_defer(&settings, QD_ANNOTATION_STORAGE, &reply);
	assert_string_equal(reply.text, "full: annotation-storage, "
					"{resources}, annotation-storage");
	/* cut, but never in the middle of a pair */
	assert_string_equal(qd_reply_escape("%%%%%%", little, sizeof(little)),
			    "%%%%%%");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_exemptions),
		cmocka_unit_test(test_authenticated_defer),
		cmocka_unit_test(test_no_domains_is_all_domains),
		cmocka_unit_test(test_full),
		cmocka_unit_test(test_reply),
	};

	return RUN_TESTS(tests);
}
