/* SPDX-License-Identifier: BSD-2-Clause */
/* What compare understands of smmapd, imapd and lmtpd. */
#include "check.h"

#include <stdlib.h>

#include "../../tools/ctl/asker.h"

#define ACCEPTS	   CYRUS_ACCEPTS
#define REFUSES	   CYRUS_REFUSES
#define NO_MAILBOX CYRUS_NO_MAILBOX
#define UNSURE	   CYRUS_UNSURE

/* A frame and what follows it; want: its length, 0 more to come, -1 bad. */
struct frame {
	const char *name, *data;
	ssize_t want;
};

static const struct frame netstrings[] = {
	{ "answer", "2:OK,", 5 },
	{ "empty", "0:,", 3 },
	{ "the next one behind it", "2:OK,3:abc,", 5 },
	{ "a comma in it", "3:a,b,", 6 },
	{ "nothing", "", 0 },
	{ "a digit", "1", 0 },
	{ "digits", "12345", 0 },
	{ "cut short", "5:OK", 0 },
	{ "comma missing", "2:OK", 0 },
	{ "another end", "2:OK;", -1 },
	{ "longer than it says", "1:OK,", -1 },
	{ "no digits", ":OK,", -1 },
	{ "a sign", "-1:O,", -1 },
	{ "a blank", " 2:OK,", -1 },
	{ "a leading zero", "02:OK,", -1 },
	{ "too many digits", "100000", -1 },
	{ "too long", "65536:", -1 },
	{ "text", "OK\r\n", -1 },
};

static const struct frame responses[] = {
	{ "line", "* OK hello\r\n", 12 },
	{ "the next one behind it", "* X\r\n* Y\r\n", 5 },
	{ "no carriage return", "* X\n", 4 },
	{ "literal", "* Q {3}\r\nabc (\r\n", 16 },
	{ "a newline in a literal", "* Q {3}\r\n\r\nx y\r\n", 16 },
	{ "two literals", "{1}\r\na{2}\r\nbc\r\n", 15 },
	{ "LITERAL+", "{1+}\r\na\r\n", 9 },
	{ "empty literal", "{0}\r\n\r\n", 7 },
	{ "braces that are none", "* OK {a}\r\n", 10 },
	{ "empty braces", "* OK {}\r\n", 9 },
	{ "only a plus", "* OK {+}\r\n", 10 },
	{ "no opening brace", "12}\r\n", 5 },
	{ "empty line", "\r\n", 2 },
	{ "nothing", "", 0 },
	{ "cut short", "* OK", 0 },
	{ "literal cut short", "{3}\r\nab", 0 },
	{ "behind a literal cut short", "{3}\r\nabc)", 0 },
	{ "a huge literal", "* Q {65537}\r\n", -1 },
	{ "a literal past all numbers", "{99999999999999999999}\r\n", -1 },
};

static const struct frame replies[] = {
	{ "line", "250 ok\r\n", 8 },
	{ "the next one behind it", "250 ok\r\n550 no\r\n", 8 },
	{ "several lines", "250-a\r\n250-b\r\n250 c\r\n", 21 },
	{ "no text", "250\r\n", 5 },
	{ "no carriage return", "250 ok\n", 7 },
	{ "nothing", "", 0 },
	{ "cut short", "250 ok\r", 0 },
	{ "more lines to come", "250-a\r\n", 0 },
	{ "no code", "hello\r\n", -1 },
	{ "two digits", "25\r\n", -1 },
	{ "four digits", "2500\r\n", -1 },
	{ "empty line", "\r\n", -1 },
	{ "bad second line", "250-a\r\nb\r\n", -1 },
};

/* Each case, and each valid frame cut short at every place. */
static void check_frames(link_framer *framer, const struct frame *cases,
			 size_t count)
{
	for (size_t i = 0; i < count; i++) {
		size_t length = strlen(cases[i].data);
		ssize_t got = framer(cases[i].data, length);

		if (got != cases[i].want)
			fail_msg("%s: got %zd, want %zd", cases[i].name, got,
				 cases[i].want);
		for (ssize_t n = 0; n < cases[i].want; n++)
			if (framer(cases[i].data, (size_t)n) != 0)
				fail_msg("%s: done after %zd bytes",
					 cases[i].name, n);
	}
}

static void test_frames(void **state)
{
	(void)state;
	check_frames(smmap_frame, netstrings, COUNT(netstrings));
	check_frames(imap_frame, responses, COUNT(responses));
	check_frames(lmtp_frame, replies, COUNT(replies));
}

