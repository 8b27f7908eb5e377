/* SPDX-License-Identifier: BSD-2-Clause */
#include "aliases_impl.h"

#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

static bool is_ldap(const char *name)
{
	return strncmp(name, "ldap:", 5) == 0;
}

static struct qd_alias_ldap_limits
ldap_limits(const struct qd_settings *settings)
{
	struct qd_alias_ldap_limits limits = {
		.connect_timeout_ms = settings->alias_connect_timeout_ms,
		.search_timeout_ms = settings->alias_search_timeout_ms,
		.connections = settings->alias_connections
	};

	return limits;
}

static struct qd_alias_cache_limits
cache_limits(const struct qd_settings *settings)
{
	struct qd_alias_cache_limits limits = {
		.entries = settings->alias_cache_size,
		.ttl_ms = settings->alias_cache_ttl_ms,
		.negative_ttl_ms = settings->alias_negative_ttl_ms,
		.stale_ms = settings->alias_stale_ms
	};

	return limits;
}

static int open_ldap(const struct qd_aliases *aliases,
		     struct qd_aliases_map *map,
		     void (*say)(int priority, const char *text),
		     struct qd_error *err)
{
	struct qd_aliasmap *inner;

	/* before it is read: a change meanwhile is then seen later */
	map->state = qd_alias_ldap_state(map->name);
	if (qd_alias_ldap_open(map->name, &aliases->ldap, say, &inner, err) < 0)
		return -1;
	map->is_cached = true;
	return qd_alias_cache_open(inner, &aliases->cache, &map->map, err);
}

static int open_map(const struct qd_aliases *aliases,
		    struct qd_aliases_map *map, bool strict,
		    void (*say)(int priority, const char *text),
		    struct qd_error *err)
{
	if (is_ldap(map->name))
		return open_ldap(aliases, map, say, err);
	if (strncmp(map->name, "texthash:", 9) == 0)
		return qd_alias_texthash_open(map->name, strict, say, &map->map,
					      err);
	return qd_alias_aliases_open(map->name, strict, say, &map->map, err);
}

static int open_maps(struct qd_aliases *aliases,
		     const struct qd_settings *settings, bool strict,
		     void (*say)(int priority, const char *text),
		     struct qd_error *err)
{
	const struct qd_list *names = &settings->alias_maps;

	aliases->maps = calloc(names->count, sizeof(*aliases->maps));
	if (!aliases->maps)
		return qd_error_set(err, EX_OSERR, "alias_maps: no memory");
	for (size_t i = 0; i < names->count; i++) {
		struct qd_aliases_map *map = &aliases->maps[i];

		map->name = strdup(names->items[i]);
		if (!map->name)
			return qd_error_set(err, EX_OSERR,
					    "alias_maps: no memory");
		aliases->count++;
		if (open_map(aliases, map, strict, say, err) < 0)
			return -1;
	}
	return 0;
}

/* Say which map, unless the path is there, perhaps with a line number. */
static void name_map(const struct qd_aliases *aliases, struct qd_error *err)
{
	const char *name;

	if (!err || !aliases->count)
		return;
	name = aliases->maps[aliases->count - 1].name;
	if (!strstr(err->text, strchr(name, ':') + 1))
		qd_error_prefix(err, name);
	qd_error_prefix(err, "alias_maps");
	err->status = EX_CONFIG;
}

int qd_aliases_open(const struct qd_settings *settings, bool strict,
		    void (*say)(int priority, const char *text),
		    struct qd_aliases **out, struct qd_error *err)
{
	struct qd_aliases *aliases;

	if (!settings->alias_maps.count) {
		*out = NULL;
		return 0;
	}
	aliases = calloc(1, sizeof(*aliases));
	if (!aliases)
		return qd_error_set(err, EX_OSERR, "alias_maps: no memory");
	aliases->refs = 1;
	aliases->ldap = ldap_limits(settings);
	aliases->cache = cache_limits(settings);
	if (open_maps(aliases, settings, strict, say, err) < 0) {
		name_map(aliases, err);
		qd_aliases_unref(&aliases);
		return -1;
	}
	*out = aliases;
	return 0;
}

struct qd_aliases *qd_aliases_ref(struct qd_aliases *aliases)
{
	if (aliases)
		atomic_fetch_add(&aliases->refs, 1);
	return aliases;
}

void qd_aliases_unref(struct qd_aliases **aliases)
{
	struct qd_aliases *old = *aliases;

	*aliases = NULL;
	if (!old || atomic_fetch_sub(&old->refs, 1) > 1)
		return;
	for (size_t i = 0; i < old->count; i++) {
		if (old->maps[i].map)
			old->maps[i].map->ops->close(old->maps[i].map);
		free(old->maps[i].name);
	}
	free(old->maps);
	free(old);
}

static bool has_limits_of(const struct qd_aliases *aliases,
			  const struct qd_settings *settings)
{
	struct qd_alias_ldap_limits ldap = ldap_limits(settings);
	struct qd_alias_cache_limits cache = cache_limits(settings);

	return aliases->ldap.connect_timeout_ms == ldap.connect_timeout_ms &&
	       aliases->ldap.search_timeout_ms == ldap.search_timeout_ms &&
	       aliases->ldap.connections == ldap.connections &&
	       aliases->cache.entries == cache.entries &&
	       aliases->cache.ttl_ms == cache.ttl_ms &&
	       aliases->cache.negative_ttl_ms == cache.negative_ttl_ms &&
	       aliases->cache.stale_ms == cache.stale_ms;
}

bool qd_aliases_fit(const struct qd_aliases *aliases,
		    const struct qd_settings *settings)
{
	const struct qd_list *names = &settings->alias_maps;

	if (!aliases)
		return !names->count;
	if (aliases->count != names->count || !has_limits_of(aliases, settings))
		return false;
	for (size_t i = 0; i < names->count; i++) {
		const struct qd_aliases_map *map = &aliases->maps[i];

		if (strcmp(map->name, names->items[i]) != 0)
			return false;
		/* the others look by themselves */
		if (is_ldap(map->name) &&
		    qd_alias_ldap_state(map->name) != map->state)
			return false;
	}
	return true;
}

void qd_aliases_each(struct qd_aliases *aliases,
		     void (*each)(void *arg, const char *name,
				  const struct qd_aliasmap_stats *stats),
		     void *arg)
{
	for (size_t i = 0; aliases && i < aliases->count; i++) {
		const struct qd_aliases_map *map = &aliases->maps[i];

		each(arg, map->name,
		     map->is_cached ? qd_alias_cache_stats(map->map) :
				      &map->map->stats);
	}
}

void qd_aliases_cached(struct qd_aliases *aliases, const char *name,
		       const char *key, char *out, size_t size)
{
	snprintf(out, size, "the filter has no cache of that map");
	for (size_t i = 0; aliases && i < aliases->count; i++)
		if (aliases->maps[i].is_cached &&
		    strcmp(aliases->maps[i].name, name) == 0)
			qd_alias_cache_state(aliases->maps[i].map, key, out,
					     size);
}
