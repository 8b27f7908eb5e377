/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef QUOTADEFER_ROOTSET_H
#define QUOTADEFER_ROOTSET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "quotadefer/record.h"

/*
 * Quota roots with a record each, or with none ("removed"), of one or several
 * sources (small numbers the caller gives meaning to). Add, sort, then look.
 * About 60 bytes a root. Zero-initialise; free with qd_rootset_free. Not for
 * several threads at once.
 */
struct qd_rootset {
	unsigned char *bytes;
	size_t used, size;
	size_t *places; /* where in bytes each entry begins */
	size_t count, room;
};

struct qd_rootset_entry {
	const char *root; /* lives as long as the set is not added to */
	uint16_t source;
	bool has_record;
	struct qd_record rec;
};

/* Add root; rec NULL is "removed". Returns 0, or -1 if there is no memory. */
int qd_rootset_add(struct qd_rootset *set, const char *root, uint16_t source,
		   const struct qd_record *rec);

/* Add all of other. Returns 0, or -1 if there is no memory. */
int qd_rootset_merge(struct qd_rootset *set, const struct qd_rootset *other);

/* Order by root, then source; of equal ones keep what was added last. */
void qd_rootset_sort(struct qd_rootset *set);

/* Entry i, 0 <= i < count. */
void qd_rootset_get(const struct qd_rootset *set, size_t i,
		    struct qd_rootset_entry *entry);

/* True if a sorted set has that root of that source. entry may be NULL. */
bool qd_rootset_find(const struct qd_rootset *set, const char *root,
		     uint16_t source, struct qd_rootset_entry *entry);

/* <0, 0, >0: the order of the set, for stepping through two at once. */
int qd_rootset_compare(const struct qd_rootset_entry *a,
		       const struct qd_rootset_entry *b);

/* Give the memory back; the set is then empty. */
void qd_rootset_free(struct qd_rootset *set);

#endif
