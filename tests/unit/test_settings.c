/* SPDX-License-Identifier: BSD-2-Clause */
#include "check.h"

#include <stdlib.h>

#include "scratch.h"

#include "quotadefer/settings.h"

static int load(const char *text, const char *const *overrides,
		struct qd_settings **out, struct qd_error *err)
{
	scratch_text("q.conf", text);
	memset(err, 0, sizeof(*err));
	return qd_settings_load(scratch_path("q.conf"), overrides, out, err);
}

static void test_defaults(void **state)
{
	struct qd_settings *s;
	struct qd_error err;

	(void)state;
	if (load("", NULL, &s, &err) < 0)
		fail_msg("%s", err.text);
	assert_null(s->redis);
	assert_int_equal(s->mode, QD_MODE_ENFORCE);
	assert_int_equal(s->null_sender, QD_NULL_DATA);
	assert_int_equal(s->authenticated, QD_AUTH_PASS);
	assert_int_equal(s->defer_limit, 8);
	assert_int_equal(s->reply_code, 451);
	assert_int_equal(s->max_age_ms, 3 * 3600 * 1000);
	assert_int_equal(s->domains.count, 0);
	assert_int_equal(s->probe_senders.count, 1);
	assert_int_equal(s->mode_domain_count, 0);
	assert_int_equal(s->enforce_share, 100);
	assert_int_equal(s->exempt_recipients.count, 0);
	assert_int_equal(s->exempt_senders.count, 0);
	assert_int_equal(s->exempt_client_count, 0);
	assert_string_equal(s->reply_enhanced_code, "4.2.2");
	assert_string_equal(s->reply_text,
			    "mailbox full, please try again later");
	assert_int_equal(s->reject_after_ms, -1);
	assert_int_equal(s->alias_maps.count, 0);
	assert_int_equal(s->alias_rule, QD_ALIAS_ALL);
	assert_int_equal(s->alias_timeout_ms, 2000);
	assert_int_equal(s->alias_connect_timeout_ms, 500);
	assert_int_equal(s->alias_search_timeout_ms, 1000);
	assert_string_equal(s->recipient_delimiter, "+");
	assert_null(s->myorigin);
	assert_int_equal(s->mydestination.count, 0);
	assert_string_equal(s->imapd_conf, "/etc/imapd.conf");
	assert_true(s->source[0]);
	qd_settings_unref(&s);
	assert_null(s);
}

static void test_every_kind(void **state)
{
	static const char text[] =
		"# a comment\n"
		"table = \"/srv/table\" // another\n"
		"table_size = 16M\n"
		"domains = { \"example.org\", \"b.example\" }\n"
		"probe_senders = {}\n"
		"mode = monitor\n"
		"max_age = 90s\n"
		"defer_limit = 010\n"
		"socket = 'inet:127.0.0.1:8891'\n"
		"redis = \"redis://u:p@mx1/2\"\n"
		"guard_roots = 10%\n"
		"reply_text = \"full, come \\\n"
		"back\"\n";
	struct qd_settings *s;
	struct qd_error err;

	(void)state;
	if (load(text, NULL, &s, &err) < 0)
		fail_msg("%s", err.text);
	assert_string_equal(s->table, "/srv/table");
	assert_int_equal(s->table_size, 16 << 20);
	assert_int_equal(s->domains.count, 2);
	assert_string_equal(s->domains.items[1], "b.example");
	assert_int_equal(s->probe_senders.count, 0);
	assert_int_equal(s->mode, QD_MODE_MONITOR);
	assert_int_equal(s->max_age_ms, 90000);
	/* ten: libconfuse's own integers would read it as eight */
	assert_int_equal(s->defer_limit, 10);
	assert_string_equal(s->socket_spec.milter, "inet:8891@127.0.0.1");
	assert_string_equal(s->redis_url.user, "u");
	assert_int_equal(s->redis_url.db, 2);
	assert_int_equal(s->guard_roots, 10);
	assert_string_equal(s->reply_text, "full, come back");
	qd_settings_unref(&s);
}

