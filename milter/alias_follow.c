/* SPDX-License-Identifier: BSD-2-Clause */
#include "alias_expand_impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sysexits.h>

#include "quotadefer/aliastargets.h"
#include "quotadefer/fold.h"

/* A target of a text, with a domain and the extension that was not matched. */
static int complete(struct qd_expansion *x,
		    const struct qd_expansion_item *from,
		    const struct qd_address *target, const char *extension,
		    struct qd_address *out)
{
	const char *domain = target->domain;
	size_t length;

	if (!domain[0] && x->settings->myorigin)
		domain = x->settings->myorigin;
	else if (!domain[0])
		domain = from->address.domain;
	length = strlen(target->local);
	if (length + strlen(extension) >= sizeof(out->local))
		return qd_expansion_fail(x, "an address is too long");
	memcpy(out->local, target->local, length);
	strcpy(out->local + length, extension);
	snprintf(out->domain, sizeof(out->domain), "%s", domain);
	return 0;
}

static int parse(struct qd_expansion *x, const struct qd_aliasmap *map,
		 const char *text, struct qd_aliastargets *targets)
{
	if (qd_aliastargets_parse(text, map->kind, targets, &x->err) == 0)
		return 0;
	if (!strstr(x->err.text, map->name))
		qd_error_prefix(&x->err, map->name);
	return -1;
}

static int no_address(struct qd_expansion *x, const struct qd_aliasmap *map,
		      const char *key)
{
	return qd_error_set(&x->err, EX_TEMPFAIL, "%s: %s: no address in it",
			    map->name, key);
}

static bool is_same(const struct qd_address *a, const struct qd_address *b)
{
	char folded[2][QD_FOLD_GROWTH * QD_LOCAL_MAX + 1];

	return strcasecmp(a->domain, b->domain) == 0 &&
	       qd_fold(a->local, folded[0], sizeof(folded[0])) == 0 &&
	       qd_fold(b->local, folded[1], sizeof(folded[1])) == 0 &&
	       strcmp(folded[0], folded[1]) == 0;
}

static int take_virtual(struct qd_expansion *x,
			const struct qd_expansion_item *from,
			const struct qd_aliastarget *target,
			const char *extension)
{
	struct qd_expansion_item item = { .depth = from->depth + 1 };

	if (target->kind != QD_ALIASTARGET_ADDRESS)
		return qd_expansion_add_other(x);
	if (complete(x, from, &target->address, extension, &item.address) < 0)
		return -1;
	/* what maps to itself, perhaps beside others, stays */
	item.is_past_virtual = is_same(&item.address, &from->address);
	return qd_expansion_push(x, &item);
}

static int take_virtual_text(struct qd_expansion *x,
			     const struct qd_expansion_item *from,
			     const struct qd_aliasmap *map, const char *key,
			     const char *text, const char *extension)
{
	struct qd_aliastargets targets = { 0 };
	int rc;

	rc = parse(x, map, text, &targets);
	if (rc == 0 && !targets.count)
		rc = no_address(x, map, key);
	for (size_t i = 0; i < targets.count && rc == 0; i++)
		rc = take_virtual(x, from, &targets.items[i], extension);
	qd_aliastargets_free(&targets);
	return rc;
}

/*
 * "@example.org" as the first thing in a text: the local part looked up goes
 * in front of it, and that is read like any other text. More targets behind
 * it become part of one odd address, as in Postfix.
 */
static char *with_local_part(const char *local, size_t length, const char *text)
{
	const char *at = strrchr(text, '@');
	size_t middle = (size_t)(at - text);
	size_t size = 2 * (length + middle) + strlen(at) + 3;
	char *plain = malloc(length + middle + 1);
	char *out = malloc(size);

	if (plain && out) {
		memcpy(plain, local, length);
		memcpy(plain + length, text, middle);
		plain[length + middle] = '\0';
		if (qd_alias_quote(plain, at + 1, out, size) < 0)
			out[0] = '\0';
	}
	if (!plain) {
		free(out);
		out = NULL;
	}
	free(plain);
	return out;
}

static int follow_virtual_text(struct qd_expansion *x,
			       const struct qd_expansion_item *item,
			       const struct qd_alias_key *key,
			       const char *extension,
			       const struct qd_aliasmap *map, const char *text)
{
	size_t length = strlen(item->address.local);
	char *built;
	int rc;

	if (!key->is_stripped)
		extension = "";
	if (text[0] != '@')
		return take_virtual_text(x, item, map, key->text, text,
					 extension);
	built = with_local_part(item->address.local, length - strlen(extension),
				text);
	if (!built)
		return qd_expansion_fail(x, "no memory");
	rc = take_virtual_text(x, item, map, key->text, built, extension);
	free(built);
	return rc;
}

