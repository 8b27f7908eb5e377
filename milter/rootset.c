/* SPDX-License-Identifier: BSD-2-Clause */
#include "quotadefer/rootset.h"

#include <stdlib.h>
#include <string.h>

/* An entry: source (2 bytes), length (1; 0: removed), packed record, name. */
enum {
	HEAD = 3
};

static int reserve(struct qd_rootset *set, size_t bytes)
{
	if (set->count == set->room) {
		size_t room = set->room ? set->room * 2 : 64;
		size_t *places = realloc(set->places, room * sizeof(*places));

		if (!places)
			return -1;
		set->places = places;
		set->room = room;
	}
	if (set->used + bytes > set->size) {
		size_t size = set->size ? set->size * 2 : 4096;
		unsigned char *grown;

		while (size < set->used + bytes)
			size *= 2;
		grown = realloc(set->bytes, size);
		if (!grown)
			return -1;
		set->bytes = grown;
		set->size = size;
	}
	return 0;
}

int qd_rootset_add(struct qd_rootset *set, const char *root, uint16_t source,
		   const struct qd_record *rec)
{
	unsigned char packed[QD_RECORD_PACK];
	size_t length = rec ? qd_record_pack(rec, packed) : 0;
	size_t name = strlen(root) + 1;
	unsigned char *entry;

	if (reserve(set, HEAD + length + name) < 0)
		return -1;
	entry = set->bytes + set->used;
	memcpy(entry, &source, sizeof(source));
	entry[2] = (unsigned char)length;
	memcpy(entry + HEAD, packed, length);
	memcpy(entry + HEAD + length, root, name);
	set->places[set->count++] = set->used;
	set->used += HEAD + length + name;
	return 0;
}

int qd_rootset_merge(struct qd_rootset *set, const struct qd_rootset *other)
{
	struct qd_rootset_entry entry;

	for (size_t i = 0; i < other->count; i++) {
		qd_rootset_get(other, i, &entry);
		if (qd_rootset_add(set, entry.root, entry.source,
				   entry.has_record ? &entry.rec : NULL) < 0)
			return -1;
	}
	return 0;
}

static const char *name_at(const unsigned char *entry)
{
	return (const char *)entry + HEAD + entry[2];
}

static uint16_t source_at(const unsigned char *entry)
{
	uint16_t source;

	memcpy(&source, entry, sizeof(source));
	return source;
}

static int compare_keys(const char *root_a, uint16_t source_a,
			const char *root_b, uint16_t source_b)
{
	int order = strcmp(root_a, root_b);

	return order ? order : (int)source_a - (int)source_b;
}

/* Equal ones in the order they were added, so that the last can be kept. */
static int compare_places(const void *a, const void *b, void *bytes)
{
	size_t place_a = *(const size_t *)a, place_b = *(const size_t *)b;
	const unsigned char *entry_a = (unsigned char *)bytes + place_a;
	const unsigned char *entry_b = (unsigned char *)bytes + place_b;
	int order = compare_keys(name_at(entry_a), source_at(entry_a),
				 name_at(entry_b), source_at(entry_b));

	return order ? order : (place_a > place_b) - (place_a < place_b);
}

static bool is_same_key(const struct qd_rootset *set, size_t i, size_t j)
{
	const unsigned char *a = set->bytes + set->places[i];
	const unsigned char *b = set->bytes + set->places[j];

	return compare_keys(name_at(a), source_at(a), name_at(b),
			    source_at(b)) == 0;
}

void qd_rootset_sort(struct qd_rootset *set)
{
	size_t kept = 0;

	if (!set->count)
		return;
	qsort_r(set->places, set->count, sizeof(*set->places), compare_places,
		set->bytes);
	for (size_t i = 0; i < set->count; i++)
		if (i + 1 == set->count || !is_same_key(set, i, i + 1))
			set->places[kept++] = set->places[i];
	set->count = kept;
}

void qd_rootset_get(const struct qd_rootset *set, size_t i,
		    struct qd_rootset_entry *entry)
{
	const unsigned char *bytes = set->bytes + set->places[i];

	entry->root = name_at(bytes);
	entry->source = source_at(bytes);
	entry->has_record = bytes[2] != 0;
	if (entry->has_record)
		qd_record_unpack(bytes + HEAD, bytes[2], &entry->rec);
}

bool qd_rootset_find(const struct qd_rootset *set, const char *root,
		     uint16_t source, struct qd_rootset_entry *entry)
{
	size_t low = 0, high = set->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const unsigned char *at = set->bytes + set->places[middle];
		int order =
			compare_keys(name_at(at), source_at(at), root, source);

		if (order == 0) {
			if (entry)
				qd_rootset_get(set, middle, entry);
			return true;
		}
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return false;
}

int qd_rootset_compare(const struct qd_rootset_entry *a,
		       const struct qd_rootset_entry *b)
{
	return compare_keys(a->root, a->source, b->root, b->source);
}

void qd_rootset_free(struct qd_rootset *set)
{
	free(set->bytes);
	free(set->places);
	memset(set, 0, sizeof(*set));
}
