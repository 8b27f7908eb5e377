/* SPDX-License-Identifier: BSD-2-Clause */
#include "check.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sysexits.h>

#include "../../milter/aliases_impl.h"

/* A clock that only the tests move, where the age of answers matters. */
static _Atomic int64_t fake_now = 1000000;

static int64_t fake_now_ms(void)
{
	return fake_now;
}

/* A map whose answers the tests choose, and which can be made to hang. */
struct fake {
	struct qd_aliasmap map;
	atomic_int asked, waiting, closed;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool is_hanging;
	enum qd_found found;
	int status; /* of its errors */
	char text[64];
};

static enum qd_found fake_get(struct qd_aliasmap *map, const char *key,
			      int64_t deadline_ms, struct qd_aliasvalue *value,
			      struct qd_error *err)
{
	struct fake *fake = (struct fake *)map;
	enum qd_found found;
	int status;

	(void)key;
	(void)deadline_ms;
	pthread_mutex_lock(&fake->lock);
	fake->asked++;
	fake->waiting++;
	pthread_cond_broadcast(&fake->changed);
	while (fake->is_hanging)
		pthread_cond_wait(&fake->changed, &fake->lock);
	fake->waiting--;
	found = fake->found;
	status = fake->status;
	if (found == QD_FOUND)
		value->text = strdup(fake->text);
	pthread_mutex_unlock(&fake->lock);
	if (found == QD_ERROR)
		qd_error_set(err, status, "fake: down");
	return found;
}

static void fake_close(struct qd_aliasmap *map)
{
	((struct fake *)map)->closed++;
}

static const struct qd_aliasmap_ops fake_ops = { .get = fake_get,
						 .close = fake_close };

struct both {
	struct fake fake;
	struct qd_aliasmap *cache;
};

static void open_both(struct both *both, int64_t entries, int64_t ttl_ms,
		      int64_t stale_ms)
{
	struct qd_alias_cache_limits limits = { .entries = entries,
						.ttl_ms = ttl_ms,
						.negative_ttl_ms = ttl_ms / 2,
						.stale_ms = stale_ms };
	struct qd_error err;

	memset(both, 0, sizeof(*both));
	both->fake.map.ops = &fake_ops;
	both->fake.map.name = "ldap:/fake";
	pthread_mutex_init(&both->fake.lock, NULL);
	pthread_cond_init(&both->fake.changed, NULL);
	both->fake.found = QD_FOUND;
	both->fake.status = EX_UNAVAILABLE;
	strcpy(both->fake.text, "one@example.org");
	assert_int_equal(qd_alias_cache_open(&both->fake.map, &limits,
					     &both->cache, &err),
			 0);
	qd_alias_cache_set_clock(both->cache, fake_now_ms);
}

static void close_both(struct both *both)
{
	both->cache->ops->close(both->cache);
	assert_int_equal(both->fake.closed, 1);
	pthread_cond_destroy(&both->fake.changed);
	pthread_mutex_destroy(&both->fake.lock);
}

static void set(struct both *both, enum qd_found found, const char *text)
{
	pthread_mutex_lock(&both->fake.lock);
	both->fake.found = found;
	snprintf(both->fake.text, sizeof(both->fake.text), "%s", text);
	pthread_mutex_unlock(&both->fake.lock);
}

static void hang(struct both *both, bool is_hanging)
{
	pthread_mutex_lock(&both->fake.lock);
	both->fake.is_hanging = is_hanging;
	pthread_cond_broadcast(&both->fake.changed);
	pthread_mutex_unlock(&both->fake.lock);
}

/* Ask with a deadline so many ms away; the text, or what there is instead. */
static const char *ask(struct both *both, const char *key, int64_t ms,
		       char text[64])
{
	struct qd_aliasvalue value = { .explain = true };
	struct qd_error err = { 0 };
	enum qd_found found;

	found = both->cache->ops->get(both->cache, key,
				      qd_aliasmap_now_ms() + ms, &value, &err);
	snprintf(text, 64, "%.63s",
		 found == QD_FOUND  ? value.text :
		 found == QD_ABSENT ? "absent" :
				      err.text);
	free(value.text);
	return text;
}

