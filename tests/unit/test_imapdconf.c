/* SPDX-License-Identifier: BSD-2-Clause */
#include "check.h"

#include <stdlib.h>
#include <sysexits.h>

#include "scratch.h"

#include "quotadefer/imapdconf.h"
#include "quotadefer/quotastore.h"

static int read_text(const char *text, struct qd_imapdconf *conf,
		     struct qd_error *err)
{
	scratch_text("imapd.conf", text);
	memset(err, 0, sizeof(*err));
	return qd_imapdconf_read(scratch_path("imapd.conf"), conf, err);
}

static void test_defaults(void **state)
{
	struct qd_imapdconf conf;
	struct qd_error err;
	char base[100];

	(void)state;
	if (read_text("configdirectory: /var/lib/cyrus\n", &conf, &err) < 0)
		fail_msg("%s", err.text);
	assert_string_equal(conf.configdirectory, "/var/lib/cyrus");
	assert_string_equal(conf.quota_db, "quotalegacy");
	assert_false(conf.fulldirhash);
	assert_false(conf.lmtp_strict_quota);
	assert_false(conf.quota_use_conversations);
	assert_int_equal(conf.naming.virtdomains, QD_VIRTDOMAINS_OFF);
	assert_string_equal(conf.naming.defaultdomain, "internal");
	assert_true(conf.naming.unixhierarchysep);
	assert_true(conf.naming.lmtp_downcase_rcpt);
	assert_string_equal(conf.naming.postuser, "");
	assert_int_equal(qd_imapdconf_quota_base(&conf, base, sizeof(base)), 0);
	assert_string_equal(base, "/var/lib/cyrus");
}

static void test_everything(void **state)
{
	static const char text[] =
		"# comment\n"
		"   \n"
		"  configdirectory:   /srv/cyrus  \t\n"
		"VirtDomains: userid\n"
		"defaultdomain: example.org\n"
		"unixhierarchysep: no\n"
		"lmtp_downcase_rcpt: 0\n"
		"lmtp_strict_quota: t\n"
		"fulldirhash: on\n"
		"postuser: bb\n"
		"quota_db_path: {configdirectory}/q/quotas.db\n"
		"sasl_mech_list: PLAIN \\\n"
		"  LOGIN\n"
		"partition-default: /spool # not a comment\n"
		"tls_server_key: disabled";
	struct qd_imapdconf conf;
	struct qd_error err;
	char base[100];

	(void)state;
	if (read_text(text, &conf, &err) < 0)
		fail_msg("%s", err.text);
	assert_string_equal(conf.configdirectory, "/srv/cyrus");
	assert_int_equal(conf.naming.virtdomains, QD_VIRTDOMAINS_USERID);
	assert_string_equal(conf.naming.defaultdomain, "example.org");
	assert_false(conf.naming.unixhierarchysep);
	assert_false(conf.naming.lmtp_downcase_rcpt);
	assert_true(conf.lmtp_strict_quota);
	assert_true(conf.fulldirhash);
	assert_string_equal(conf.naming.postuser, "bb");
	assert_int_equal(qd_imapdconf_quota_base(&conf, base, sizeof(base)), 0);
	assert_string_equal(base, "/srv/cyrus/q");
}

static void test_switches(void **state)
{
	static const struct {
		const char *value;
		int want; /* -1: Cyrus does not start */
	} cases[] = {
		{ "0", 0 },    { "no", 0 },    { "off", 0 }, { "false", 0 },
		{ "f", 0 },    { "never", 0 }, { "1", 1 },   { "yes", 1 },
		{ "on", 1 },   { "true", 1 },  { "t", 1 },   { "ONE", -1 },
		{ "Yes", -1 }, { "2", -1 },    { "o", -1 },  { "maybe", -1 },
	};
	char text[100];

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct qd_imapdconf conf;
		struct qd_error err;
		int rc;

		snprintf(text, sizeof(text),
			 "configdirectory: /c\nfulldirhash: %s\n",
			 cases[i].value);
		rc = read_text(text, &conf, &err);
		if ((rc < 0 ? -1 : conf.fulldirhash) != cases[i].want)
			fail_msg("%s: got %d", cases[i].value, rc);
	}
}

