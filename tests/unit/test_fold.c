/* SPDX-License-Identifier: BSD-2-Clause */
#include "check.h"

#include "quotadefer/fold.h"

/* NULL: refused */
static const struct {
	const char *text, *want;
} cases[] = {
	{ "", "" },
	{ "Joe.User+X@EXAMPLE.org", "joe.user+x@example.org" },
	{ "[\\]^_`{|}~@[", "[\\]^_`{|}~@[" },
	{ "M\xc3\x9cLLER@x", "m\xc3\xbcller@x" },
	{ "m\xc3\xbcller@x", "m\xc3\xbcller@x" },
	{ "STRA\xc3\x9f\x45", "strasse" },
	{ "\xe1\xba\x9e", "ss" },
	{ "\xce\xa3\xcf\x82\xcf\x83", "\xcf\x83\xcf\x83\xcf\x83" },
	{ "I\xc4\xb0\xc4\xb1", "ii\xcc\x87\xc4\xb1" },
	{ "\xef\xac\x83", "ffi" },
	{ "\xf0\x90\x90\x80", "\xf0\x90\x90\xa8" },
	{ "A\xe5\x8f\xb0", "a\xe5\x8f\xb0" },
	{ "\xff", NULL },
	{ "a\xc3", NULL },
	{ "\xc0\xaf", NULL },
	{ "\xed\xa0\x80", NULL },
	{ "\xf4\x90\x80\x80", NULL },
};

static void test_fold(void **state)
{
	char out[64];

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		int rc = qd_fold(cases[i].text, out, sizeof(out));

		if (rc != (cases[i].want ? 0 : -1))
			fail_msg("%s: got %d", cases[i].text, rc);
		if (rc == 0 && strcmp(out, cases[i].want) != 0)
			fail_msg("%s: got %s, want %s", cases[i].text, out,
				 cases[i].want);
	}
}

static void test_room(void **state)
{
	char out[8];

	(void)state;
	assert_int_equal(qd_fold("1234567", out, 8), 0);
	assert_int_equal(qd_fold("12345678", out, 8), -1);
	assert_int_equal(qd_fold("12345\xc3\x9c", out, 8), 0);
	assert_string_equal(out, "12345\xc3\xbc");
	assert_int_equal(qd_fold("123456\xc3\x9c", out, 8), -1);
	assert_int_equal(qd_fold("1234567\xc3\x9c", out, 8), -1);
}

/* What QD_FOLD_GROWTH says of each character. */
static void test_growth(void **state)
{
	(void)state;
	for (uint32_t c = 0x80; c < 0x800; c++) {
		char text[3] = { (char)(0xc0 | c >> 6),
				 (char)(0x80 | (c & 0x3f)), '\0' };
		char out[2 * QD_FOLD_GROWTH + 1];

		if (qd_fold(text, out, sizeof(out)) < 0)
			fail_msg("U+%04x does not fit", c);
	}
	for (uint32_t c = 0x800; c < 0x10000; c++) {
		char text[4] = { (char)(0xe0 | c >> 12),
				 (char)(0x80 | (c >> 6 & 0x3f)),
				 (char)(0x80 | (c & 0x3f)), '\0' };
		char out[3 * QD_FOLD_GROWTH + 1];

		if (c >> 11 != 0x1b && qd_fold(text, out, sizeof(out)) < 0)
			fail_msg("U+%04x does not fit", c);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fold),
		cmocka_unit_test(test_room),
		cmocka_unit_test(test_growth),
	};

	return RUN_TESTS(tests);
}
