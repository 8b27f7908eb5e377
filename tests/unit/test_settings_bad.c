/* SPDX-License-Identifier: BSD-2-Clause */
/* What is refused, and what is said of it. */
#include "check.h"

#include <sysexits.h>

#include "scratch.h"

#include "quotadefer/settings.h"

static int load(const char *text, const char *const *overrides,
		struct qd_settings **out, struct qd_error *err)
{
	scratch_text("q.conf", text);
	memset(err, 0, sizeof(*err));
	return qd_settings_load(scratch_path("q.conf"), overrides, out, err);
}

/* said: what the message must hold beside the name of the file */
static const struct {
	const char *name, *text, *said;
} bad[] = {
	{ "wrong name", "\ndomain = \"x.org\"\n",
	  ":2: domain: there is no such setting; did you mean domains" },
	{ "a colon", "mode: monitor\n",
	  ":1: mode:: there is neither \":\" nor \";\" here; write NAME" },
	{ "very wrong name", "frobnicate = 1\n", "quotadefer.conf(5)" },
	{ "wrong unit", "max_age = 3parsecs\n",
	  ":1: max_age = \"3parsecs\": not a duration" },
	{ "no unit", "\n\nmax_age = 3\n", ":3: max_age = \"3\"" },
	{ "too small", "max_age = 1ms\n", "from 1s" },
	{ "wrong choice", "mode = on\n", "not enforce or monitor" },
	{ "wrong number", "defer_limit = many\n", "a number from 0" },
	{ "number too big", "reply_code = 550\n", "450, 451 or 452" },
	{ "wrong size", "table_size = 4gig\n", "not a size" },
	{ "wrong path", "table = \"table\"\n", "an absolute path" },
	{ "wrong socket", "socket = \"inet:99999@127.0.0.1\"\n",
	  ":1: socket = \"inet:99999@127.0.0.1\"" },
	{ "wrong url", "redis = \"http://mx1\"\n", "redis://" },
	{ "wrong domain", "domains = { \"example.org\", \"a b\" }\n",
	  "\"a b\"" },
	{ "domain with a dot at the end", "domains = example.org.\n",
	  "a domain name" },
	{ "pattern without an at", "probe_senders = \"double-bounce\"\n",
	  "an address" },
	{ "nine lines", "reply_text = \"1\\n2\\n3\\n4\\n5\\n6\\n7\\n8\\n9\"\n",
	  "not 1 to 8 lines of printable ASCII, at most 480 characters" },
	{ "an empty line", "reply_text = \"a\\n\\nb\"\n", "1 to 8 lines" },
	{ "line break at the end", "reply_text = \"a\\n\"\n", "1 to 8 lines" },
	{ "line break at the start", "reject_text = '\\nb'\n",
	  ":1: reject_text = \"\\nb\": not 1 to 8 lines" },
	{ "carriage return", "reply_text = \"a\\rb\"\n", "printable ASCII" },
	{ "UTF-8 in the reply", "reply_text = \"vollst\xc3\xa4ndig\"\n",
	  "printable ASCII" },
	{ "unknown word", "\nreply_text = \"full: {recipent}\"\n",
	  ":2: reply_text = \"full: {recipent}\": there is no {recipent}; "
	  "there are {resource} and {recipient}" },
	{ "unknown word in the other", "reject_text = \"{Resource} full\"\n",
	  ":1: reject_text = \"{Resource} full\": there is no {Resource}; " },
	{ "permanent code", "reply_enhanced_code = \"5.2.2\"\n",
	  ":1: reply_enhanced_code = \"5.2.2\": not a code such as 4.2.2" },
	{ "short code", "reply_enhanced_code = \"4.2\"\n", "such as 4.2.2" },
	{ "long code", "reply_enhanced_code = \"4.2.2222\"\n",
	  "such as 4.2.2" },
	{ "code and more", "reply_enhanced_code = \"4.2.2 \"\n",
	  "such as 4.2.2" },
	{ "code of letters", "reply_enhanced_code = \"4.x.2\"\n",
	  "such as 4.2.2" },
	{ "a domain for a pattern", "exempt_recipients = { \"@a.org\" }\n",
	  ":1: exempt_recipients = \"@a.org\": not an address in which * "
	  "stands for any characters, such as *@example.org" },
	{ "quotes for nothing", "recipient_delimiter = '\"\"'\n",
	  "not the characters" },
	{ "no mode", "mode_domains = { \"example.org\" }\n",
	  ":1: mode_domains = \"example.org\": not a domain and its mode, "
	  "enforce or monitor, such as \"example.org=monitor\"" },
	{ "wrong mode", "mode_domains = { \"example.org=off\" }\n",
	  "mode_domains = \"example.org=off\": not a domain and its mode" },
	{ "no domain for the mode", "mode_domains = { \"=monitor\" }\n",
	  "a domain and its mode" },
	{ "no wildcards for the mode", "mode_domains = \"*.org=monitor\"\n",
	  "a domain and its mode" },
	{ "two modes of a domain",
	  "\nmode_domains = { \"a.org=monitor\", \"A.org=enforce\" }\n",
	  ":2: mode_domains = \"A.org\": is there twice; keep one" },
	{ "share without a sign", "enforce_share = 10\n",
	  "enforce_share = \"10\": not a share: write 0% to 100%" },
	{ "share too large", "enforce_share = 101%\n", "0% to 100%" },
	{ "negative share", "enforce_share = -1%\n", "0% to 100%" },
	{ "recipient without an at", "exempt_recipients = { \"joe\" }\n",
	  ":1: exempt_recipients = \"joe\": not an address in which *" },
	{ "sender without an at", "exempt_senders = \"*\"\n",
	  "exempt_senders = \"*\": not an address in which *" },
	{ "client by name", "exempt_clients = \"mx.example.org\"\n",
	  ":1: exempt_clients = \"mx.example.org\": not a network such as "
	  "192.0.2.0/24 or 2001:db8::/32, all bits after the prefix zero" },
	{ "host bits", "exempt_clients = { \"::1\", \"192.0.2.1/24\" }\n",
	  "exempt_clients = \"192.0.2.1/24\": not a network" },
	{ "no unit to reject", "reject_after = 30\n",
	  "reject_after = \"30\": not never, or a duration: write" },
	{ "rejected at once", "reject_after = 59s\n", "from 1m to 3660d" },
	{ "rejected by our heirs", "reject_after = 3661d\n",
	  "from 1m to 3660d" },
	{ "map without a type", "alias_maps = { \"/etc/aliases\" }\n",
	  ":1: alias_maps = \"/etc/aliases\": not a map: ldap:/path, aliases:/path" },
	{ "map of another type", "alias_maps = \"hash:/etc/aliases\"\n",
	  "not a map" },
	{ "map without a path", "alias_maps = \"ldap:aliases.cf\"\n",
	  "not a map" },
	{ "wrong rule", "alias_rule = some\n", "not all or any" },
	{ "hasty", "alias_timeout = 9ms\n", "from 10ms to 1m" },
	{ "patient", "alias_connect_timeout = 61s\n", "from 10ms to 1m" },
	{ "patient search", "alias_search_timeout = 2m\n", "from 10ms to 1m" },
	{ "no connections", "alias_connections = 0\n",
	  "a number from 1 to 256" },
	{ "little cache", "alias_cache_size = 99\n",
	  "a number of entries from 100 to 100000000" },
	{ "long cached", "alias_cache_ttl = 31d\n", "up to 30d" },
	{ "long not there", "alias_negative_ttl = 31d\n", "up to 30d" },
	{ "long stale", "alias_stale = 367d\n", "up to 366d" },
	{ "nine delimiters", "recipient_delimiter = \"123456789\"\n",
	  "the characters, at most 8" },
	{ "at as a delimiter", "recipient_delimiter = \"@\"\n",
	  "the characters, at most 8" },
	{ "origin is a word", "myorigin = \"a b\"\n",
	  "myorigin = \"a b\": not a domain name such as" },
	{ "origin is a file", "myorigin = \"/etc/mailname\"\n",
	  "a domain name such as" },
	{ "destination", "mydestination = { \"$myhostname\" }\n",
	  "mydestination = \"$myhostname\": not a domain name such as" },
	{ "empty reply", "reply_text = \"\"\n", "printable ASCII" },
	{ "set twice", "mode = monitor\ntable = \"/t\"\nmode = enforce\n",
	  ":3: mode: set before, on line 1" },
	{ "list set twice", "domains = a.org\ndomains = { b.org }\n",
	  ":2: domains: set before, on line 1" },
	{ "one of a list set twice",
	  "domains = {\n a.org\n}\ndomains = "
	  "a.org\n",
	  ":4: domains: set before, on line 2" },
	{ "no value", "mode =\n", ":2: premature end of file" },
	{ "no equal sign", "mode monitor\n", "missing equal sign" },
	{ "quote not closed", "mode = monitor\ntable = \"/t\n\n",
	  ":2: a quote that is not closed" },
	{ "single quote not closed", "\n\ntable = '/t\n", ":3: a quote" },
	{ "comment not closed", "mode = monitor /* for now\ntable = /t\n",
	  ":1: a comment that is not closed" },
	{ "unset variable behind a quote of two lines",
	  "reply_text = \"it's \\\nfull\"\ntable = ${QD_NO_SUCH}\n",
	  ":3: ${QD_NO_SUCH}" },
	{ "long control socket",
	  "control_socket = /xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
	  "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\n",
	  "at most 107 bytes" },
	{ "control socket is a directory", "control_socket = /run/\n",
	  "the absolute path of a socket" },
	{ "two sockets at one place",
	  "socket = unix:/run/x\ncontrol_socket = /run/x\n",
	  ":2: control_socket = \"/run/x\": socket is there as well" },
	{ "url with a tab", "redis = \"redis://u:s3\\tcret@h\"\n",
	  ":1: redis: not a URL" },
	{ "url with a blank", "redis = \"redis://h h\"\n", "Redis URL" },
	{ "brace not closed", "domains = { a.org\n", "premature end" },
	{ "section", "milter {\n  mode = monitor\n}\n", "milter" },
	{ "list for one", "mode = { monitor }\n", "unexpected token" },
	{ "unset variable", "\ntable = \"/srv/${QD_NO_SUCH}\"\n",
	  ":2: ${QD_NO_SUCH}" },
	{ "unset variable, bare", "mode = ${QD_NO_SUCH}\n",
	  ":1: ${QD_NO_SUCH}" },
};

