/* SPDX-License-Identifier: BSD-2-Clause */
#include "check.h"

#include <stdlib.h>
#include <sysexits.h>

#include "scratch.h"

#include "quotadefer/aliases.h"

/* Settings with these lines; %d is where the files are. */
static struct qd_settings *load(const char *lines)
{
	struct qd_settings *settings;
	struct qd_error err;
	char text[2048] = "";
	size_t used = 0;

	for (; *lines; lines++) {
		if (strncmp(lines, "%d", 2) == 0) {
			used += (size_t)snprintf(text + used,
						 sizeof(text) - used, "%s",
						 scratch_path("."));
			lines++;
		} else {
			text[used++] = *lines;
			text[used] = '\0';
		}
	}
	scratch_text("q.conf", text);
	if (qd_settings_load(scratch_path("q.conf"), NULL, &settings, &err) < 0)
		fail_msg("%s", err.text);
	return settings;
}

static const char three[] =
	"alias_maps = { \"texthash:%d/virtual\", \"ldap:%d/table.cf\",\n"
	"  \"aliases:%d/aliases\" }\n";

static void write_files(void)
{
	scratch_text("virtual", "a@b c@d\n");
	scratch_text("aliases", "joe: ann\n");
	scratch_text("table.cf", "server_host = ldap://127.0.0.1:9\n"
				 "search_base = dc=x\n");
}

static bool fits(const struct qd_aliases *aliases, const char *lines)
{
	struct qd_settings *settings = load(lines);
	bool fit = qd_aliases_fit(aliases, settings);

	qd_settings_unref(&settings);
	return fit;
}

static int open_them(const char *lines, bool strict, struct qd_aliases **out,
		     struct qd_error *err)
{
	struct qd_settings *settings = load(lines);
	int rc = qd_aliases_open(settings, strict, NULL, out, err);

	qd_settings_unref(&settings);
	return rc;
}

/* Built with libldap? Without, there are text maps only. */
static bool has_ldap(void)
{
	struct qd_aliases *aliases = NULL;
	struct qd_error err;
	int rc;

	write_files();
	rc = open_them("alias_maps = { \"ldap:%d/table.cf\" }\n", true,
		       &aliases, &err);
	qd_aliases_unref(&aliases);
	return rc == 0;
}

static void test_none(void **state)
{
	struct qd_aliases *aliases;
	struct qd_error err;

	(void)state;
	assert_int_equal(open_them("", true, &aliases, &err), 0);
	assert_null(aliases);
	assert_true(fits(aliases, ""));
	assert_false(fits(aliases, three));
	assert_null(qd_aliases_ref(aliases));
	qd_aliases_each(aliases, NULL, NULL);
	qd_aliases_unref(&aliases);
}

static void test_fit(void **state)
{
	char other[1024];
	struct qd_aliases *aliases;
	struct qd_error err;

	(void)state;
	if (!has_ldap())
		return;
	write_files();
	if (open_them(three, true, &aliases, &err) < 0)
		fail_msg("%s", err.text);
	assert_true(fits(aliases, three));
	assert_false(fits(aliases, ""));
	assert_false(
		fits(aliases, "alias_maps = { \"texthash:%d/virtual\" }\n"));
	assert_false(fits(aliases, "alias_maps = { \"ldap:%d/table.cf\",\n"
				   "  \"texthash:%d/virtual\",\n"
				   "  \"aliases:%d/aliases\" }\n"));
	snprintf(other, sizeof(other), "%salias_cache_size = 1000\n", three);
	assert_false(fits(aliases, other));
	snprintf(other, sizeof(other), "%salias_connections = 2\n", three);
	assert_false(fits(aliases, other));
	/* these are asked for at each look-up */
	snprintf(other, sizeof(other), "%salias_timeout = 3s\n", three);
	assert_true(fits(aliases, other));
	/* text maps look by themselves */
	scratch_text("virtual", "a@b other@d\n");
	assert_true(fits(aliases, three));
	scratch_text("table.cf", "server_host = ldap://127.0.0.1:9\n"
				 "search_base = dc=other\n");
	assert_false(fits(aliases, three));
	qd_aliases_unref(&aliases);
	assert_null(aliases);
}

