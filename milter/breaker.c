/* SPDX-License-Identifier: BSD-2-Clause */
#include "quotadefer/breaker.h"

enum qd_breaker_way qd_breaker_ask(struct qd_breaker *breaker, int64_t now_ms)
{
	if (!breaker->is_open)
		return QD_BREAKER_ASK;
	if (breaker->is_probing || now_ms < breaker->probe_at_ms)
		return QD_BREAKER_REFUSE;
	breaker->is_probing = true;
	return QD_BREAKER_PROBE;
}

bool qd_breaker_succeeded(struct qd_breaker *breaker)
{
	bool was_open = breaker->is_open;

	/* also a straggler from before it opened: the server lives */
	*breaker = (struct qd_breaker){ 0 };
	return was_open;
}

static void wait_for_probe(struct qd_breaker *breaker, int64_t now_ms,
			   uint32_t random)
{
	int64_t spread = breaker->delay_ms / 2;

	breaker->probe_at_ms = now_ms + breaker->delay_ms - spread / 2 +
			       random % (uint32_t)(spread + 1);
}

bool qd_breaker_failed(struct qd_breaker *breaker, enum qd_breaker_way way,
		       int64_t now_ms, uint32_t random)
{
	if (breaker->is_open) {
		if (way != QD_BREAKER_PROBE)
			return false; /* a straggler says nothing new */
		breaker->is_probing = false;
		breaker->delay_ms *= 2;
		if (breaker->delay_ms > QD_BREAKER_DELAY_MAX_MS)
			breaker->delay_ms = QD_BREAKER_DELAY_MAX_MS;
		wait_for_probe(breaker, now_ms, random);
		return false;
	}
	if (++breaker->failures < QD_BREAKER_FAILURES)
		return false;
	breaker->is_open = true;
	breaker->delay_ms = QD_BREAKER_DELAY_MS;
	wait_for_probe(breaker, now_ms, random);
	return true;
}
