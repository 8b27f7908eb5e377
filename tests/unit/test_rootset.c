/* SPDX-License-Identifier: BSD-2-Clause */
#include "check.h"

#include <stdlib.h>

#include "quotadefer/rootset.h"

static struct qd_record record(int64_t used)
{
	struct qd_record rec;

	qd_record_init(&rec);
	rec.usage[QD_STORAGE] = (struct qd_usage){ used, 0 };
	rec.read = 1;
	return rec;
}

static void add(struct qd_rootset *set, const char *root, uint16_t source,
		int64_t used)
{
	struct qd_record rec = record(used);

	assert_int_equal(qd_rootset_add(set, root, source, used ? &rec : NULL),
			 0);
}

static void test_sort_keeps_the_last(void **state)
{
	struct qd_rootset set = { 0 };
	struct qd_rootset_entry entry;
	static const struct {
		const char *root;
		uint16_t source;
		int64_t used;
	} want[] = {
		{ "a", 0, 9 }, { "b", 0, 2 }, { "b", 1, 3 }, { "c", 0, 0 }
	};

	(void)state;
	add(&set, "c", 0, 7);
	add(&set, "b", 1, 3);
	add(&set, "a", 0, 1);
	add(&set, "b", 0, 2);
	add(&set, "a", 0, 8);
	add(&set, "a", 0, 9);
	add(&set, "c", 0, 0);
	qd_rootset_sort(&set);
	assert_int_equal(set.count, COUNT(want));
	for (size_t i = 0; i < COUNT(want); i++) {
		qd_rootset_get(&set, i, &entry);
		assert_string_equal(entry.root, want[i].root);
		assert_int_equal(entry.source, want[i].source);
		assert_int_equal(entry.has_record, want[i].used != 0);
		if (entry.has_record)
			assert_int_equal(entry.rec.usage[QD_STORAGE].used,
					 want[i].used);
	}
	qd_rootset_free(&set);
	assert_int_equal(set.count, 0);
}

static void test_find(void **state)
{
	struct qd_rootset set = { 0 };
	struct qd_rootset_entry entry;
	char name[16];

	(void)state;
	assert_false(qd_rootset_find(&set, "user.1", 0, NULL));
	for (int i = 1; i < 2000; i += 2) {
		snprintf(name, sizeof(name), "user.%d", i);
		add(&set, name, 0, i);
	}
	qd_rootset_sort(&set);
	for (int i = 0; i < 2000; i++) {
		snprintf(name, sizeof(name), "user.%d", i);
		assert_int_equal(qd_rootset_find(&set, name, 0, &entry), i % 2);
		if (i % 2)
			assert_int_equal(entry.rec.usage[QD_STORAGE].used, i);
		assert_false(qd_rootset_find(&set, name, 1, NULL));
	}
	qd_rootset_free(&set);
}

static void test_merge(void **state)
{
	struct qd_rootset a = { 0 }, b = { 0 };
	struct qd_rootset_entry entry;

	(void)state;
	add(&a, "a", 0, 1);
	add(&b, "b", 0, 2);
	add(&b, "a", 0, 3);
	add(&b, "c", 0, 0);
	assert_int_equal(qd_rootset_merge(&a, &b), 0);
	qd_rootset_sort(&a);
	assert_int_equal(a.count, 3);
	qd_rootset_get(&a, 0, &entry);
	assert_int_equal(entry.rec.usage[QD_STORAGE].used, 3);
	qd_rootset_get(&a, 2, &entry);
	assert_false(entry.has_record);
	qd_rootset_free(&a);
	qd_rootset_free(&b);
	qd_rootset_sort(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sort_keeps_the_last),
		cmocka_unit_test(test_find),
		cmocka_unit_test(test_merge),
	};

	return RUN_TESTS(tests);
}