static void test_bad_map(void **state)
{
	static const struct {
		const char *lines, *file;
	} cases[] = {
		{ "alias_maps = { \"texthash:%d/virtual\",\n"
		  "  \"aliases:%d/gone\" }\n",
		  "/gone" },
		{ "alias_maps = { \"texthash:%d/gone\" }\n", "/gone" },
		{ "alias_maps = { \"ldap:%d/gone\" }\n", "/gone" },
		{ "alias_maps = { \"texthash:%d/odd\" }\n", "/odd" },
	};
	struct qd_aliases *aliases = NULL;
	struct qd_error err;

	(void)state;
	write_files();
	scratch_text("odd", "a@b c@d\nnothing-behind-it\n");
	for (size_t i = 0; i < COUNT(cases); i++) {
		if (open_them(cases[i].lines, true, &aliases, &err) == 0)
			fail_msg("%s is taken", cases[i].lines);
		assert_null(aliases);
		assert_int_equal(err.status, EX_CONFIG);
		if (!strstr(err.text, cases[i].file))
			fail_msg("\"%s\" does not name %s", err.text,
				 cases[i].file);
	}
}

static void take_name(void *arg, const char *name,
		      const struct qd_aliasmap_stats *stats)
{
	strcat(arg, name[0] == 't' ? "t" : name[0] == 'l' ? "l" : "a");
	assert_int_equal(stats->errors, 0);
}

static void test_each_and_cached(void **state)
{
	struct qd_aliases *aliases, *second;
	char names[8] = "", text[64], name[512];
	struct qd_error err;

	(void)state;
	if (!has_ldap())
		return;
	write_files();
	assert_int_equal(open_them(three, true, &aliases, &err), 0);
	second = qd_aliases_ref(aliases);
	qd_aliases_unref(&aliases);
	qd_aliases_each(second, take_name, names);
	assert_string_equal(names, "tla");
	snprintf(name, sizeof(name), "ldap:%s/table.cf", scratch_path("."));
	qd_aliases_cached(second, name, "a@b", text, sizeof(text));
	assert_string_equal(text, "absent");
	snprintf(name, sizeof(name), "texthash:%s/virtual", scratch_path("."));
	qd_aliases_cached(second, name, "a@b", text, sizeof(text));
	assert_string_equal(text, "the filter has no cache of that map");
	qd_aliases_unref(&second);
}

/* The whole of it, with files. */
static void test_expand(void **state)
{
	struct qd_address address = { .local = "a", .domain = "b" };
	struct qd_targets targets;
	struct qd_settings *settings;
	struct qd_aliases *aliases;
	struct qd_error err;

	(void)state;
	write_files();
	scratch_text("virtual", "a@b joe@here\n");
	settings = load("alias_maps = { \"texthash:%d/virtual\",\n"
			"  \"aliases:%d/aliases\" }\n"
			"mydestination = { \"here\" }\n");
	assert_int_equal(qd_aliases_open(settings, true, NULL, &aliases, &err),
			 0);
	assert_int_equal(qd_aliases_expand(aliases, settings, &address, NULL,
					   &targets, &err),
			 QD_FOUND);
	assert_int_equal(targets.count, 1);
	assert_string_equal(targets.items[0].address.local, "ann");
	assert_string_equal(targets.items[0].address.domain, "here");
	qd_targets_free(&targets);
	qd_aliases_unref(&aliases);
	qd_settings_unref(&settings);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_none),
		cmocka_unit_test(test_fit),
		cmocka_unit_test(test_bad_map),
		cmocka_unit_test(test_each_and_cached),
		cmocka_unit_test(test_expand),
	};

	return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