/* A file cannot come from a string here. */
static void test_nul(void **state)
{
	static const char text[] = "\nmode = monitor # \0x\n";
	struct qd_settings *s;
	struct qd_error err;

	(void)state;
	scratch_write("q.conf", text, sizeof(text) - 1);
	assert_int_equal(
		qd_settings_load(scratch_path("q.conf"), NULL, &s, &err), -1);
	assert_non_null(strstr(err.text, "q.conf:2: a NUL byte"));
}

static void test_bad(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(bad); i++) {
		struct qd_settings *s = NULL;
		struct qd_error err;

		if (load(bad[i].text, NULL, &s, &err) == 0)
			fail_msg("%s: was accepted", bad[i].name);
		assert_null(strstr(err.text, "cret"));
		if (err.status != EX_CONFIG || !strstr(err.text, "q.conf") ||
		    !strstr(err.text, bad[i].said))
			fail_msg("%s: got %d \"%s\", want \"%s\"", bad[i].name,
				 err.status, err.text, bad[i].said);
		assert_null(s);
	}
}

static void test_bad_overrides(void **state)
{
	static const struct {
		const char *text, *said;
	} cases[] = {
		{ "max_age", "-o NAME=VALUE" },
		{ "maxage=3h", "did you mean max_age" },
		{ "max_age=3", "-o: max_age = \"3\": not a duration" },
		{ "redis=nonsense", "-o: redis: " },
		{ "=x", "there is no such setting" },
		{ "foo=1",
		  "no such setting; quotadefer.conf(5) lists them all" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		const char *const overrides[] = { cases[i].text, NULL };
		struct qd_settings *s;
		struct qd_error err;

		if (load("", overrides, &s, &err) == 0)
			fail_msg("%s: was accepted", cases[i].text);
		if (!strstr(err.text, cases[i].said))
			fail_msg("%s: got \"%s\", want \"%s\"", cases[i].text,
				 err.text, cases[i].said);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_nul),
		cmocka_unit_test(test_bad_overrides),
	};

	return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
