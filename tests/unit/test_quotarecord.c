/* SPDX-License-Identifier: BSD-2-Clause */
#include "check.h"

#include "quotadefer/quotarecord.h"

#define ROOT	  QD_QUOTA_ROOT
#define NONE	  QD_QUOTA_NONE
#define MALFORMED QD_QUOTA_MALFORMED

/* used and limit of each resource, in the order of the enum */
struct want {
	int64_t s, s_limit, m, m_limit, as, as_limit, nf, nf_limit;
};

static const struct {
	const char *name, *text;
	enum qd_quotarecord want;
	struct want usage;
} cases[] = {
	{ "as 3.6.1 writes it",
	  "%(S (237 100) M (1) AS (0) NF (1) MODSEQ 3)\n",
	  ROOT,
	  { 237, 100, 1, -1, 0, -1, 1, -1 } },
	{ "every limit",
	  "%(S (1 2) M (3 4) AS (5 6) NF (7 8))\n",
	  ROOT,
	  { 1, 2, 3, 4, 5, 6, 7, 8 } },
	{ "no limits",
	  "%(S (0) M (0) AS (0) NF (1) MODSEQ 3)\n",
	  ROOT,
	  { 0, -1, 0, -1, 0, -1, 1, -1 } },
	{ "3 TiB",
	  "%(S (3298534883329 3221225472))\n",
	  ROOT,
	  { 3298534883329, 3221225472, 0, -1, 0, -1, 0, -1 } },
	{ "SCAN of a running quota -f",
	  "%(S (5 1) SCAN %(MBOX user.joe.sub S 4711 M 3) MODSEQ 3)\n",
	  ROOT,
	  { 5, 1, 0, -1, 0, -1, 0, -1 } },
	{ "SCAN in front does not count",
	  "%(SCAN %(MBOX x S 9) S (5 1))\n",
	  ROOT,
	  { 5, 1, 0, -1, 0, -1, 0, -1 } },
	{ "unknown keys",
	  "%(X (1 2) S (5 1) Y atom Z \"a ) b\")\n",
	  ROOT,
	  { 5, 1, 0, -1, 0, -1, 0, -1 } },
	{ "unknown literal",
	  "%(X {3+}\r\n) ( S (5 1))\n",
	  ROOT,
	  { 5, 1, 0, -1, 0, -1, 0, -1 } },
	{ "the first of two",
	  "%(S (5 1) S (9 9))\n",
	  ROOT,
	  { 5, 1, 0, -1, 0, -1, 0, -1 } },
	{ "more blanks",
	  "%( S  ( 5   1 )  M ( 2 ) )\n",
	  ROOT,
	  { 5, 1, 2, -1, 0, -1, 0, -1 } },
	{ "an atom for a pair is no limit",
	  "%(S 5)\n",
	  ROOT,
	  { 0, -1, 0, -1, 0, -1, 0, -1 } },
	{ "a third number",
	  "%(S (5 1 9))\n",
	  ROOT,
	  { 5, 1, 0, -1, 0, -1, 0, -1 } },
	{ "empty list", "%()\n", ROOT, { 0, -1, 0, -1, 0, -1, 0, -1 } },

	{ "old: two lines",
	  "1000\n100\n",
	  ROOT,
	  { 1000, 100, 0, -1, 0, -1, 0, -1 } },
	{ "old: with messages in two lines",
	  "1000\n100 M 11 10\n",
	  ROOT,
	  { 1000, 100, 11, 10, 0, -1, 0, -1 } },
	{ "old: one line",
	  "1000 100 M 11 10\n",
	  ROOT,
	  { 1000, 100, 11, 10, 0, -1, 0, -1 } },
	{ "old: keywords in any case",
	  "1 2 m 3 4 as 5 6 nf 7 8\n",
	  ROOT,
	  { 1, 2, 3, 4, 5, 6, 7, 8 } },
	{ "old: left over from quota -f",
	  "1000 100 77 M 11 10 88\n",
	  ROOT,
	  { 1000, 100, 11, 10, 0, -1, 0, -1 } },
	{ "old: unlimited",
	  "102401\n-1\n",
	  ROOT,
	  { 102401, -1, 0, -1, 0, -1, 0, -1 } },
	{ "old: any negative limit is none",
	  "102401\n-7\n",
	  ROOT,
	  { 102401, -1, 0, -1, 0, -1, 0, -1 } },
	{ "old: negative usage",
	  "-5\n100\n",
	  ROOT,
	  { -5, 100, 0, -1, 0, -1, 0, -1 } },
	{ "old: plus sign", "+5\n+1\n", ROOT, { 5, 1, 0, -1, 0, -1, 0, -1 } },

	{ "empty file", "", NONE, { 0 } },
	{ "only a newline", "\n", NONE, { 0 } },
	{ "no newline", "%(S (5 1))", MALFORMED, { 0 } },
	{ "old, no newline", "1000\n100", MALFORMED, { 0 } },
	{ "garbage", "garbage\n", MALFORMED, { 0 } },
	{ "cut short", "%(S (999999999\n", MALFORMED, { 0 } },
	{ "cut in a name", "%(S (5 1) M\n", MALFORMED, { 0 } },
	{ "percent alone", "%\n", MALFORMED, { 0 } },
	{ "not a key-value list", "(S (5 1))\n", MALFORMED, { 0 } },
	{ "text behind", "%(S (5 1)) x\n", MALFORMED, { 0 } },
	{ "two newlines", "%(S (5 1))\n\n", MALFORMED, { 0 } },
	{ "negative in a list", "%(S (5 -1))\n", MALFORMED, { 0 } },
	{ "no number", "%(S (a 1))\n", MALFORMED, { 0 } },
	{ "no limit number", "%(S (5 b))\n", MALFORMED, { 0 } },
	{ "hexadecimal", "%(S (0x5 1))\n", MALFORMED, { 0 } },
	{ "exponent", "%(S (1e9 1))\n", MALFORMED, { 0 } },
	{ "past 64 bits", "%(S (9223372036854775808 1))\n", MALFORMED, { 0 } },
	{ "list in a pair", "%(S ((5) 1))\n", MALFORMED, { 0 } },
	{ "quote not closed", "%(X \"a)\n", MALFORMED, { 0 } },
	{ "literal past the end", "%(X {99}\r\nab)\n", MALFORMED, { 0 } },
	{ "literal without a length", "%(X {}\r\n)\n", MALFORMED, { 0 } },
	{ "nested too deep",
	  "%(X ((((((((((((1))))))))))))\n",
	  MALFORMED,
	  { 0 } },
	/* of each of these Cyrus 3.6.1 says that there is no limit */
	{ "scan: a key without a value",
	  "%(S (5 0) SCAN %(MBOX user.joe S ) MODSEQ 3)\n",
	  MALFORMED,
	  { 0 } },
	{ "scan: a value without a key",
	  "%(S (5 0) SCAN %(MBOX user. joe S 7) MODSEQ 3)\n",
	  MALFORMED,
	  { 0 } },
	{ "scan: a blank in the mailbox",
	  "%(S (5 0) SCAN %(MBOX us\rr.joe S 7))\n",
	  MALFORMED,
	  { 0 } },
	{ "a quote in a key",
	  "%(S (5 0) M\" (11 10) NF (1 2))\n",
	  MALFORMED,
	  { 0 } },
	{ "a quote in a value",
	  "%(S (5 0) SCAN %(MBOX user.j\"oe S 7))\n",
	  MALFORMED,
	  { 0 } },
	{ "a newline in a quote", "%(S (5 0) X \"a\nb\")\n", MALFORMED, { 0 } },
	{ "a percent sign alone", "%(S (5 0) X %a)\n", MALFORMED, { 0 } },
	{ "a literal after a newline alone",
	  "%(X {3}\na)b S (5 0))\n",
	  MALFORMED,
	  { 0 } },
	/* and over this its lmtpd dies */
	{ "a literal to wait for",
	  "%(X {3}\r\na)b S (5 0))\n",
	  MALFORMED,
	  { 0 } },
	{ "a vertical tab", "%(S (5 0) X a\vb)\n", MALFORMED, { 0 } },
	{ "an eighth bit", "%(S (5 0) X \xc3\xa9)\n", MALFORMED, { 0 } },

	{ "old: one number", "1000\n", MALFORMED, { 0 } },
	{ "old: no number", "1000\nx\n", MALFORMED, { 0 } },
	{ "old: number and text", "1000x\n100\n", MALFORMED, { 0 } },
	{ "old: unknown keyword", "1000 100 X 1 2\n", MALFORMED, { 0 } },
	{ "old: keyword alone", "1000 100 M\n", MALFORMED, { 0 } },
	{ "old: keyword and half", "1000 100 M 1\n", MALFORMED, { 0 } },
	{ "old: past 64 bits", "9223372036854775808 1\n", MALFORMED, { 0 } },
};