static void test_policy(void **state)
{
	static const char text[] =
		"mode_domains = { \"Example.org=monitor\" }\n"
		"mode_domains += \"b.example=enforce\"\n"
		"enforce_share = 25%\n"
		"exempt_recipients = { \"ceo@example.org\", \"*@b.example\" }\n"
		"exempt_senders = \"*@list.example\"\n"
		"exempt_clients = { \"192.0.2.0/24\", \"2001:db8::/32\" }\n"
		"reply_code = 452\n"
		"reply_enhanced_code = \"4.2.1\"\n"
		"reply_text = \"full\\nsee https://h/?{recipient}\"\n"
		"reject_after = 30d\n"
		"reject_text = '{resource}\\nfull'\n";
	struct qd_settings *s;
	struct qd_error err;

	(void)state;
	if (load(text, NULL, &s, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(s->mode_domain_count, 2);
	assert_string_equal(s->mode_domains[0].domain, "Example.org");
	assert_int_equal(s->mode_domains[0].mode, QD_MODE_MONITOR);
	assert_int_equal(s->mode_domains[1].mode, QD_MODE_ENFORCE);
	assert_int_equal(s->enforce_share, 25);
	assert_int_equal(s->exempt_recipients.count, 2);
	assert_string_equal(s->exempt_senders.items[0], "*@list.example");
	assert_int_equal(s->exempt_client_count, 2);
	assert_int_equal(s->exempt_clients[1].prefix, 32);
	assert_string_equal(s->reply_enhanced_code, "4.2.1");
	assert_string_equal(s->reply_text, "full\nsee https://h/?{recipient}");
	assert_true(s->reject_after_ms == INT64_C(30) * 86400000);
	assert_string_equal(s->reject_text, "{resource}\nfull");
	qd_settings_unref(&s);
}

static void test_aliases(void **state)
{
	static const char text[] =
		"alias_maps = { \"ldap:/etc/a.cf\", \"texthash:/etc/v\",\n"
		"  \"aliases:/etc/aliases\" }\n"
		"alias_rule = any\n"
		"alias_timeout = 10ms\nalias_connect_timeout = 1m\n"
		"alias_search_timeout = 3s\nalias_connections = 256\n"
		"alias_cache_size = 100\nalias_cache_ttl = 0s\n"
		"alias_negative_ttl = 0s\nalias_stale = 366d\n"
		"recipient_delimiter = \"\"\nmyorigin = example.org\n"
		"mydestination = { mx.example.org, localhost }\n";
	struct qd_settings *s;
	struct qd_error err;

	(void)state;
	if (load(text, NULL, &s, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(s->alias_maps.count, 3);
	assert_string_equal(s->alias_maps.items[2], "aliases:/etc/aliases");
	assert_int_equal(s->alias_rule, QD_ALIAS_ANY);
	assert_int_equal(s->alias_timeout_ms, 10);
	assert_int_equal(s->alias_connect_timeout_ms, 60000);
	assert_int_equal(s->alias_search_timeout_ms, 3000);
	assert_int_equal(s->alias_connections, 256);
	assert_int_equal(s->alias_cache_size, 100);
	assert_int_equal(s->alias_cache_ttl_ms, 0);
	assert_int_equal(s->alias_negative_ttl_ms, 0);
	assert_true(s->alias_stale_ms == INT64_C(366) * 86400000);
	assert_string_equal(s->recipient_delimiter, "");
	assert_string_equal(s->myorigin, "example.org");
	assert_int_equal(s->mydestination.count, 2);
	qd_settings_unref(&s);
}

/* Lines in a reply, by every way that a text may come. */
static void test_lines(void **state)
{
	static const char *const ways[] = { "reply_text=a\\nb\\nc",
					    "reply_text=a\nb\nc" };
	struct qd_settings *s, *again;
	struct qd_error err;

	(void)state;
	for (size_t i = 0; i < COUNT(ways); i++) {
		const char *const overrides[] = { ways[i], NULL };
		char *text = NULL;
		size_t length;
		FILE *out = open_memstream(&text, &length);

		assert_int_equal(load("", overrides, &s, &err), 0);
		assert_string_equal(s->reply_text, "a\nb\nc");
		/* printed on one line, to be read again */
		qd_settings_print(s, out);
		fclose(out);
		assert_null(strstr(text, "\nb"));
		assert_int_equal(load(text, NULL, &again, &err), 0);
		assert_string_equal(again->reply_text, "a\nb\nc");
		free(text);
		qd_settings_unref(&s);
		qd_settings_unref(&again);
	}
}

static void add_note(void *arg, const char *text)
{
	char *all = arg;

	assert_true(strlen(all) + strlen(text) < 2000);
	strcat(strcat(all, text), "\n");
}

static void test_notes(void **state)
{
	static const struct {
		const char *text, *said;
	} notes[] = {
		{ "", "" },
		{ "reject_after = 1d\n", "" },
		{ "reject_after = 23h\n", "reject_after is shorter than 1d" },
		{ "mode_domains = \"b.org=monitor\"\n", "" },
		{ "domains = B.org\nmode_domains = \"b.org=monitor\"\n", "" },
		{ "domains = a.org\nmode_domains = \"b.org=monitor\"\n",
		  "mode_domains has b.org, which is not in domains" },
		{ "mode = monitor\nenforce_share = 5%\n", "" },
		{ "enforce_share = 0%\n", "enforce_share is 0%: nobody" },
		{ "exempt_clients = { \"::1\", \"0.0.0.0/0\" }\n",
		  "exempt_clients has a network of all addresses" },
		{ "defer_limit = 19\n", "" },
		{ "defer_limit = 20\n", "defer_limit is 20 or more" },
		{ "defer_limit = 0\n", "or none" },
		{ "alias_maps = { \"texthash:/x\" }\n", "" },
		{ "alias_maps = { \"aliases:/x\" }\n",
		  "mydestination is not set" },
		{ "alias_maps = { \"aliases:/x\" }\n"
		  "mydestination = { \"localhost\" }\n",
		  "" },
		{ "alias_timeout = 900ms\n", "alias_search_timeout end with" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(notes); i++) {
		char all[2000] = "";
		struct qd_settings *s;
		struct qd_error err;

		if (load(notes[i].text, NULL, &s, &err) < 0)
			fail_msg("%s", err.text);
		qd_settings_notes(s, add_note, all);
		if (*notes[i].said ? !strstr(all, notes[i].said) : *all)
			fail_msg("%s: got \"%s\"", notes[i].text, all);
		qd_settings_unref(&s);
	}
}

static void test_append(void **state)
{
	struct qd_settings *s;
	struct qd_error err;

	(void)state;
	if (load("domains = { a.org }\ndomains += { b.org, c.org }\n"
		 "redis = redis://mx1:7000 # bare\n",
		 NULL, &s, &err))
		fail_msg("%s", err.text);
	assert_int_equal(s->domains.count, 3);
	assert_string_equal(s->domains.items[2], "c.org");
	assert_int_equal(s->redis_url.port, 7000);
	qd_settings_unref(&s);
}

static void test_overrides(void **state)
{
	const char *const overrides[] = {
		"max_age=5m",	"domains=a.example, b.example", "mode=monitor",
		"mode=enforce", "reply_text=a = b, c",		NULL
	};
	struct qd_settings *s;
	struct qd_error err;

	(void)state;
	if (load("max_age = 1h\ndomains = x.example\n", overrides, &s, &err))
		fail_msg("%s", err.text);
	assert_int_equal(s->max_age_ms, 300000);
	assert_int_equal(s->domains.count, 2);
	assert_string_equal(s->domains.items[0], "a.example");
	assert_int_equal(s->mode, QD_MODE_ENFORCE);
	assert_string_equal(s->reply_text, "a = b, c");
	qd_settings_unref(&s);
}

static void test_variables(void **state)
{
	struct qd_settings *s;
	struct qd_error err;

	(void)state;
	setenv("QD_TEST", "/from/env", 1);
	if (load("table = \"${QD_TEST}/t\" # ${QD_NO_SUCH}\n"
		 "pidfile = '/run/${QD_NO_SUCH}'\n"
		 "/* it's \"${QD_NO_SUCH} */ socket = \"unix:/a\\\n"
		 "/b\" # ${QD_NO_SUCH}\n"
		 "prefix = \"${QD_NO_SUCH:-other}\"\n",
		 NULL, &s, &err) < 0)
		fail_msg("%s", err.text);
	assert_string_equal(s->table, "/from/env/t");
	assert_string_equal(s->pidfile, "/run/${QD_NO_SUCH}");
	assert_string_equal(s->prefix, "other");
	qd_settings_unref(&s);
}

static void test_files(void **state)
{
	struct qd_settings *s;
	struct qd_error err;

	(void)state;
	assert_int_equal(
		qd_settings_load(scratch_path("none.conf"), NULL, &s, &err),
		-1);
	assert_non_null(strstr(err.text, "No such file"));
	assert_int_equal(qd_settings_load(scratch_path(""), NULL, &s, &err),
			 -1);
	assert_non_null(strstr(err.text, "not a file"));
	assert_int_equal(qd_settings_load("/dev/null", NULL, &s, &err), 0);
	qd_settings_unref(&s);
}

static void test_references(void **state)
{
	struct qd_settings *s, *again;
	struct qd_error err;

	(void)state;
	assert_int_equal(load("", NULL, &s, &err), 0);
	again = qd_settings_ref(s);
	qd_settings_unref(&s);
	assert_int_equal(again->defer_limit, 8);
	qd_settings_unref(&again);
	qd_settings_unref(&again);
}

static void check_named(void *arg, const char *name, const char *fallback)
{
	int *count = arg;

	assert_non_null(name);
	(void)fallback;
	++*count;
}

/* What is printed can be read again, and hides the password. */
static void test_print(void **state)
{
	const char *const overrides[] = { "redis=redis://u:s3cret@mx1/2",
					  "domains=a.example", NULL };
	struct qd_settings *s, *again;
	struct qd_error err;
	char *text = NULL;
	size_t length;
	FILE *out = open_memstream(&text, &length);
	int count = 0;

	(void)state;
	assert_int_equal(load("", overrides, &s, &err), 0);
	qd_settings_print(s, out);
	fclose(out);
	assert_null(strstr(text, "s3cret"));
	assert_non_null(strstr(text, "domains = { \"a.example\" } # -o\n"));
	assert_non_null(strstr(text, "max_age = \"3h\" # default\n"));
	if (load(text, NULL, &again, &err) < 0)
		fail_msg("%s", err.text);
	assert_string_equal(again->domains.items[0], "a.example");
	qd_settings_each(check_named, &count);
	for (char *p = text; (p = strchr(p, '\n')); p++)
		count--;
	assert_int_equal(count, 0);
	free(text);
	qd_settings_unref(&s);
	qd_settings_unref(&again);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_every_kind),
		cmocka_unit_test(test_policy),
		cmocka_unit_test(test_aliases),
		cmocka_unit_test(test_lines),
		cmocka_unit_test(test_notes),
		cmocka_unit_test(test_append),
		cmocka_unit_test(test_overrides),
		cmocka_unit_test(test_variables),
		cmocka_unit_test(test_files),
		cmocka_unit_test(test_references),
		cmocka_unit_test(test_print),
	};

	return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
