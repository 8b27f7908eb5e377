/* SPDX-License-Identifier: BSD-2-Clause */
/* The names that compare asks by, and what it makes of the answers. */
#include "check.h"

#include "../../tools/ctl/compare.h"

#define NONE NULL

/* u: unixhierarchysep, v: virtdomains, f: smmapd's rule, p: a post user */
static const struct {
	const char *how, *root;
	const char *address; /* NULL: no mail gets there */
	const char *imap;
} names[] = {
	{ "uv", "user.joe", "joe@example.org", "user/joe" },
	{ "uv", "user.first^last", "first.last@example.org",
	  "user/first.last" },
	{ "uv", "virt.example!user.joe", "joe@virt.example",
	  "user/joe@virt.example" },
	{ "uv", "user.joe.sub", NONE, NONE },
	{ "uvf", "user.joe.sub", "joe+sub@example.org", "user/joe/sub" },
	{ "uvf", "virt.example!user.a^b.Sub.x^y", "a.b+Sub/x.y@virt.example",
	  "user/a.b/Sub/x.y@virt.example" },
	/* it would have to be written in UTF-8 */
	{ "uvf", "user.joe.&AOQ-", NONE, NONE },
	{ "uv", "shared.list", "+shared/list@example.org", "shared/list" },
	{ "uvp", "shared.list", "bb+shared/list@example.org", "shared/list" },
	{ "uv", "virt.example!shared", "+shared@virt.example",
	  "shared@virt.example" },
	{ "uv", "virt.example!", NONE, NONE },
	{ "uv", "user.Joe", NONE, NONE },
	{ "uv", "user.", NONE, NONE },
	{ "uv", "user", "+user@example.org", "user" },
	{ "uv", "", NONE, NONE },
	{ "uv", "user.a b", NONE, NONE },
	{ "uv", "user.a\r\nb", NONE, NONE },
	{ "uv", "user.a<b>", NONE, NONE },
	{ "uv", "user.a\"b", NONE, NONE },
	{ "uv", "user.a@b", NONE, NONE },
	{ "uv", "user.a+b", NONE, NONE },
	{ "uv", "user.\xff", NONE, NONE },
	{ "uv", "a b!user.joe", NONE, NONE },
	{ "uv", "example.org!user.joe", NONE, NONE },
	{ "v", "user.joe", "joe@example.org", "user.joe" },
	{ "v", "user.a^b", "a.b@example.org", "user.a^b" },
	{ "vf", "user.a^b.x^y.z", "a.b+x^y.z@example.org", "user.a^b.x^y.z" },
	{ "", "user.joe", "joe@example.org", "user.joe" },
	{ "", "virt.example!user.joe", NONE, NONE },
};

static void set_naming(const char *how, struct qd_naming *naming)
{
	qd_naming_defaults(naming);
	strcpy(naming->defaultdomain, "example.org");
	naming->virtdomains =
		strchr(how, 'v') ? QD_VIRTDOMAINS_USERID : QD_VIRTDOMAINS_OFF;
	naming->unixhierarchysep = strchr(how, 'u');
	naming->tests_folder = strchr(how, 'f');
	if (strchr(how, 'p'))
		strcpy(naming->postuser, "bb");
}

static void test_names(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(names); i++) {
		struct qd_naming naming;
		struct recipient got;
		bool found;

		set_naming(names[i].how, &naming);
		found = compare_recipient(&naming, names[i].root, &got);
		if (found != (names[i].address != NONE))
			fail_msg("%s, %s: %s, want %s", names[i].how,
				 names[i].root, found ? got.address : "none",
				 names[i].address);
		if (found && (strcmp(got.address, names[i].address) != 0 ||
			      strcmp(got.imap, names[i].imap) != 0))
			fail_msg("%s, %s: got %s and %s", names[i].how,
				 names[i].root, got.address, got.imap);
	}
}

/* Nothing too long is asked for, and nothing is written past an end. */
static void test_lengths(void **state)
{
	char root[QD_ROOT_MAX + 100];
	struct qd_naming naming;
	struct recipient got;

	(void)state;
	set_naming("uv", &naming);
	for (size_t length = 1; length < sizeof(root) - 5; length++) {
		strcpy(root, "user.");
		memset(root + 5, 'a', length);
		root[5 + length] = '\0';
		assert_int_equal(compare_recipient(&naming, root, &got),
				 length <= QD_LOCAL_MAX);
	}
}

#define ACCEPTS	   CYRUS_ACCEPTS
#define REFUSES	   CYRUS_REFUSES
#define NO_MAILBOX CYRUS_NO_MAILBOX

static const struct {
	const char *name;
	struct facts facts;
	enum outcome want;
} cases[] = {
	/* defers, Cyrus, rules differ, file over before, and after */
	{ "both pass", { 0, ACCEPTS, 0, 0, 0 }, AGREE },
	{ "both refuse", { 1, REFUSES, 0, 1, 1 }, AGREE },
	{ "both, whatever the file says", { 1, REFUSES, 0, 0, 0 }, AGREE },
	{ "emptied", { 1, ACCEPTS, 0, 0, 0 }, STALE },
	{ "filled", { 0, REFUSES, 0, 1, 1 }, STALE },
	{ "emptied while asked", { 1, ACCEPTS, 0, 1, 0 }, STALE },
	{ "filled just after", { 1, ACCEPTS, 0, 0, 1 }, STALE },
	{ "filled while asked", { 0, REFUSES, 0, 0, 1 }, STALE },
	{ "full by the file too", { 1, ACCEPTS, 0, 1, 1 }, FALSE },
	{ "not full by the file", { 0, REFUSES, 0, 0, 0 }, MISSED },
	{ "another rule, defers", { 1, ACCEPTS, 1, 1, 1 }, UNSURE },
	{ "another rule, passes", { 0, REFUSES, 1, 0, 0 }, UNSURE },
	{ "another rule, agree", { 1, REFUSES, 1, 1, 1 }, AGREE },
	{ "unsure, passes", { 0, CYRUS_UNSURE, 0, 0, 0 }, UNSURE },
	{ "unsure, defers", { 1, CYRUS_UNSURE, 0, 0, 0 }, UNSURE },
	{ "deleted", { 1, NO_MAILBOX, 0, 0, 0 }, STALE },
	{ "root left behind", { 1, NO_MAILBOX, 0, 1, 1 }, UNSURE },
	{ "not there", { 0, NO_MAILBOX, 0, 0, 0 }, UNSURE },
};

static void test_judge(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		enum outcome got = compare_judge(&cases[i].facts);

		if (got != cases[i].want)
			fail_msg("%s: got %d, want %d", cases[i].name, got,
				 cases[i].want);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_lengths),
		cmocka_unit_test(test_judge),
	};

	return RUN_TESTS(tests);
}
