/* SPDX-License-Identifier: BSD-2-Clause */
#include "check.h"

#include <stdlib.h>
#include <strings.h>
#include <sysexits.h>

#include "../../milter/aliases_impl.h"

/* A map in memory: pairs of key and text, ended by NULL. */
struct fake {
	struct qd_aliasmap map;
	const char *const *pairs;
	char asked[2048]; /* the keys, in order */
};

static const char *value_of(const char *const *pairs, const char *key)
{
	for (; *pairs; pairs += 2)
		if (strcasecmp(pairs[0], key) == 0)
			return pairs[1];
	return NULL;
}

static enum qd_found answer(struct fake *fake, const char *key,
			    struct qd_aliasvalue *value, struct qd_error *err)
{
	const char *text = value_of(fake->pairs, key);

	if (!text)
		return QD_ABSENT;
	if (strcmp(text, "ERROR") == 0) {
		qd_error_set(err, EX_UNAVAILABLE, "down");
		return QD_ERROR;
	}
	value->text = strdup(text);
	return QD_FOUND;
}

static enum qd_found fake_get(struct qd_aliasmap *map, const char *key,
			      int64_t deadline_ms, struct qd_aliasvalue *value,
			      struct qd_error *err)
{
	struct fake *fake = (struct fake *)map;
	size_t used = strlen(fake->asked);

	(void)deadline_ms;
	snprintf(fake->asked + used, sizeof(fake->asked) - used, "%s%s",
		 used ? " " : "", key);
	return answer(fake, key, value, err);
}

static enum qd_found fake_include(struct qd_aliasmap *map, const char *path,
				  struct qd_aliasvalue *value,
				  struct qd_error *err)
{
	return answer((struct fake *)map, path, value, err);
}

static const struct qd_aliasmap_ops virtual_ops = { .get = fake_get };
static const struct qd_aliasmap_ops local_ops = { .get = fake_get,
						  .include = fake_include };

/* Two maps of virtual(5), and one of aliases(5) between them. */
struct site {
	struct fake one, locals, two;
	struct qd_aliases_map maps[3];
	struct qd_aliases aliases;
	struct qd_settings settings;
	struct qd_error err;
};

static const char *const nothing[] = { NULL };

static void set_up(struct site *site, const char *const *one,
		   const char *const *locals, const char *const *two)
{
	struct fake *fakes[] = { &site->one, &site->locals, &site->two };
	static const char *const names[] = { "texthash:/one", "aliases:/two",
					     "texthash:/three" };

	memset(site, 0, sizeof(*site));
	site->one.pairs = one;
	site->locals.pairs = locals;
	site->two.pairs = two;
	for (size_t i = 0; i < COUNT(fakes); i++) {
		fakes[i]->map.ops = &virtual_ops;
		fakes[i]->map.kind = QD_ALIASMAP_VIRTUAL;
		fakes[i]->map.name = names[i];
		site->maps[i].map = &fakes[i]->map;
	}
	site->locals.map.kind = QD_ALIASMAP_LOCAL;
	site->locals.map.ops = &local_ops;
	site->aliases.count = COUNT(fakes);
	site->aliases.maps = site->maps;
	site->settings.recipient_delimiter = (char *)"+";
	site->settings.alias_timeout_ms = 60000;
}

static void append(char *out, size_t size, const struct qd_target *target)
{
	size_t used = strlen(out);
	char name[QD_ALIAS_KEY_MAX] = "(other)";

	if (target->kind == QD_TARGET_ADDRESS)
		qd_alias_quote(target->address.local, target->address.domain,
			       name, sizeof(name));
	snprintf(out + used, size - used, "%s%s", used ? " " : "", name);
}

/* The targets, or "nowhere", or "error". */
static const char *expand(struct site *site, const char *text)
{
	static char out[4096];
	struct qd_targets targets = { 0 };
	struct qd_address address;
	enum qd_found found;

	qd_address_parse(text, &address);
	site->one.asked[0] = '\0';
	site->two.asked[0] = '\0';
	site->locals.asked[0] = '\0';
	memset(&site->err, 0, sizeof(site->err));
	found = qd_aliases_expand(&site->aliases, &site->settings, &address,
				  NULL, &targets, &site->err);
	if (found == QD_ABSENT)
		return "nowhere";
	if (found == QD_ERROR)
		return "error";
	out[0] = '\0';
	for (size_t i = 0; i < targets.count; i++)
		append(out, sizeof(out), &targets.items[i]);
	qd_targets_free(&targets);
	return out;
}

static void check(struct site *site, const char *text, const char *want)
{
	const char *got = expand(site, text);

	if (strcmp(got, want) != 0)
		fail_msg("%s: got \"%s\" (%s), want \"%s\"", text, got,
			 site->err.text, want);
}