static void check_state(struct both *both, const char *key, const char *want)
{
	char state[64];

	qd_alias_cache_state(both->cache, key, state, sizeof(state));
	assert_string_equal(state, want);
}

static void test_hits_and_misses(void **state)
{
	const struct qd_aliasmap_stats *stats;
	struct both both;
	char text[64];

	(void)state;
	open_both(&both, 100, 10000, 0);
	check_state(&both, "a@b", "absent");
	assert_string_equal(ask(&both, "a@b", 60000, text), "one@example.org");
	set(&both, QD_FOUND, "two@example.org");
	fake_now += 2000;
	/* in any case */
	assert_string_equal(ask(&both, "A@B", 60000, text), "one@example.org");
	check_state(&both, "a@B", "fresh, 2 s old");
	assert_int_equal(both.fake.asked, 1);
	fake_now += 8000;
	check_state(&both, "a@b", "too old, 10 s old");
	assert_string_equal(ask(&both, "a@b", 60000, text), "two@example.org");
	set(&both, QD_ABSENT, "");
	assert_string_equal(ask(&both, "no@b", 60000, text), "absent");
	assert_string_equal(ask(&both, "no@b", 60000, text), "absent");
	assert_int_equal(both.fake.asked, 3);
	fake_now += 5000;
	assert_string_equal(ask(&both, "no@b", 60000, text), "absent");
	assert_int_equal(both.fake.asked, 4);
	stats = qd_alias_cache_stats(both.cache);
	assert_ptr_equal(stats, &both.fake.map.stats);
	assert_int_equal(stats->hits, 1);
	assert_int_equal(stats->negative_hits, 1);
	assert_int_equal(stats->stale_hits, 0);
	close_both(&both);
}

static void test_errors_are_not_kept(void **state)
{
	struct both both;
	char text[64];

	(void)state;
	open_both(&both, 100, 10000, 1000);
	set(&both, QD_ERROR, "");
	assert_string_equal(ask(&both, "a", 60000, text), "fake: down");
	check_state(&both, "a", "absent");
	set(&both, QD_FOUND, "x@y");
	assert_string_equal(ask(&both, "a", 60000, text), "x@y");
	close_both(&both);
}

static void test_stale(void **state)
{
	struct both both;
	char text[64];

	(void)state;
	open_both(&both, 100, 10000, 60000);
	ask(&both, "a", 60000, text);
	set(&both, QD_ABSENT, "");
	ask(&both, "none", 60000, text);
	set(&both, QD_ERROR, "");
	fake_now += 11000;
	check_state(&both, "a", "stale, 11 s old");
	/* the first finds out, the next do not ask for a second */
	assert_string_equal(ask(&both, "a", 60000, text), "one@example.org");
	assert_int_equal(both.fake.asked, 3);
	assert_string_equal(ask(&both, "a", 60000, text), "one@example.org");
	assert_string_equal(ask(&both, "none", 60000, text), "absent");
	assert_int_equal(both.fake.asked, 3);
	assert_int_equal(both.fake.map.stats.stale_hits, 3);
	/* but what is not known is asked for */
	assert_string_equal(ask(&both, "new", 60000, text), "fake: down");
	assert_int_equal(both.fake.asked, 4);
	fake_now += 1000;
	assert_string_equal(ask(&both, "a", 60000, text), "one@example.org");
	assert_int_equal(both.fake.asked, 5);
	/* it is back */
	set(&both, QD_FOUND, "two@example.org");
	fake_now += 1000;
	assert_string_equal(ask(&both, "a", 60000, text), "two@example.org");
	/* and for too long away */
	set(&both, QD_ERROR, "");
	fake_now += 70000;
	check_state(&both, "a", "too old, 70 s old");
	assert_string_equal(ask(&both, "a", 60000, text), "fake: down");
	close_both(&both);
}

