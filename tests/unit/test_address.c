/* SPDX-License-Identifier: BSD-2-Clause */
#include "check.h"

#include "quotadefer/address.h"

#define MAILBOX QD_ADDRESS_MAILBOX
#define LOCAL	QD_ADDRESS_LOCAL
#define ODD	QD_ADDRESS_ODD

static const struct {
	const char *name, *path;
	enum qd_address_kind kind;
	const char *local, *domain;
} cases[] = {
	{ "plain", "<joe@example.org>", MAILBOX, "joe", "example.org" },
	{ "no brackets", "joe@example.org", MAILBOX, "joe", "example.org" },
	{ "case is kept", "<Joe@Example.ORG>", MAILBOX, "Joe", "Example.ORG" },
	{ "null sender", "<>", QD_ADDRESS_NULL, "", "" },
	{ "null sender as a macro", "", QD_ADDRESS_NULL, "", "" },
	{ "postmaster", "<postmaster>", LOCAL, "postmaster", "" },
	{ "detail", "<joe+a/b@x.org>", MAILBOX, "joe+a/b", "x.org" },
	{ "post user", "<+shared/list@x.org>", MAILBOX, "+shared/list",
	  "x.org" },
	{ "quoted", "<\"joe\"@x.org>", MAILBOX, "joe", "x.org" },
	{ "quoted blank", "<\"a b\"@x.org>", MAILBOX, "a b", "x.org" },
	{ "quoted pair", "<\"a\\\"b\\\\c\"@x.org>", MAILBOX, "a\"b\\c",
	  "x.org" },
	{ "quoted at", "<\"a@b\"@x.org>", MAILBOX, "a@b", "x.org" },
	{ "quoted alone", "<\"joe\">", LOCAL, "joe", "" },
	{ "empty quoted", "<\"\"@x.org>", ODD, "", "" },
	{ "quote not closed", "<\"joe@x.org>", ODD, "", "" },
	{ "quote then text", "<\"joe\"x@x.org>", ODD, "", "" },
	{ "pair at the end", "<\"joe\\>", ODD, "", "" },
	{ "quoted control", "<\"a\x01\"@x.org>", ODD, "", "" },
	{ "route", "<@r.example:joe@x.org>", MAILBOX, "joe", "x.org" },
	{ "long route", "<@r.example,@b.example:joe@x.org>", MAILBOX, "joe",
	  "x.org" },
	{ "route without end", "<@r.example>", ODD, "", "" },
	{ "route of nothing", "<@r.example:>", ODD, "", "" },
	{ "route with a blank", "<@r .example:joe@x.org>", ODD, "", "" },
	{ "trailing dot", "<joe@x.org.>", MAILBOX, "joe", "x.org" },
	{ "two trailing dots", "<joe@x.org..>", ODD, "", "" },
	{ "leading dot", "<joe@.x.org>", ODD, "", "" },
	{ "dot alone", "<joe@.>", ODD, "", "" },
	{ "no domain", "<joe@>", ODD, "", "" },
	{ "no local part", "<@>", ODD, "", "" },
	{ "address literal", "<joe@[127.0.0.1]>", ODD, "", "" },
	{ "two at signs", "<a@b@x.org>", ODD, "", "" },
	{ "comment", "<joe(hi)@x.org>", ODD, "", "" },
	{ "filter", "<*)(uid=*@x.org>", ODD, "", "" },
	{ "blank", "<joe @x.org>", ODD, "", "" },
	{ "two addresses", "<a@x.org>,<b@x.org>", ODD, "", "" },
	{ "left bracket only", "<joe@x.org", ODD, "", "" },
	{ "left bracket alone", "<", ODD, "", "" },
	{ "right bracket only", "joe@x.org>", ODD, "", "" },
	{ "angle inside", "<a<b@x.org>", ODD, "", "" },
	{ "bell", "<jo\ae@x.org>", ODD, "", "" },
	{ "line break", "<joe\r\n@x.org>", ODD, "", "" },
	{ "delete", "<joe\x7f@x.org>", ODD, "", "" },
	{ "percent is text", "<joe%a@x.org>", MAILBOX, "joe%a", "x.org" },
	{ "bang is text", "<a!joe@x.org>", MAILBOX, "a!joe", "x.org" },
	{ "bang in the domain", "<joe@a!x.org>", ODD, "", "" },
	{ "slash in the domain", "<joe@x/../y>", ODD, "", "" },
	{ "dots as MTAs let through", "<.a..b.@x.org>", MAILBOX, ".a..b.",
	  "x.org" },
	{ "UTF-8", "<j\xc3\xb6rg@b\xc3\xbc.org>", MAILBOX, "j\xc3\xb6rg",
	  "b\xc3\xbc.org" },
	{ "cut UTF-8", "<j\xc3@x.org>", ODD, "", "" },
	{ "overlong UTF-8", "<j\xc0\xaf@x.org>", ODD, "", "" },
	{ "surrogate", "<\xed\xa0\x80@x.org>", ODD, "", "" },
	{ "latin-1", "<j\xf6rg@x.org>", ODD, "", "" },
	{ "C1 control", "<j\xc2\x85@x.org>", ODD, "", "" },
};

static void test_cases(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct qd_address got;
		enum qd_address_kind kind =
			qd_address_parse(cases[i].path, &got);

		if (kind != cases[i].kind)
			fail_msg("%s: got kind %d, want %d", cases[i].name,
				 kind, cases[i].kind);
		if (strcmp(got.local, cases[i].local) != 0 ||
		    strcmp(got.domain, cases[i].domain) != 0)
			fail_msg("%s: got \"%s\" at \"%s\"", cases[i].name,
				 got.local, got.domain);
	}
}

/* 60 KB reach a filter; nothing over the limits is looked up. */
static void test_lengths(void **state)
{
	static char path[70000];
	struct qd_address got;

	(void)state;
	for (size_t length = 1; length < 66000; length += 319) {
		memset(path, 'a', length);
		strcpy(path + length, "@x.org");
		assert_int_equal(qd_address_parse(path, &got),
				 length <= QD_LOCAL_MAX ? MAILBOX : ODD);
		strcpy(path, "joe@");
		memset(path + 4, 'b', length);
		path[4 + length] = '\0';
		assert_int_equal(qd_address_parse(path, &got),
				 length <= QD_DOMAIN_MAX ? MAILBOX : ODD);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cases),
		cmocka_unit_test(test_lengths),
	};

	return RUN_TESTS(tests);
}
