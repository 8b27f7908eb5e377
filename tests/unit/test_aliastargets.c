/* SPDX-License-Identifier: BSD-2-Clause */
#include "check.h"

#include <stdlib.h>

#include "quotadefer/aliastargets.h"

#define VIRTUAL QD_ALIASMAP_VIRTUAL
#define LOCAL	QD_ALIASMAP_LOCAL

/*
 * Targets as text: "local@domain" or "local@" for an address, "@domain" for a
 * domain, "*" for other, "<path" for an include file; a blank behind each.
 * tests/e2e/aliastargets.py asks a real Postfix.
 */
static const struct {
	const char *name;
	enum qd_aliasmap_kind kind;
	const char *text, *want;
} cases[] = {
	{ "one", VIRTUAL, "joe@example.org", "joe@example.org " },
	{ "bare", VIRTUAL, "joe", "joe@ " },
	{ "commas", VIRTUAL, "a@x.org,b@x.org, c", "a@x.org b@x.org c@ " },
	{ "blanks", VIRTUAL, "a@x.org b@x.org\tc", "a@x.org b@x.org c@ " },
	{ "empty between commas", VIRTUAL, ",,a, ,b,", "a@ b@ " },
	{ "case is kept", VIRTUAL, "Joe@X.Org", "Joe@X.Org " },
	{ "dots", VIRTUAL, "a.b.c@x.org", "a.b.c@x.org " },
	{ "detail", VIRTUAL, "a+b@x.org", "a+b@x.org " },
	{ "blanks around @ and dots", VIRTUAL, "a . b @ x . org",
	  "a.b@x.org " },
	{ "trailing dot", VIRTUAL, "a@x.org.", "a@x.org " },
	{ "UTF-8", VIRTUAL, "j\xc3\xb6@\xc3\xb6.org",
	  "j\xc3\xb6@\xc3\xb6.org " },
	{ "not UTF-8", VIRTUAL, "j\xf6@x.org", "* " },
	{ "angle", VIRTUAL, "<a@x.org>", "a@x.org " },
	{ "two angles", VIRTUAL, "<a@x.org> <b@x.org>", "a@x.org b@x.org " },
	{ "phrase", VIRTUAL, "Joe D. User <a@x.org>, b", "a@x.org b@ " },
	{ "quoted phrase", VIRTUAL, "\"User, Joe\" <a@x.org>", "a@x.org " },
	{ "word behind an angle", VIRTUAL, "<a@x.org> b", "a@x.org b@ " },
	{ "null address", VIRTUAL, "<>", "* " },
	{ "nothing in angles", VIRTUAL, "<> ", "" },
	{ "right angle alone", VIRTUAL, "a@x.org>", "a@x.org " },
	{ "left angle alone", VIRTUAL, "<a@x.org", "* " },
	{ "words in angles", VIRTUAL, "<a b@x.org>", "ab@x.org " },
	{ "quoted words in angles", VIRTUAL, "<a \"b\"@x.org>", "a b@x.org " },
	{ "quoted, like a route", VIRTUAL, "\"@a:b\"@x.org", "* " },
	{ "comment", VIRTUAL, "a@x.org (Joe, User)", "a@x.org " },
	{ "comment inside", VIRTUAL, "a(one (two))@x.org", "a@x.org " },
	{ "comment without end", VIRTUAL, "a@x.org (b, c", "a@x.org " },
	{ "route", VIRTUAL, "<@r.org:a@x.org>", "a@x.org " },
	{ "long route", VIRTUAL, "<@r.org,@s.org:a@x.org>", "a@x.org " },
	{ "group", VIRTUAL, "team: a@x.org, b@x.org;", "a@x.org b@x.org " },
	{ "group and more", VIRTUAL, "c, team: a, b;, d", "c@ a@ b@ d@ " },
	{ "quoted local part", VIRTUAL, "\"john smith\"@x.org",
	  "john smith@x.org " },
	{ "quoted at", VIRTUAL, "\"a@b\"@x.org", "a@b@x.org " },
	{ "quoted alone", VIRTUAL, "\"a@b\"", "a@b@ " },
	{ "quote in quotes", VIRTUAL, "\"a\\\"b\\\\\"@x.org", "a\"b\\@x.org " },
	{ "quoted and not", VIRTUAL, "\"a b\".c@x.org", "a b.c@x.org " },
	{ "quoted pair", VIRTUAL, "a\\ b@x.org", "a b@x.org " },
	{ "quote without end", VIRTUAL, "\"a@x.org, b", "a@x.org, b@ " },
	{ "nothing quoted", VIRTUAL, "\"\"@x.org", "* " },
	{ "domain", VIRTUAL, "@x.org", "@x.org " },
	{ "domain and another", VIRTUAL, "@x.org, b", "@x.org b@ " },
	{ "domain and an address", VIRTUAL, "@x.org, b@y.org", "* " },
	{ "domain, an address and more", VIRTUAL, "@x.org, b@y.org, c",
	  "* c@ " },
	{ "domain and a comment", VIRTUAL, "@x.org (all)", "@x.org " },
	{ "domain later", VIRTUAL, "a@x.org, @y.org", "a@x.org * " },
	{ "domain of nothing", VIRTUAL, "@", "* " },
	{ "two at signs", VIRTUAL, "a@b@x.org", "* " },
	{ "percent", VIRTUAL, "a%b@x.org", "* " },
	{ "bang", VIRTUAL, "a!b", "* " },
	{ "literal", VIRTUAL, "a@[192.0.2.1]", "* " },
	{ "no domain", VIRTUAL, "a@", "* " },
	{ "two dots", VIRTUAL, "a@x..org", "* " },
	{ "control", VIRTUAL, "a\ab@x.org", "* " },
	{ "quoted domain", VIRTUAL, "a@\"x.org\"", "* " },
	{ "backslash", VIRTUAL, "\\joe", "joe@ " },
	{ "backslash alone", VIRTUAL, "\\", "* " },
	{ "file is a name", VIRTUAL, "/dev/null", "/dev/null@ " },
	{ "pipe is odd", VIRTUAL, "|cat", "* " },
	{ "include is odd", VIRTUAL, ":include:/x", "* " },
	{ "line break is a blank", VIRTUAL, "a@x.org\nb@x.org",
	  "a@x.org b@x.org " },
	{ "empty", VIRTUAL, "", "* " },
	{ "empty", LOCAL, "", "" },
	{ "only blanks", VIRTUAL, " \t", "" },
	{ "only a comment", VIRTUAL, "(none)", "" },

	{ "local", LOCAL, "joe, jim", "joe@ jim@ " },
	{ "local with domain", LOCAL, "joe@x.org", "joe@x.org " },
	{ "as it is", LOCAL, "\\joe, jim", "joe@ jim@ " },
	{ "command", LOCAL, "|cat", "* " },
	{ "command, quoted", LOCAL, "\"|cat -u, a@b\", joe", "* joe@ " },
	{ "pipe, quoted", LOCAL, "|\"cat -u\"", "* " },
	{ "command of words", LOCAL, "|cat -u", "* -u@ " },
	{ "file", LOCAL, "/var/mail/x.y, joe", "* joe@ " },
	{ "file, quoted", LOCAL, "\"/var/mail/x y\"", "* " },
	{ "home", LOCAL, "~/mail", "* " },
	{ "x400", LOCAL, "/C=de/@x.org", "* " },
	{ "include", LOCAL, ":include:/etc/list.txt", "</etc/list.txt " },
	{ "include, any case", LOCAL, ":Include:/etc/list, b",
	  "</etc/list b@ " },
	{ "include, quoted", LOCAL, "\":include:/a b\"", "</a b " },
	{ "include, path quoted", LOCAL, ":include:\"/a b\"", "</a b " },
	{ "include, a blank", LOCAL, ":include: /a", "</a " },
	{ "include, relative", LOCAL, ":include:a", "<a " },
	{ "domain is odd", LOCAL, "@x.org", "* " },
	{ "lines", LOCAL, "a@x.org\nb, c\n\n", "a@x.org b@ c@ " },
	{ "a quote ends with its line", LOCAL, "\"a\nb", "a @ b@ " },
};

