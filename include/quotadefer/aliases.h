/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef QUOTADEFER_ALIASES_H
#define QUOTADEFER_ALIASES_H

#include <stdbool.h>
#include <stddef.h>

#include "quotadefer/address.h"
#include "quotadefer/aliasmap.h"
#include "quotadefer/settings.h"

/*
 * The alias maps of the settings, in order, and what an address leads to
 * through them. Shared by all threads; none of it is in use if alias_maps is
 * empty.
 */
struct qd_aliases;

/* Bounds of one expansion. Beyond them the answer is unknown. */
enum {
	QD_ALIAS_DEPTH = 20,
	QD_ALIAS_TARGETS = 1000,
	QD_ALIAS_LOOKUPS = 10000
};

enum qd_target_kind {
	QD_TARGET_ADDRESS,
	QD_TARGET_OTHER /* a pipe or a file: always deliverable */
};

struct qd_target {
	enum qd_target_kind kind;
	struct qd_address address; /* if it is one; always with a domain */
};

struct qd_targets {
	struct qd_target *items;
	size_t count;
};

/* Told each look-up, in order, for "query"; asked may be NULL. */
struct qd_alias_watcher {
	void *arg;
	void (*asked)(void *arg, const struct qd_aliasmap *map, const char *key,
		      enum qd_found found, const struct qd_aliasvalue *value,
		      const struct qd_error *err);
};

/*
 * Open the maps that the settings name. strict: as in a check of the
 * settings, see qd_alias_texthash_open. *out is NULL if alias_maps is empty.
 * Returns 0, or -1 with *err (EX_CONFIG).
 */
int qd_aliases_open(const struct qd_settings *settings, bool strict,
		    void (*say)(int priority, const char *text),
		    struct qd_aliases **out, struct qd_error *err);

/* One more reference; one less, the last one closes. NULL is fine to both. */
struct qd_aliases *qd_aliases_ref(struct qd_aliases *aliases);
void qd_aliases_unref(struct qd_aliases **aliases);

/* True if opening with these settings would give the same maps again. */
bool qd_aliases_fit(const struct qd_aliases *aliases,
		    const struct qd_settings *settings);

/*
 * Where mail to address goes in the end: results are looked up again until
 * they stop changing. QD_FOUND: *out, freed by the caller with
 * qd_targets_free, has at least one target, which is address itself if no map
 * knows it. QD_ABSENT: it leads nowhere, such as only into a cycle. QD_ERROR:
 * unknown, because a map failed, or a bound or the time was reached.
 *
 * Thread-safe. Blocks at most alias_timeout, and only for maps on the network
 * whose answer is not in the cache. Whoever finds that a file has changed reads
 * it, a second for a million lines; others use the old content meanwhile, but
 * wait for an ":include:" file.
 *
 * The order of keys and the extension are those of mail_addr_find in Postfix
 * 3.7, see virtual(5); aliases(5) is asked for what virtual maps leave alone.
 */
enum qd_found qd_aliases_expand(struct qd_aliases *aliases,
				const struct qd_settings *settings,
				const struct qd_address *address,
				const struct qd_alias_watcher *watcher,
				struct qd_targets *out, struct qd_error *err);
void qd_targets_free(struct qd_targets *targets);

/* For each map: its name, and what it counts. */
void qd_aliases_each(struct qd_aliases *aliases,
		     void (*each)(void *arg, const char *name,
				  const struct qd_aliasmap_stats *stats),
		     void *arg);

/* In what state the cache of the map of that name has key; see aliasmap.h. */
void qd_aliases_cached(struct qd_aliases *aliases, const char *name,
		       const char *key, char *out, size_t size);

#endif