static void check_usage(const char *name, const struct qd_record *rec,
			const struct want *want)
{
	const int64_t wanted[] = { want->s,	  want->s_limit, want->m,
				   want->m_limit, want->as,	 want->as_limit,
				   want->nf,	  want->nf_limit };

	for (int i = 0; i < QD_RESOURCES; i++)
		if (rec->usage[i].used != wanted[2 * i] ||
		    rec->usage[i].limit != wanted[2 * i + 1])
			fail_msg("%s: resource %d: got %lld/%lld, want "
				 "%lld/%lld",
				 name, i, (long long)rec->usage[i].used,
				 (long long)rec->usage[i].limit,
				 (long long)wanted[2 * i],
				 (long long)wanted[2 * i + 1]);
}

static void test_files(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct qd_record rec;
		const char *why = NULL;
		enum qd_quotarecord got = qd_quotarecord_file(
			cases[i].text, strlen(cases[i].text), &rec, &why);

		if (got != cases[i].want)
			fail_msg("%s: got %d, want %d", cases[i].name, got,
				 cases[i].want);
		if (got == MALFORMED)
			assert_non_null(why);
		if (got == ROOT)
			check_usage(cases[i].name, &rec, &cases[i].usage);
	}
}

static void test_zero_bytes(void **state)
{
	static const char inside[] = "%(S (5 1)\0 M (2))\n";
	static const char front[] = "\0%(S (5 1))\n";
	struct qd_record rec;
	const char *why;

	(void)state;
	assert_int_equal(
		qd_quotarecord_file(inside, sizeof(inside) - 1, &rec, &why),
		MALFORMED);
	/* Cyrus: "if (!*data) return IMAP_QUOTAROOT_NONEXISTENT" */
	assert_int_equal(
		qd_quotarecord_file(front, sizeof(front) - 1, &rec, &why),
		NONE);
}

