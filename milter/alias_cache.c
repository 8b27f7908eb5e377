/* SPDX-License-Identifier: BSD-2-Clause */
#include "aliases_impl.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>

#include <uthash.h>
#include <utlist.h>

/* While the map is in error, old answers are not waited for more often. */
enum {
	RETRY_MS = 1000
};

/* An answer. The list of them begins with what was used last. */
struct entry {
	UT_hash_handle hh;
	struct entry *prev, *next;
	int64_t answered_ms;
	char *text; /* NULL: the map knows of none */
	char key[];
};

/* A look-up on its way; freed by the last who has to do with it. */
struct inflight {
	UT_hash_handle hh;
	pthread_cond_t finished;
	int refs;
	bool is_finished;
	enum qd_found found;
	char *text;
	struct qd_error err;
	char key[QD_ALIAS_KEY_MAX + 1];
};

struct cache {
	struct qd_aliasmap map;
	struct qd_aliasmap *inner;
	struct qd_alias_cache_limits limits;
	int64_t (*now_ms)(void);
	pthread_mutex_t lock; /* for all below; never held while asking */
	struct entry *table, *list;
	int64_t count;
	struct inflight *inflight;
	bool is_failing;  /* it was unavailable when it was last asked */
	int64_t retry_ms; /* when it is next asked for old answers, if so */
};

enum freshness {
	FRESH,
	STALE, /* serves while the map is in error */
	OLD
};

static void count(atomic_ullong *counter)
{
	atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

static enum freshness freshness(const struct cache *cache,
				const struct entry *entry, int64_t now)
{
	int64_t age = now - entry->answered_ms;
	int64_t ttl = entry->text ? cache->limits.ttl_ms :
				    cache->limits.negative_ttl_ms;

	if (age < ttl)
		return FRESH;
	return age - ttl < cache->limits.stale_ms ? STALE : OLD;
}

/* Maps fold what they are asked for; folding ASCII finds most of it. */
static void fold_key(const char *key, char folded[QD_ALIAS_KEY_MAX + 1])
{
	size_t i;

	for (i = 0; key[i]; i++)
		folded[i] = key[i] >= 'A' && key[i] <= 'Z' ?
				    (char)(key[i] - 'A' + 'a') :
				    key[i];
	folded[i] = '\0';
}

static struct entry *find(const struct cache *cache, const char *key)
{
	struct entry *entry;

	HASH_FIND_STR(cache->table, key, entry);
	return entry;
}

static void drop(struct cache *cache, struct entry *entry)
{
	HASH_DEL(cache->table, entry);
	DL_DELETE(cache->list, entry);
	cache->count--;
	free(entry->text);
	free(entry);
}

static void use(struct cache *cache, struct entry *entry)
{
	DL_DELETE(cache->list, entry);
	DL_PREPEND(cache->list, entry);
}

/* Keep an answer; without memory it is just not kept. text is taken over. */
static void keep(struct cache *cache, const char *key, char *text)
{
	struct entry *entry = find(cache, key);

	if (entry)
		drop(cache, entry);
	/* the head's prev is the tail: what was not used for longest */
	if (cache->count >= cache->limits.entries)
		drop(cache, cache->list->prev);
	entry = malloc(sizeof(*entry) + strlen(key) + 1);
	if (!entry) {
		free(text);
		return;
	}
	strcpy(entry->key, key);
	entry->text = text;
	entry->answered_ms = cache->now_ms();
	HASH_ADD_STR(cache->table, key, entry);
	if (!entry->hh.tbl) {
		free(text);
		free(entry);
		return;
	}
	DL_PREPEND(cache->list, entry);
	cache->count++;
}

static enum qd_found no_memory(struct qd_error *err)
{
	qd_error_set(err, EX_TEMPFAIL, "alias cache: no memory");
	return QD_ERROR;
}

/* An answer for the caller, with a text of its own. */
static enum qd_found give(enum qd_found found, const char *text,
			  struct qd_aliasvalue *value, struct qd_error *err)
{
	value->text = NULL;
	if (found != QD_FOUND)
		return found;
	value->text = strdup(text);
	return value->text ? QD_FOUND : no_memory(err);
}

static void explain(struct qd_aliasvalue *value, const char *state,
		    int64_t age_ms)
{
	value->detail[0] = '\0';
	if (value->explain)
		snprintf(value->detail, sizeof(value->detail),
			 "from the cache, %s, %lld s old", state,
			 (long long)(age_ms / 1000));
}

static enum qd_found give_entry(struct cache *cache, struct entry *entry,
				enum freshness fresh, int64_t now,
				struct qd_aliasvalue *value,
				struct qd_error *err)
{
	struct qd_aliasmap_stats *stats = &cache->inner->stats;

	if (fresh != FRESH)
		count(&stats->stale_hits);
	else
		count(entry->text ? &stats->hits : &stats->negative_hits);
	use(cache, entry);
	explain(value, fresh == FRESH ? "fresh" : "stale",
		now - entry->answered_ms);
	return give(entry->text ? QD_FOUND : QD_ABSENT, entry->text, value,
		    err);
}

static struct inflight *inflight_start(struct cache *cache, const char *key)
{
	struct inflight *inflight = calloc(1, sizeof(*inflight));
	pthread_condattr_t attributes;

	if (!inflight)
		return NULL;
	strcpy(inflight->key, key);
	inflight->refs = 1;
	HASH_ADD_STR(cache->inflight, key, inflight);
	if (!inflight->hh.tbl) {
		free(inflight);
		return NULL;
	}
	/* the clock of qd_aliasmap_now_ms; glibc's cannot fail here */
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&inflight->finished, &attributes);
	pthread_condattr_destroy(&attributes);
	return inflight;
}

