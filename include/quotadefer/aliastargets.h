/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef QUOTADEFER_ALIASTARGETS_H
#define QUOTADEFER_ALIASTARGETS_H

#include <stddef.h>

#include "quotadefer/address.h"
#include "quotadefer/aliasmap.h"
#include "quotadefer/error.h"

/* The text that an alias map has for a key, taken apart into its targets. */

/* Bounds of one text; beyond them it is an error. */
enum {
	QD_ALIASTARGETS_MAX = 1000,
	QD_ALIASTARGET_PATH_MAX = 1023
};

enum qd_aliastarget_kind {
	/* address; its domain is "" for a local part alone */
	QD_ALIASTARGET_ADDRESS,
	/*
	 * "@example.org" of virtual(5): the local part looked up, at
	 * address.domain. address.local is "".
	 */
	QD_ALIASTARGET_DOMAIN,
	/*
	 * Anything else, taken as deliverable: a command, a file, and what is
	 * no plain address, such as "user%host", "host!user", "user@[192.0.2.1]"
	 */
	QD_ALIASTARGET_OTHER,
	/* ":include:/path" of aliases(5); path as written, absolute or not */
	QD_ALIASTARGET_INCLUDE
};

struct qd_aliastarget {
	enum qd_aliastarget_kind kind;
	union {
		struct qd_address address; /* quoting taken off, case kept */
		char path[QD_ALIASTARGET_PATH_MAX + 1];
	};
};

struct qd_aliastargets {
	struct qd_aliastarget *items;
	size_t count;
};

/*
 * Take text apart as Postfix does: targets are between commas, and between
 * words without a comma; "Name <address>", comments, quoted local parts and
 * "group: a, b;" are understood. "\user" is "user", as it is to Postfix.
 *
 * VIRTUAL: what a virtual(5) table has. LOCAL: what aliases(5) has, or an
 * ":include:" file, each line of which is a text of its own.
 *
 * Returns 0 and *out, freed by the caller with qd_aliastargets_free; in the
 * order of text, with repetitions, and perhaps none, which in a virtual map is
 * a passing error to Postfix. Or -1 with *err: more
 * targets, a longer part of an address or a longer path than we have room
 * for, no memory.
 */
int qd_aliastargets_parse(const char *text, enum qd_aliasmap_kind kind,
			  struct qd_aliastargets *out, struct qd_error *err);

/* Free the items; an empty *targets is fine, and is what is left. */
void qd_aliastargets_free(struct qd_aliastargets *targets);

#endif
