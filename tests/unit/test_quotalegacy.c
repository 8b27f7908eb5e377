/* SPDX-License-Identifier: BSD-2-Clause */
#include "check.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "scratch.h"

#include "quotadefer/quotalegacy.h"
#include "quotadefer/quotastore.h"

#define OVER  "%(S (102401 100) M (0) AS (0) NF (1) MODSEQ 3)\n"
#define UNDER "%(S (102400 100) M (0) AS (0) NF (1) MODSEQ 3)\n"

/* Measured, but for the last ones of each column, which follow. */
static void test_letters(void **state)
{
	static const struct {
		const char *root;
		char letter, full;
	} roots[] = {
		{ "user.joe", 'j', 'B' },   { "user.first^last", 'f', 'Q' },
		{ "user.1234", 'q', 'D' },  { "shared", 's', 'T' },
		{ "user.Upper", 'u', 'C' }, { "user.joe.sub", 'j', 'B' },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(roots); i++) {
		char got = qd_quotalegacy_letter(roots[i].root, true, false);
		char full = qd_quotalegacy_letter(roots[i].root, true, true);

		if (got != roots[i].letter || full != roots[i].full)
			fail_msg("%s: got %c %c", roots[i].root, got, full);
	}
	assert_int_equal(qd_quotalegacy_letter("virt.example", false, true),
			 'E');
	assert_int_equal(qd_quotalegacy_letter("virt.example", false, false),
			 'v');
	assert_int_equal(
		qd_quotalegacy_letter("\xc3\xa9t\xc3\xa9", false, false), 'q');
}

static struct qd_imapdconf conf_of(const char *tree)
{
	struct qd_imapdconf conf = { .quota_db = "quotalegacy" };

	qd_naming_defaults(&conf.naming);
	conf.naming.virtdomains = QD_VIRTDOMAINS_USERID;
	strcpy(conf.configdirectory, scratch_path(tree));
	return conf;
}

static const struct qd_scan_options plain = { .rule = QD_RULE_LMTPD,
					      .now = 1700000000 };

/* The roots found, in order, with a blank behind each. */
static const char *found(const struct qd_scan *scan)
{
	static char text[4096];
	struct qd_rootset_entry entry;

	text[0] = '\0';
	for (size_t i = 0; i < scan->publish.count; i++) {
		qd_rootset_get(&scan->publish, i, &entry);
		strcat(text, entry.root);
		strcat(text, entry.rec.since ? " " : "(shield) ");
	}
	return text;
}

static const char *why_of(const struct qd_scan *scan, const char *what)
{
	for (int i = 0; i < scan->complaint_count; i++)
		if (strcmp(scan->complaints[i].what, what) == 0)
			return scan->complaints[i].why;
	return "no complaint";
}

static void scan_tree(const struct qd_imapdconf *conf, struct qd_scan *scan)
{
	struct qd_error err = { 0 };

	if (qd_quotastore_scan(conf, &plain, scan, &err) < 0)
		fail_msg("%s", err.text);
}

static void test_tree(void **state)
{
	struct qd_imapdconf conf = conf_of("tree");
	struct qd_scan scan;

	(void)state;
	scratch_text("tree/quota/j/user.joe", OVER);
	scratch_text("tree/quota/j/user.joe.sub", OVER);
	scratch_text("tree/quota/k/user.kim", UNDER);
	scratch_text("tree/quota/f/user.first^last", OVER);
	scratch_text("tree/quota/q/user.1234", OVER);
	scratch_text("tree/quota/u/user.Upper", OVER);
	scratch_text("tree/quota/s/shared", OVER);
	scratch_text("tree/quota/l/shared.list", UNDER);
	scratch_text("tree/quota/x/other.x", UNDER);
	scratch_text("tree/quota/o/user.old", "102401\n100\n");
	scratch_text("tree/quota/r/root", OVER);
	scratch_text("tree/domain/v/virt.example/quota/j/user.joe", OVER);
	scratch_text("tree/domain/v/virt.example/quota/k/user.kim", UNDER);
	scratch_text("tree/domain/v/virt.example/quota/root", OVER);
	scan_tree(&conf, &scan);
	assert_string_equal(
		found(&scan),
		"root shared shared.list(shield) user.1234 user.Upper "
		"user.first^last user.joe user.joe.sub user.old "
		"virt.example! virt.example!user.joe ");
	assert_int_equal(scan.roots, 14);
	assert_int_equal(scan.over, 10);
	assert_int_equal(scan.malformed, 0);
	assert_int_equal(scan.complaint_count, 0);
	qd_scan_free(&scan);

	/* without virtual domains Cyrus does not look below domain/ */
	conf.naming.virtdomains = QD_VIRTDOMAINS_OFF;
	scan_tree(&conf, &scan);
	assert_int_equal(scan.roots, 11);
	qd_scan_free(&scan);
}

