/* SPDX-License-Identifier: BSD-2-Clause */
#include "check.h"

#include <sys/stat.h>

#include "scratch.h"

#include "quotadefer/metrics.h"
#include "quotadefer/rcpt.h"

enum {
	NOW = 1700000000,
	HOUR = 3600
};

static char *domains[] = { "example.org", "virt.example" };

static struct qd_settings settings(void)
{
	return (struct qd_settings){
		.domains = { domains, COUNT(domains) },
		.max_age_ms = 3 * HOUR * 1000,
		.enforce_share = 100,
	};
}

static void put(struct qd_batch *batch, const char *source, const char *root,
		int64_t used, int64_t limit)
{
	struct qd_record rec;
	struct qd_error err;

	qd_record_init(&rec);
	rec.usage[QD_STORAGE] = (struct qd_usage){ used, limit };
	rec.since = NOW - 60;
	rec.read = NOW - HOUR * 24;
	if (qd_batch_put(batch, source, root, &rec, &err) < 0)
		fail_msg("%s", err.text);
}

static void put_source(struct qd_batch *batch, const char *name,
		       int64_t scanned, enum qd_virtdomains virtdomains,
		       enum qd_rule rule)
{
	struct qd_source src;
	struct qd_error err;

	qd_source_init(&src, name);
	src.scanned = scanned;
	src.rule = rule;
	src.naming.virtdomains = virtdomains;
	strcpy(src.naming.defaultdomain, "example.org");
	if (qd_batch_source(batch, &src, &err) < 0)
		fail_msg("%s", err.text);
}

static struct qd_table *make_table(const char *name,
				   enum qd_virtdomains virtdomains)
{
	struct qd_error err = { 0 };
	struct qd_batch *batch = NULL;
	struct qd_table *table;

	mkdir(scratch_path(name), 0700);
	if (qd_table_open(scratch_path(name), QD_TABLE_WRITE, 16 << 20, &table,
			  NULL, &err) < 0 ||
	    qd_batch_begin(table, &batch, &err) < 0)
		fail_msg("%s", err.text);
	put_source(batch, "old", NOW - 4 * HOUR, virtdomains, QD_RULE_LMTPD);
	put_source(batch, "strict", NOW - 60, virtdomains, QD_RULE_STRICT);
	put_source(batch, "mail1", NOW - 60, virtdomains, QD_RULE_LMTPD);
	put(batch, "mail1", "user.joe", 102401, 100);
	put(batch, "mail1", "virt.example!user.joe", 102401, 100);
	put(batch, "mail1", "virt.example!", 102401, 100);
	put(batch, "mail1", "example.org!", 102401, 100);
	put(batch, "mail1", "user", 102401, 100);
	put(batch, "mail1", "user.kim.sub", 102401, 100);
	put(batch, "mail1", "shared", 102401, 100);
	put(batch, "mail1", "shared.fine", 0, 100);
	put(batch, "old", "user.stale", 102401, 100);
	put(batch, "strict", "user.near", 102000, 100);
	if (qd_batch_commit(&batch, &err) < 0)
		fail_msg("%s", err.text);
	return table;
}