static void test_virtual(void **state)
{
	static const char *const one[] = { "chain@d",	  "b@d",
					   "b@d",	  "c@d, x@remote",
					   "c@d",	  "end@d",
					   "self@d",	  "self@d, other@d",
					   "cycle@d",	  "cycle2@d",
					   "cycle2@d",	  "cycle@d",
					   "half@d",	  "half2@d, good@d",
					   "half2@d",	  "half@d",
					   "ext@d",	  "to@d, list+a@d",
					   "full+x@d",	  "exact@d",
					   "@catch",	  "all@d",
					   "@rename",	  "@new",
					   "user@rename", "@newer",
					   "bad@d",	  "ERROR",
					   "empty@d",	  "",
					   "void@d",	  ",",
					   "two@d",	  "@new, foo@bar",
					   "bare@d",	  "joe",
					   "\"a b\"@d",	  "quoted@d",
					   "same@d",	  "x@d, X@D, y@d, x@d",
					   "foo@d",	  "foo@d",
					   "late@d",	  "x@d, @new",
					   NULL };
	static const char *const two[] = { "c@d",  "not this", "second@d",
					   "ok@d", "e@d",      "e+z@d",
					   NULL };
	static const struct {
		const char *text, *want;
	} cases[] = {
		{ "nobody@d", "nobody@d" },
		{ "chain@d", "end@d x@remote" },
		{ "CHAIN@D", "end@d x@remote" },
		{ "self@d", "self@d other@d" },
		{ "self+x@d", "self+x@d other+x@d" },
		{ "foo+bar@d", "foo+bar@d" },
		{ "cycle@d", "nowhere" },
		{ "half@d", "good@d" },
		{ "ext+v@d", "to+v@d list+a+v@d" },
		{ "full+x@d", "exact@d" },
		{ "full+y@d", "full+y@d" },
		{ "who+v@catch", "all@d" },
		{ "who+v@rename", "who+v@new" },
		{ "user+v@rename", "user+v@newer" },
		{ "bad@d", "error" },
		{ "empty@d", "error" },
		{ "void@d", "error" },
		{ "two@d", "\"two@new, foo\"@bar" },
		{ "late@d", "(other) x@d" },
		{ "bare@d", "joe@d" },
		{ "bare+e@d", "joe+e@d" },
		{ "<\"a b\"@d>", "quoted@d" },
		{ "<\"a b+e\"@d>", "quoted+e@d" },
		{ "same@d", "x@d y@d" },
		{ "second@d", "ok@d" },
	};
	struct site site;

	(void)state;
	set_up(&site, one, nothing, two);
	for (size_t i = 0; i < COUNT(cases); i++)
		check(&site, cases[i].text, cases[i].want);
	/* an extension that grows with each step ends all the same */
	check(&site, "e+q@d", "error");
	assert_string_equal(site.err.text, "alias_maps: too many steps");
	expand(&site, "bad@d");
	assert_string_equal(site.err.text, "texthash:/one: down");
	site.settings.myorigin = (char *)"origin";
	check(&site, "bare@d", "joe@origin");
	check(&site, "joe", "joe@origin");
}

static void check_keys(struct site *site, const char *text, const char *want)
{
	check(site, text, text);
	assert_string_equal(site->one.asked, want);
	/* key by key, each in all maps: the second is asked the same */
	assert_string_equal(site->two.asked, want);
}

