/* SPDX-License-Identifier: BSD-2-Clause */
/* In place of alias_ldap*.c where there is no libldap. */
#include <sysexits.h>

#include "quotadefer/aliasmap.h"

uint64_t qd_alias_ldap_state(const char *name)
{
	(void)name;
	return 0;
}

int qd_alias_ldap_open(const char *name,
		       const struct qd_alias_ldap_limits *limits,
		       void (*say)(int priority, const char *text),
		       struct qd_aliasmap **out, struct qd_error *err)
{
	(void)limits;
	(void)say;
	(void)out;
	return qd_error_set(err, EX_CONFIG,
			    "%s: quotadefer was built without LDAP "
			    "(configure --with-ldap)",
			    name);
}