static const struct {
	const char *name, *rcpt;
	int64_t size;
	enum qd_verdict verdict;
	enum qd_why why;
	const char *root;
} cases[] = {
	{ "full", "<joe@example.org>", 0, QD_DEFER, QD_WHY_FULL, "user.joe" },
	{ "full, with a route", "<@r.x,@b.x:joe@example.org>", 0, QD_DEFER,
	  QD_WHY_FULL, "user.joe" },
	{ "full, quoted", "<\"joe\"@example.org>", 0, QD_DEFER, QD_WHY_FULL,
	  "user.joe" },
	{ "full, detail", "<joe+x/y@example.org>", 0, QD_DEFER, QD_WHY_FULL,
	  "user.joe" },
	{ "full, capitals", "<JOE@EXAMPLE.ORG>", 0, QD_DEFER, QD_WHY_FULL,
	  "user.joe" },
	{ "full, trailing dot", "<joe@example.org.>", 0, QD_DEFER, QD_WHY_FULL,
	  "user.joe" },
	{ "full, virtual", "<joe@virt.example>", 0, QD_DEFER, QD_WHY_FULL,
	  "virt.example!user.joe" },
	{ "not full", "<jim@example.org>", 0, QD_PASS, QD_WHY_NOT_FULL, "" },
	/* the roots above an INBOX are not asked: user, domain */
	{ "under a full domain", "<jim@virt.example>", 0, QD_PASS,
	  QD_WHY_NOT_FULL, "" },
	{ "full subfolder", "<kim+sub@example.org>", 0, QD_PASS,
	  QD_WHY_NOT_FULL, "" },
	{ "full shared folder", "<+shared@example.org>", 0, QD_DEFER,
	  QD_WHY_FULL, "shared" },
	{ "below it", "<+shared/list@example.org>", 0, QD_DEFER, QD_WHY_FULL,
	  "shared" },
	{ "below it, with a root", "<+shared/fine@example.org>", 0, QD_PASS,
	  QD_WHY_NOT_FULL, "shared.fine" },
	{ "below that", "<+shared/fine/x@example.org>", 0, QD_PASS,
	  QD_WHY_NOT_FULL, "shared.fine" },
	{ "other shared folder", "<+other/x@example.org>", 0, QD_PASS,
	  QD_WHY_NOT_FULL, "" },
	{ "stale", "<stale@example.org>", 0, QD_PASS, QD_WHY_STALE,
	  "user.stale" },
	{ "strict, small message", "<near@example.org>", 400, QD_PASS,
	  QD_WHY_NOT_FULL, "user.near" },
	{ "strict, large message", "<near@example.org>", 401, QD_DEFER,
	  QD_WHY_FULL, "user.near" },
	{ "size does not matter to lmtpd", "<jim@example.org>", 1LL << 40,
	  QD_PASS, QD_WHY_NOT_FULL, "" },
	{ "another domain", "<joe@other.example>", 0, QD_PASS,
	  QD_WHY_OTHER_DOMAIN, "" },
	{ "no name", "<+@example.org>", 0, QD_PASS, QD_WHY_NO_NAME, "" },
	{ "odd", "<joe(x)@example.org>", 0, QD_PASS, QD_WHY_ODD_ADDRESS, "" },
	{ "postmaster", "<postmaster@example.org>", 0, QD_PASS,
	  QD_WHY_POSTMASTER, "" },
};

static void test_cases(void **state)
{
	struct qd_table *table = make_table("cases", QD_VIRTDOMAINS_USERID);
	struct qd_settings s = settings();

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		const struct qd_request request = { .rcpt = cases[i].rcpt,
						    .size = cases[i].size };
		struct qd_answer answer;

		qd_rcpt_decide(&s, NULL, table, &request, NOW, &answer);
		if (answer.verdict != cases[i].verdict ||
		    answer.why != cases[i].why)
			fail_msg("%s: got %d, %s", cases[i].name,
				 answer.verdict, qd_why_text(answer.why));
		assert_string_equal(answer.root, cases[i].root);
	}
	qd_table_close(&table);
}

static void check_why(const struct qd_settings *s, struct qd_table *table,
		      const char *rcpt, enum qd_why want)
{
	const struct qd_request request = { .rcpt = rcpt };
	struct qd_answer answer;

	qd_rcpt_decide(s, NULL, table, &request, NOW, &answer);
	if (answer.why != want)
		fail_msg("%s: got %s", rcpt, qd_why_text(answer.why));
}