static void test_fulldirhash(void **state)
{
	struct qd_imapdconf conf = conf_of("full");
	struct qd_scan scan;

	(void)state;
	conf.fulldirhash = true;
	scratch_text("full/quota/B/user.joe", OVER);
	scratch_text("full/quota/Q/user.first^last", OVER);
	scratch_text("full/quota/j/user.jim", OVER);
	scratch_text("full/domain/E/virt.example/quota/B/user.joe", OVER);
	scratch_text("full/domain/v/vart.example/quota/B/user.joe", OVER);
	scan_tree(&conf, &scan);
	assert_string_equal(found(&scan), "user.first^last user.joe "
					  "virt.example!user.joe ");
	qd_scan_free(&scan);

	/* a wrong setting finds nothing, and the guard stops that */
	conf.fulldirhash = false;
	scan_tree(&conf, &scan);
	assert_string_equal(found(&scan), "user.jim ");
	qd_scan_free(&scan);
}

static void test_not_roots(void **state)
{
	struct qd_imapdconf conf = conf_of("odd");
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct qd_scan scan;
	int fd;

	(void)state;
	scratch_text("odd/quota/a/user.amy", OVER);
	scratch_text("odd/quota/a/user.ann.NEW", OVER);
	scratch_text("odd/quota/a/user.abe", "");
	scratch_text("odd/quota/a/user.ada", "\n");
	scratch_text("odd/quota/a/.hidden", OVER);
	scratch_text("odd/quota/README", OVER);
	scratch_text("odd/quota/ab/user.abc", OVER);
	scratch_text("odd/elsewhere/user.alf", OVER);
	assert_int_equal(symlink("../../elsewhere/user.alf",
				 scratch_path("odd/quota/a/user.alf")),
			 0);
	assert_int_equal(mkfifo(scratch_path("odd/quota/a/user.fifo"), 0600),
			 0);
	assert_int_equal(mkdir(scratch_path("odd/quota/a/user.dir"), 0700), 0);
	assert_int_equal(symlink("..", scratch_path("odd/quota/a/user.loop")),
			 0);
	assert_int_equal(symlink("../elsewhere", scratch_path("odd/quota/e")),
			 0);
	snprintf(address.sun_path, sizeof(address.sun_path), "%s",
		 scratch_path("odd/quota/a/user.asock"));
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)),
			 0);
	scan_tree(&conf, &scan);
	close(fd);
	assert_string_equal(found(&scan), "user.amy ");
	assert_int_equal(scan.roots, 1);
	assert_int_equal(scan.malformed, 1);
	assert_string_equal(why_of(&scan, "quota/e"),
			    "not a directory; links are not followed");
	qd_scan_free(&scan);
}

static void test_malformed(void **state)
{
	static char huge[70000];
	struct qd_imapdconf conf = conf_of("bad");
	struct qd_scan scan;

	(void)state;
	scratch_text("bad/quota/g/user.good", OVER);
	scratch_text("bad/quota/g/user.garbage", "garbage\n");
	scratch_text("bad/quota/g/user.gap", "%(S (999999999\n");
	scratch_text("bad/quota/g/user.gone", "%(S (5 1))");
	scratch_text("bad/quota/g/user.moved", OVER);
	scratch_text("bad/quota/g/virt.example!user.g", OVER);
	memset(huge, '1', sizeof(huge) - 1);
	scratch_text("bad/quota/g/user.giant", huge);
	scan_tree(&conf, &scan);
	assert_string_equal(found(&scan), "user.good ");
	assert_int_equal(scan.roots, 1);
	assert_int_equal(scan.malformed, 6);
	assert_string_equal(why_of(&scan, "quota/g/user.gone"),
			    "no newline at the end");
	assert_string_equal(why_of(&scan, "quota/g/user.moved"),
			    "misplaced: Cyrus looks in m/ for it");
	assert_string_equal(why_of(&scan, "quota/g/user.giant"),
			    "longer than 65536 bytes");
	qd_scan_free(&scan);
}