static void test_virtdomains(void **state)
{
	static const struct {
		const char *value;
		int want;
	} cases[] = {
		{ "off", QD_VIRTDOMAINS_OFF },
		{ "no", QD_VIRTDOMAINS_OFF },
		{ "0", QD_VIRTDOMAINS_OFF },
		{ "on", QD_VIRTDOMAINS_ON },
		{ "yes", QD_VIRTDOMAINS_ON },
		{ "1", QD_VIRTDOMAINS_ON },
		{ "true", QD_VIRTDOMAINS_ON },
		{ "userid", QD_VIRTDOMAINS_USERID },
		{ "userids", -1 },
		{ "ON", -1 },
	};
	char text[100];

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct qd_imapdconf conf;
		struct qd_error err;
		int rc;

		snprintf(text, sizeof(text),
			 "configdirectory: /c\nvirtdomains: %s\n",
			 cases[i].value);
		rc = read_text(text, &conf, &err);
		if ((rc < 0 ? -1 : (int)conf.naming.virtdomains) !=
		    cases[i].want)
			fail_msg("%s: got %d", cases[i].value, rc);
	}
}

static void test_include(void **state)
{
	struct qd_imapdconf conf;
	struct qd_error err;
	char text[3000];

	(void)state;
	scratch_text("more.conf", "virtdomains: on\n\nfulldirhash: yes\n");
	snprintf(text, sizeof(text),
		 "configdirectory: /c\n@include: %s\ndefaultdomain: x.org\n",
		 scratch_path("more.conf"));
	if (read_text(text, &conf, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(conf.naming.virtdomains, QD_VIRTDOMAINS_ON);
	assert_true(conf.fulldirhash);
	assert_string_equal(conf.naming.defaultdomain, "x.org");

	scratch_text("more.conf", "virtdomains: sideways\n");
	assert_int_equal(read_text(text, &conf, &err), -1);
	assert_non_null(strstr(err.text, "more.conf:1: virtdomains"));

	snprintf(text, sizeof(text), "configdirectory: /c\n@include: %s\n",
		 scratch_path("imapd.conf"));
	assert_int_equal(read_text(text, &conf, &err), -1);
	assert_non_null(strstr(err.text, "imapd.conf:2: "));
	assert_non_null(strstr(err.text, "included before"));

	snprintf(text, sizeof(text), "configdirectory: /c\n@include: %s\n",
		 scratch_path("none.conf"));
	assert_int_equal(read_text(text, &conf, &err), -1);
	assert_non_null(strstr(err.text, "imapd.conf:2: @include"));
	assert_int_equal(read_text("configdirectory: /c\n@include: none.conf\n",
				   &conf, &err),
			 -1);
	assert_non_null(strstr(err.text, "write an absolute path"));
}

static void test_errors(void **state)
{
	static const struct {
		const char *name, *text, *said;
	} cases[] = {
		{ "empty file", "", "configdirectory is not set" },
		{ "no colon", "configdirectory /c\n", ":1: not of the form" },
		{ "no value", "configdirectory: /c\npostuser:\n",
		  ":2: an option without a value" },
		{ "twice", "configdirectory: /c\n\nconfigdirectory: /d\n",
		  ":3: configdirectory: set before, on line 1" },
		{ "directive", "@define: x\n", ":1: a directive" },
		{ "no switch", "fulldirhash: 2\n",
		  ":1: fulldirhash: 2: write yes or no" },
		{ "no virtdomains", "virtdomains: ON\n",
		  ":1: virtdomains: ON: write off, userid or on" },
		{ "service twice", "lmtpa_postuser: x\nlmtpb_postuser: x\n",
		  ":2: lmtpb_postuser: set before, on line 1" },
		{ "long",
		  "configdirectory: /c\nquota_db: "
		  "0123456789012345678901234567890123456789\n",
		  ":2: quota_db" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct qd_imapdconf conf;
		struct qd_error err;

		if (read_text(cases[i].text, &conf, &err) == 0)
			fail_msg("%s: was accepted", cases[i].name);
		assert_int_equal(err.status, EX_CONFIG);
		if (!strstr(err.text, cases[i].said))
			fail_msg("%s: got \"%s\"", cases[i].name, err.text);
	}
}

/* Line numbers count what was continued. */
static void test_continuation(void **state)
{
	struct qd_imapdconf conf;
	struct qd_error err;

	(void)state;
	if (read_text("configdirectory: /c\\\nonf\n", &conf, &err) < 0)
		fail_msg("%s", err.text);
	assert_string_equal(conf.configdirectory, "/conf");
	assert_int_equal(read_text("configdirectory: /c\\\nd\nfulldirhash: "
				   "?\n",
				   &conf, &err),
			 -1);
	assert_non_null(strstr(err.text, ":3: fulldirhash"));
}

/* As Cyrus: a continued line that does not go on is none. */
static void test_continued_at_the_end(void **state)
{
	struct qd_imapdconf conf;
	struct qd_error err;

	(void)state;
	assert_int_equal(read_text("configdirectory: /c\nfulldirhash: yes\\\n",
				   &conf, &err),
			 0);
	assert_false(conf.fulldirhash);
	assert_int_equal(
		read_text("configdirectory: /c\npostuser: a\\", &conf, &err),
		0);
	assert_string_equal(conf.naming.postuser, "a\\");
}

/* "NAME_option" is for the service NAME of cyrus.conf; lmtpd's counts. */
static void test_of_a_service(void **state)
{
	static const struct {
		const char *text;
		bool strict;
	} cases[] = {
		{ "lmtpunix_lmtp_strict_quota: yes\n", true },
		{ "lmtp_lmtp_strict_quota: yes\nlmtp_strict_quota: no\n",
		  true },
		{ "lmtp_strict_quota: yes\nlmtpunix_lmtp_strict_quota: no\n",
		  false },
		{ "lmtp_strict_quota: yes\nimap_lmtp_strict_quota: no\n",
		  true },
		{ "lmtp_strict_quota: yes\nlmtpunix_: no\nlmtpx: 1\n", true },
	};
	char text[200];

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct qd_imapdconf conf;
		struct qd_error err;

		snprintf(text, sizeof(text), "configdirectory: /c\n%s",
			 cases[i].text);
		if (read_text(text, &conf, &err) < 0)
			fail_msg("%s", err.text);
		if (conf.lmtp_strict_quota != cases[i].strict)
			fail_msg("%s: got %d", cases[i].text,
				 conf.lmtp_strict_quota);
	}
}

static void test_refused_stores(void **state)
{
	struct qd_imapdconf conf;
	struct qd_error err;

	(void)state;
	assert_int_equal(
		read_text("configdirectory: /c\nquota_db: sql\n", &conf, &err),
		0);
	assert_int_equal(qd_quotastore_check(&conf, &err), -1);
	assert_int_equal(err.status, EX_CONFIG);
	assert_non_null(strstr(err.text, "sql"));
	assert_int_equal(read_text("configdirectory: /c\n"
				   "quota_use_conversations: 1\n",
				   &conf, &err),
			 0);
	assert_int_equal(qd_quotastore_check(&conf, &err), -1);
	assert_non_null(strstr(err.text, "quota_use_conversations"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_everything),
		cmocka_unit_test(test_switches),
		cmocka_unit_test(test_virtdomains),
		cmocka_unit_test(test_include),
		cmocka_unit_test(test_errors),
		cmocka_unit_test(test_continuation),
		cmocka_unit_test(test_continued_at_the_end),
		cmocka_unit_test(test_of_a_service),
		cmocka_unit_test(test_refused_stores),
	};

	return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
