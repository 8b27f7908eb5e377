/* SPDX-License-Identifier: BSD-2-Clause */
#include "check.h"

#include "quotadefer/record.h"

/* A record with one limited resource. */
static struct qd_record with(enum qd_resource res, int64_t used, int64_t limit)
{
	struct qd_record rec;

	qd_record_init(&rec);
	rec.usage[res].used = used;
	rec.usage[res].limit = limit;
	rec.since = 1700000000;
	rec.read = 1700000060;
	return rec;
}

/*
 * What Cyrus 3.6.1 was measured to do: lmtpd, lmtpd with lmtp_strict_quota and
 * SIZE=500, strict without SIZE, smmapd.
 */
static const struct {
	const char *name;
	enum qd_resource res;
	int64_t used, limit;
	bool lmtpd, strict_500, strict, smmapd;
} cases[] = {
	{ "S 101900/100", QD_STORAGE, 101900, 100, 0, 0, 0, 0 },
	{ "S 101901/100", QD_STORAGE, 101901, 100, 0, 1, 0, 0 },
	{ "S 102400/100", QD_STORAGE, 102400, 100, 0, 1, 0, 0 },
	{ "S 102401/100", QD_STORAGE, 102401, 100, 1, 1, 1, 1 },
	{ "M 9/10", QD_MESSAGE, 9, 10, 0, 0, 0, 0 },
	{ "M 10/10", QD_MESSAGE, 10, 10, 0, 1, 1, 1 },
	{ "M 11/10", QD_MESSAGE, 11, 10, 1, 1, 1, 1 },
	{ "AS 1024/1", QD_ANNOTATION_STORAGE, 1024, 1, 0, 0, 0, 0 },
	{ "AS 1025/1", QD_ANNOTATION_STORAGE, 1025, 1, 1, 1, 1, 0 },
	{ "NF 2/2", QD_MAILBOX_COUNT, 2, 2, 0, 0, 0, 0 },
	{ "NF 3/2", QD_MAILBOX_COUNT, 3, 2, 1, 1, 1, 0 },
	{ "S 0/0", QD_STORAGE, 0, 0, 0, 1, 0, 0 },
	{ "S 1/0", QD_STORAGE, 1, 0, 1, 1, 1, 1 },
	{ "S 3 TiB", QD_STORAGE, 3298534883328, 3221225472, 0, 1, 0, 0 },
	{ "S 3 TiB + 1", QD_STORAGE, 3298534883329, 3221225472, 1, 1, 1, 1 },
	{ "S limit -1", QD_STORAGE, 102401, -1, 0, 0, 0, 0 },
	{ "S limit past 64 bits", QD_STORAGE, INT64_MAX, INT64_MAX, 0, 0, 0,
	  0 },
	{ "S negative usage", QD_STORAGE, -5, 0, 0, 1, 0, 0 },
	{ "M usage at the end of 64 bits", QD_MESSAGE, INT64_MAX, 5, 1, 0, 0,
	  0 },
};

static void check(const char *name, const char *column,
		  const struct qd_record *rec, enum qd_rule rule, int64_t size,
		  enum qd_resource res, bool want)
{
	int got = qd_record_over(rec, rule, size);

	if (got != (want ? (int)res : -1))
		fail_msg("%s, %s: got %d, want %s", name, column, got,
			 want ? "over" : "ok");
}

static void test_truth_table(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		const char *name = cases[i].name;
		enum qd_resource res = cases[i].res;
		struct qd_record rec = with(res, cases[i].used, cases[i].limit);

		check(name, "lmtpd", &rec, QD_RULE_LMTPD, 500, res,
		      cases[i].lmtpd);
		check(name, "strict with SIZE=500", &rec, QD_RULE_STRICT, 500,
		      res, cases[i].strict_500);
		check(name, "strict", &rec, QD_RULE_STRICT, 0, res,
		      cases[i].strict);
		check(name, "smmapd", &rec, QD_RULE_SMMAPD, 500, res,
		      cases[i].smmapd);
	}
}

/* S before M before AS before NF. */
static void test_first_resource_wins(void **state)
{
	struct qd_record rec;

	(void)state;
	qd_record_init(&rec);
	assert_int_equal(qd_record_over(&rec, QD_RULE_LMTPD, 0), -1);
	for (int i = QD_RESOURCES - 1; i >= 0; i--) {
		rec.usage[i].used = 1;
		rec.usage[i].limit = 0;
		assert_int_equal(qd_record_over(&rec, QD_RULE_LMTPD, 0), i);
	}
}

