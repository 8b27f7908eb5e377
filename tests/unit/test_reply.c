/* SPDX-License-Identifier: BSD-2-Clause */
#include "check.h"

#include <stdlib.h>

#include "quotadefer/reply.h"
#include "quotadefer/template.h"

static struct qd_settings usual(void)
{
	return (struct qd_settings){
		.reply_code = 451,
		.reply_enhanced_code = "4.2.2",
		.reply_text = "100% full",
		.reject_text = "{resource} is full",
	};
}

static struct qd_address address(const char *local, const char *domain)
{
	struct qd_address out = { 0 };

	assert_true(strlen(local) <= QD_LOCAL_MAX);
	assert_true(strlen(domain) <= QD_DOMAIN_MAX);
	strcpy(out.local, local);
	strcpy(out.domain, domain);
	return out;
}

static void make(char *text, const char *local, const char *domain,
		 struct qd_reply *reply)
{
	struct qd_settings settings = usual();
	struct qd_address to = address(local, domain);

	settings.reply_text = text;
	qd_reply_make(&settings, QD_DEFER, QD_STORAGE, &to, reply);
}

static void test_codes(void **state)
{
	struct qd_settings settings = usual();
	struct qd_address to = address("joe", "example.org");
	struct qd_reply reply;

	(void)state;
	qd_reply_make(&settings, QD_DEFER, QD_STORAGE, &to, &reply);
	assert_string_equal(reply.code, "451");
	assert_string_equal(reply.dsn, "4.2.2");
	assert_string_equal(reply.text, "100% full");
	settings.reply_code = 452;
	settings.reply_enhanced_code = "4.999.999";
	qd_reply_make(&settings, QD_DEFER, QD_STORAGE, &to, &reply);
	assert_string_equal(reply.code, "452");
	assert_string_equal(reply.dsn, "4.999.999");
	/* RFC 3463: nothing else would be right for a full mailbox */
	qd_reply_make(&settings, QD_REJECT, QD_MESSAGE, &to, &reply);
	assert_string_equal(reply.code, "552");
	assert_string_equal(reply.dsn, "5.2.2");
	assert_string_equal(reply.text, "message is full");
}

static const struct {
	const char *name, *text, *local, *domain, *want;
} cases[] = {
	{ "plain", "full", "joe", "example.org", "full" },
	{ "resource", "{resource}: full, {resource}", "joe", "example.org",
	  "storage: full, storage" },
	{ "braces", "{ } {} {a b} {resource {{resource}}", "joe", "example.org",
	  "{ } {} {a b} {resource {storage}" },
	{ "recipient", "https://h.example/f?m={recipient}&x=1", "joe",
	  "example.org", "https://h.example/f?m=joe%40example.org&x=1" },
	{ "unreserved", "{recipient}", "aZ0-._~", "b-c.d", "aZ0-._~%40b-c.d" },
	{ "reserved", "{recipient}", "!#$%&'*+/=?^`{|}", "x",
	  "%21%23%24%25%26%27%2A%2B%2F%3D%3F%5E%60%7B%7C%7D%40x" },
	{ "a word in the address", "{recipient}", "{resource}", "x",
	  "%7Bresource%7D%40x" },
	{ "hostile", "{recipient}", "a \"<>\\\r\n\t;,:()[]@", "x",
	  "a%20%22%3C%3E%5C%0D%0A%09%3B%2C%3A%28%29%5B%5D%40%40x" },
	{ "UTF-8", "{recipient}", "j\xc3\xb6", "b\xc3\xbc.example",
	  "j%C3%B6%40b%C3%BC.example" },
	{ "lines", "full:\nsee {recipient}\nbye", "joe", "x",
	  "full:\nsee joe%40x\nbye" },
};

static void test_texts(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		char *text = strdup(cases[i].text);
		struct qd_reply reply;

		make(text, cases[i].local, cases[i].domain, &reply);
		if (strcmp(reply.text, cases[i].want) != 0)
			fail_msg("%s: got \"%s\", want \"%s\"", cases[i].name,
				 reply.text, cases[i].want);
		free(text);
	}
}

