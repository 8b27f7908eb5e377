/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef ALIAS_EXPAND_IMPL_H
#define ALIAS_EXPAND_IMPL_H

/*
 * An expansion while it is being made: alias_expand.c has the list and the
 * bounds, alias_follow.c knows what the maps and their texts mean.
 */

#include "aliases_impl.h"

/* An address on its way through the maps. */
struct qd_expansion_item {
	struct qd_address address;
	int depth;
	bool is_taken; /* followed already */
	/* virtual maps are done with it; aliases(5) is asked */
	bool is_past_virtual;
	/* of an ":include:" file: local(8) sends it as new mail in the end */
	bool is_included;
	/* the name that aliases(5) had it for, or "" */
	char alias[QD_LOCAL_MAX + 1];
};

struct qd_expansion {
	struct qd_aliases *aliases;
	const struct qd_settings *settings;
	const struct qd_alias_watcher *watcher;
	int64_t deadline_ms;
	int lookups;
	/* in the order of Postfix; addresses is as many as it would have */
	struct qd_expansion_item *items;
	size_t count, room, addresses;
	struct qd_alias_set seen;
	struct qd_targets targets;
	size_t target_room;
	struct qd_error err;
};

/* All of these return -1 with x->err if the expansion is to end. */

int qd_expansion_fail(struct qd_expansion *x, const char *why);
int qd_expansion_push(struct qd_expansion *x,
		      const struct qd_expansion_item *item);
int qd_expansion_add_address(struct qd_expansion *x,
			     const struct qd_address *address);
int qd_expansion_add_other(struct qd_expansion *x);

/* 1: text was not met before under that word; 0: it was. */
int qd_expansion_enter(struct qd_expansion *x, const char *word,
		       const char *text);
/* The same for an item, which is met again if all about it is the same. */
int qd_expansion_enter_item(struct qd_expansion *x, const char *word,
			    const struct qd_expansion_item *item);

/* Ask all maps of a kind for one key, in order; *text is then to be freed. */
enum qd_found qd_expansion_ask(struct qd_expansion *x,
			       enum qd_aliasmap_kind kind, const char *key,
			       struct qd_aliasmap **map, char **text);
/* The text of an ":include:" file. Never QD_ABSENT. */
enum qd_found qd_expansion_include(struct qd_expansion *x,
				   struct qd_aliasmap *map, const char *path,
				   char **text);

/* Push what item leads to, or make it a target. */
int qd_expansion_follow(struct qd_expansion *x, struct qd_expansion_item *item);

#endif