/* One entry that makes no sense is not an outage of the directory. */
static void test_bad_data_is_no_outage(void **state)
{
	struct both both;
	char text[64];

	(void)state;
	open_both(&both, 100, 10000, 60000);
	ask(&both, "good", 60000, text);
	fake_now += 11000;
	set(&both, QD_ERROR, "");
	both.fake.status = EX_DATAERR;
	assert_string_equal(ask(&both, "bad", 60000, text), "fake: down");
	set(&both, QD_FOUND, "new@example.org");
	assert_string_equal(ask(&both, "good", 60000, text), "new@example.org");
	assert_int_equal(both.fake.map.stats.stale_hits, 0);
	close_both(&both);
}

static void test_least_recently_used_goes(void **state)
{
	struct both both;
	char text[64], key[16];

	(void)state;
	open_both(&both, 100, 10000, 0);
	for (int i = 0; i < 100; i++) {
		snprintf(key, sizeof(key), "%d", i);
		ask(&both, key, 60000, text);
	}
	ask(&both, "0", 60000, text);
	for (int i = 100; i < 150; i++) {
		snprintf(key, sizeof(key), "%d", i);
		ask(&both, key, 60000, text);
	}
	check_state(&both, "0", "fresh, 0 s old");
	check_state(&both, "1", "absent");
	check_state(&both, "50", "absent");
	check_state(&both, "51", "fresh, 0 s old");
	check_state(&both, "149", "fresh, 0 s old");
	assert_int_equal(both.fake.asked, 150);
	close_both(&both);
}

static void test_long_keys(void **state)
{
	char key[QD_ALIAS_KEY_MAX + 2], text[64];
	struct both both;

	(void)state;
	open_both(&both, 100, 10000, 0);
	memset(key, 'x', sizeof(key) - 1);
	key[QD_ALIAS_KEY_MAX + 1] = '\0';
	assert_string_equal(ask(&both, key, 60000, text), "absent");
	assert_int_equal(both.fake.asked, 0);
	check_state(&both, key, "absent");
	key[QD_ALIAS_KEY_MAX] = '\0';
	assert_string_equal(ask(&both, key, 60000, text), "one@example.org");
	close_both(&both);
}

struct asker {
	struct both *both;
	const char *key;
	int64_t ms;
	char text[64];
	pthread_t thread;
};

static void *run_asker(void *arg)
{
	struct asker *asker = arg;

	ask(asker->both, asker->key, asker->ms, asker->text);
	return NULL;
}

static void start(struct asker *asker, struct both *both, const char *key,
		  int64_t ms)
{
	asker->both = both;
	asker->key = key;
	asker->ms = ms;
	pthread_create(&asker->thread, NULL, run_asker, asker);
}

/* Until so many look-ups have come as far as the map. */
static void wait_for_waiting(struct both *both, int wanted)
{
	pthread_mutex_lock(&both->fake.lock);
	while (both->fake.waiting < wanted)
		pthread_cond_wait(&both->fake.changed, &both->fake.lock);
	pthread_mutex_unlock(&both->fake.lock);
}

static void wait_for_shared(struct both *both, unsigned long long wanted)
{
	int64_t deadline = qd_aliasmap_now_ms() + 60000;

	while (both->fake.map.stats.shared < wanted) {
		assert_true(qd_aliasmap_now_ms() < deadline);
		sched_yield();
	}
}