static void test_at_most_twenty_are_named(void **state)
{
	struct qd_imapdconf conf = conf_of("many");
	struct qd_scan scan;
	char name[64];

	(void)state;
	for (int i = 0; i < 50; i++) {
		snprintf(name, sizeof(name), "many/quota/m/user.m%d", i);
		scratch_text(name, "garbage\n");
	}
	scan_tree(&conf, &scan);
	assert_int_equal(scan.malformed, 50);
	assert_int_equal(scan.complaint_count, QD_COMPLAINTS);
	qd_scan_free(&scan);
}

static void test_unreadable(void **state)
{
	struct qd_imapdconf conf = conf_of("closed");
	struct qd_rootset_entry entry;
	struct qd_scan scan;

	(void)state;
	if (geteuid() == 0)
		skip(); /* root reads everything */
	scratch_text("closed/quota/a/user.amy", OVER);
	scratch_text("closed/quota/a/user.ann", OVER);
	scratch_text("closed/quota/b/user.bob", OVER);
	chmod(scratch_path("closed/quota/a/user.ann"), 0);
	chmod(scratch_path("closed/quota/b"), 0);
	scan_tree(&conf, &scan);
	chmod(scratch_path("closed/quota/b"), 0700);
	assert_string_equal(found(&scan), "user.amy ");
	assert_int_equal(scan.unreadable, 1);
	assert_int_equal(scan.unreadable_directories, 1);
	assert_int_equal(scan.unreadable_roots.count, 1);
	qd_rootset_get(&scan.unreadable_roots, 0, &entry);
	assert_string_equal(entry.root, "user.ann");
	assert_string_equal(why_of(&scan, "quota/b"), "Permission denied");
	qd_scan_free(&scan);
}

static void test_strict_publishes_headroom(void **state)
{
	struct qd_imapdconf conf = conf_of("near");
	struct qd_scan_options options = plain;
	struct qd_rootset_entry entry;
	struct qd_error err;
	struct qd_scan scan;

	(void)state;
	scratch_text("near/quota/n/user.near", UNDER);
	scratch_text("near/quota/f/user.far", "%(S (0 100000))\n");
	options.rule = QD_RULE_STRICT;
	options.size = 50000000;
	assert_int_equal(qd_quotastore_scan(&conf, &options, &scan, &err), 0);
	assert_int_equal(scan.publish.count, 1);
	assert_int_equal(scan.over, 0);
	qd_rootset_get(&scan.publish, 0, &entry);
	assert_string_equal(entry.root, "user.near");
	assert_int_equal(entry.rec.since, 0);
	qd_scan_free(&scan);
}

static void test_no_tree(void **state)
{
	struct qd_imapdconf conf = conf_of("nowhere");
	struct qd_error err = { 0 };
	struct qd_scan scan;

	(void)state;
	assert_int_equal(qd_quotastore_scan(&conf, &plain, &scan, &err), -1);
	assert_non_null(strstr(err.text, "nowhere/quota: No such file"));
	qd_scan_free(&scan);
}

static int stop_at_once(void *arg, const struct qd_scan *scan)
{
	(void)arg;
	(void)scan;
	return -1;
}

/* Thousands of roots, few and many threads: always the same result. */
static void test_threads(void **state)
{
	struct qd_imapdconf conf = conf_of("big");
	struct qd_scan_options options = plain;
	struct qd_error err;
	struct qd_scan scan;
	char name[64];

	(void)state;
	for (int i = 0; i < 3000; i++) {
		snprintf(name, sizeof(name), "big/quota/%c/user.%cx%d",
			 'a' + i % 3, 'a' + i % 3, i);
		scratch_text(name, i % 10 ? UNDER : OVER);
	}
	for (options.threads = 0; options.threads < 20; options.threads += 3) {
		assert_int_equal(
			qd_quotastore_scan(&conf, &options, &scan, &err), 0);
		assert_int_equal(scan.roots, 3000);
		assert_int_equal(scan.over, 300);
		assert_int_equal(scan.publish.count, 300);
		qd_scan_free(&scan);
	}
	options.tick = stop_at_once;
	for (int i = 0; i < 20; i++) {
		qd_quotastore_scan(&conf, &options, &scan, &err);
		qd_scan_free(&scan);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_letters),
		cmocka_unit_test(test_tree),
		cmocka_unit_test(test_fulldirhash),
		cmocka_unit_test(test_not_roots),
		cmocka_unit_test(test_malformed),
		cmocka_unit_test(test_at_most_twenty_are_named),
		cmocka_unit_test(test_unreadable),
		cmocka_unit_test(test_strict_publishes_headroom),
		cmocka_unit_test(test_no_tree),
		cmocka_unit_test(test_threads),
	};

	return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
