/* SPDX-License-Identifier: BSD-2-Clause */
#include "check.h"

#include <sys/socket.h>

#include "quotadefer/netblock.h"

static const struct {
	const char *text;
	int family, prefix;
} good[] = {
	{ "192.0.2.0/24", AF_INET, 24 },
	{ "192.0.2.1", AF_INET, 32 },
	{ "192.0.2.1/32", AF_INET, 32 },
	{ "0.0.0.0/0", AF_INET, 0 },
	{ "128.0.0.0/1", AF_INET, 1 },
	{ "2001:db8::/32", AF_INET6, 32 },
	{ "2001:DB8::1", AF_INET6, 128 },
	{ "::/0", AF_INET6, 0 },
	{ "::1", AF_INET6, 128 },
	{ "fe80::/10", AF_INET6, 10 },
	/* IPv4 in disguise would else never match */
	{ "::ffff:192.0.2.0/120", AF_INET, 24 },
	{ "::ffff:c000:201", AF_INET, 32 },
	{ "::/80", AF_INET6, 80 },
};

static const char *const bad[] = {
	"",
	"/",
	"/24",
	"192.0.2.0/",
	"192.0.2.0/33",
	"192.0.2.0/-1",
	"192.0.2.0/+24",
	"192.0.2.0/24 ",
	" 192.0.2.0/24",
	"192.0.2.0/24/8",
	"192.0.2.0/255.255.255.0",
	"192.0.2.0/99999999999999999999",
	/* is it the host or the network? */
	"192.0.2.1/24",
	"192.0.2.128/24",
	"2001:db8::1/32",
	"::ffff:192.0.2.1/120",
	"192.0.2",
	"192.0.2.256",
	"010.0.0.1",
	"0x7f.0.0.1",
	"2001:db8::/129",
	"2001:db8::1::",
	"[2001:db8::1]",
	"IPv6:2001:db8::1",
	"mx.example.org",
	"fe80::1%eth0",
	"1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb:cccc:dddd:eeee",
};

static void test_parse(void **state)
{
	struct qd_netblock block;

	(void)state;
	for (size_t i = 0; i < COUNT(good); i++) {
		if (qd_netblock_parse(good[i].text, &block) < 0)
			fail_msg("%s: not accepted", good[i].text);
		if (block.family != good[i].family ||
		    block.prefix != good[i].prefix)
			fail_msg("%s: got family %d, /%d", good[i].text,
				 block.family, block.prefix);
	}
	for (size_t i = 0; i < COUNT(bad); i++) {
		block.family = -7;
		if (qd_netblock_parse(bad[i], &block) == 0)
			fail_msg("%s: accepted", bad[i]);
		assert_int_equal(block.family, -7);
	}
}

static const struct {
	const char *block, *address;
	bool want;
} cases[] = {
	{ "192.0.2.0/24", "192.0.2.0", true },
	{ "192.0.2.0/24", "192.0.2.255", true },
	{ "192.0.2.0/24", "192.0.3.0", false },
	{ "192.0.2.0/24", "192.0.1.255", false },
	{ "192.0.2.128/25", "192.0.2.127", false },
	{ "192.0.2.128/25", "192.0.2.128", true },
	{ "192.0.2.4/30", "192.0.2.7", true },
	{ "192.0.2.4/30", "192.0.2.8", false },
	{ "192.0.2.1", "192.0.2.1", true },
	{ "192.0.2.1", "192.0.2.2", false },
	{ "0.0.0.0/0", "255.1.2.3", true },
	{ "0.0.0.0/0", "::1", false },
	{ "128.0.0.0/1", "127.255.255.255", false },
	{ "128.0.0.0/1", "128.0.0.0", true },
	{ "2001:db8::/32", "2001:db8:ffff::1", true },
	{ "2001:db8::/32", "IPv6:2001:DB8::1", true },
	{ "2001:db8::/32", "ipv6:2001:db8:0:0:0:0:0:1", true },
	{ "2001:db8::/32", "2001:db9::1", false },
	{ "2001:db8::/33", "2001:db8:8000::", false },
	{ "::/0", "IPv6:::1", true },
	{ "::/0", "192.0.2.1", false },
	{ "::1", "IPv6:::1", true },
	{ "::1", "::2", false },
	{ "192.0.2.0/24", "::ffff:192.0.2.9", true },
	{ "192.0.2.0/24", "IPv6:::ffff:192.0.2.9", true },
	{ "192.0.2.0/24", "::ffff:192.0.3.9", false },
	{ "::ffff:192.0.2.0/120", "192.0.2.9", true },
	{ "::ffff:192.0.2.0/120", "::ffff:192.0.2.9", true },
	{ "::/0", "::ffff:192.0.2.9", false },
	/* no addresses: the local submission of sendmail, XCLIENT, nothing */
	{ "0.0.0.0/0", "0", false },
	{ "0.0.0.0/0", "", false },
	{ "0.0.0.0/0", "unknown", false },
	{ "::/0", "IPv6:", false },
	{ "::/0", "IPv6:192.0.2.1", false },
	{ "0.0.0.0/0", "192.0.2.1 ", false },
	{ "0.0.0.0/0", "192.0.2.1/24", false },
};

static void test_has(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct qd_netblock block;

		assert_int_equal(qd_netblock_parse(cases[i].block, &block), 0);
		if (qd_netblock_has(&block, cases[i].address) != cases[i].want)
			fail_msg("%s in %s: want %d", cases[i].address,
				 cases[i].block, cases[i].want);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse),
		cmocka_unit_test(test_has),
	};

	return RUN_TESTS(tests);
}