static enum qd_found follow_virtual(struct qd_expansion *x,
				    const struct qd_expansion_item *item)
{
	struct qd_alias_keys keys;
	struct qd_aliasmap *map;
	enum qd_found found;
	char *text;
	int rc;

	qd_alias_virtual_keys(x->settings, &item->address, &keys);
	for (size_t i = 0; i < keys.count; i++) {
		found = qd_expansion_ask(x, QD_ALIASMAP_VIRTUAL,
					 keys.items[i].text, &map, &text);
		if (found == QD_ABSENT)
			continue;
		if (found == QD_ERROR)
			return found;
		x->addresses--; /* others take its place */
		rc = follow_virtual_text(x, item, &keys.items[i],
					 keys.extension, map, text);
		free(text);
		return rc < 0 ? QD_ERROR : QD_FOUND;
	}
	return QD_ABSENT;
}

/*
 * local(8) keeps what is local, and its virtual maps were asked long before;
 * the rest is new mail. That can only be told apart if it is told what is
 * local.
 */
static bool stays_local(const struct qd_settings *settings,
			const struct qd_address *address)
{
	return settings->mydestination.count &&
	       qd_list_has(&settings->mydestination, address->domain);
}

/* Where a text of aliases(5) comes from. */
struct origin {
	const struct qd_expansion_item *item;
	struct qd_aliasmap *map;
	const char *alias;
	int depth;
	bool is_included;
};

static int take_local_text(struct qd_expansion *x, const struct origin *origin,
			   const char *text);

static int take_include(struct qd_expansion *x, const struct origin *origin,
			const char *path)
{
	struct origin inner = *origin;
	char *text;
	int rc = qd_expansion_enter(x, "include", path);

	if (rc <= 0)
		return rc;
	inner.is_included = true;
	if (++inner.depth > QD_ALIAS_DEPTH)
		return qd_expansion_fail(x, "too many steps");
	if (qd_expansion_include(x, origin->map, path, &text) == QD_ERROR)
		return -1;
	rc = text ? take_local_text(x, &inner, text) : 0;
	free(text);
	return rc;
}

static int take_local(struct qd_expansion *x, const struct origin *origin,
		      const struct qd_aliastarget *target)
{
	struct qd_expansion_item item = { .depth = origin->depth + 1 };

	if (target->kind == QD_ALIASTARGET_INCLUDE)
		return take_include(x, origin, target->path);
	if (target->kind != QD_ALIASTARGET_ADDRESS)
		return qd_expansion_add_other(x);
	if (complete(x, origin->item, &target->address, "", &item.address) < 0)
		return -1;
	item.is_past_virtual = stays_local(x->settings, &item.address);
	item.is_included = origin->is_included && item.is_past_virtual;
	if (item.is_past_virtual || !x->settings->mydestination.count)
		snprintf(item.alias, sizeof(item.alias), "%s", origin->alias);
	return qd_expansion_push(x, &item);
}

static int take_local_text(struct qd_expansion *x, const struct origin *origin,
			   const char *text)
{
	struct qd_aliastargets targets = { 0 };
	int rc;

	rc = parse(x, origin->map, text, &targets);
	if (rc == 0 && !targets.count && !origin->is_included)
		rc = no_address(x, origin->map, origin->alias);
	for (size_t i = 0; i < targets.count && rc == 0; i++)
		rc = take_local(x, origin, &targets.items[i]);
	qd_aliastargets_free(&targets);
	return rc;
}

static enum qd_found follow_local(struct qd_expansion *x,
				  const struct qd_expansion_item *item)
{
	struct origin origin = { .item = item, .depth = item->depth };
	struct qd_alias_keys keys;
	enum qd_found found;
	char *text;
	int rc;

	qd_alias_local_keys(x->settings, &item->address, &keys);
	for (size_t i = 0; i < keys.count; i++) {
		origin.alias = keys.items[i].text;
		/* an alias that has its own name means the user */
		if (strcmp(origin.alias, item->alias) == 0)
			continue;
		found = qd_expansion_ask(x, QD_ALIASMAP_LOCAL, origin.alias,
					 &origin.map, &text);
		if (found == QD_ABSENT)
			continue;
		if (found == QD_ERROR)
			return found;
		x->addresses--;
		rc = take_local_text(x, &origin, text);
		free(text);
		return rc < 0 ? QD_ERROR : QD_FOUND;
	}
	return QD_ABSENT;
}

/* What no map changes is where mail goes; but see is_included. */
static int arrive(struct qd_expansion *x, const struct qd_expansion_item *item)
{
	struct qd_expansion_item again = { .address = item->address,
					   .depth = item->depth + 1 };

	if (!item->is_included)
		return qd_expansion_add_address(x, &item->address);
	x->addresses--;
	return qd_expansion_push(x, &again);
}

int qd_expansion_follow(struct qd_expansion *x, struct qd_expansion_item *item)
{
	enum qd_found found;
	int is_new;

	if (!item->is_past_virtual) {
		is_new = qd_expansion_enter_item(x, "virtual", item);
		if (is_new <= 0)
			return is_new;
		found = follow_virtual(x, item);
		if (found != QD_ABSENT)
			return found == QD_ERROR ? -1 : 0;
		item->is_past_virtual = true;
	}
	is_new = qd_expansion_enter_item(x, "local", item);
	if (is_new <= 0)
		return is_new;
	found = follow_local(x, item);
	if (found == QD_ABSENT)
		return arrive(x, item);
	return found == QD_ERROR ? -1 : 0;
}
