/* SPDX-License-Identifier: BSD-2-Clause */
#include "check.h"

#include <sysexits.h>

#include "quotadefer/publish.h"

/* A publisher that writes down what it is told. */
struct notebook {
	char text[1024];
	int fail_at; /* the change that fails; 0: none */
	int changes;
	struct qd_source sources[4];
	int source_count;
};

static int note_change(void *self, const char *root,
		       const struct qd_record *before,
		       const struct qd_record *after, struct qd_error *err)
{
	struct notebook *book = self;
	size_t used = strlen(book->text);

	if (++book->changes == book->fail_at)
		return qd_error_set(err, EX_UNAVAILABLE, "no");
	snprintf(book->text + used, sizeof(book->text) - used,
		 "%s%s:%lld/%lld%s ",
		 !before ? "+" :
		 after	 ? "=" :
			   "-",
		 root, after ? (long long)after->usage[QD_STORAGE].used : 0,
		 after ? (long long)after->since : 0,
		 after && after->kept ? "k" : "");
	return 0;
}

static int each_source(void *self,
		       int (*each)(void *arg, const struct qd_source *src),
		       void *arg, struct qd_error *err)
{
	struct notebook *book = self;

	(void)err;
	for (int i = 0; i < book->source_count; i++)
		if (each(arg, &book->sources[i]) < 0)
			return -1;
	return 0;
}

static const struct qd_publisher notebook_publisher = {
	.name = "notebook",
	.change = note_change,
	.sources = each_source,
};

static void add(struct qd_rootset *set, const char *root, int64_t used,
		int64_t since, int64_t read, bool kept)
{
	struct qd_record rec;

	qd_record_init(&rec);
	rec.usage[QD_STORAGE] = (struct qd_usage){ used, 0 };
	rec.since = since;
	rec.read = read;
	rec.kept = kept;
	assert_int_equal(qd_rootset_add(set, root, 0, &rec), 0);
}

struct fixture {
	struct qd_rootset current, wanted, unreadable;
	struct qd_reconcile what;
	struct notebook book;
	struct qd_published done;
	struct qd_error err;
};

static void prepare(struct fixture *f)
{
	memset(f, 0, sizeof(*f));
	f->what = (struct qd_reconcile){ &f->current, &f->wanted,
					 &f->unreadable, 900, true };
}

static int reconcile(struct fixture *f)
{
	int rc;

	qd_rootset_sort(&f->current);
	qd_rootset_sort(&f->wanted);
	qd_rootset_sort(&f->unreadable);
	rc = qd_publish_reconcile(&f->what, &notebook_publisher, &f->book, NULL,
				  NULL, &f->done, &f->err);
	qd_rootset_free(&f->current);
	qd_rootset_free(&f->wanted);
	qd_rootset_free(&f->unreadable);
	return rc;
}

static void test_only_differences(void **state)
{
	struct fixture f;

	(void)state;
	prepare(&f);
	add(&f.current, "user.same", 5, 100, 100, false);
	add(&f.current, "user.gone", 5, 100, 100, false);
	add(&f.current, "user.less", 9, 100, 100, false);
	add(&f.wanted, "user.same", 5, 200, 200, false);
	add(&f.wanted, "user.less", 6, 200, 200, false);
	add(&f.wanted, "user.new", 7, 200, 200, false);
	assert_int_equal(reconcile(&f), 0);
	/* removals last; who stays over stays over since then */
	assert_string_equal(f.book.text, "+user.new:7/200 =user.less:6/100 "
					 "-user.gone:0/0 ");
	assert_int_equal(f.done.added, 1);
	assert_int_equal(f.done.changed, 1);
	assert_int_equal(f.done.removed, 1);
}

static void test_nothing_to_do(void **state)
{
	struct fixture f;

	(void)state;
	prepare(&f);
	assert_int_equal(reconcile(&f), 0);
	assert_string_equal(f.book.text, "");
	prepare(&f);
	add(&f.current, "user.a", 5, 100, 100, false);
	add(&f.wanted, "user.a", 5, 200, 200, false);
	assert_int_equal(reconcile(&f), 0);
	assert_string_equal(f.book.text, "");
}

/* What was not seen may be there or not: it stays, and grows old. */
static void test_incomplete_scan_removes_nothing(void **state)
{
	struct fixture f;

	(void)state;
	prepare(&f);
	f.what.removals = false;
	add(&f.current, "user.gone", 5, 100, 100, false);
	add(&f.current, "user.still", 5, 100, 100, true);
	add(&f.wanted, "user.new", 7, 200, 200, false);
	assert_int_equal(reconcile(&f), 0);
	assert_string_equal(f.book.text, "+user.new:7/200 =user.gone:5/100k ");
}

/* One of two clocks was wrong; the later since rejects nobody too early. */
static void test_since_is_never_made_earlier(void **state)
{
	struct fixture f;

	(void)state;
	prepare(&f);
	add(&f.current, "user.ahead", 5, 9000, 9000, false);
	add(&f.wanted, "user.ahead", 6, 200, 200, false);
	assert_int_equal(reconcile(&f), 0);
	assert_string_equal(f.book.text, "=user.ahead:6/9000 ");
}

