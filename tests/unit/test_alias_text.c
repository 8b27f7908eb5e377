/* SPDX-License-Identifier: BSD-2-Clause */
#include "check.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "quotadefer/aliasmap.h"
#include "scratch.h"

/* What was told to say since the last look, one line each. */
static char said[8192];
static size_t said_lines;

static void say(int priority, const char *text)
{
	size_t used = strlen(said);

	(void)priority;
	snprintf(said + used, sizeof(said) - used, "%s\n", text);
	said_lines++;
}

static void forget(void)
{
	said[0] = '\0';
	said_lines = 0;
}

typedef int open_fn(const char *name, bool strict,
		    void (*say)(int priority, const char *text),
		    struct qd_aliasmap **out, struct qd_error *err);

/* The map "kind:file"; its name stays in use. */
static const char *name_of(const char *kind, const char *file)
{
	static char names[4][512];
	static unsigned int next;
	char *name = names[next++ % 4];

	snprintf(name, sizeof(names[0]), "%s:%s", kind, scratch_path(file));
	return name;
}

static struct qd_aliasmap *open_texthash(const char *text)
{
	struct qd_aliasmap *map = NULL;
	struct qd_error err;

	forget();
	scratch_text("virtual", text);
	if (qd_alias_texthash_open(name_of("texthash", "virtual"), false, say,
				   &map, &err) < 0)
		fail_msg("%s", err.text);
	return map;
}

static struct qd_aliasmap *open_aliases(const char *text)
{
	struct qd_aliasmap *map = NULL;
	struct qd_error err;

	forget();
	scratch_text("aliases", text);
	if (qd_alias_aliases_open(name_of("aliases", "aliases"), false, say,
				  &map, &err) < 0)
		fail_msg("%s", err.text);
	return map;
}

/* want NULL: absent */
static void expect(struct qd_aliasmap *map, const char *key, const char *want)
{
	struct qd_aliasvalue value = { 0 };
	struct qd_error err = { 0 };
	enum qd_found found;

	found = map->ops->get(map, key, qd_aliasmap_now_ms(), &value, &err);
	if (found == QD_ERROR)
		fail_msg("%s: %s", key, err.text);
	if (!want != (found == QD_ABSENT) ||
	    (want && strcmp(value.text, want) != 0))
		fail_msg("%s: got %s, want %s", key,
			 value.text ? value.text : "nothing",
			 want ? want : "nothing");
	assert_string_equal(value.detail, "");
	free(value.text);
}

static enum qd_found include(struct qd_aliasmap *map, const char *path,
			     char *text, size_t size, struct qd_error *err)
{
	struct qd_aliasvalue value = { .explain = true };
	enum qd_found found = map->ops->include(map, path, &value, err);

	assert_true((found == QD_FOUND) == (value.text != NULL));
	snprintf(text, size, "%s", value.text ? value.text : "");
	free(value.text);
	return found;
}

static void expect_include(struct qd_aliasmap *map, const char *file,
			   const char *want)
{
	struct qd_error err = { 0 };
	char text[4096];

	if (include(map, scratch_path(file), text, sizeof(text), &err) !=
	    QD_FOUND)
		fail_msg("%s: %s", file, err.text);
	if (strcmp(text, want) != 0)
		fail_msg("%s: got %s, want %s", file, text, want);
}

static void expect_no_include(struct qd_aliasmap *map, const char *path,
			      const char *why)
{
	struct qd_error err = { 0 };
	char text[16];

	assert_int_equal(include(map, path, text, sizeof(text), &err),
			 QD_ERROR);
	if (!strstr(err.text, why))
		fail_msg("%s: %s", path, err.text);
}

/* As if the file had rested for long. */
static void age(const char *file)
{
	struct timespec times[2] = { { .tv_sec = 1000000000 },
				     { .tv_sec = 1000000000 } };

	assert_int_equal(utimensat(AT_FDCWD, scratch_path(file), times, 0), 0);
}

/* A new file in the place of the old, as careful editors write. */
static void replace(const char *file, const char *text)
{
	scratch_text("new", text);
	assert_int_equal(rename(scratch_path("new"), scratch_path(file)), 0);
}