static void print_all(const struct qd_aliastargets *targets, FILE *out)
{
	for (size_t i = 0; i < targets->count; i++) {
		const struct qd_aliastarget *target = &targets->items[i];

		if (target->kind == QD_ALIASTARGET_OTHER)
			fputs("* ", out);
		else if (target->kind == QD_ALIASTARGET_INCLUDE)
			fprintf(out, "<%s ", target->path);
		else
			fprintf(out, "%s@%s ", target->address.local,
				target->address.domain);
	}
}

static void check_case(size_t i)
{
	struct qd_aliastargets targets;
	struct qd_error err;
	char got[1024] = "";
	FILE *out = fmemopen(got, sizeof(got), "w");

	assert_non_null(out);
	if (qd_aliastargets_parse(cases[i].text, cases[i].kind, &targets,
				  &err) < 0)
		fail_msg("%s: %s", cases[i].name, err.text);
	print_all(&targets, out);
	fclose(out);
	qd_aliastargets_free(&targets);
	assert_null(targets.items);
	if (strcmp(got, cases[i].want) != 0)
		fail_msg("%s: got \"%s\", want \"%s\"", cases[i].name, got,
			 cases[i].want);
}

static void test_cases(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++)
		check_case(i);
}

/* count times piece, with head in front and tail behind */
static char *repeat(const char *head, const char *piece, size_t count,
		    const char *tail)
{
	size_t size = strlen(head) + strlen(piece) * count + strlen(tail) + 1;
	char *text = malloc(size), *at = text;

	assert_non_null(text);
	at += sprintf(at, "%s", head);
	for (size_t i = 0; i < count; i++)
		at += sprintf(at, "%s", piece);
	sprintf(at, "%s", tail);
	return text;
}