static void inflight_unref(struct inflight *inflight)
{
	if (--inflight->refs > 0)
		return;
	pthread_cond_destroy(&inflight->finished);
	free(inflight->text);
	free(inflight);
}

/* Wait for the look-up of another thread. */
static enum qd_found inflight_wait(struct cache *cache,
				   struct inflight *inflight,
				   int64_t deadline_ms,
				   struct qd_aliasvalue *value,
				   struct qd_error *err)
{
	struct timespec until = { .tv_sec = deadline_ms / 1000,
				  .tv_nsec = deadline_ms % 1000 * 1000000 };
	enum qd_found found = QD_ERROR;
	int rc = 0;

	inflight->refs++;
	count(&cache->inner->stats.shared);
	while (!inflight->is_finished && rc == 0)
		rc = pthread_cond_timedwait(&inflight->finished, &cache->lock,
					    &until);
	value->text = NULL;
	value->detail[0] = '\0';
	if (!inflight->is_finished) {
		qd_error_set(err, EX_TEMPFAIL, "%s: no answer in time",
			     cache->map.name);
	} else {
		found = give(inflight->found, inflight->text, value, err);
		if (inflight->found == QD_ERROR && err)
			*err = inflight->err;
	}
	inflight_unref(inflight);
	return found;
}

/* One entry that makes no sense is not an outage. */
static void note_health(struct cache *cache, enum qd_found found,
			const struct qd_error *err)
{
	cache->is_failing = found == QD_ERROR && err->status == EX_UNAVAILABLE;
	if (cache->is_failing)
		cache->retry_ms = cache->now_ms() + RETRY_MS;
}

/* Tell those who wait, and keep the answer. */
static void inflight_finish(struct cache *cache, struct inflight *inflight,
			    enum qd_found found,
			    const struct qd_aliasvalue *value,
			    const struct qd_error *err)
{
	char *copy = NULL;

	inflight->found = found;
	inflight->err = *err;
	if (found == QD_FOUND) {
		copy = strdup(value->text);
		inflight->text = strdup(value->text);
		/* nobody else gets this one then */
		if (!inflight->text)
			inflight->found = no_memory(&inflight->err);
	}
	if (found == QD_ABSENT || copy)
		keep(cache, inflight->key, copy);
	inflight->is_finished = true;
	HASH_DEL(cache->inflight, inflight);
	pthread_cond_broadcast(&inflight->finished);
	inflight_unref(inflight);
}

/* Ask the map. The lock is held on entry and on return, not between. */
static enum qd_found ask(struct cache *cache, const char *key,
			 const char *folded, int64_t deadline_ms,
			 struct qd_aliasvalue *value, struct qd_error *err)
{
	struct inflight *inflight = inflight_start(cache, folded);
	struct qd_error why = { 0 };
	enum qd_found found;

	if (!inflight)
		return no_memory(err);
	pthread_mutex_unlock(&cache->lock);
	value->text = NULL;
	found = cache->inner->ops->get(cache->inner, key, deadline_ms, value,
				       &why);
	pthread_mutex_lock(&cache->lock);
	note_health(cache, found, &why);
	inflight_finish(cache, inflight, found, value, &why);
	if (found == QD_ERROR && err)
		*err = why;
	return found;
}

