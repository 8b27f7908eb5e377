/* SPDX-License-Identifier: BSD-2-Clause */
#include "quotadefer/netblock.h"

#include <arpa/inet.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

#include "quotadefer/value.h"

static int address_bits(int family)
{
	return family == AF_INET ? 32 : 128;
}

static int parse_address(const char *text, unsigned char address[16])
{
	if (inet_pton(AF_INET, text, address) == 1)
		return AF_INET;
	if (inet_pton(AF_INET6, text, address) == 1)
		return AF_INET6;
	return -1;
}

/* IPv4 as RFC 4291 2.5.5.2 writes it in IPv6 */
static bool is_mapped(int family, const unsigned char address[16])
{
	static const unsigned char mapped[12] = { [10] = 0xff, [11] = 0xff };

	return family == AF_INET6 &&
	       memcmp(address, mapped, sizeof(mapped)) == 0;
}

static void unmap(unsigned char address[16])
{
	memmove(address, address + 12, 4);
}

static bool same_prefix(const unsigned char *a, const unsigned char *b,
			int bits)
{
	int bytes = bits / 8, rest = bits % 8;

	if (memcmp(a, b, (size_t)bytes) != 0)
		return false;
	return !rest || (a[bytes] ^ b[bytes]) >> (8 - rest) == 0;
}

/* "192.0.2.1/24" may be meant as /32 or as 192.0.2.0/24: ask */
static bool host_bits_are_zero(const struct qd_netblock *block)
{
	for (int bit = block->prefix; bit < address_bits(block->family); bit++)
		if (block->address[bit / 8] & (0x80 >> bit % 8))
			return false;
	return true;
}

int qd_netblock_parse(const char *text, struct qd_netblock *out)
{
	struct qd_netblock block = { 0 };
	char address[INET6_ADDRSTRLEN];
	size_t length = strcspn(text, "/");
	int64_t prefix;

	if (length >= sizeof(address))
		return -1;
	memcpy(address, text, length);
	address[length] = '\0';
	block.family = parse_address(address, block.address);
	if (block.family < 0)
		return -1;
	prefix = address_bits(block.family);
	if (text[length] &&
	    qd_value_integer(text + length + 1, 0, prefix, &prefix) < 0)
		return -1;
	block.prefix = (int)prefix;
	if (is_mapped(block.family, block.address) && block.prefix >= 96) {
		block.family = AF_INET;
		block.prefix -= 96;
		unmap(block.address);
	}
	if (!host_bits_are_zero(&block))
		return -1;
	*out = block;
	return 0;
}

bool qd_netblock_has(const struct qd_netblock *block, const char *address)
{
	unsigned char bytes[16];
	int family;

	if (strncasecmp(address, "IPv6:", 5) == 0)
		address += 5;
	family = parse_address(address, bytes);
	if (is_mapped(family, bytes)) {
		family = AF_INET;
		unmap(bytes);
	}
	return family == block->family &&
	       same_prefix(bytes, block->address, block->prefix);
}