/* One look-up in flight: those that come meanwhile get the same answer. */
static void test_one_in_flight(void **state)
{
	struct asker askers[8];
	struct both both;

	(void)state;
	/* nothing is kept, so that each answer comes from the flight */
	open_both(&both, 100, 0, 0);
	hang(&both, true);
	start(&askers[0], &both, "a", 60000);
	wait_for_waiting(&both, 1);
	for (size_t i = 1; i < COUNT(askers) - 1; i++)
		start(&askers[i], &both, "a", 60000);
	start(&askers[COUNT(askers) - 1], &both, "b", 60000);
	wait_for_waiting(&both, 2);
	wait_for_shared(&both, COUNT(askers) - 2);
	hang(&both, false);
	for (size_t i = 0; i < COUNT(askers); i++) {
		pthread_join(askers[i].thread, NULL);
		assert_string_equal(askers[i].text, "one@example.org");
	}
	assert_int_equal(both.fake.asked, 2);
	close_both(&both);
}

/* The map hangs: others wait for their own deadline, or not at all. */
static void test_frozen(void **state)
{
	struct asker leader, second;
	struct both both;
	char text[64];

	(void)state;
	open_both(&both, 100, 10000, 60000);
	ask(&both, "stale", 60000, text);
	fake_now += 9000;
	ask(&both, "fresh", 60000, text);
	fake_now += 2000;
	hang(&both, true);
	start(&leader, &both, "new", 60000);
	wait_for_waiting(&both, 1);
	assert_string_equal(ask(&both, "new", 20, text),
			    "ldap:/fake: no answer in time");
	assert_string_equal(ask(&both, "fresh", 60000, text),
			    "one@example.org");
	start(&second, &both, "stale", 60000);
	wait_for_waiting(&both, 2);
	/* one finds out; the others have their old answer at once */
	assert_string_equal(ask(&both, "stale", 60000, text),
			    "one@example.org");
	assert_int_equal(both.fake.asked, 4);
	set(&both, QD_ERROR, "");
	hang(&both, false);
	pthread_join(leader.thread, NULL);
	pthread_join(second.thread, NULL);
	assert_string_equal(leader.text, "fake: down");
	assert_string_equal(second.text, "one@example.org");
	/* that is known now */
	hang(&both, true);
	assert_string_equal(ask(&both, "stale", 60000, text),
			    "one@example.org");
	hang(&both, false);
	assert_int_equal(both.fake.asked, 4);
	close_both(&both);
}

static void *run_crowd(void *arg)
{
	struct asker *asker = arg;
	unsigned seed = (unsigned)(asker->ms + 1);
	char key[16], text[64];

	for (int i = 0; i < 3000; i++) {
		snprintf(key, sizeof(key), "%d", rand_r(&seed) % 300);
		ask(asker->both, key, 60000, text);
		if (i % 10 == 0)
			fake_now += 100;
		if (i % 100 == 0)
			set(asker->both, rand_r(&seed) % 3, "z@example.org");
		if (i % 50 == 0)
			qd_alias_cache_state(asker->both->cache, key, text,
					     sizeof(text));
	}
	return NULL;
}

/* For the sanitizers: all at once. */
static void test_crowd(void **state)
{
	struct asker askers[6];
	struct both both;

	(void)state;
	open_both(&both, 100, 1000, 5000);
	for (size_t i = 0; i < COUNT(askers); i++) {
		askers[i].both = &both;
		askers[i].ms = (int64_t)i;
		pthread_create(&askers[i].thread, NULL, run_crowd, &askers[i]);
	}
	for (size_t i = 0; i < COUNT(askers); i++)
		pthread_join(askers[i].thread, NULL);
	assert_true(both.fake.map.stats.hits > 0);
	assert_true(both.fake.map.stats.stale_hits > 0);
	close_both(&both);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hits_and_misses),
		cmocka_unit_test(test_errors_are_not_kept),
		cmocka_unit_test(test_stale),
		cmocka_unit_test(test_bad_data_is_no_outage),
		cmocka_unit_test(test_least_recently_used_goes),
		cmocka_unit_test(test_long_keys),
		cmocka_unit_test(test_one_in_flight),
		cmocka_unit_test(test_frozen),
		cmocka_unit_test(test_crowd),
	};

	return RUN_TESTS(tests);
}
