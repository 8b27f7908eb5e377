/* SPDX-License-Identifier: BSD-2-Clause */
#include "check.h"

#include "quotadefer/naming.h"

/* The site of the measurements: userid, example.org, unixhierarchysep. */
static const struct qd_naming usual = {
	.virtdomains = QD_VIRTDOMAINS_USERID,
	.unixhierarchysep = true,
	.lmtp_downcase_rcpt = true,
	.defaultdomain = "example.org",
};

static const struct qd_naming no_domains = {
	.virtdomains = QD_VIRTDOMAINS_OFF,
	.unixhierarchysep = true,
	.lmtp_downcase_rcpt = true,
	.defaultdomain = "internal",
};

static const struct qd_naming netnews = {
	.virtdomains = QD_VIRTDOMAINS_ON,
	.unixhierarchysep = false,
	.lmtp_downcase_rcpt = true,
	.defaultdomain = "example.org",
};

static const struct qd_naming mixed_case = {
	.virtdomains = QD_VIRTDOMAINS_USERID,
	.unixhierarchysep = true,
	.lmtp_downcase_rcpt = false,
	.defaultdomain = "example.org",
};

/* No site means this, and Cyrus takes it by the letter. */
static const struct qd_naming capital_default = {
	.virtdomains = QD_VIRTDOMAINS_USERID,
	.unixhierarchysep = true,
	.lmtp_downcase_rcpt = true,
	.defaultdomain = "Example.Org",
};

static const struct qd_naming post = {
	.virtdomains = QD_VIRTDOMAINS_USERID,
	.unixhierarchysep = true,
	.lmtp_downcase_rcpt = true,
	.defaultdomain = "example.org",
	.postuser = "bb",
};

static const struct qd_naming smmapd = {
	.virtdomains = QD_VIRTDOMAINS_USERID,
	.unixhierarchysep = true,
	.lmtp_downcase_rcpt = true,
	.defaultdomain = "example.org",
	.postuser = "bb",
	.tests_folder = true,
};

static const struct {
	const char *name;
	const struct qd_naming *naming;
	const char *local, *domain;
	const char *want; /* NULL: no mailbox can have the name */
	bool shared;
} cases[] = {
	{ "default domain is dropped", &usual, "joe", "example.org", "user.joe",
	  false },
	{ "no domain", &usual, "joe", "", "user.joe", false },
	{ "virtual domain", &usual, "joe", "virt.example",
	  "virt.example!user.joe", false },
	{ "all of 2.3 step 6", &usual, "first.last+sub", "virt.example",
	  "virt.example!user.first^last", false },
	{ "virtdomains off: any domain", &no_domains, "joe", "any.example",
	  "user.joe", false },
	{ "default domain in capitals", &usual, "joe", "EXAMPLE.org",
	  "user.joe", false },
	{ "default domain in capitals, case kept", &mixed_case, "joe",
	  "EXAMPLE.ORG", "EXAMPLE.ORG!user.joe", false },
	{ "default domain with capitals, so spelled", &capital_default, "joe",
	  "Example.Org", "user.joe", false },
	{ "default domain with capitals, in lower case", &capital_default,
	  "joe", "example.org", "example.org!user.joe", false },
	{ "default domain with capitals, in capitals", &capital_default, "joe",
	  "EXAMPLE.ORG", "example.org!user.joe", false },
	{ "case of user and domain", &usual, "Joe", "Virt.Example",
	  "virt.example!user.joe", false },
	{ "case kept", &mixed_case, "Joe", "Virt.Example",
	  "Virt.Example!user.Joe", false },
	{ "only ASCII is lowered", &usual, "J\xc3\x96", "example.org",
	  "user.j\xc3\x96", false },
	{ "dots", &usual, "a.b", "example.org", "user.a^b", false },
	{ "dots in capitals", &usual, "A.B", "example.org", "user.a^b", false },
	{ "caret and dot share a key", &usual, "a^b", "example.org", "user.a^b",
	  false },
	{ "dots without unixhierarchysep", &netnews, "a.b", "virt.example",
	  "virt.example!user.a^b", false },
	{ "digits", &usual, "1234", "example.org", "user.1234", false },
	{ "detail does not count", &usual, "joe+big", "example.org", "user.joe",
	  false },
	{ "empty detail", &usual, "joe+", "example.org", "user.joe", false },
	{ "first plus", &usual, "joe+a+b", "example.org", "user.joe", false },
	{ "detail that is no UTF-8", &usual, "joe+\xff", "example.org",
	  "user.joe", false },
	{ "shared folder", &usual, "+shared/list", "example.org", "shared.list",
	  true },
	{ "shared folder, one level", &usual, "+shared", "example.org",
	  "shared", true },
	{ "shared folder of a domain", &usual, "+shared/list", "virt.example",
	  "virt.example!shared.list", true },
	{ "shared, virtdomains off", &no_domains, "+shared/list", "any.example",
	  "shared.list", true },
	{ "shared, dot is no separator", &usual, "+shared.list", "example.org",
	  "shared^list", true },
	{ "shared, netnews", &netnews, "+shared.list", "example.org",
	  "shared.list", true },
	{ "shared, case of detail is kept", &usual, "+Shared/List",
	  "example.org", "Shared.List", true },
	{ "shared, empty levels vanish", &usual, "+/a//b/", "example.org",
	  "a.b", true },
	{ "shared, UTF-7", &usual, "+B\xc3\xbcro/A&B", "example.org",
	  "B&APw-ro.A&-B", true },
	{ "shared, no UTF-8", &usual, "+a\xff", "example.org", NULL, true },
	{ "shared, nothing", &usual, "+", "example.org", NULL, true },
	{ "shared, only separators", &usual, "+//", "example.org", NULL, true },
	{ "post user", &post, "bb+shared/x", "example.org", "shared.x", true },
	{ "post user in capitals", &post, "BB+shared/x", "example.org",
	  "shared.x", true },
	{ "post user, virtual domain", &post, "bb+shared/x", "virt.example",
	  "virt.example!shared.x", true },
	{ "post user without detail", &post, "bb", "example.org", NULL, true },
	{ "no user with a post user set", &post, "+shared/x", "example.org",
	  NULL, false },
	/* detail in UTF-7 is taken for UTF-8, in which "&" is only a letter */
	{ "shared, UTF-7 already", &usual, "+B&APw-ro", "example.org",
	  "B&-APw-ro", true },
	{ "smmapd: no detail", &smmapd, "Joe", "example.org", "user.joe",
	  false },
	{ "smmapd: empty detail", &smmapd, "joe+", "example.org", "user.joe",
	  false },
	{ "smmapd: the folder counts", &smmapd, "joe+big", "example.org",
	  "user.joe.big", false },
	{ "smmapd: levels, case of detail", &smmapd, "Joe+Big/A.B",
	  "virt.example", "virt.example!user.joe.Big.A^B", false },
	{ "smmapd: detail that is no UTF-8", &smmapd, "joe+\xff", "example.org",
	  NULL, false },
	{ "smmapd: post user", &smmapd, "bb+shared/x", "example.org",
	  "shared.x", true },
	{ "smmapd: no post user in a virtual domain", &smmapd, "bb+shared/x",
	  "virt.example", "virt.example!user.bb.shared.x", false },
	{ "empty", &usual, "", "example.org", NULL, false },
	{ "bang in the domain", &usual, "joe", "a!b", NULL, false },
	{ "bang in the user", &usual, "a!joe", "example.org", "user.a!joe",
	  false },
};