static void test_texthash(void **state)
{
	struct qd_aliasmap *map =
		open_texthash("# comment\n"
			      "a@x.org b@x.org, c@x.org\n"
			      "  # a comment does not end it\n"
			      "\t, d\n"
			      "\"John Smith\"@X.org   John\r\n"
			      "@y.org @z.org\n"
			      "last end");

	(void)state;
	assert_int_equal(map->kind, QD_ALIASMAP_VIRTUAL);
	assert_null(map->ops->include);
	assert_string_equal(said, "");
	expect(map, "a@x.org", "b@x.org, c@x.org\t, d");
	expect(map, "A@X.ORG", "b@x.org, c@x.org\t, d");
	expect(map, "\"john smith\"@x.org", "John");
	expect(map, "@y.org", "@z.org");
	expect(map, "LAST", "end");
	expect(map, "", NULL);
	expect(map, "none", NULL);
	expect(map, "\xff", NULL);
	map->ops->close(map);
}

static void test_aliases(void **state)
{
	struct qd_aliasmap *map =
		open_aliases("postmaster: root\n"
			     "\"John Smith\" : john@x.org ,jim,\n"
			     "    \"|cmd -x\", /var/mail/x,\n"
			     "    :include:/etc/list\n"
			     "two words: x\n"
			     "empty: \"\"\n");

	(void)state;
	assert_int_equal(map->kind, QD_ALIASMAP_LOCAL);
	assert_string_equal(said, "");
	expect(map, "Postmaster", "root");
	expect(map, "john smith",
	       "john@x.org, jim, \"|cmd -x\", /var/mail/x, "
	       ":include:/etc/list");
	expect(map, "two words", "x");
	expect(map, "empty", "\"\"");
	expect(map, "\"john smith\"", NULL);
	map->ops->close(map);
}

static void test_long_keys(void **state)
{
	char key[QD_ALIAS_KEY_MAX + 2], text[sizeof(key) + 8];
	struct qd_aliasmap *map;

	(void)state;
	memset(key, 'k', sizeof(key));
	key[QD_ALIAS_KEY_MAX] = '\0';
	snprintf(text, sizeof(text), "%s v\n", key);
	map = open_texthash(text);
	expect(map, key, "v");
	key[QD_ALIAS_KEY_MAX] = 'k';
	key[QD_ALIAS_KEY_MAX + 1] = '\0';
	expect(map, key, NULL);
	map->ops->close(map);
}

