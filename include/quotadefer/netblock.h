/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef QUOTADEFER_NETBLOCK_H
#define QUOTADEFER_NETBLOCK_H

#include <stdbool.h>

/* A block of addresses in the CIDR notation of RFC 4632 and RFC 4291. */
struct qd_netblock {
	int family; /* AF_INET or AF_INET6 */
	unsigned char address[16];
	int prefix; /* bits */
};

/*
 * Read "192.0.2.0/24", "2001:db8::/32", or an address alone. Bits beyond the
 * prefix must be zero. IPv4 mapped into IPv6 (RFC 4291 2.5.5.2) is IPv4, here
 * and below. Returns 0, or -1.
 */
int qd_netblock_parse(const char *text, struct qd_netblock *out);

/*
 * True if the address, as an MTA writes it, is in the block: "192.0.2.1",
 * "2001:db8::1", "IPv6:2001:db8::1". False for what is no address.
 */
bool qd_netblock_has(const struct qd_netblock *block, const char *address);

#endif