/* Half an address is another's, so it is there whole or not at all. */
static void test_too_long(void **state)
{
	char local[QD_LOCAL_MAX + 1], text[QD_TEMPLATE_MAX + 1];
	struct qd_reply reply;

	(void)state;
	memset(local, '%', QD_LOCAL_MAX);
	local[QD_LOCAL_MAX] = '\0';
	make((char[]){ "see {recipient} there" }, local, "x", &reply);
	assert_string_equal(reply.text, "see  there");
	/* nothing left of a line, or of all of them */
	make((char[]){ "a\n{recipient}\nb" }, local, "x", &reply);
	assert_string_equal(reply.text, "a\nb");
	make((char[]){ "{recipient}\n{recipient}" }, local, "x", &reply);
	assert_string_equal(reply.text, "mailbox full");
	/* exactly as much as there is room for: 3 x 164 + "%40x" */
	local[164] = '\0';
	make((char[]){ "{recipient}{resource}!" }, local, "x", &reply);
	assert_int_equal(strlen(reply.text), QD_REPLY_LINE);
	assert_string_equal(reply.text + QD_REPLY_LINE - 7, "%25%40x");
	/* text after it is cut */
	memset(text, 'y', QD_TEMPLATE_MAX);
	memcpy(text, "{recipient}", 11);
	text[QD_TEMPLATE_MAX] = '\0';
	local[20] = '\0';
	make(text, local, "x", &reply);
	assert_int_equal(strlen(reply.text), QD_REPLY_LINE);
}

/* The worst that the settings allow, as libmilter sees it. */
static void test_limit_of_libmilter(void **state)
{
	char text[QD_TEMPLATE_MAX + 1], local[QD_LOCAL_MAX + 1];
	char escaped[2 * QD_REPLY_TEXT];
	struct qd_reply reply;

	(void)state;
	memset(local, '%', QD_LOCAL_MAX);
	for (size_t length = 0; length <= QD_LOCAL_MAX; length++) {
		local[QD_LOCAL_MAX - length] = '\0';
		memset(text, '%', QD_TEMPLATE_MAX);
		memcpy(text, "{recipient}", 11);
		text[QD_TEMPLATE_MAX] = '\0';
		make(text, local, "x", &reply);
		assert_true(strlen(reply.text) <= QD_REPLY_LINE);
		assert_true(strlen(qd_reply_escape(reply.text, escaped,
						   sizeof(escaped))) <= 980);
	}
	memset(text, '%', QD_TEMPLATE_MAX);
	make(text, "joe", "x", &reply);
	qd_reply_escape(reply.text, escaped, sizeof(escaped));
	assert_int_equal(strlen(escaped), 2 * QD_TEMPLATE_MAX);
}

static void test_lines(void **state)
{
	char text[64] = "{recipient}", local[QD_LOCAL_MAX + 1];
	struct qd_reply reply;
	int lines = 1;

	(void)state;
	for (int i = 1; i < 5; i++)
		strcat(text, "\n{recipient}");
	memset(local, 'j', QD_LOCAL_MAX);
	local[QD_LOCAL_MAX] = '\0';
	make(text, local, "example.org", &reply);
	for (const char *p = reply.text; (p = strchr(p, '\n')); p++)
		lines++;
	assert_int_equal(lines, 5);
	assert_int_equal(strlen(reply.text), 5 * (QD_LOCAL_MAX + 14) + 4);
	/* more than the settings allow are left out */
	make((char[]){ "1\n2\n3\n4\n5\n6\n7\n8\n9\n10" }, "joe", "x", &reply);
	assert_string_equal(reply.text, "1\n2\n3\n4\n5\n6\n7\n8");
}

static void test_unknown_words(void **state)
{
	static const struct {
		const char *text, *want;
	} words[] = {
		{ "nothing", NULL },
		{ "{resource} {recipient}", NULL },
		{ "{ resource} {} {a.b} {", NULL },
		{ "{resources}", "{resources}" },
		{ "x {Recipient} {y}", "{Recipient}" },
		{ "{{user}}", "{user}" },
		{ "${x-1_}", "{x-1_}" },
	};
	size_t length;

	(void)state;
	for (size_t i = 0; i < COUNT(words); i++) {
		const char *got = qd_template_unknown(words[i].text, &length);
		const char *want = words[i].want;

		if (!got != !want ||
		    (want && (length != strlen(want) ||
			      strncmp(got, want, length) != 0)))
			fail_msg("%s: got %s", words[i].text,
				 got ? got : "none");
	}
}

static void test_escape(void **state)
{
	char text[64], little[8];

	(void)state;
	assert_string_equal(qd_reply_escape("100% full", text, sizeof(text)),
			    "100%% full");
	/* cut, but never in the middle of a pair */
	assert_string_equal(qd_reply_escape("%%%%%%", little, sizeof(little)),
			    "%%%%%%");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_codes),
		cmocka_unit_test(test_texts),
		cmocka_unit_test(test_too_long),
		cmocka_unit_test(test_limit_of_libmilter),
		cmocka_unit_test(test_lines),
		cmocka_unit_test(test_unknown_words),
		cmocka_unit_test(test_escape),
	};

	return RUN_TESTS(tests);
}