static const struct {
	void (*judge)(const char *frame, size_t length, struct said *said);
	const char *frame;
	enum cyrus want;
	const char *text;
} judgements[] = {
	{ smmap_judge, "18:OK joe@example.org,", ACCEPTS,
	  "OK joe@example.org" },
	{ smmap_judge, "2:OK,", ACCEPTS, "OK" },
	{ smmap_judge, "3:OK ,", ACCEPTS, "OK " },
	{ smmap_judge, "3:OKA,", UNSURE, "OKA" },
	{ smmap_judge, "9:NOTFOUND ,", NO_MAILBOX, "NOTFOUND " },
	{ smmap_judge, "15:TEMP Over quota,", REFUSES, "TEMP Over quota" },
	{ smmap_judge, "15:PERM Over quota,", REFUSES, "PERM Over quota" },
	{ smmap_judge, "19:PERM Invalid format,", UNSURE, NULL },
	{ smmap_judge, "12:TIMEOUT over,", UNSURE, NULL },
	{ smmap_judge, "4:TEMP,", UNSURE, "TEMP" },
	{ smmap_judge, "5:TEMP ,", UNSURE, "TEMP " },
	{ smmap_judge, "0:,", UNSURE, "" },
	{ smmap_judge, "4:\x01\xff\"\x7f,", UNSURE, "??\"?" },
	{ smmap_judge, "5:OK\r\nx,", UNSURE, "OK" },
	{ lmtp_judge, "250 2.1.5 ok\r\n", ACCEPTS, "250 2.1.5 ok" },
	{ lmtp_judge, "250\r\n", ACCEPTS, "250" },
	{ lmtp_judge, "452 4.2.2 Over quota SESSIONID=<x>\r\n", REFUSES,
	  "452 4.2.2 Over quota SESSIONID=<x>" },
	{ lmtp_judge, "552 5.2.2 Over quota\n", REFUSES, NULL },
	{ lmtp_judge, "452 4.2.2\r\n", REFUSES, NULL },
	{ lmtp_judge, "550-Mailbox unknown.\r\n550 5.1.1 User unknown\r\n",
	  NO_MAILBOX, "550 5.1.1 User unknown" },
	{ lmtp_judge, "451 4.2.0 bad record\r\n", UNSURE, NULL },
	{ lmtp_judge, "451 4.3.1 disk full\r\n", UNSURE, NULL },
	{ lmtp_judge, "452 5.2.2 mixed\r\n", UNSURE, NULL },
	{ lmtp_judge, "452 4.2.20 other\r\n", UNSURE, NULL },
	{ lmtp_judge, "452\r\n", UNSURE, "452" },
	{ lmtp_judge, "452 \r\n", UNSURE, "452 " },
	{ lmtp_judge, "550 5.7.1 no right\r\n", UNSURE, NULL },
	{ lmtp_judge, "354 go on\r\n", UNSURE, NULL },
};

static void test_judgements(void **state)
{
	struct said said;

	(void)state;
	for (size_t i = 0; i < COUNT(judgements); i++) {
		const char *frame = judgements[i].frame;

		judgements[i].judge(frame, strlen(frame), &said);
		if (said.cyrus != judgements[i].want)
			fail_msg("%s: got %d, want %d", frame, said.cyrus,
				 judgements[i].want);
		if (judgements[i].text &&
		    strcmp(said.text, judgements[i].text) != 0)
			fail_msg("%s: got \"%s\"", frame, said.text);
	}
}

