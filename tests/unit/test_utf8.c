/* SPDX-License-Identifier: BSD-2-Clause */
#include "check.h"

#include "quotadefer/utf8.h"

/* RFC 3501 5.1.3 has the third and fourth; NULL: not to be encoded. */
static const struct {
	const char *text, *want;
} cases[] = {
	{ "", "" },
	{ "INBOX", "INBOX" },
	{ "~peter/mail/\xe5\x8f\xb0\xe5\x8c\x97/\xe6\x97\xa5\xe6\x9c\xac"
	  "\xe8\xaa\x9e",
	  "~peter/mail/&U,BTFw-/&ZeVnLIqe-" },
	{ "Hi There\xe2\x98\xba!", "Hi There&Jjo-!" },
	{ "a&b", "a&-b" },
	{ "&", "&-" },
	{ "\xc3\xbc&", "&APw-&-" },
	{ "Entw\xc3\xbcrfe", "Entw&APw-rfe" },
	{ "\xf0\x9f\x98\x80", "&2D3eAA-" },
	{ "tab\t", "tab&AAk-" },
	{ "\xff", NULL },
	{ "a\xc3", NULL },
};

static void test_utf7(void **state)
{
	char out[64];

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		int n = qd_utf8_to_utf7(cases[i].text, out, sizeof(out));

		if (!cases[i].want) {
			assert_int_equal(n, -1);
			continue;
		}
		if (n < 0 || strcmp(out, cases[i].want) != 0)
			fail_msg("%s: got %s, want %s", cases[i].text,
				 n < 0 ? "-1" : out, cases[i].want);
		assert_int_equal(n, strlen(out));
	}
}

static void test_utf7_room(void **state)
{
	char out[8] = "";

	(void)state;
	assert_int_equal(qd_utf8_to_utf7("1234567", out, sizeof(out)), 7);
	assert_int_equal(qd_utf8_to_utf7("12345678", out, sizeof(out)), -1);
	assert_int_equal(qd_utf8_to_utf7("123\xc3\xbc", out, sizeof(out)), -1);
	assert_int_equal(qd_utf8_to_utf7("12\xc3\xbc", out, sizeof(out)), 7);
}

static void test_next(void **state)
{
	uint32_t c = 0;

	(void)state;
	assert_int_equal(qd_utf8_next("a", &c), 1);
	assert_int_equal(c, 'a');
	assert_int_equal(qd_utf8_next("\xe2\x82\xac", &c), 3);
	assert_int_equal(c, 0x20ac);
	assert_int_equal(qd_utf8_next("\xf4\x8f\xbf\xbf", &c), 4);
	assert_int_equal(c, 0x10ffff);
	assert_int_equal(qd_utf8_next("\xf4\x90\x80\x80", &c), 0);
	assert_int_equal(qd_utf8_next("\x80", &c), 0);
	assert_int_equal(qd_utf8_next("\xf8\x88\x80\x80\x80", &c), 0);
	assert_int_equal(qd_utf8_next("\xe2\x82", &c), 0);
}

static void test_valid(void **state)
{
	(void)state;
	assert_true(qd_utf8_is_valid(""));
	assert_true(qd_utf8_is_valid("a\xe2\x82\xac"));
	assert_false(qd_utf8_is_valid("a\xe2\x82"));
	assert_false(qd_utf8_is_valid("\xff"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_utf7),
		cmocka_unit_test(test_utf7_room),
		cmocka_unit_test(test_next),
		cmocka_unit_test(test_valid),
	};

	return RUN_TESTS(tests);
}
