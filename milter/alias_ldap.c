/* SPDX-License-Identifier: BSD-2-Clause */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sysexits.h>
#include <syslog.h>

#include "alias_ldap_impl.h"
#include "quotadefer/breaker.h"

static const char prefix[] = "ldap:";

struct map {
	struct qd_aliasmap map; /* first */
	char *name;
	struct qd_ldap_pool *pool;
	struct qd_ldap_shared *shared; /* the pool's */
	/* as many as there are domains; NULL for one that is no table */
	struct qd_aliasmap **domain_maps;
	size_t domain_map_count;
	pthread_mutex_t lock; /* of what follows */
	struct qd_breaker breaker;
	bool outage_told;	  /* by us, not by the servers' part */
	int64_t tell_bad_data_ms; /* not before; at first 0 */
};

/* Bad data are for an administrator to see, but not for each mail. */
enum {
	BAD_DATA_MS = 3600000
};

static void tell(struct map *map, int priority, const char *text)
{
	char line[700];

	snprintf(line, sizeof(line), "%s: %s", map->name, text);
	if (map->map.say)
		map->map.say(priority, line);
}

static uint32_t random_number(void)
{
	uint32_t number = 0;

	/* only spreads probes: without any, none are spread */
	if (getrandom(&number, sizeof(number), GRND_NONBLOCK) < 0)
		return 0;
	return number;
}

static bool may_ask(struct map *map, enum qd_breaker_way *way)
{
	pthread_mutex_lock(&map->lock);
	*way = qd_breaker_ask(&map->breaker, qd_aliasmap_now_ms());
	pthread_mutex_unlock(&map->lock);
	return *way != QD_BREAKER_REFUSE;
}

/* The server answered, whatever it said. */
static void note_answer(struct map *map, const struct qd_ldap_answer *answer)
{
	int64_t now = qd_aliasmap_now_ms();
	bool over, bad_news;

	pthread_mutex_lock(&map->lock);
	qd_breaker_succeeded(&map->breaker);
	atomic_store(&map->map.stats.breaker_open, false);
	over = map->outage_told;
	map->outage_told = false;
	bad_news = answer->found == QD_ERROR && now >= map->tell_bad_data_ms;
	if (bad_news)
		map->tell_bad_data_ms = now + BAD_DATA_MS;
	pthread_mutex_unlock(&map->lock);
	if (over)
		tell(map, LOG_NOTICE, "answers again");
	if (bad_news)
		tell(map, LOG_WARNING, answer->err.text);
}

static void note_silence(struct map *map, enum qd_breaker_way way,
			 const struct qd_error *err)
{
	bool opened, is_news;

	pthread_mutex_lock(&map->lock);
	opened = qd_breaker_failed(&map->breaker, way, qd_aliasmap_now_ms(),
				   random_number());
	if (opened) {
		atomic_fetch_add(&map->map.stats.breaker_opened, 1);
		atomic_store(&map->map.stats.breaker_open, true);
	}
	is_news = opened && !qd_ldap_servers_told(map->shared->servers);
	map->outage_told |= is_news;
	pthread_mutex_unlock(&map->lock);
	if (is_news)
		tell(map, LOG_WARNING, err->text);
}

static enum qd_found ask(struct map *map, const struct qd_ldap_query *query,
			 struct qd_aliasvalue *value, struct qd_error *err)
{
	struct qd_ldap_answer answer = { 0 };
	enum qd_breaker_way way;
	int64_t start = qd_aliasmap_now_ns();

	if (!may_ask(map, &way)) {
		atomic_fetch_add(&map->map.stats.refused, 1);
		qd_error_set(err, EX_UNAVAILABLE,
			     "not asked, the last look-ups failed");
		return QD_ERROR;
	}
	qd_ldap_pool_ask(map->pool, query, &answer);
	qd_aliasmap_count(&map->map.stats, answer.found, start);
	if (answer.found == QD_ERROR && answer.err.status == EX_UNAVAILABLE)
		note_silence(map, way, &answer.err);
	else
		note_answer(map, &answer);
	value->text = answer.text.data;
	memcpy(value->detail, answer.detail, sizeof(value->detail));
	if (answer.found == QD_ERROR)
		*err = answer.err;
	return answer.found;
}