/* used is -1: not as QUOTA, but as OTHER or BAD */
static const struct {
	const char *frame;
	enum imap_quota want;
	enum qd_resource resource;
	int64_t used, limit;
} quotas[] = {
	{ "* QUOTA user/joe (STORAGE 10 100)\r\n", IMAP_QUOTA, QD_STORAGE,
	  10240, 100 },
	{ "* QUOTA \"user/a \\\"b\\\\\" (MESSAGE 2 3)\r\n", IMAP_QUOTA,
	  QD_MESSAGE, 2, 3 },
	{ "* QUOTA {8}\r\nuser/joe (STORAGE 1 2 MESSAGE 2 3)\r\n", IMAP_QUOTA,
	  QD_MESSAGE, 2, 3 },
	{ "* QUOTA {3}\r\n)\r\n (STORAGE 1 2)\r\n", IMAP_QUOTA, QD_STORAGE,
	  1024, 2 },
	{ "* QUOTA \"\" (STORAGE 1 2)\r\n", IMAP_QUOTA, QD_STORAGE, 1024, 2 },
	{ "* quota x (storage 1 2)\r\n", IMAP_QUOTA, QD_STORAGE, 1024, 2 },
	{ "* QUOTA x (X-ANNOTATION-STORAGE 1 2)\r\n", IMAP_QUOTA,
	  QD_ANNOTATION_STORAGE, 1024, 2 },
	{ "* QUOTA x (ANNOTATION-STORAGE 1 2)\r\n", IMAP_QUOTA,
	  QD_ANNOTATION_STORAGE, 1024, 2 },
	{ "* QUOTA x (X-NUM-FOLDERS 1 2)\r\n", IMAP_QUOTA, QD_MAILBOX_COUNT, 1,
	  2 },
	{ "* QUOTA x (MAILBOX 1 2)\r\n", IMAP_QUOTA, QD_MAILBOX_COUNT, 1, 2 },
	{ "* QUOTA x (WHATEVER 1 2 STORAGE 3 4)\r\n", IMAP_QUOTA, QD_STORAGE,
	  3072, 4 },
	{ "* QUOTA x ()\r\n", IMAP_QUOTA, QD_STORAGE, 0, -1 },
	{ "* QUOTA x (STORAGE 3221225473 3221225472)\r\n", IMAP_QUOTA,
	  QD_STORAGE, 3298534884352, 3221225472 },
	{ "* QUOTAROOT user/joe user/joe\r\n", IMAP_OTHER, 0, 0, 0 },
	{ "* OK done\r\n", IMAP_OTHER, 0, 0, 0 },
	{ "q1 QUOTA x (STORAGE 1 2)\r\n", IMAP_OTHER, 0, 0, 0 },
	{ "\r\n", IMAP_OTHER, 0, 0, 0 },
	{ "*\r\n", IMAP_OTHER, 0, 0, 0 },
	{ "* QUOTA\r\n", IMAP_BAD, 0, 0, 0 },
	{ "* QUOTA x\r\n", IMAP_BAD, 0, 0, 0 },
	{ "* QUOTA x (\r\n", IMAP_BAD, 0, 0, 0 },
	{ "* QUOTA x (STORAGE\r\n", IMAP_BAD, 0, 0, 0 },
	{ "* QUOTA x (STORAGE 1)\r\n", IMAP_BAD, 0, 0, 0 },
	{ "* QUOTA x (STORAGE 1 2\r\n", IMAP_BAD, 0, 0, 0 },
	{ "* QUOTA x (STORAGE -1 2)\r\n", IMAP_BAD, 0, 0, 0 },
	{ "* QUOTA x (STORAGE 1 -2)\r\n", IMAP_BAD, 0, 0, 0 },
	{ "* QUOTA x (STORAGE a b)\r\n", IMAP_BAD, 0, 0, 0 },
	{ "* QUOTA x (\"STORAGE\" 1 2)\r\n", IMAP_BAD, 0, 0, 0 },
	{ "* QUOTA x (STORAGE 9223372036854775807 2)\r\n", IMAP_BAD, 0, 0, 0 },
	{ "* QUOTA x (STORAGE 1 9223372036854775808)\r\n", IMAP_BAD, 0, 0, 0 },
	{ "* QUOTA \"x (STORAGE 1 2)\r\n", IMAP_BAD, 0, 0, 0 },
	{ "* QUOTA \"x\\", IMAP_BAD, 0, 0, 0 },
	{ "* QUOTA {9}\r\nx (STORAGE", IMAP_BAD, 0, 0, 0 },
	{ "* QUOTA {x}\r\n", IMAP_BAD, 0, 0, 0 },
	{ "* QUOTA (STORAGE 1 2)\r\n", IMAP_BAD, 0, 0, 0 },
};

static void test_quotas(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(quotas); i++) {
		const char *frame = quotas[i].frame;
		struct qd_record rec;
		const struct qd_usage *usage = &rec.usage[quotas[i].resource];
		enum imap_quota got = imap_quota(frame, strlen(frame), &rec);

		if (got != quotas[i].want)
			fail_msg("%s: got %d, want %d", frame, got,
				 quotas[i].want);
		if (got == IMAP_QUOTA && (usage->used != quotas[i].used ||
					  usage->limit != quotas[i].limit))
			fail_msg("%s: got %lld of %lld", frame,
				 (long long)usage->used,
				 (long long)usage->limit);
	}
}