static const struct {
	const char *name, *rcpt, *mapped, *local, *domain;
	enum qd_why why;
} mappings[] = {
	{ "nothing said", "<Jim@Example.org>", NULL, "Jim", "Example.org",
	  QD_WHY_NOT_FULL },
	{ "Postfix's lower case", "<Joe@Example.org>", "joe@example.org", "Joe",
	  "Example.org", QD_WHY_FULL },
	{ "sendmail's local user", "<jim@example.org>", "joe", "joe",
	  "example.org", QD_WHY_FULL },
	{ "the typed one", "<Jim@Example.org>", "jim", "Jim", "Example.org",
	  QD_WHY_NOT_FULL },
	{ "of a virtual domain", "<x@virtusers.example>", "joe", "joe",
	  "example.org", QD_WHY_FULL },
	{ "the same name there", "<joe@virtusers.example>", "joe", "joe",
	  "example.org", QD_WHY_FULL },
	{ "to another domain", "<jim@example.org>", "joe@virt.example", "joe",
	  "virt.example", QD_WHY_FULL },
	{ "away", "<joe@example.org>", "joe@other.example", "joe",
	  "other.example", QD_WHY_OTHER_DOMAIN },
	/* not to typed->domain: Cyrus gets the name alone */
	{ "of a virtual domain that is ours", "<x@virt.example>", "joe", "joe",
	  "example.org", QD_WHY_FULL },
	{ "full there, not here", "<joe@virt.example>", "jim", "jim",
	  "example.org", QD_WHY_NOT_FULL },
	{ "odd", "<joe@example.org>", "jim jones@example.org", "joe",
	  "example.org", QD_WHY_ODD_ADDRESS },
	{ "a literal", "<joe@example.org>", "joe@[192.0.2.1]", "joe",
	  "example.org", QD_WHY_ODD_ADDRESS },
	{ "Postfix takes quotes off", "<\"Jo  E\"@Example.org>",
	  "jo  e@example.org", "Jo  E", "Example.org", QD_WHY_NOT_FULL },
	{ "empty", "<joe@example.org>", "", "joe", "example.org", QD_WHY_FULL },
};

static void test_mapped(void **state)
{
	struct qd_table *table = make_table("mapped", QD_VIRTDOMAINS_USERID);
	struct qd_settings s = settings();

	(void)state;
	for (size_t i = 0; i < COUNT(mappings); i++) {
		const struct qd_request request = {
			.rcpt = mappings[i].rcpt, .mapped = mappings[i].mapped
		};
		struct qd_answer answer;

		qd_rcpt_decide(&s, NULL, table, &request, NOW, &answer);
		if (answer.why != mappings[i].why ||
		    strcmp(answer.target.local, mappings[i].local) != 0 ||
		    strcmp(answer.target.domain, mappings[i].domain) != 0)
			fail_msg("%s: got %s@%s, %s", mappings[i].name,
				 answer.target.local, answer.target.domain,
				 qd_why_text(answer.why));
	}
	qd_table_close(&table);
}

/* A table of one source, for what only its rule or domain_roots brings. */
static struct qd_table *make_one(const char *name, enum qd_rule rule,
				 bool domain_roots)
{
	struct qd_source src;
	struct qd_error err = { 0 };
	struct qd_batch *batch = NULL;
	struct qd_table *table;

	mkdir(scratch_path(name), 0700);
	qd_source_init(&src, "mail1");
	src.scanned = NOW - 60;
	src.rule = rule;
	src.domain_roots = domain_roots;
	src.naming.tests_folder = rule == QD_RULE_SMMAPD;
	src.naming.virtdomains = QD_VIRTDOMAINS_USERID;
	strcpy(src.naming.defaultdomain, "example.org");
	if (qd_table_open(scratch_path(name), QD_TABLE_WRITE, 16 << 20, &table,
			  NULL, &err) < 0 ||
	    qd_batch_begin(table, &batch, &err) < 0 ||
	    qd_batch_source(batch, &src, &err) < 0)
		fail_msg("%s", err.text);
	put(batch, "mail1", "virt.example!", 102401, 100);
	put(batch, "mail1", "virt.example!user.own", 0, 100);
	put(batch, "mail1", "virt.example!user.nolimit", 1, -1);
	put(batch, "mail1", "user.joe", 102401, 100);
	put(batch, "mail1", "user.joe.fine", 0, 100);
	put(batch, "mail1", "user.kim.big", 102401, 100);
	if (qd_batch_commit(&batch, &err) < 0)
		fail_msg("%s", err.text);
	return table;
}

/* Only the nearest root counts; one without limits is near, too. */
static void test_domain_roots(void **state)
{
	struct qd_table *table = make_one("roots", QD_RULE_LMTPD, true);
	struct qd_settings s = settings();

	(void)state;
	check_why(&s, table, "<jim@virt.example>", QD_WHY_FULL);
	check_why(&s, table, "<jim+x@virt.example>", QD_WHY_FULL);
	check_why(&s, table, "<+shared/x@virt.example>", QD_WHY_FULL);
	check_why(&s, table, "<own@virt.example>", QD_WHY_NOT_FULL);
	check_why(&s, table, "<nolimit@virt.example>", QD_WHY_NOT_FULL);
	check_why(&s, table, "<jim@example.org>", QD_WHY_NOT_FULL);
	qd_table_close(&table);
}

