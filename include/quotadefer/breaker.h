/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef QUOTADEFER_BREAKER_H
#define QUOTADEFER_BREAKER_H

#include <stdbool.h>
#include <stdint.h>

/*
 * A circuit breaker: after some failures in a row a server is not asked any
 * more, except for one probe now and then, until one succeeds. No clock and
 * no lock in it: the caller brings both.
 */
enum {
	QD_BREAKER_FAILURES = 3,	/* in a row open it */
	QD_BREAKER_DELAY_MS = 1000,	/* before the first probe */
	QD_BREAKER_DELAY_MAX_MS = 60000 /* each failed one doubles it */
};

/* All zero is a closed one. */
struct qd_breaker {
	int failures;
	bool is_open;
	bool is_probing;
	int64_t delay_ms;
	int64_t probe_at_ms;
};

enum qd_breaker_way {
	QD_BREAKER_ASK,
	QD_BREAKER_PROBE, /* ask, and everybody waits for what comes of it */
	QD_BREAKER_REFUSE
};

/* May the server be asked? Whoever asks reports the outcome, below. */
enum qd_breaker_way qd_breaker_ask(struct qd_breaker *breaker, int64_t now_ms);

/* It answered. Returns true if that closed the breaker. */
bool qd_breaker_succeeded(struct qd_breaker *breaker);

/*
 * It did not. random is any number; it spreads the probes of many clients by
 * a quarter of the delay either way. Returns true if that opened the breaker.
 */
bool qd_breaker_failed(struct qd_breaker *breaker, enum qd_breaker_way way,
		       int64_t now_ms, uint32_t random);

#endif
