/* SPDX-License-Identifier: BSD-2-Clause */
#include "alias_expand_impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "quotadefer/fold.h"

int qd_expansion_fail(struct qd_expansion *x, const char *why)
{
	return qd_error_set(&x->err, EX_TEMPFAIL, "alias_maps: %s", why);
}

static void *grow(void *items, size_t *room, size_t count, size_t size)
{
	size_t wanted = *room ? *room * 2 : 4;

	if (count < *room)
		return items;
	items = realloc(items, wanted * size);
	if (items)
		*room = wanted;
	return items;
}

int qd_expansion_push(struct qd_expansion *x,
		      const struct qd_expansion_item *item)
{
	struct qd_expansion_item *items;

	/* as in Postfix, repetitions count */
	if (x->addresses >= QD_ALIAS_TARGETS)
		return qd_expansion_fail(x, "too many addresses");
	if (item->depth > QD_ALIAS_DEPTH)
		return qd_expansion_fail(x, "too many steps");
	items = grow(x->items, &x->room, x->count, sizeof(*items));
	if (!items)
		return qd_expansion_fail(x, "no memory");
	x->items = items;
	items[x->count++] = *item;
	x->addresses++;
	return 0;
}

static int add_target(struct qd_expansion *x, const struct qd_target *target)
{
	struct qd_target *items;

	if (x->targets.count >= QD_ALIAS_TARGETS)
		return qd_expansion_fail(x, "too many targets");
	items = grow(x->targets.items, &x->target_room, x->targets.count,
		     sizeof(*items));
	if (!items)
		return qd_expansion_fail(x, "no memory");
	x->targets.items = items;
	items[x->targets.count++] = *target;
	return 0;
}

int qd_expansion_add_other(struct qd_expansion *x)
{
	struct qd_target target = { .kind = QD_TARGET_OTHER };

	return add_target(x, &target);
}

int qd_expansion_add_address(struct qd_expansion *x,
			     const struct qd_address *address)
{
	struct qd_target target = { .kind = QD_TARGET_ADDRESS,
				    .address = *address };
	struct qd_expansion_item item = { .address = *address };
	int is_new = qd_expansion_enter_item(x, "target", &item);

	return is_new > 0 ? add_target(x, &target) : is_new;
}

int qd_expansion_enter(struct qd_expansion *x, const char *word,
		       const char *text)
{
	/* the longest: an item, folded; or the path of a file */
	char name[4096];
	int added;

	/* a line feed is in no word, name or address */
	snprintf(name, sizeof(name), "%s\n%s", word, text);
	added = qd_alias_set_add(&x->seen, name);
	return added < 0 ? qd_expansion_fail(x, "no memory") : added;
}

int qd_expansion_enter_item(struct qd_expansion *x, const char *word,
			    const struct qd_expansion_item *item)
{
	char text[2 * QD_LOCAL_MAX + QD_DOMAIN_MAX + 3];
	char folded[QD_FOLD_GROWTH * sizeof(text)];
	const char *name = text;

	snprintf(text, sizeof(text), "%s\n%s@%s", item->alias,
		 item->address.local, item->address.domain);
	/* what cannot be folded is only the same if all bytes are */
	if (qd_fold(text, folded, sizeof(folded)) == 0)
		name = folded;
	return qd_expansion_enter(x, word, name);
}

/* Is there still time, and may there be one more look-up? */
static int may_ask(struct qd_expansion *x)
{
	if (x->lookups >= QD_ALIAS_LOOKUPS)
		return qd_expansion_fail(x, "too many look-ups");
	if (qd_aliasmap_now_ms() >= x->deadline_ms)
		return qd_expansion_fail(x, "alias_timeout is over");
	x->lookups++;
	x->err.text[0] = '\0';
	return 0;
}

/* What was asked has been answered: tell, and keep the text or an error. */
static enum qd_found answered(struct qd_expansion *x,
			      const struct qd_aliasmap *map, const char *key,
			      enum qd_found found, struct qd_aliasvalue *value,
			      char **text)
{
	if (found == QD_FOUND && !value->text[0]) {
		/* to Postfix too this is a broken table */
		qd_error_set(&x->err, EX_CONFIG, "%s: an empty value", key);
		found = QD_ERROR;
	}
	if (found == QD_ERROR && !strstr(x->err.text, map->name))
		qd_error_prefix(&x->err, map->name);
	if (x->watcher && x->watcher->asked)
		x->watcher->asked(x->watcher->arg, map, key, found, value,
				  &x->err);
	if (found == QD_FOUND)
		*text = value->text;
	else
		free(value->text);
	return found;
}