static void test_mailbox(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct qd_mailbox got = { .name = "" };
		int rc = qd_naming_mailbox(cases[i].naming, cases[i].local,
					   cases[i].domain, &got);

		if (!cases[i].want) {
			if (rc == 0)
				fail_msg("%s: got %s, want none", cases[i].name,
					 got.name);
			continue;
		}
		if (rc < 0 || strcmp(got.name, cases[i].want) != 0)
			fail_msg("%s: got %s, want %s", cases[i].name,
				 rc < 0 ? "none" : got.name, cases[i].want);
		assert_int_equal(got.is_user, !cases[i].shared);
	}
}

static void test_too_long(void **state)
{
	char local[QD_LOCAL_MAX + 2], domain[QD_DOMAIN_MAX + 2];
	struct qd_mailbox got;

	(void)state;
	memset(local, 'a', sizeof(local));
	memset(domain, 'b', sizeof(domain));
	local[QD_LOCAL_MAX] = '\0';
	domain[QD_DOMAIN_MAX] = '\0';
	/* 255 + 1 + 5 + 320 is longer than a key of the table */
	assert_int_equal(qd_naming_mailbox(&usual, local, domain, &got), -1);
	assert_int_equal(qd_naming_mailbox(&usual, local, "", &got), 0);
	domain[QD_ROOT_MAX - QD_LOCAL_MAX - 6] = '\0';
	assert_int_equal(qd_naming_mailbox(&usual, local, domain, &got), 0);
	assert_int_equal(strlen(got.name), QD_ROOT_MAX);
	strcat(domain, "b");
	assert_int_equal(qd_naming_mailbox(&usual, local, domain, &got), -1);
}

static void test_parent(void **state)
{
	char name[] = "virt.example!shared.list.old";

	(void)state;
	assert_true(qd_naming_parent(name));
	assert_string_equal(name, "virt.example!shared.list");
	assert_true(qd_naming_parent(name));
	assert_string_equal(name, "virt.example!shared");
	assert_false(qd_naming_parent(name));
	assert_string_equal(name, "virt.example!shared");
}

static void test_is_inbox(void **state)
{
	(void)state;
	assert_true(qd_naming_is_inbox("user.joe"));
	assert_true(qd_naming_is_inbox("virt.example!user.joe"));
	assert_true(qd_naming_is_inbox("user.first^last"));
	assert_false(qd_naming_is_inbox("user.joe.sub"));
	assert_false(qd_naming_is_inbox("user."));
	assert_false(qd_naming_is_inbox("user"));
	assert_false(qd_naming_is_inbox("shared.joe"));
	assert_false(qd_naming_is_inbox("virt.example!"));
}

static void test_equal(void **state)
{
	struct qd_naming other = usual;

	(void)state;
	assert_true(qd_naming_equal(&usual, &other));
	strcpy(other.defaultdomain, "Example.Org");
	assert_false(qd_naming_equal(&usual, &other));
	strcpy(other.defaultdomain, "example.net");
	assert_false(qd_naming_equal(&usual, &other));
	assert_false(qd_naming_equal(&usual, &netnews));
	assert_false(qd_naming_equal(&usual, &mixed_case));
	assert_false(qd_naming_equal(&usual, &post));
	assert_false(qd_naming_equal(&post, &smmapd));
	/* without virtual domains the default domain names nothing */
	other = no_domains;
	strcpy(other.defaultdomain, "example.net");
	assert_true(qd_naming_equal(&no_domains, &other));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_mailbox), cmocka_unit_test(test_too_long),
		cmocka_unit_test(test_parent),	cmocka_unit_test(test_is_inbox),
		cmocka_unit_test(test_equal),
	};

	return RUN_TESTS(tests);
}