static void test_value_of_a_database(void **state)
{
	static const char text[] = "%(S (5 1))";
	struct qd_record rec;
	const char *why;

	(void)state;
	assert_int_equal(qd_quotarecord_value(text, strlen(text), &rec, &why),
			 ROOT);
	assert_int_equal(rec.usage[QD_STORAGE].limit, 1);
	assert_int_equal(qd_quotarecord_value("", 0, &rec, &why), NONE);
}

/* Whatever a cut or changed byte makes of it, nothing is read past the end. */
static void test_every_cut(void **state)
{
	static const char text[] =
		"%(S (237 100) SCAN %(MBOX \"u\\\"x\" S 1) X {2+}\r\n() M (1))\n";
	char copy[sizeof(text)];
	struct qd_record rec;
	const char *why;

	(void)state;
	for (size_t length = 0; length < sizeof(text) - 1; length++) {
		memcpy(copy, text, length);
		if (length)
			copy[length - 1] = '\n';
		if (length > 1)
			assert_int_not_equal(
				qd_quotarecord_file(copy, length, &rec, &why),
				ROOT);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_files),
		cmocka_unit_test(test_zero_bytes),
		cmocka_unit_test(test_value_of_a_database),
		cmocka_unit_test(test_every_cut),
	};

	return RUN_TESTS(tests);
}