static enum qd_found get_folded(struct map *map, const char *key,
				int64_t deadline_ms,
				struct qd_aliasvalue *value,
				struct qd_error *err)
{
	const struct qd_ldap_table *table = map->shared->table;
	struct qd_ldap_text base = { 0 }, filter = { 0 };
	enum qd_found found = QD_ABSENT;

	if (qd_ldap_expand(&table->parts, table->search_base, QD_LDAP_DN, key,
			   NULL, &base) &&
	    qd_ldap_expand(&table->parts, table->query_filter, QD_LDAP_FILTER,
			   key, NULL, &filter)) {
		const struct qd_ldap_query query = {
			.key = key,
			.base = base.data,
			.filter = filter.data,
			.deadline_ms = deadline_ms,
			.explain = value->explain,
		};

		if (base.overflowed || filter.overflowed) {
			qd_error_set(err, EX_OSERR, "no memory");
			found = QD_ERROR;
		} else {
			found = ask(map, &query, value, err);
		}
	}
	qd_ldap_text_free(&base);
	qd_ldap_text_free(&filter);
	return found;
}

/* A look-up of a domain in one of the tables that "domain" names. */
struct gate {
	struct map *map;
	int64_t deadline_ms;
	struct qd_aliasvalue *value;
	struct qd_error *err;
};

static enum qd_found ask_table(void *arg, size_t i, const char *domain)
{
	struct gate *gate = arg;
	struct qd_aliasmap *table = gate->map->domain_maps[i];
	enum qd_found found = table->ops->get(table, domain, gate->deadline_ms,
					      gate->value, gate->err);

	free(gate->value->text);
	gate->value->text = NULL;
	return found;
}

static enum qd_found has_domain(struct map *map, const char *key,
				int64_t deadline_ms,
				struct qd_aliasvalue *value,
				struct qd_error *err)
{
	struct gate gate = { map, deadline_ms, value, err };
	const struct qd_ldap_domains_asker asker = { ask_table, &gate };
	enum qd_found found =
		qd_ldap_domains_find(&map->shared->table->domains, key, &asker);

	if (found == QD_ERROR)
		atomic_fetch_add(&map->map.stats.errors, 1);
	return found;
}

/* What Postfix does not look up is absent here too. */
static enum qd_found get(struct qd_aliasmap *aliasmap, const char *key,
			 int64_t deadline_ms, struct qd_aliasvalue *value,
			 struct qd_error *err)
{
	struct map *map = (struct map *)aliasmap;
	char folded[QD_ALIAS_KEY_MAX * QD_FOLD_GROWTH + 1];
	enum qd_found found;

	value->text = NULL;
	value->detail[0] = '\0';
	if (strlen(key) > QD_ALIAS_KEY_MAX ||
	    qd_fold(key, folded, sizeof(folded)) < 0)
		return QD_ABSENT;
	found = has_domain(map, folded, deadline_ms, value, err);
	if (found == QD_FOUND)
		found = get_folded(map, folded, deadline_ms, value, err);
	if (found == QD_ERROR)
		qd_error_prefix(err, map->name);
	return found;
}

static void close_map(struct qd_aliasmap *aliasmap)
{
	struct map *map = (struct map *)aliasmap;

	for (size_t i = 0; i < map->domain_map_count; i++)
		if (map->domain_maps[i])
			map->domain_maps[i]->ops->close(map->domain_maps[i]);
	free(map->domain_maps);
	qd_ldap_pool_close(&map->pool);
	pthread_mutex_destroy(&map->lock);
	free(map->name);
	free(map);
}

static const struct qd_aliasmap_ops ops = {
	.get = get,
	.close = close_map,
};