/* -1, or the number of targets; text is freed */
static int parse_count(char *text, enum qd_aliasmap_kind kind)
{
	struct qd_aliastargets targets = { 0 };
	struct qd_error err = { 0 };
	int count = -1;

	if (qd_aliastargets_parse(text, kind, &targets, &err) == 0)
		count = (int)targets.count;
	else
		assert_true(err.text[0] && err.status);
	free(text);
	qd_aliastargets_free(&targets);
	return count;
}

static void test_bounds(void **state)
{
	static const struct {
		const char *name, *head, *piece;
		size_t count;
		const char *tail;
		enum qd_aliasmap_kind kind;
		int want;
	} bounds[] = {
		{ "many", "", "a@x,", 1000, "", VIRTUAL, 1000 },
		{ "too many", "", "a@x,", 1001, "", VIRTUAL, -1 },
		{ "too many lines", "", "a@x\n", 1001, "", LOCAL, -1 },
		{ "long local part", "", "a", QD_LOCAL_MAX, "@x", VIRTUAL, 1 },
		{ "too long", "", "a", QD_LOCAL_MAX + 1, "@x", VIRTUAL, -1 },
		{ "far too long", "", "a", 100000, "@x", VIRTUAL, -1 },
		{ "too long, of pieces", "", "\"a\".", 5000, "@x", VIRTUAL,
		  -1 },
		{ "to be quoted", "\"", "\\\\", QD_LOCAL_MAX, "\"@x", VIRTUAL,
		  1 },
		{ "long domain", "a@", "x", QD_DOMAIN_MAX, "", VIRTUAL, 1 },
		{ "too long domain", "a@", "x", QD_DOMAIN_MAX + 1, "", VIRTUAL,
		  -1 },
		{ "@domain too long", "@", "x", QD_DOMAIN_MAX + 1, "", VIRTUAL,
		  -1 },
		{ "long path", ":include:/", "x", QD_ALIASTARGET_PATH_MAX - 1,
		  "", LOCAL, 1 },
		{ "too long path", ":include:/", "x", QD_ALIASTARGET_PATH_MAX,
		  "", LOCAL, -1 },
		{ "a command may be long", "\"|", "x", 100000, "\"", LOCAL, 1 },
		{ "a file too", "/", "x", 100000, "", LOCAL, 1 },
		{ "too many words", "", "a ", 1000001, "", LOCAL, -1 },
		{ "many comments", "", "(a)", 100000, "b", VIRTUAL, 1 },
		{ "deep comments", "", "(", 100000, "", VIRTUAL, 0 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(bounds); i++) {
		int got = parse_count(repeat(bounds[i].head, bounds[i].piece,
					     bounds[i].count, bounds[i].tail),
				      bounds[i].kind);

		if (got != bounds[i].want)
			fail_msg("%s: got %d, want %d", bounds[i].name, got,
				 bounds[i].want);
	}
}

/* No text, however odd, does harm; every target is within its bounds. */
static void test_mutations(void **state)
{
	static const char pieces[] = "()<>@,;:\\\".[]|%! \n/~ab\xc3\xb6\x01";
	struct qd_aliastargets targets;
	char text[256];
	unsigned int seed = 1;

	(void)state;
	for (size_t i = 0; i < 20000; i++) {
		size_t length;

		snprintf(text, sizeof(text), "%s, %s",
			 cases[i % COUNT(cases)].text,
			 cases[i / 7 % COUNT(cases)].text);
		length = strlen(text);
		for (int k = 0; k < 4; k++) {
			seed = seed * 1103515245 + 12345;
			text[(seed >> 8) % length] =
				pieces[(seed >> 20) % (sizeof(pieces) - 1)];
		}
		if (qd_aliastargets_parse(text, i % 2 ? LOCAL : VIRTUAL,
					  &targets, NULL) < 0)
			continue;
		for (size_t k = 0; k < targets.count; k++)
			if (targets.items[k].kind == QD_ALIASTARGET_ADDRESS &&
			    !targets.items[k].address.local[0])
				fail_msg("an empty local part in %s", text);
		qd_aliastargets_free(&targets);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cases),
		cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_mutations),
	};

	return RUN_TESTS(tests);
}
