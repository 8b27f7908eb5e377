/* SPDX-License-Identifier: BSD-2-Clause */
#include "check.h"

#include <netinet/in.h>

#include "quotadefer/policy.h"

enum {
	NOW = 1700000000,
	DAY = 86400
};

static char *domains[] = { "example.org", "B.Example" };
static char *probes[] = { "double-bounce@*", "verify@mx.example" };

static char *exempt[] = { "helpdesk@example.org", "vip-*@Example.org",
			  "joe+in@*" };
static char *senders[] = { "*@list.example", "ann@ext.test" };
static struct qd_netblock clients[] = {
	{ AF_INET, { 192, 0, 2 }, 24 },
	{ AF_INET6, { 0x20, 0x01, 0x0d, 0xb8 }, 32 },
};

static struct qd_settings usual(void)
{
	return (struct qd_settings){
		.domains = { domains, COUNT(domains) },
		.probe_senders = { probes, COUNT(probes) },
		.exempt_recipients = { exempt, COUNT(exempt) },
		.exempt_senders = { senders, COUNT(senders) },
		.exempt_clients = clients,
		.exempt_client_count = COUNT(clients),
		.enforce_share = 100,
		.defer_limit = 8,
		.reject_after_ms = -1,
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
	{ "in any case", "<ABUSE@Example.Org>", 0, 0, QD_WHY_POSTMASTER },
	{ "quoted", "<\"postmaster\"@example.org>", 0, 0, QD_WHY_POSTMASTER },
	/* to Cyrus these are postmaster */
	{ "with a folder", "<Postmaster+spam@example.org>", 0, 0,
	  QD_WHY_POSTMASTER },
	{ "abuse with two", "<abuse+a+b@example.org>", 0, 0,
	  QD_WHY_POSTMASTER },
	{ "postmaster alone, folder", "<postmaster+x>", 0, 0,
	  QD_WHY_POSTMASTER },
	{ "not quite", "<postmasters@example.org>", 0, 0, QD_WHY_FULL },
	{ "not quite either", "<postmaste@example.org>", 0, 0, QD_WHY_FULL },
	{ "a folder of that name", "<+postmaster@example.org>", 0, 0,
	  QD_WHY_FULL },
	{ "not a delimiter here", "<abuse-x@example.org>", 0, 0, QD_WHY_FULL },
	{ "exempt", "<HelpDesk@example.org>", 0, 0, QD_WHY_EXEMPT_RECIPIENT },
	{ "exempt with a folder", "<helpdesk+x@EXAMPLE.org>", 0, 0,
	  QD_WHY_EXEMPT_RECIPIENT },
	{ "exempt by pattern", "<vip-joe@example.org>", 0, 0,
	  QD_WHY_EXEMPT_RECIPIENT },
	{ "another domain", "<vip-joe@b.example>", 0, 0, QD_WHY_FULL },
	{ "exempt with that folder only", "<joe+in@b.example>", 0, 0,
	  QD_WHY_EXEMPT_RECIPIENT },
	{ "another folder", "<joe+out@b.example>", 0, 0, QD_WHY_FULL },
	{ "quoted", "<\"helpdesk\"@example.org>", 0, 0,
	  QD_WHY_EXEMPT_RECIPIENT },
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

/* Who sends, and from where; all to joe. */
static const struct {
	const char *name, *sender, *client;
	enum qd_why want;
} origins[] = {
	{ "nobody special", "<bob@ext.test>", "198.51.100.1", QD_WHY_FULL },
	{ "not known", NULL, NULL, QD_WHY_FULL },
	{ "no address", NULL, "", QD_WHY_FULL },
	{ "sender", "<ann@ext.test>", NULL, QD_WHY_EXEMPT_SENDER },
	{ "sender as a macro", "Ann@EXT.test", NULL, QD_WHY_EXEMPT_SENDER },
	{ "sender with a route", "<@r.test:ann@ext.test>", NULL,
	  QD_WHY_EXEMPT_SENDER },
	{ "sender in quotes", "<\"ann\"@ext.test>", NULL,
	  QD_WHY_EXEMPT_SENDER },
	{ "sender by pattern", "<x+y=z@list.example>", NULL,
	  QD_WHY_EXEMPT_SENDER },
	{ "a domain like it", "<x@list.example.net>", NULL, QD_WHY_FULL },
	{ "at in quotes", "<\"x@list.example\"@ext.test>", NULL, QD_WHY_FULL },
	{ "null sender", "<>", NULL, QD_WHY_FULL },
	{ "odd sender", "<ann@ext.test", NULL, QD_WHY_FULL },
	{ "client", NULL, "192.0.2.77", QD_WHY_EXEMPT_CLIENT },
	{ "next to it", NULL, "192.0.3.77", QD_WHY_FULL },
	{ "client, IPv6", NULL, "2001:db8::1", QD_WHY_EXEMPT_CLIENT },
	{ "client, as Postfix has it", NULL, "IPv6:2001:db8::1",
	  QD_WHY_EXEMPT_CLIENT },
	{ "another", NULL, "IPv6:2001:db9::1", QD_WHY_FULL },
	{ "client, mapped", NULL, "IPv6:::ffff:192.0.2.1",
	  QD_WHY_EXEMPT_CLIENT },
	{ "no such thing", NULL, "unknown", QD_WHY_FULL },
};

static void test_origins(void **state)
{
	struct qd_settings settings = usual();

	(void)state;
	for (size_t i = 0; i < COUNT(origins); i++) {
		const struct qd_request request = {
			.rcpt = "<joe@example.org>",
			.sender = origins[i].sender,
			.client = origins[i].client,
		};
		struct qd_answer answer = { 0 };
		enum qd_why why = QD_WHY_FULL;

		answer.kind = qd_address_parse(request.rcpt, &answer.address);
		qd_policy_exempts(&settings, &request, &answer, &why);
		if (why != origins[i].want)
			fail_msg("%s: got %s", origins[i].name,
				 qd_why_text(why));
	}
}

static enum qd_why why_exempt(const struct qd_settings *settings,
			      const char *rcpt)
{
	const struct qd_request request = { .rcpt = rcpt };
	struct qd_answer answer = { 0 };
	enum qd_why why = QD_WHY_FULL;

	answer.kind = qd_address_parse(rcpt, &answer.address);
	qd_policy_exempts(settings, &request, &answer, &why);
	return why;
}

/* Cyrus's own "+" is one whatever the MTA uses. */
static void test_delimiters(void **state)
{
	static const char *const both = "<abuse+x@example.org>";
	static const char *const dash = "<abuse-x@example.org>";
	struct qd_settings settings = usual();

	(void)state;
	settings.recipient_delimiter = (char[]){ "-" };
	assert_int_equal(why_exempt(&settings, both), QD_WHY_POSTMASTER);
	assert_int_equal(why_exempt(&settings, dash), QD_WHY_POSTMASTER);
	assert_int_equal(why_exempt(&settings, "<-abuse@example.org>"),
			 QD_WHY_FULL);
	settings.recipient_delimiter = (char[]){ "=-" };
	assert_int_equal(why_exempt(&settings, dash), QD_WHY_POSTMASTER);
	settings.recipient_delimiter = (char[]){ "" };
	assert_int_equal(why_exempt(&settings, both), QD_WHY_POSTMASTER);
	assert_int_equal(why_exempt(&settings, dash), QD_WHY_FULL);
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

static struct qd_answer judge(const struct qd_settings *settings,
			      const char *rcpt, const char *sender,
			      int64_t full_since)
{
	const struct qd_request request = { .rcpt = rcpt, .sender = sender };
	struct qd_answer answer = { .full_since = full_since };

	answer.kind = qd_address_parse(rcpt, &answer.address);
	qd_policy_full(settings, &request, NOW, &answer);
	return answer;
}

static void test_mode_domains(void **state)
{
	struct qd_domain_mode modes[] = { { "Example.Org", QD_MODE_MONITOR },
					  { "b.example", QD_MODE_ENFORCE } };
	struct qd_settings settings = usual();

	(void)state;
	settings.mode_domains = modes;
	settings.mode_domain_count = COUNT(modes);
	for (int mode = QD_MODE_ENFORCE; mode <= QD_MODE_MONITOR; mode++) {
		settings.mode = mode;
		assert_int_equal(
			judge(&settings, "<joe@eXample.org>", "<a@x>", 0).why,
			QD_WHY_MONITOR);
		assert_int_equal(
			judge(&settings, "<joe@b.example>", "<a@x>", 0).verdict,
			QD_DEFER);
		/* no wildcard: a domain below it is another */
		assert_int_equal(
			judge(&settings, "<joe@a.b.example>", "<a@x>", 0).why,
			mode == QD_MODE_MONITOR ? QD_WHY_MONITOR : QD_WHY_FULL);
	}
}

static bool is_enforced(struct qd_settings *settings, const char *rcpt,
			int share)
{
	struct qd_answer answer;

	settings->enforce_share = share;
	answer = judge(settings, rcpt, "<a@x>", 0);
	if (answer.why != QD_WHY_SHARE && answer.why != QD_WHY_FULL)
		fail_msg("%s: %s", rcpt, qd_why_text(answer.why));
	assert_int_equal(answer.verdict,
			 answer.why == QD_WHY_FULL ? QD_DEFER : QD_PASS);
	return answer.why == QD_WHY_FULL;
}

/* A larger share has all of a smaller one, and about as many as it says. */
static void test_share(void **state)
{
	struct qd_settings settings = usual();
	int count[101] = { 0 };
	char rcpt[64];

	(void)state;
	for (int user = 0; user < 2000; user++) {
		bool was = false;

		snprintf(rcpt, sizeof(rcpt), "<user%d@example.org>", user);
		for (int share = 0; share <= 100; share++) {
			bool is = is_enforced(&settings, rcpt, share);

			assert_true(is || !was);
			was = is;
			count[share] += is;
		}
	}
	assert_int_equal(count[0], 0);
	assert_int_equal(count[100], 2000);
	for (int share = 5; share < 100; share++)
		assert_in_range(count[share], 20 * share - 80, 20 * share + 80);
}

/* The same person, however he is written; the same on every host. */
static void test_share_is_stable(void **state)
{
	static const char *const same[] = {
		"<joe@example.org>",	      "<JOE@Example.ORG>",
		"<joe+a+b@example.org>",      "<\"joe\"@example.org>",
		"<@r.test:joe@example.org.>",
	};
	struct qd_settings settings = usual();
	/* FNV-1a of "joe@example.org" is 0x2d80d24b5e30c7d3 */
	const int bucket = (int)(UINT64_C(0x2d80d24b5e30c7d3) % 100);

	(void)state;
	for (size_t i = 0; i < COUNT(same); i++) {
		assert_false(is_enforced(&settings, same[i], bucket));
		assert_true(is_enforced(&settings, same[i], bucket + 1));
	}
}

enum {
	REJECT_AT_DATA = 200
};

static const struct {
	const char *name, *sender;
	int64_t after, since;
	int mode, share;
	int64_t limit;
	int want;
	enum qd_why why;
} rejects[] = {
	{ "never", "<a@x>", -1, 1, 0, 100, 8, QD_DEFER, QD_WHY_FULL },
	{ "not yet", "<a@x>", 7 * DAY, NOW - 7 * DAY + 1, 0, 100, 8, QD_DEFER,
	  QD_WHY_FULL },
	{ "now", "<a@x>", 7 * DAY, NOW - 7 * DAY, 0, 100, 8, QD_REJECT,
	  QD_WHY_FULL },
	{ "long since", "<a@x>", 7 * DAY, 1, 0, 100, 8, QD_REJECT,
	  QD_WHY_FULL },
	{ "nobody knows since when", "<a@x>", 60, 0, 0, 100, 8, QD_DEFER,
	  QD_WHY_FULL },
	{ "before 1970", "<a@x>", 60, -5, 0, 100, 8, QD_DEFER, QD_WHY_FULL },
	{ "in the future", "<a@x>", 60, NOW + 1, 0, 100, 8, QD_DEFER,
	  QD_WHY_FULL },
	{ "far in the future", "<a@x>", 60, INT64_MAX, 0, 100, 8, QD_DEFER,
	  QD_WHY_FULL },
	{ "just now", "<a@x>", 60, NOW, 0, 100, 8, QD_DEFER, QD_WHY_FULL },
	{ "null sender", "<>", 60, 1, 0, 100, 8, REJECT_AT_DATA, QD_WHY_FULL },
	{ "null sender, not yet", "<>", 60, NOW, 0, 100, 8, AT_DATA,
	  QD_WHY_FULL },
	{ "monitor", "<a@x>", 60, 1, QD_MODE_MONITOR, 100, 8, QD_PASS,
	  QD_WHY_MONITOR },
	{ "share", "<a@x>", 60, 1, 0, 0, 8, QD_PASS, QD_WHY_SHARE },
	{ "limit", "<a@x>", 60, 1, 0, 100, 1, QD_PASS, QD_WHY_DEFER_LIMIT },
};

static void test_reject(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(rejects); i++) {
		struct qd_settings settings = usual();
		const struct qd_request request = {
			.rcpt = "<joe@example.org>",
			.sender = rejects[i].sender,
			.deferred = 1,
		};
		struct qd_answer answer = { .full_since = rejects[i].since };
		int got;

		settings.reject_after_ms =
			rejects[i].after < 0 ? -1 : rejects[i].after * 1000;
		settings.mode = rejects[i].mode;
		settings.enforce_share = rejects[i].share;
		settings.defer_limit = rejects[i].limit;
		qd_policy_full(&settings, &request, NOW, &answer);
		got = (int)answer.verdict;
		if (answer.at_data)
			got = got == QD_REJECT ? REJECT_AT_DATA : AT_DATA;
		if (got != rejects[i].want || answer.why != rejects[i].why)
			fail_msg("%s: got %d, %s", rejects[i].name, got,
				 qd_why_text(answer.why));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_exemptions),
		cmocka_unit_test(test_origins),
		cmocka_unit_test(test_delimiters),
		cmocka_unit_test(test_authenticated_defer),
		cmocka_unit_test(test_no_domains_is_all_domains),
		cmocka_unit_test(test_full),
		cmocka_unit_test(test_mode_domains),
		cmocka_unit_test(test_share),
		cmocka_unit_test(test_share_is_stable),
		cmocka_unit_test(test_reject),
	};

	return RUN_TESTS(tests);
}