/* Must the map be asked although there is a stale answer? */
static bool is_worth_asking(struct cache *cache, int64_t now)
{
	if (!cache->is_failing)
		return true;
	if (now < cache->retry_ms)
		return false;
	/* one thread tries, the others go on */
	cache->retry_ms = now + RETRY_MS;
	return true;
}

static enum qd_found get_locked(struct cache *cache, const char *key,
				const char *folded, int64_t deadline_ms,
				struct qd_aliasvalue *value,
				struct qd_error *err)
{
	int64_t now = cache->now_ms();
	struct entry *entry = find(cache, folded);
	enum freshness fresh = entry ? freshness(cache, entry, now) : OLD;
	struct inflight *inflight = NULL;
	enum qd_found found;

	if (fresh == FRESH)
		return give_entry(cache, entry, fresh, now, value, err);
	HASH_FIND_STR(cache->inflight, folded, inflight);
	if (fresh == STALE && (inflight || !is_worth_asking(cache, now)))
		return give_entry(cache, entry, fresh, now, value, err);
	if (inflight)
		return inflight_wait(cache, inflight, deadline_ms, value, err);
	found = ask(cache, key, folded, deadline_ms, value, err);
	if (found != QD_ERROR)
		return found;
	/* what there was may be gone, or here again */
	now = cache->now_ms();
	entry = find(cache, folded);
	fresh = entry ? freshness(cache, entry, now) : OLD;
	return fresh == OLD ? QD_ERROR :
			      give_entry(cache, entry, fresh, now, value, err);
}

static enum qd_found cache_get(struct qd_aliasmap *map, const char *key,
			       int64_t deadline_ms, struct qd_aliasvalue *value,
			       struct qd_error *err)
{
	struct cache *cache = (struct cache *)map;
	char folded[QD_ALIAS_KEY_MAX + 1];
	enum qd_found found;

	value->text = NULL;
	value->detail[0] = '\0';
	if (strlen(key) > QD_ALIAS_KEY_MAX)
		return QD_ABSENT;
	fold_key(key, folded);
	pthread_mutex_lock(&cache->lock);
	found = get_locked(cache, key, folded, deadline_ms, value, err);
	pthread_mutex_unlock(&cache->lock);
	return found;
}

static void cache_close(struct qd_aliasmap *map)
{
	struct cache *cache = (struct cache *)map;

	while (cache->list)
		drop(cache, cache->list);
	pthread_mutex_destroy(&cache->lock);
	cache->inner->ops->close(cache->inner);
	free(cache);
}

static const struct qd_aliasmap_ops cache_ops = { .get = cache_get,
						  .close = cache_close };

int qd_alias_cache_open(struct qd_aliasmap *inner,
			const struct qd_alias_cache_limits *limits,
			struct qd_aliasmap **out, struct qd_error *err)
{
	struct cache *cache = calloc(1, sizeof(*cache));

	if (!cache) {
		inner->ops->close(inner);
		return qd_error_set(err, EX_OSERR, "alias cache: no memory");
	}
	cache->map.ops = &cache_ops;
	cache->map.kind = inner->kind;
	cache->map.name = inner->name;
	cache->map.say = inner->say;
	cache->inner = inner;
	cache->limits = *limits;
	cache->now_ms = qd_aliasmap_now_ms;
	pthread_mutex_init(&cache->lock, NULL);
	*out = &cache->map;
	return 0;
}

void qd_alias_cache_state(struct qd_aliasmap *map, const char *key, char *out,
			  size_t size)
{
	static const char *const words[] = {
		[FRESH] = "fresh", [STALE] = "stale", [OLD] = "too old"
	};
	struct cache *cache = (struct cache *)map;
	char folded[QD_ALIAS_KEY_MAX + 1];
	const struct entry *entry;
	int64_t now;

	snprintf(out, size, "absent");
	if (strlen(key) > QD_ALIAS_KEY_MAX)
		return;
	fold_key(key, folded);
	pthread_mutex_lock(&cache->lock);
	now = cache->now_ms();
	entry = find(cache, folded);
	if (entry)
		snprintf(out, size, "%s, %lld s old",
			 words[freshness(cache, entry, now)],
			 (long long)(now - entry->answered_ms) / 1000);
	pthread_mutex_unlock(&cache->lock);
}

const struct qd_aliasmap_stats *
qd_alias_cache_stats(const struct qd_aliasmap *map)
{
	return &((const struct cache *)map)->inner->stats;
}

void qd_alias_cache_set_clock(struct qd_aliasmap *map, int64_t (*now_ms)(void))
{
	((struct cache *)map)->now_ms = now_ms;
}