static void test_keys(void **state)
{
	char *destinations[] = { (char *)"here", (char *)"there" };
	char *domains[] = { (char *)"d" };
	struct site site;

	(void)state;
	set_up(&site, nothing, nothing, nothing);
	/* which domains are ours is not known: d may be anybody's */
	check_keys(&site, "u+e@d", "u+e@d u@d @d");
	check_keys(&site, "u@d", "u@d @d");
	site.settings.domains = (struct qd_list){ domains, 1 };
	check_keys(&site, "u@d", "u@d u @d");
	check_keys(&site, "u+e@D", "u+e@D u@D u+e u @D");
	check_keys(&site, "u+e@here", "u+e@here u@here @here");
	site.settings.mydestination = (struct qd_list){ destinations, 2 };
	check_keys(&site, "u+e@d", "u+e@d u@d @d");
	check_keys(&site, "u+e@There", "u+e@There u@There u+e u @There");
	site.settings.myorigin = (char *)"d";
	check_keys(&site, "u@d", "u@d u @d");
	/* which names have an extension */
	check_keys(&site, "+e@x", "+e@x @x");
	check_keys(&site, "u+@x", "u+@x u@x @x");
	check_keys(&site, "u+a+b@x", "u+a+b@x u@x @x");
	check_keys(&site, "owner-u-e@x", "owner-u-e@x @x");
	site.settings.recipient_delimiter = (char *)"+-";
	check_keys(&site, "u-a+b@x", "u-a+b@x u@x @x");
	check_keys(&site, "Owner-u+e@x", "Owner-u+e@x @x");
	check_keys(&site, "u+e-request@x", "u+e-request@x @x");
	check_keys(&site, "mailer-daemon@x", "mailer-daemon@x @x");
	check_keys(&site, "double-bounce@x", "double-bounce@x @x");
	site.settings.recipient_delimiter = (char *)"";
	check_keys(&site, "u+e@x", "u+e@x @x");
	/* quoted where RFC 822 wants it */
	check_keys(&site, "\"a b\"@here", "\"a b\"@here \"a b\" @here");
	check_keys(&site, "\"a\\\"\\\\@c\"@x", "\"a\\\"\\\\@c\"@x @x");
	check_keys(&site, "\".a\"@x", "\".a\"@x @x");
	check_keys(&site, "\"a..b\"@x", "\"a..b\"@x @x");
	check(&site, "\"ab\"@x", "ab@x");
	assert_string_equal(site.one.asked, "ab@x @x");
}

static void test_local(void **state)
{
	static const char *const one[] = {
		"v@virtual",	 "list@here",	"joe@here", "elsewhere@virtual",
		"\"q r\"@there", "new@virtual", NULL
	};
	static const char *const locals[] = {
		"list",	    "joe, ann@virtual, \"|/bin/cat\"",
		"self",	    "self, other",
		"cycle",    "cycle2",
		"cycle2",   "cycle",
		"ext+e",    "exact",
		"ext",	    "plain",
		"inc",	    ":include:/list, tail",
		"/list",    "joe, :include:/more, @odd",
		"/more",    "more, :include:/list",
		"noinc",    ":include:/gone",
		"nothing",  ",",
		"q r",	    "quoted",
		"a/b",	    "path",
		"down",	    "ERROR",
		"incself",  ":include:/self",
		"/self",    "incself",
		"/bare",    "",
		"emptyinc", ":include:/bare",
		"incdown",  ":include:/down",
		"/down",    "ERROR",
		NULL
	};
	static const struct {
		const char *text, *want;
	} cases[] = {
		/* joe: only mail from outside is looked up in virtual maps */
		{ "list@here", "(other) joe@here ann@virtual" },
		{ "List+x@here", "(other) joe@here ann@virtual" },
		{ "v@virtual", "(other) joe@here ann@virtual" },
		{ "joe@here", "elsewhere@virtual" },
		{ "list@virtual", "list@virtual" },
		{ "self@here", "self@here other@here" },
		{ "self+x@here", "self@here other@here" },
		{ "cycle@here", "nowhere" },
		{ "ext+e@here", "exact@here" },
		{ "ext+f@here", "plain@here" },
		/* what an :include: has is new mail, if it is no alias */
		{ "inc@here", "(other) elsewhere@virtual more@here tail@here" },
		{ "noinc@here", "error" },
		{ "nothing@here", "error" },
		{ "\"q r\"@here", "quoted@here" },
		{ "\"q r\"@there", "new@virtual" },
		{ "a/b+c@here", "path@here" },
		{ "ext+e/f@here", "plain@here" },
		{ "down@here", "error" },
		{ "incself@here", "nowhere" },
		{ "emptyinc@here", "nowhere" },
		{ "incdown@here", "error" },
	};
	char *destinations[] = { (char *)"here", (char *)"there" };
	struct site site;

	(void)state;
	set_up(&site, one, locals, nothing);
	site.settings.mydestination = (struct qd_list){ destinations, 2 };
	for (size_t i = 0; i < COUNT(cases); i++)
		check(&site, cases[i].text, cases[i].want);
	/* an aliases(5) map without files to include */
	site.locals.map.ops = &virtual_ops;
	check(&site, "inc@here", "error");
	assert_string_equal(site.err.text, "aliases:/two: no :include: here");
}

/* Not told what is local: all that has a name in aliases(5) is. */
static void test_local_unknown(void **state)
{
	static const char *const one[] = { "joe@d", "elsewhere@virtual", NULL };
	static const char *const locals[] = { "list", "joe, list, ann", "b",
					      "b", NULL };
	char *domains[] = { (char *)"d" };
	struct site site;

	(void)state;
	set_up(&site, one, locals, nothing);
	check(&site, "b@d", "b@d");
	assert_string_equal(site.locals.asked, "");
	site.settings.domains = (struct qd_list){ domains, 1 };
	check(&site, "list@d", "elsewhere@virtual list@d ann@d");
	check(&site, "b@d", "b@d");
	check(&site, "x+y@d", "x+y@d");
	assert_string_equal(site.locals.asked, "x+y x");
}