/* A shared root of which nothing is known now has a shield for a record. */
static void test_unreadable_with_a_shield(void **state)
{
	struct fixture f;

	(void)state;
	prepare(&f);
	add(&f.current, "shared.a", 5, 100, 100, false);
	add(&f.wanted, "shared.a", 0, 0, 200, false);
	add(&f.wanted, "shared.b", 0, 0, 200, false);
	assert_int_equal(qd_rootset_add(&f.unreadable, "shared.a", 0, NULL), 0);
	assert_int_equal(qd_rootset_add(&f.unreadable, "shared.b", 0, NULL), 0);
	assert_int_equal(reconcile(&f), 0);
	assert_string_equal(f.book.text, "+shared.b:0/0 =shared.a:5/100k ");
}

/* What cannot be read is kept, marked once, and no longer made younger. */
static void test_unreadable(void **state)
{
	struct fixture f;

	(void)state;
	prepare(&f);
	add(&f.current, "user.lost", 5, 100, 100, false);
	add(&f.current, "user.still", 5, 100, 100, true);
	assert_int_equal(qd_rootset_add(&f.unreadable, "user.lost", 0, NULL),
			 0);
	assert_int_equal(qd_rootset_add(&f.unreadable, "user.still", 0, NULL),
			 0);
	assert_int_equal(reconcile(&f), 0);
	assert_string_equal(f.book.text, "=user.lost:5/100k ");
	/* and when it can be read again */
	prepare(&f);
	add(&f.current, "user.lost", 5, 100, 900, true);
	add(&f.wanted, "user.lost", 5, 1000, 1000, false);
	assert_int_equal(reconcile(&f), 0);
	assert_string_equal(f.book.text, "=user.lost:5/100 ");
}

static void test_shield_becomes_full(void **state)
{
	struct fixture f;

	(void)state;
	prepare(&f);
	add(&f.current, "shared.a", 5, 0, 100, false);
	add(&f.current, "shared.b", 5, 100, 100, false);
	add(&f.wanted, "shared.a", 6, 200, 200, false);
	add(&f.wanted, "shared.b", 5, 0, 200, false);
	assert_int_equal(reconcile(&f), 0);
	assert_string_equal(f.book.text, "=shared.b:5/0 =shared.a:6/200 ");
}

/* Readers see one batch after the other: no root is without its shield. */
static void test_shield_is_there_first(void **state)
{
	static const char *const roots[] = { "virt.example!",
					     "virt.example!user.joe",
					     "virt.example!user.joe.sub" };
	struct fixture f;

	(void)state;
	prepare(&f);
	for (int i = 0; i < 3; i++)
		add(&f.wanted, roots[i], 5, i == 1 ? 0 : 200, 200, false);
	assert_int_equal(reconcile(&f), 0);
	assert_string_equal(f.book.text, "+virt.example!user.joe.sub:5/200 "
					 "+virt.example!user.joe:5/0 "
					 "+virt.example!:5/200 ");
	prepare(&f);
	for (int i = 0; i < 3; i++)
		add(&f.current, roots[i], 5, i == 1 ? 0 : 200, 200, false);
	assert_int_equal(reconcile(&f), 0);
	assert_string_equal(f.book.text, "-virt.example!:0/0 "
					 "-virt.example!user.joe:0/0 "
					 "-virt.example!user.joe.sub:0/0 ");
}

static void test_failure_stops(void **state)
{
	struct fixture f;

	(void)state;
	prepare(&f);
	f.book.fail_at = 2;
	add(&f.current, "user.gone", 5, 100, 100, false);
	add(&f.wanted, "user.a", 5, 200, 200, false);
	add(&f.wanted, "user.b", 5, 200, 200, false);
	assert_int_equal(reconcile(&f), -1);
	assert_string_equal(f.book.text, "+user.b:5/200 ");
	assert_int_equal(f.err.status, EX_UNAVAILABLE);
}

static void test_naming(void **state)
{
	struct notebook book = { .source_count = 2 };
	struct qd_source src;
	struct qd_error err = { 0 };

	(void)state;
	qd_source_init(&src, "mail1");
	qd_source_init(&book.sources[0], "mail1");
	qd_source_init(&book.sources[1], "mail2");
	for (int i = 0; i < 2; i++)
		book.sources[i].scanned = 1000;
	/* one's own old naming is no hindrance */
	book.sources[0].naming.virtdomains = QD_VIRTDOMAINS_ON;
	assert_int_equal(qd_publish_check_naming(&notebook_publisher, &book,
						 &src, 1010, 60, &err),
			 0);
	book.sources[1].naming.unixhierarchysep = false;
	assert_int_equal(qd_publish_check_naming(&notebook_publisher, &book,
						 &src, 1010, 60, &err),
			 -1);
	assert_int_equal(err.status, EX_CONFIG);
	assert_non_null(strstr(err.text, "unixhierarchysep"));
	assert_non_null(strstr(err.text, "mail2"));
	/* a source that is gone has no say */
	assert_int_equal(qd_publish_check_naming(&notebook_publisher, &book,
						 &src, 1100, 60, &err),
			 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_only_differences),
		cmocka_unit_test(test_nothing_to_do),
		cmocka_unit_test(test_incomplete_scan_removes_nothing),
		cmocka_unit_test(test_since_is_never_made_earlier),
		cmocka_unit_test(test_unreadable),
		cmocka_unit_test(test_unreadable_with_a_shield),
		cmocka_unit_test(test_shield_becomes_full),
		cmocka_unit_test(test_shield_is_there_first),
		cmocka_unit_test(test_failure_stops),
		cmocka_unit_test(test_naming),
	};

	return RUN_TESTS(tests);
}
