/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef ALIASES_IMPL_H
#define ALIASES_IMPL_H

/* Shared by the files that make up aliases.h and the cache of aliasmap.h. */

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "quotadefer/address.h"
#include "quotadefer/aliases.h"
#include "quotadefer/aliasmap.h"
#include "quotadefer/settings.h"

/*
 * A hash of bytes, with a seed of this process: keys come from strangers, who
 * must not be able to choose such as collide.
 */
uint32_t qd_alias_hash(const void *bytes, size_t length);

/* uthash is included after this header only, so that all tables are alike */
#define HASH_FUNCTION(key, length, value) ((value) = qd_alias_hash(key, length))
/* without memory, hh.tbl of what was to be added is NULL; not exit() */
#define HASH_NONFATAL_OOM		  1

/* A set of strings. Zero-initialise; free with qd_alias_set_free. */
struct qd_alias_set {
	struct qd_alias_member *members;
};

/* 1: added, 0: was in it, -1: no memory. */
int qd_alias_set_add(struct qd_alias_set *set, const char *text);
void qd_alias_set_free(struct qd_alias_set *set);

/* One map of the settings. */
struct qd_aliases_map {
	char *name;
	struct qd_aliasmap *map;
	bool is_cached;
	uint64_t state; /* of what it was read from, if it does not look */
};

struct qd_aliases {
	atomic_int refs;
	size_t count;
	struct qd_aliases_map *maps;
	struct qd_alias_ldap_limits ldap;
	struct qd_alias_cache_limits cache;
};

/* What a map is asked for. */
struct qd_alias_key {
	char text[QD_ALIAS_KEY_MAX + 1];
	bool is_stripped; /* of the extension of the address */
};

struct qd_alias_keys {
	struct qd_alias_key items[5];
	size_t count;
	char extension[QD_LOCAL_MAX + 1]; /* with its delimiter, or "" */
};

/* The keys of virtual(5) for address, in order; too long ones are left out. */
void qd_alias_virtual_keys(const struct qd_settings *settings,
			   const struct qd_address *address,
			   struct qd_alias_keys *keys);
/* Those of aliases(5); none if its domain is not delivered by local(8). */
void qd_alias_local_keys(const struct qd_settings *settings,
			 const struct qd_address *address,
			 struct qd_alias_keys *keys);

/*
 * Does mail to domain go to local(8)? What is in mydestination does; if that is
 * not set, what is ours; and anything, if that is not set either.
 */
bool qd_alias_is_local(const struct qd_settings *settings, const char *domain);

/*
 * Write local, quoted if it needs to be, as Postfix does, and then domain, which
 * may be "". Returns 0, or -1 if it does not fit.
 */
int qd_alias_quote(const char *local, const char *domain, char *out,
		   size_t size);

/* The stats of a map: with a cache, those of the map behind it. */
const struct qd_aliasmap_stats *
qd_alias_cache_stats(const struct qd_aliasmap *map);

/* For tests: what the cache takes for qd_aliasmap_now_ms. */
void qd_alias_cache_set_clock(struct qd_aliasmap *map, int64_t (*now_ms)(void));

#endif