struct told {
	char text[1024];
};

static void tell_asked(void *arg, const struct qd_aliasmap *map,
		       const char *key, enum qd_found found,
		       const struct qd_aliasvalue *value,
		       const struct qd_error *err)
{
	struct told *told = arg;
	size_t used = strlen(told->text);
	const char *what = value->text;

	if (!what)
		what = found == QD_ERROR ? err->text : "-";
	snprintf(told->text + used, sizeof(told->text) - used, "%s %s %s;",
		 map->name, key, what);
	assert_true(value->explain);
}

static void test_watcher(void **state)
{
	static const char *const one[] = { "a@d", "b@d, e@d", "e@d", "ERROR",
					   NULL };
	char *destinations[] = { (char *)"here" };
	struct qd_address address = { .local = "a", .domain = "d" };
	struct qd_targets targets = { 0 };
	struct told told = { 0 };
	const struct qd_alias_watcher watcher = { &told, tell_asked };
	struct site site;

	(void)state;
	set_up(&site, one, nothing, nothing);
	site.settings.mydestination = (struct qd_list){ destinations, 1 };
	assert_int_equal(qd_aliases_expand(&site.aliases, &site.settings,
					   &address, &watcher, &targets, NULL),
			 QD_ERROR);
	assert_null(targets.items);
	assert_string_equal(told.text,
			    "texthash:/one a@d b@d, e@d;"
			    "texthash:/one b@d -;texthash:/three b@d -;"
			    "texthash:/one @d -;texthash:/three @d -;"
			    "texthash:/one e@d texthash:/one: down;");
}

/* A text of so many addresses, from so many on. */
static char *many(int first, int count, const char *extension)
{
	char *text = malloc((size_t)count * 16 + 1), *at = text;

	for (int i = first; i < first + count; i++)
		at += sprintf(at, "%sm%d%s@d", at == text ? "" : ",", i,
			      extension);
	*at = '\0';
	return text;
}

static void test_bounds(void **state)
{
	char *most = many(0, QD_ALIAS_TARGETS, "");
	char *extended = many(0, QD_ALIAS_TARGETS, "+x");
	char *half = many(0, 600, ""), *rest = many(600, 600, "");
	char deep[QD_ALIAS_DEPTH + 2][2][16];
	const char *pairs[2 * (QD_ALIAS_DEPTH + 2) + 16];
	char *destinations[] = { (char *)"here", (char *)"d" };
	struct site site;
	size_t n = 0;

	(void)state;
	for (int i = 0; i <= QD_ALIAS_DEPTH; i++) {
		snprintf(deep[i][0], sizeof(deep[i][0]), "d%d@d", i);
		snprintf(deep[i][1], sizeof(deep[i][1]), "d%d@d", i + 1);
		pairs[n++] = deep[i][0];
		pairs[n++] = deep[i][1];
	}
	pairs[n++] = "most@d";
	pairs[n++] = most;
	pairs[n++] = "extended@d";
	pairs[n++] = extended;
	pairs[n++] = "more@d";
	pairs[n++] = "most@d, one@d";
	pairs[n++] = "halves@d";
	pairs[n++] = "half@d, rest@d";
	pairs[n++] = "half@d";
	pairs[n++] = half;
	pairs[n++] = "rest@d";
	pairs[n++] = rest;
	pairs[n] = NULL;
	set_up(&site, pairs, nothing, nothing);
	site.settings.mydestination = (struct qd_list){ destinations, 1 };
	check(&site, "d1@d", "d21@d");
	check(&site, "d0@d", "error");
	assert_string_equal(site.err.text, "alias_maps: too many steps");
	check(&site, "more@d", "error");
	assert_string_equal(site.err.text, "alias_maps: too many addresses");
	check(&site, "halves@d", "error");
	/* two maps, five keys each */
	site.settings.mydestination.count = 2;
	check(&site, "extended@d", "error");
	assert_string_equal(site.err.text, "alias_maps: too many look-ups");
	site.aliases.count = 1;
	site.settings.alias_timeout_ms = 0;
	check(&site, "most@d", "error");
	assert_string_equal(site.err.text, "alias_maps: alias_timeout is over");
	free(most);
	free(extended);
	free(half);
	free(rest);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_virtual),
		cmocka_unit_test(test_keys),
		cmocka_unit_test(test_local),
		cmocka_unit_test(test_local_unknown),
		cmocka_unit_test(test_watcher),
		cmocka_unit_test(test_bounds),
	};

	return RUN_TESTS(tests);
}