/* What the KiB that were rounded off leave open. */
static const struct {
	const char *frame;
	enum qd_rule rule;
	enum cyrus want;
} rounded[] = {
	{ "* QUOTA x (STORAGE 99 100)\r\n", QD_RULE_LMTPD, ACCEPTS },
	{ "* QUOTA x (STORAGE 100 100)\r\n", QD_RULE_LMTPD, UNSURE },
	{ "* QUOTA x (STORAGE 101 100)\r\n", QD_RULE_LMTPD, REFUSES },
	{ "* QUOTA x (STORAGE 0 0)\r\n", QD_RULE_LMTPD, UNSURE },
	{ "* QUOTA x ()\r\n", QD_RULE_LMTPD, ACCEPTS },
	{ "* QUOTA x (STORAGE 9007199254740990 100)\r\n", QD_RULE_LMTPD,
	  REFUSES },
	{ "* QUOTA x (X-ANNOTATION-STORAGE 1 1)\r\n", QD_RULE_LMTPD, UNSURE },
	{ "* QUOTA x (X-ANNOTATION-STORAGE 2 1)\r\n", QD_RULE_SMMAPD, ACCEPTS },
	{ "* QUOTA x (STORAGE 100 100 MESSAGE 2 1)\r\n", QD_RULE_LMTPD,
	  REFUSES },
	{ "* QUOTA x (MESSAGE 1 1)\r\n", QD_RULE_LMTPD, ACCEPTS },
	{ "* QUOTA x (MESSAGE 1 1)\r\n", QD_RULE_STRICT, REFUSES },
	{ "* QUOTA x (MESSAGE 1 1)\r\n", QD_RULE_SMMAPD, REFUSES },
	{ "* QUOTA x (X-NUM-FOLDERS 2 1)\r\n", QD_RULE_LMTPD, REFUSES },
};

static void test_rounded(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(rounded); i++) {
		const char *frame = rounded[i].frame;
		struct qd_record rec;
		enum cyrus got;

		imap_quota(frame, strlen(frame), &rec);
		got = imap_judge(&rec, rounded[i].rule);
		if (got != rounded[i].want)
			fail_msg("%s by %s: got %d, want %d", frame,
				 qd_rule_name(rounded[i].rule), got,
				 rounded[i].want);
	}
}

static void test_requests(void **state)
{
	char out[1024], small[8], address[1000];

	(void)state;
	assert_int_equal(smmap_request("joe@x.org", out, sizeof(out)), 19);
	assert_string_equal(out, "15:cyrus joe@x.org,");
	assert_int_equal(smmap_request("joe@x.org", small, sizeof(small)), -1);
	memset(address, 'a', sizeof(address));
	address[894] = '\0';
	assert_int_equal(smmap_request(address, out, sizeof(out)), 905);
	address[894] = 'a';
	address[895] = '\0';
	assert_int_equal(smmap_request(address, out, sizeof(out)), -1);

	assert_int_equal(imap_string("user/joe", out, sizeof(out)), 10);
	assert_string_equal(out, "\"user/joe\"");
	imap_string("a\"b\\c", out, sizeof(out));
	assert_string_equal(out, "\"a\\\"b\\\\c\"");
	imap_string("", out, sizeof(out));
	assert_string_equal(out, "\"\"");
	assert_int_equal(imap_string("p\xc3\xa4", out, sizeof(out)), 9);
	assert_string_equal(out, "{3+}\r\np\xc3\xa4");
	imap_string("a\r\nq2 DELETE x", out, sizeof(out));
	assert_string_equal(out, "{14+}\r\na\r\nq2 DELETE x");
	assert_int_equal(imap_string("abcdef", small, sizeof(small)), -1);
	assert_int_equal(imap_string("\xff\xff\xff", small, sizeof(small)), -1);
}

/* Garbage that begins well: nothing is read past its end. */
static void test_garbage(void **state)
{
	static const char letters[] = "* QUOTA{}()\"\\+0123456789-:, \r\nq2OK";
	struct qd_record rec;
	struct said said;

	(void)state;
	srand(1);
	for (int i = 0; i < 200000; i++) {
		size_t length = (size_t)rand() % 40;
		/* of that size, so that a sanitizer sees the end */
		char *data = malloc(length ? length : 1);

		assert_non_null(data);
		for (size_t n = 0; n < length; n++)
			data[n] = letters[(size_t)rand() % sizeof(letters)];
		if (smmap_frame(data, length) > 0)
			smmap_judge(data, (size_t)smmap_frame(data, length),
				    &said);
		if (lmtp_frame(data, length) > 0)
			lmtp_judge(data, (size_t)lmtp_frame(data, length),
				   &said);
		if (imap_frame(data, length) > (ssize_t)length)
			fail_msg("a frame longer than what there is");
		imap_quota(data, length, &rec);
		free(data);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_frames),
		cmocka_unit_test(test_judgements),
		cmocka_unit_test(test_quotas),
		cmocka_unit_test(test_rounded),
		cmocka_unit_test(test_requests),
		cmocka_unit_test(test_garbage),
	};

	return RUN_TESTS(tests);
}