/* Cyrus's smmapd follows the detail: joe over, joe.fine and kim not. */
static void test_smmapd(void **state)
{
	struct qd_table *table = make_one("smmapd", QD_RULE_SMMAPD, false);
	struct qd_settings s = settings();

	(void)state;
	check_why(&s, table, "<joe@example.org>", QD_WHY_FULL);
	check_why(&s, table, "<joe+none@example.org>", QD_WHY_FULL);
	check_why(&s, table, "<joe+fine@example.org>", QD_WHY_NOT_FULL);
	check_why(&s, table, "<joe+fine/x@example.org>", QD_WHY_NOT_FULL);
	check_why(&s, table, "<joe+Fine@example.org>", QD_WHY_FULL);
	check_why(&s, table, "<kim@example.org>", QD_WHY_NOT_FULL);
	check_why(&s, table, "<kim+big@example.org>", QD_WHY_FULL);
	check_why(&s, table, "<jim@virt.example>", QD_WHY_NOT_FULL);
	qd_table_close(&table);
}

/* Without a list of domains the mailbox name must tell them apart. */
static void test_domains_unset(void **state)
{
	struct qd_table *table = make_table("userid", QD_VIRTDOMAINS_USERID);
	struct qd_settings s = settings();

	(void)state;
	s.domains.count = 0;
	check_why(&s, table, "<joe@example.org>", QD_WHY_FULL);
	check_why(&s, table, "<joe@virt.example>", QD_WHY_FULL);
	check_why(&s, table, "<joe@other.example>", QD_WHY_NOT_FULL);
	qd_table_close(&table);
	table = make_table("off", QD_VIRTDOMAINS_OFF);
	check_why(&s, table, "<joe@example.org>", QD_WHY_DOMAINS_UNSET);
	s = settings();
	check_why(&s, table, "<joe@virt.example>", QD_WHY_FULL);
	check_why(&s, table, "<joe@other.example>", QD_WHY_OTHER_DOMAIN);
	qd_table_close(&table);
}

static void test_unknown_is_not_full(void **state)
{
	struct qd_settings s = settings();
	struct qd_error err;
	struct qd_table *table;

	(void)state;
	mkdir(scratch_path("void"), 0700);
	assert_int_equal(qd_table_open(scratch_path("void"), QD_TABLE_WRITE,
				       16 << 20, &table, NULL, &err),
			 0);
	check_why(&s, table, "<joe@example.org>", QD_WHY_NOTHING_PUBLISHED);
	qd_table_close(&table);
	assert_int_equal(qd_table_open(scratch_path("none"), QD_TABLE_WRITE,
				       16 << 20, &table, NULL, &err),
			 -1);
	check_why(&s, table, "<joe@example.org>", QD_WHY_TABLE);
	qd_table_close(&table);
}

/* Every reason is counted as something, and has words. */
static void test_classes(void **state)
{
	const struct qd_answer rejected = { .verdict = QD_REJECT,
					    .why = QD_WHY_FULL };
	struct qd_metrics metrics = { 0 };
	unsigned long long sum = 0;

	(void)state;
	qd_metrics_rcpt(&metrics, &rejected, 1500);
	for (int why = QD_WHY_FULL; why <= QD_WHY_TABLE; why++) {
		const struct qd_answer answer = { .why = (enum qd_why)why };

		assert_non_null(qd_why_text(answer.why));
		qd_metrics_rcpt(&metrics, &answer, 1500);
	}
	for (int i = 0; i < QD_CLASSES; i++) {
		assert_true(atomic_load(&metrics.rcpt[i]) > 0);
		sum += atomic_load(&metrics.rcpt[i]);
	}
	assert_int_equal(sum, 1 + QD_WHY_TABLE + 1);
	assert_int_equal(atomic_load(&metrics.rcpt_seconds_bucket[1]), sum);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cases),
		cmocka_unit_test(test_mapped),
		cmocka_unit_test(test_domain_roots),
		cmocka_unit_test(test_smmapd),
		cmocka_unit_test(test_domains_unset),
		cmocka_unit_test(test_unknown_is_not_full),
		cmocka_unit_test(test_classes),
	};

	return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
