/* SPDX-License-Identifier: BSD-2-Clause */
#include "compare.h"

enum outcome compare_judge(const struct facts *facts)
{
	bool refuses = facts->cyrus == CYRUS_REFUSES;

	if (facts->cyrus == CYRUS_UNSURE)
		return UNSURE;
	/* a mailbox that was deleted, or a root that was left behind */
	if (facts->cyrus == CYRUS_NO_MAILBOX)
		return facts->defers && !facts->over ? STALE : UNSURE;
	if (facts->defers == refuses)
		return AGREE;
	if (facts->rules_differ)
		return UNSURE;
	/* it changed just now, or since it was read for the table */
	if (facts->over_before != facts->over || facts->over == refuses)
		return STALE;
	return refuses ? MISSED : FALSE;
}