static void test_text(void **state)
{
	struct qd_record rec = with(QD_STORAGE, 102401, 100), back;
	char text[QD_RECORD_TEXT];

	(void)state;
	qd_record_format(&rec, text);
	assert_string_equal(text,
			    "1 S=102401/100 since=1700000000 read=1700000060");
	assert_int_equal(qd_record_parse(text, strlen(text), &back), 0);
	assert_true(qd_record_same(&rec, &back));
	assert_int_equal(back.read, rec.read);

	for (int i = 0; i < QD_RESOURCES; i++) {
		rec.usage[i].used = INT64_MAX;
		rec.usage[i].limit = INT64_MAX;
	}
	rec.since = INT64_MAX;
	rec.read = INT64_MAX;
	rec.kept = true;
	assert_true(qd_record_format(&rec, text) < sizeof(text));
	assert_int_equal(qd_record_parse(text, strlen(text), &back), 0);
	assert_true(qd_record_same(&rec, &back));
	/* cut anywhere, it is no record */
	for (size_t length = 0; length < 40; length++)
		assert_int_equal(qd_record_parse(text, length, &back), -1);
}

static void test_bad_texts(void **state)
{
	static const char *const texts[] = {
		"",
		"1",
		"2 S=1/1 since=1 read=1",
		"11 S=1/1 since=1 read=1",
		"1 S=1 since=1 read=1",
		"1 S=1/ since=1 read=1",
		"1 S=/1 since=1 read=1",
		"1 S=1/-1 since=1 read=1",
		"1 S=1/1x since=1 read=1",
		"1 S=99999999999999999999/1 since=1 read=1",
		"1 S=1/1  since=1 read=1",
		"1 S=1/1 since=1",
		"1 S=1/1 since=1 read=0",
		"1 S=1/1 since=1 read=1 ",
		"1 S=1/1 since=1 read=1 junk",
		"1\tS=1/1\tsince=1\tread=1",
		"%(S (1 1))",
	};
	struct qd_record rec = with(QD_MESSAGE, 1, 2);

	(void)state;
	for (size_t i = 0; i < COUNT(texts); i++)
		if (qd_record_parse(texts[i], strlen(texts[i]), &rec) == 0)
			fail_msg("\"%s\" was taken for a record", texts[i]);
	assert_int_equal(rec.usage[QD_MESSAGE].limit, 2);
}

static void test_newer_keys_are_skipped(void **state)
{
	static const char text[] = "1 S=5/1 X=7/8 since=1 read=2 new=y";
	struct qd_record rec;

	(void)state;
	assert_int_equal(qd_record_parse(text, strlen(text), &rec), 0);
	assert_int_equal(rec.usage[QD_STORAGE].used, 5);
	assert_int_equal(rec.read, 2);
}

static void test_pack(void **state)
{
	unsigned char packed[QD_RECORD_PACK];
	struct qd_record rec, back;
	size_t length;

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		rec = with(cases[i].res, cases[i].used, cases[i].limit);
		rec.kept = i % 2;
		length = qd_record_pack(&rec, packed);
		assert_int_equal(qd_record_unpack(packed, length, &back), 0);
		if (!qd_record_same(&rec, &back) || back.read != rec.read)
			fail_msg("%s: changed on the way", cases[i].name);
		for (size_t cut = 0; cut < length; cut++)
			assert_int_equal(qd_record_unpack(packed, cut, &back),
					 -1);
		packed[length] = 0;
		assert_int_equal(qd_record_unpack(packed, length + 1, &back),
				 -1);
	}
	packed[0] = 0xff;
	assert_int_equal(qd_record_unpack(packed, length, &back), -1);
}

static void test_pack_is_bounded(void **state)
{
	unsigned char packed[QD_RECORD_PACK];
	struct qd_record rec;

	(void)state;
	for (int i = 0; i < QD_RESOURCES; i++) {
		rec.usage[i].used = -1; /* the longest of all */
		rec.usage[i].limit = INT64_MAX;
	}
	rec.since = -1;
	rec.read = -1;
	rec.kept = true;
	assert_true(qd_record_pack(&rec, packed) <= sizeof(packed));
}

static void test_same(void **state)
{
	struct qd_record a = with(QD_STORAGE, 5, 1), b = a;

	(void)state;
	b.read++;
	b.usage[QD_MESSAGE].used = 77; /* without a limit it is not kept */
	assert_true(qd_record_same(&a, &b));
	b.usage[QD_STORAGE].used++;
	assert_false(qd_record_same(&a, &b));
	b = a;
	b.since++;
	assert_false(qd_record_same(&a, &b));
	b = a;
	b.kept = true;
	assert_false(qd_record_same(&a, &b));
	b = a;
	b.usage[QD_MESSAGE].limit = 1000;
	assert_false(qd_record_same(&a, &b));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_truth_table),
		cmocka_unit_test(test_first_resource_wins),
		cmocka_unit_test(test_text),
		cmocka_unit_test(test_bad_texts),
		cmocka_unit_test(test_newer_keys_are_skipped),
		cmocka_unit_test(test_pack),
		cmocka_unit_test(test_pack_is_bounded),
		cmocka_unit_test(test_same),
	};

	return RUN_TESTS(tests);
}
