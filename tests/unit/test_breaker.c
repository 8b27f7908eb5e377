/* SPDX-License-Identifier: BSD-2-Clause */
#include "check.h"

#include "quotadefer/breaker.h"

static bool fail_once(struct qd_breaker *breaker, int64_t now_ms)
{
	return qd_breaker_failed(breaker, qd_breaker_ask(breaker, now_ms),
				 now_ms, 0);
}

static void open_it(struct qd_breaker *breaker, int64_t now_ms)
{
	for (int i = 1; i < QD_BREAKER_FAILURES; i++)
		assert_false(fail_once(breaker, now_ms));
	assert_true(fail_once(breaker, now_ms));
}

static void test_opens_after_failures_in_a_row(void **state)
{
	struct qd_breaker breaker = { 0 };

	(void)state;
	for (int i = 0; i < 10; i++) {
		assert_false(fail_once(&breaker, 0));
		assert_false(fail_once(&breaker, 0));
		assert_false(qd_breaker_succeeded(&breaker));
	}
	open_it(&breaker, 0);
	assert_int_equal(qd_breaker_ask(&breaker, 0), QD_BREAKER_REFUSE);
}

static void test_one_probe(void **state)
{
	struct qd_breaker breaker = { 0 };
	int64_t now = 5000;

	(void)state;
	open_it(&breaker, now);
	now = breaker.probe_at_ms;
	assert_int_equal(qd_breaker_ask(&breaker, now - 1), QD_BREAKER_REFUSE);
	assert_int_equal(qd_breaker_ask(&breaker, now), QD_BREAKER_PROBE);
	assert_int_equal(qd_breaker_ask(&breaker, now), QD_BREAKER_REFUSE);
	assert_int_equal(qd_breaker_ask(&breaker, now + 1000000),
			 QD_BREAKER_REFUSE);
	assert_true(qd_breaker_succeeded(&breaker));
	assert_int_equal(qd_breaker_ask(&breaker, now), QD_BREAKER_ASK);
	/* as new */
	assert_false(fail_once(&breaker, now));
	assert_false(fail_once(&breaker, now));
}

static void test_back_off(void **state)
{
	static const int64_t want[] = { 1000,  2000,  4000,  8000,
					16000, 32000, 60000, 60000 };
	struct qd_breaker breaker = { 0 };
	int64_t now = 0;

	(void)state;
	open_it(&breaker, now);
	for (size_t i = 0; i < COUNT(want); i++) {
		int64_t delay = breaker.probe_at_ms - now;

		/* with random 0 it is the earliest: three quarters */
		if (delay != want[i] * 3 / 4)
			fail_msg("probe %zu after %jd ms, want %jd", i,
				 (intmax_t)delay, (intmax_t)want[i] * 3 / 4);
		now = breaker.probe_at_ms;
		assert_false(fail_once(&breaker, now));
	}
}

static void test_jitter(void **state)
{
	bool early = false, late = false;

	(void)state;
	for (uint32_t random = 0; random < 4000000000u; random += 12345678) {
		struct qd_breaker breaker = { 0 };

		for (int i = 0; i < QD_BREAKER_FAILURES; i++)
			qd_breaker_failed(&breaker, QD_BREAKER_ASK, 0, random);
		assert_in_range(breaker.probe_at_ms, 750, 1250);
		early |= breaker.probe_at_ms < 850;
		late |= breaker.probe_at_ms > 1150;
	}
	assert_true(early && late);
}

static void test_stragglers(void **state)
{
	struct qd_breaker breaker = { 0 };
	int64_t probe_at;

	(void)state;
	open_it(&breaker, 0);
	probe_at = breaker.probe_at_ms;
	/* asked before it opened */
	assert_false(qd_breaker_failed(&breaker, QD_BREAKER_ASK, 500, 0));
	assert_int_equal(breaker.probe_at_ms, probe_at);
	assert_int_equal(qd_breaker_ask(&breaker, probe_at), QD_BREAKER_PROBE);
	/* the probe is still the only one */
	assert_false(qd_breaker_failed(&breaker, QD_BREAKER_ASK, probe_at, 0));
	assert_int_equal(qd_breaker_ask(&breaker, probe_at), QD_BREAKER_REFUSE);
	assert_true(qd_breaker_succeeded(&breaker));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_opens_after_failures_in_a_row),
		cmocka_unit_test(test_one_probe),
		cmocka_unit_test(test_back_off),
		cmocka_unit_test(test_jitter),
		cmocka_unit_test(test_stragglers),
	};

	return RUN_TESTS(tests);
}