/* What the pool needs; takes *table over. NULL: no memory. */
static struct qd_ldap_shared *
new_shared(struct qd_ldap_table *table,
	   const struct qd_alias_ldap_limits *limits, const char *name,
	   void (*say)(int priority, const char *text))
{
	struct qd_ldap_shared *shared = calloc(1, sizeof(*shared));
	struct qd_ldap_table *copy = malloc(sizeof(*copy));
	struct qd_ldap_servers *servers = qd_ldap_servers_new(table, name, say);

	if (!shared || !copy || !servers) {
		qd_ldap_servers_free(&servers);
		qd_ldap_table_free(table);
		free(shared);
		free(copy);
		return NULL;
	}
	*copy = *table;
	*shared = (struct qd_ldap_shared){ .table = copy,
					   .limits = *limits,
					   .servers = servers };
	return shared;
}

static struct map *new_map(const char *name, struct qd_ldap_shared *shared,
			   void (*say)(int priority, const char *text))
{
	struct map *map = calloc(1, sizeof(*map));

	if (!map)
		return NULL;
	map->name = strdup(name);
	map->pool = qd_ldap_pool_new(shared);
	if (!map->name || !map->pool) {
		free(map->pool);
		free(map->name);
		free(map);
		return NULL;
	}
	map->shared = shared;
	pthread_mutex_init(&map->lock, NULL);
	map->map.ops = &ops;
	map->map.kind = QD_ALIASMAP_VIRTUAL;
	map->map.name = map->name;
	map->map.say = say;
	return map;
}

static int open_at(int depth, const char *name,
		   const struct qd_alias_ldap_limits *limits,
		   void (*say)(int priority, const char *text),
		   struct qd_aliasmap **out, struct qd_error *err);

static int open_domain_maps(struct map *map, int depth, struct qd_error *err)
{
	const struct qd_list *domains = &map->shared->table->domains;

	map->domain_maps =
		calloc(domains->count + 1, sizeof(*map->domain_maps));
	if (!map->domain_maps)
		return qd_error_set(err, EX_OSERR, "%s: no memory", map->name);
	map->domain_map_count = domains->count;
	for (size_t i = 0; i < domains->count; i++) {
		const char *name = qd_ldap_domains_table(domains, i);

		if (name &&
		    open_at(depth + 1, name, &map->shared->limits, map->map.say,
			    &map->domain_maps[i], err) < 0)
			return -1;
	}
	return 0;
}

static int open_at(int depth, const char *name,
		   const struct qd_alias_ldap_limits *limits,
		   void (*say)(int priority, const char *text),
		   struct qd_aliasmap **out, struct qd_error *err)
{
	struct qd_ldap_shared *shared;
	struct qd_ldap_table table;
	struct map *map;

	if (depth == QD_LDAP_DEPTH)
		return qd_error_set(err, EX_CONFIG,
				    "%s: too many tables deep in \"domain\"",
				    name);
	if (strncmp(name, prefix, strlen(prefix)) != 0)
		return qd_error_set(err, EX_CONFIG, "%s: not ldap:/path", name);
	if (qd_ldap_table_read(name + strlen(prefix), &table, err) < 0 ||
	    qd_ldap_library_init((int)table.debuglevel, err) < 0)
		return -1;
	shared = new_shared(&table, limits, name, say);
	map = shared ? new_map(name, shared, say) : NULL;
	if (!map) {
		qd_ldap_shared_free(&shared);
		return qd_error_set(err, EX_OSERR, "%s: no memory", name);
	}
	if (open_domain_maps(map, depth, err) < 0) {
		close_map(&map->map);
		return -1;
	}
	*out = &map->map;
	return 0;
}

int qd_alias_ldap_open(const char *name,
		       const struct qd_alias_ldap_limits *limits,
		       void (*say)(int priority, const char *text),
		       struct qd_aliasmap **out, struct qd_error *err)
{
	return open_at(0, name, limits, say, out, err);
}
