/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef QUOTADEFER_POLICY_H
#define QUOTADEFER_POLICY_H

#include "quotadefer/rcpt.h"

/*
 * The part of the policy that needs no look-up. True if this recipient passes
 * whatever the state of the mailbox; *why says for what reason. answer has
 * kind and address filled.
 */
bool qd_policy_exempts(const struct qd_settings *settings,
		       const struct qd_request *request,
		       const struct qd_answer *answer, enum qd_why *why);

/*
 * True if a full recipient has been full for reject_after, as far as that is
 * known: full_since of *answer is set, and not in the future.
 */
bool qd_policy_is_overdue(const struct qd_settings *settings, int64_t now,
			  const struct qd_answer *answer);

/*
 * What happens to a full recipient: sets verdict, at_data and why in *answer,
 * whose full_since is set. now is seconds since 1970.
 */
void qd_policy_full(const struct qd_settings *settings,
		    const struct qd_request *request, int64_t now,
		    struct qd_answer *answer);

#endif
