/* SPDX-License-Identifier: BSD-2-Clause */
#include "check.h"

#include <stdlib.h>

#include "../../milter/alias_ldap_impl.h"

/* NULL: no expansion. The rest is compared with Postfix in e2e/ldap.py. */
static const struct {
	const char *template;
	enum qd_ldap_escape escape;
	const char *key, *value, *want;
} cases[] = {
	{ "(m=%s)", QD_LDAP_FILTER, "*)(uid=*@x", NULL,
	  "(m=\\2A\\29\\28uid=\\2A@x)" },
	{ "(m=%s)", QD_LDAP_FILTER, "a\\b", NULL, "(m=a\\5Cb)" },
	{ "%s", QD_LDAP_DN, "a b,c=d+\"#;<>\\", NULL,
	  "a\\20b\\2Cc=d\\2B\\22\\23\\3B\\3C\\3E\\5C" },
	{ "%u at %d", QD_LDAP_PLAIN, "a@b@c", NULL, "a@b at c" },
	{ "%u", QD_LDAP_PLAIN, "a", NULL, "a" },
	{ "%u", QD_LDAP_PLAIN, "@a", NULL, NULL },
	{ "%d", QD_LDAP_PLAIN, "a", NULL, NULL },
	{ "%d", QD_LDAP_PLAIN, "a@", NULL, NULL },
	{ "%s", QD_LDAP_PLAIN, "", NULL, NULL },
	{ "100%%", QD_LDAP_FILTER, "a", NULL, "100%" },
	{ "%3-%2-%1", QD_LDAP_PLAIN, "u@a.b.c.d", NULL, "b-c-d" },
	{ "%2", QD_LDAP_PLAIN, "u@..a..b.", NULL, "a" },
	{ "%3", QD_LDAP_PLAIN, "u@a.b", NULL, NULL },
	{ "%1", QD_LDAP_PLAIN, "u", NULL, NULL },
	{ "%u+%U@%d=%S", QD_LDAP_PLAIN, "k@l", "v@w", "v+k@w=k@l" },
	{ "%d", QD_LDAP_PLAIN, "k@l", "v", NULL },
	{ "%u", QD_LDAP_PLAIN, "k@l", "@w", NULL },
	{ "%s", QD_LDAP_PLAIN, "k@l", "", NULL },
	{ "%D.%1", QD_LDAP_PLAIN, "k@l.m", "v", "l.m.m" },
};

static void test_expand(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct qd_ldap_parts parts = { 0 };
		struct qd_ldap_text out = { 0 };
		bool done;

		assert_true(qd_ldap_template_check(cases[i].template,
						   !cases[i].value,
						   &parts) >= 0);
		done = qd_ldap_expand(&parts, cases[i].template,
				      cases[i].escape, cases[i].key,
				      cases[i].value, &out);
		if (done != (cases[i].want != NULL) ||
		    (done && strcmp(out.data, cases[i].want) != 0))
			fail_msg("%s of %s: got %s, want %s", cases[i].template,
				 cases[i].key, done ? out.data : "none",
				 cases[i].want ? cases[i].want : "none");
		qd_ldap_text_free(&out);
	}
}

static void test_template(void **state)
{
	struct qd_ldap_parts parts = { 0 };

	(void)state;
	assert_int_equal(qd_ldap_template_check("a%%b", true, &parts), 0);
	assert_int_equal(qd_ldap_template_check("a%sb", true, &parts), 1);
	assert_int_equal(qd_ldap_template_check("a%", true, &parts), -1);
	assert_int_equal(qd_ldap_template_check("%0", true, &parts), -1);
	assert_int_equal(qd_ldap_template_check("%x", false, &parts), -1);
	assert_false(parts.key_user || parts.key_domain || parts.value_user);
	assert_int_equal(qd_ldap_template_check("%4%2", true, &parts), 1);
	assert_int_equal(parts.labels, 4);
	assert_true(parts.key_domain);
}

static void test_bound(void **state)
{
	const struct qd_ldap_parts parts = { 0 };
	struct qd_ldap_text out = { 0 };
	char value[1001] = "";

	(void)state;
	memset(value, 'x', sizeof(value) - 1);
	for (int i = 0; i < 2000; i++)
		qd_ldap_expand(&parts, "%s", QD_LDAP_PLAIN, "k", value, &out);
	assert_true(out.overflowed);
	assert_true(out.used < QD_LDAP_TEXT_MAX);
	assert_int_equal(strlen(out.data), out.used);
	qd_ldap_text_free(&out);
}

static void test_domains(void **state)
{
	struct qd_list none = { 0 }, some = { 0 };
	struct qd_error err;

	(void)state;
	assert_int_equal(qd_ldap_domains_find(&none, "a", NULL), QD_FOUND);
	assert_int_equal(
		qd_ldap_domains_read("A.org !!b.org,!c.org c.org", &some, &err),
		0);
	assert_int_equal(qd_ldap_domains_find(&some, "x@a.org", NULL),
			 QD_FOUND);
	assert_int_equal(qd_ldap_domains_find(&some, "x@b.org", NULL),
			 QD_FOUND);
	assert_int_equal(qd_ldap_domains_find(&some, "x@c.org", NULL),
			 QD_ABSENT);
	assert_int_equal(qd_ldap_domains_find(&some, "x@sub.a.org", NULL),
			 QD_ABSENT);
	assert_int_equal(qd_ldap_domains_find(&some, "a.org", NULL), QD_ABSENT);
	assert_int_equal(qd_ldap_domains_find(&some, "x@", NULL), QD_ABSENT);
	assert_int_equal(qd_ldap_domains_find(&some, "@a.org", NULL),
			 QD_ABSENT);
	qd_ldap_list_free(&some);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_expand),
		cmocka_unit_test(test_template),
		cmocka_unit_test(test_bound),
		cmocka_unit_test(test_domains),
	};

	return RUN_TESTS(tests);
}