static void prepare(const struct qd_expansion *x, struct qd_aliasvalue *value)
{
	value->text = NULL;
	value->detail[0] = '\0';
	value->explain = x->watcher && x->watcher->asked;
}

enum qd_found qd_expansion_ask(struct qd_expansion *x,
			       enum qd_aliasmap_kind kind, const char *key,
			       struct qd_aliasmap **map, char **text)
{
	struct qd_aliasvalue value;
	enum qd_found found;

	for (size_t i = 0; i < x->aliases->count; i++) {
		*map = x->aliases->maps[i].map;
		if ((*map)->kind != kind)
			continue;
		if (may_ask(x) < 0)
			return QD_ERROR;
		prepare(x, &value);
		found = (*map)->ops->get(*map, key, x->deadline_ms, &value,
					 &x->err);
		found = answered(x, *map, key, found, &value, text);
		if (found != QD_ABSENT)
			return found;
	}
	return QD_ABSENT;
}

enum qd_found qd_expansion_include(struct qd_expansion *x,
				   struct qd_aliasmap *map, const char *path,
				   char **text)
{
	struct qd_aliasvalue value;
	enum qd_found found = QD_ERROR;

	if (may_ask(x) < 0)
		return QD_ERROR;
	prepare(x, &value);
	if (map->ops->include)
		found = map->ops->include(map, path, &value, &x->err);
	else
		qd_error_set(&x->err, EX_CONFIG, "no :include: here");
	if (found == QD_ABSENT) {
		qd_error_set(&x->err, EX_TEMPFAIL, "%s: not there", path);
		found = QD_ERROR;
	}
	if (found == QD_FOUND && !value.text[0]) {
		/* a list may be empty */
		free(value.text);
		*text = NULL;
		return QD_FOUND;
	}
	return answered(x, map, path, found, &value, text);
}

/*
 * Each address in turn. What one leads to takes its place and is followed at
 * once, as far as that is the first; the others wait at the end of the list.
 */
static int follow_all(struct qd_expansion *x)
{
	struct qd_expansion_item item;

	for (size_t i = 0; i < x->count; i++) {
		size_t at = i;

		while (at < x->count && !x->items[at].is_taken) {
			x->items[at].is_taken = true;
			item = x->items[at];
			at = x->count;
			if (qd_expansion_follow(x, &item) < 0)
				return -1;
		}
	}
	return 0;
}

/* The address itself; one without a domain gets that of this host. */
static int begin(struct qd_expansion *x, const struct qd_address *address)
{
	const struct qd_settings *settings = x->settings;
	struct qd_expansion_item item = { .address = *address };
	const char *domain = settings->myorigin;

	if (!domain && settings->mydestination.count)
		domain = settings->mydestination.items[0];
	if (!domain && settings->domains.count)
		domain = settings->domains.items[0];
	if (!address->domain[0] && !domain)
		return qd_expansion_fail(x, "myorigin is not set");
	if (!address->domain[0])
		snprintf(item.address.domain, sizeof(item.address.domain), "%s",
			 domain);
	return qd_expansion_push(x, &item);
}

enum qd_found qd_aliases_expand(struct qd_aliases *aliases,
				const struct qd_settings *settings,
				const struct qd_address *address,
				const struct qd_alias_watcher *watcher,
				struct qd_targets *out, struct qd_error *err)
{
	struct qd_expansion x = { .aliases = aliases,
				  .settings = settings,
				  .watcher = watcher };
	enum qd_found found = QD_ERROR;

	x.deadline_ms = qd_aliasmap_now_ms() + settings->alias_timeout_ms;
	if (begin(&x, address) < 0 || follow_all(&x) < 0) {
		qd_targets_free(&x.targets);
		if (err)
			*err = x.err;
	} else if (x.targets.count) {
		*out = x.targets;
		found = QD_FOUND;
	} else {
		found = QD_ABSENT;
	}
	qd_alias_set_free(&x.seen);
	free(x.items);
	return found;
}

void qd_targets_free(struct qd_targets *targets)
{
	free(targets->items);
	targets->items = NULL;
	targets->count = 0;
}