static void test_bad_lines(void **state)
{
	static const struct {
		const char *name;
		open_fn *open;
		const char *kind, *text, *want;
	} cases[] = {
		{ "no value", qd_alias_texthash_open, "texthash", "a b\nc\n",
		  ":2: has no value" },
		{ "open quote", qd_alias_texthash_open, "texthash",
		  "a b\n\n\"c d\n", ":3: a quote has no end" },
		{ "twice", qd_alias_texthash_open, "texthash",
		  "a b\n# x\nA c\n", ":3: the key is in line 1 already" },
		{ "not UTF-8", qd_alias_texthash_open, "texthash",
		  "a \xff\na b\n", ":1: is not in UTF-8" },
		{ "blank first", qd_alias_texthash_open, "texthash",
		  " c d\na b\n", ":1: begins with a blank" },
		{ "no colon", qd_alias_aliases_open, "aliases", "a: b\nc d\n",
		  ":2: expected \"name: value\"" },
		{ "no alias value", qd_alias_aliases_open, "aliases",
		  "a: b\nc:\n", ":2: expected \"name: value\"" },
		{ "two names", qd_alias_aliases_open, "aliases",
		  "a: b\nc, d: e\n", ":2: expected one name" },
		{ "domain", qd_alias_aliases_open, "aliases",
		  "a: b\nc@x.org: e\n", ":2: the name must be a local part" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		const char *name = name_of(cases[i].kind, "bad");
		struct qd_aliasmap *map = NULL;
		struct qd_error err;

		forget();
		scratch_text("bad", cases[i].text);
		assert_int_equal(cases[i].open(name, true, say, &map, &err),
				 -1);
		if (!strstr(err.text, cases[i].want) ||
		    err.status != EX_CONFIG || said_lines)
			fail_msg("%s: %s", cases[i].name, err.text);
		assert_int_equal(cases[i].open(name, false, say, &map, &err),
				 0);
		if (!strstr(said, cases[i].want) || said_lines != 1 ||
		    !strstr(said, "skipped"))
			fail_msg("%s: %s", cases[i].name, said);
		expect(map, "a", "b");
		map->ops->close(map);
	}
}

static void test_many_bad_lines_are_told_in_short(void **state)
{
	struct qd_aliasmap *map;
	char text[2001];

	(void)state;
	for (size_t i = 0; i < 2000; i += 2)
		memcpy(text + i, "x\n", 2);
	text[2000] = '\0';
	map = open_texthash(text);
	assert_int_equal(said_lines, 21);
	assert_non_null(strstr(said, "980 more such lines"));
	map->ops->close(map);
}

static void test_an_odd_line_is_no_error(void **state)
{
	struct qd_aliasmap *map = open_texthash("a: b\n");
	struct qd_error err;

	(void)state;
	assert_non_null(strstr(said, "colon"));
	expect(map, "a:", "b");
	map->ops->close(map);
	assert_int_equal(qd_alias_texthash_open(name_of("texthash", "virtual"),
						true, say, &map, &err),
			 0);
	map->ops->close(map);
}

static void expect_closed(const char *name, const char *want)
{
	struct qd_aliasmap *map = NULL;
	struct qd_error err = { 0 };

	assert_int_equal(qd_alias_texthash_open(name, false, say, &map, &err),
			 -1);
	assert_null(map);
	if (!strstr(err.text, want) || err.status != EX_CONFIG)
		fail_msg("%s: %s", name, err.text);
}

static void test_files_that_cannot_be(void **state)
{
	int fd;

	(void)state;
	expect_closed(name_of("texthash", "none"), "No such file");
	expect_closed("texthash:relative", "must begin with");
	assert_int_equal(mkfifo(scratch_path("fifo"), 0600), 0);
	expect_closed(name_of("texthash", "fifo"), "not a regular file");
	assert_int_equal(mkdir(scratch_path("dir"), 0700), 0);
	expect_closed(name_of("texthash", "dir"), "not a regular file");
	scratch_text("large", "");
	fd = open(scratch_path("large"), O_WRONLY);
	assert_int_equal(ftruncate(fd, ((off_t)64 << 20) + 1), 0);
	close(fd);
	expect_closed(name_of("texthash", "large"), "larger than");
}

/* As the filter runs: without the rights of root. */
static void test_unreadable(void **state)
{
	bool is_root = geteuid() == 0;

	(void)state;
	scratch_text("secret", "a b\n");
	assert_int_equal(chmod(scratch_path("secret"), 0), 0);
	if (is_root)
		assert_int_equal(seteuid(65534), 0);
	expect_closed(name_of("texthash", "secret"), "user that the filter");
	if (is_root)
		assert_int_equal(seteuid(0), 0);
}

static void test_reload(void **state)
{
	struct qd_aliasmap *map = open_texthash("a 1\n");

	(void)state;
	expect(map, "a", "1");
	replace("virtual", "a 2\n");
	expect(map, "a", "2");
	assert_int_equal(said_lines, 1);
	forget();
	replace("virtual", "a 3\nb\n");
	expect(map, "a", "2");
	expect(map, "a", "2");
	assert_int_equal(said_lines, 1);
	assert_non_null(strstr(said, "virtual:2: has no value"));
	assert_non_null(strstr(said, "old content stays"));
	forget();
	replace("virtual", "a 4\n");
	age("virtual");
	expect(map, "a", "4");
	assert_int_equal(said_lines, 1);
	assert_non_null(strstr(said, "in use again"));
	map->ops->close(map);
}

static void test_written_in_place(void **state)
{
	struct qd_aliasmap *map = open_texthash("a 1\n");
	int64_t deadline = qd_aliasmap_now_ms() + 60000;
	struct qd_aliasvalue value = { 0 };

	(void)state;
	scratch_text("virtual", "");
	expect(map, "a", "1");
	scratch_text("virtual", "a 2\n");
	for (;;) {
		assert_int_equal(map->ops->get(map, "a", 0, &value, NULL),
				 QD_FOUND);
		if (strcmp(value.text, "2") == 0)
			break;
		assert_string_equal(value.text, "1");
		free(value.text);
		assert_true(qd_aliasmap_now_ms() < deadline);
	}
	free(value.text);
	map->ops->close(map);
}

static void test_explained_and_counted(void **state)
{
	struct qd_aliasmap *map = open_texthash("# one\na b\n");
	struct qd_aliasvalue value = { .explain = true };
	unsigned long long sum = 0;
	char want[512];

	(void)state;
	assert_int_equal(map->ops->get(map, "a", 0, &value, NULL), QD_FOUND);
	snprintf(want, sizeof(want), "line 2 of %s", scratch_path("virtual"));
	assert_string_equal(value.detail, want);
	free(value.text);
	assert_int_equal(map->ops->get(map, "b", 0, &value, NULL), QD_ABSENT);
	assert_null(value.text);
	assert_string_equal(value.detail, "");
	assert_int_equal(atomic_load(&map->stats.found), 1);
	assert_int_equal(atomic_load(&map->stats.absent), 1);
	assert_int_equal(atomic_load(&map->stats.errors), 0);
	assert_true(atomic_load(&map->stats.nanoseconds) > 0);
	for (size_t i = 0; i < QD_ALIAS_BUCKETS; i++)
		sum += atomic_load(&map->stats.bucket[i]);
	assert_int_equal(sum, 2);
	map->ops->close(map);
}

static void test_include(void **state)
{
	struct qd_aliasmap *map = open_aliases("list: :include:/x\n");
	char line[4200];

	(void)state;
	scratch_text("list", "# comment\na@x.org, b\n # none\n\nc\r\nlast");
	expect_include(map, "list", "a@x.org, b\n # none\n\nc\r\nlast");
	replace("list", "a\n");
	expect_include(map, "list", "a\n");
	assert_int_equal(said_lines, 0);
	assert_int_equal(chmod(scratch_path("list"), 0666), 0);
	age("list");
	expect_include(map, "list", "a\n");
	expect_include(map, "list", "a\n");
	assert_int_equal(said_lines, 1);
	assert_non_null(strstr(said, "everybody may write"));
	assert_int_equal(unlink(scratch_path("list")), 0);
	expect_include(map, "list", "a\n");
	assert_int_equal(said_lines, 2);
	scratch_text("list", "");
	age("list");
	map->ops->close(map);

	map = open_aliases("");
	expect_include(map, "list", "");
	scratch_write("list2", "a\0b\nc", 5);
	expect_include(map, "list2", "a\nc");
	memset(line, 'x', 2050);
	strcpy(line + 2050, "\n#\n");
	scratch_text("list3", line);
	strcpy(line + 2048, "\nxx\n"); /* a line of its own */
	expect_include(map, "list3", line);
	map->ops->close(map);
}

static void test_include_errors(void **state)
{
	struct qd_aliasmap *map = open_aliases("");

	(void)state;
	expect_no_include(map, "relative", "must begin with");
	expect_no_include(map, "/a\nb", "control character");
	expect_no_include(map, scratch_path("nobody"), "No such file");
	expect_no_include(map, scratch_path("nobody"), "No such file");
	assert_int_equal(said_lines, 1);
	assert_int_equal(mkfifo(scratch_path("fifo2"), 0600), 0);
	expect_no_include(map, scratch_path("fifo2"), "not a regular file");
	scratch_text("nobody", "a\n");
	age("nobody");
	expect_include(map, "nobody", "a\n");
	map->ops->close(map);
}

struct asking {
	struct qd_aliasmap *map;
	char list[1024];
	atomic_bool stop;
	atomic_int failures; /* cmocka asserts in its own thread only */
};

static void *ask_on(void *arg)
{
	struct asking *asking = arg;
	struct qd_aliasmap *map = asking->map;

	while (!atomic_load(&asking->stop)) {
		struct qd_aliasvalue value = { 0 };

		if (map->ops->get(map, "a", 0, &value, NULL) != QD_FOUND)
			atomic_fetch_add(&asking->failures, 1);
		free(value.text);
		if (map->ops->include(map, asking->list, &value, NULL) !=
		    QD_FOUND)
			atomic_fetch_add(&asking->failures, 1);
		free(value.text);
	}
	return NULL;
}

static void test_threads(void **state)
{
	struct asking asking = { .map = open_aliases("a: 0\n") };
	pthread_t threads[4];
	char text[32];

	(void)state;
	asking.map->say = NULL;
	scratch_text("list", "x\n");
	snprintf(asking.list, sizeof(asking.list), "%s", scratch_path("list"));
	for (size_t i = 0; i < COUNT(threads); i++)
		assert_int_equal(
			pthread_create(&threads[i], NULL, ask_on, &asking), 0);
	for (int i = 1; i < 200; i++) {
		snprintf(text, sizeof(text), "a: %d\n", i);
		replace("aliases", text);
		replace("list", text);
	}
	atomic_store(&asking.stop, true);
	for (size_t i = 0; i < COUNT(threads); i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(atomic_load(&asking.failures), 0);
	asking.map->ops->close(asking.map);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_texthash),
		cmocka_unit_test(test_aliases),
		cmocka_unit_test(test_long_keys),
		cmocka_unit_test(test_bad_lines),
		cmocka_unit_test(test_many_bad_lines_are_told_in_short),
		cmocka_unit_test(test_an_odd_line_is_no_error),
		cmocka_unit_test(test_files_that_cannot_be),
		cmocka_unit_test(test_unreadable),
		cmocka_unit_test(test_reload),
		cmocka_unit_test(test_written_in_place),
		cmocka_unit_test(test_explained_and_counted),
		cmocka_unit_test(test_include),
		cmocka_unit_test(test_include_errors),
		cmocka_unit_test(test_threads),
	};

	return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
