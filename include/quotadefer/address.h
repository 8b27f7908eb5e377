/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef QUOTADEFER_ADDRESS_H
#define QUOTADEFER_ADDRESS_H

/* RFC 5321 4.5.3.1 says 64 and 255; longer local parts are seen in the wild */
#define QD_LOCAL_MAX  320
#define QD_DOMAIN_MAX 255

/* A recipient or sender, quoting and route taken off. */
struct qd_address {
	char local[QD_LOCAL_MAX + 1];
	char domain[QD_DOMAIN_MAX + 1];
};

enum qd_address_kind {
	QD_ADDRESS_MAILBOX, /* local@domain */
	QD_ADDRESS_LOCAL,   /* a local part alone, such as postmaster */
	QD_ADDRESS_NULL,    /* <>, the null reverse-path */
	QD_ADDRESS_ODD	    /* anything else: never look it up */
};

/*
 * Read an RFC 5321 path as an MTA hands it to a filter: with or without angle
 * brackets, with a source route, a quoted local part, UTF-8 (RFC 6531).
 *
 * A trailing dot of the domain is dropped; an address literal, a comment, a
 * control character, invalid UTF-8 and too long a part are QD_ADDRESS_ODD.
 * *out is filled for MAILBOX and LOCAL, empty otherwise. Case is kept.
 */
enum qd_address_kind qd_address_parse(const char *path, struct qd_address *out);

#endif
