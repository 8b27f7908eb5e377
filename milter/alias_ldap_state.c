/* SPDX-License-Identifier: BSD-2-Clause */
/* What a table takes from other files: a change in them is one of the map. */
#include <string.h>
#include <sys/stat.h>

#include "alias_ldap_impl.h"

/* FNV-1a, 64 bits: it is compared with itself, in one process. */
static void add(uint64_t *state, const void *data, size_t length)
{
	const unsigned char *bytes = data;

	for (size_t i = 0; i < length; i++)
		*state = (*state ^ bytes[i]) * UINT64_C(0x100000001b3);
}

static void add_number(uint64_t *state, int64_t number)
{
	add(state, &number, sizeof(number));
}

static void add_file(uint64_t *state, const char *path)
{
	struct stat st;

	if (!*path || stat(path, &st) < 0)
		return;
	add_number(state, (int64_t)st.st_dev);
	add_number(state, (int64_t)st.st_ino);
	add_number(state, (int64_t)st.st_size);
	add_number(state, (int64_t)st.st_mtim.tv_sec);
	add_number(state, (int64_t)st.st_mtim.tv_nsec);
	add_number(state, (int64_t)st.st_ctim.tv_sec);
	add_number(state, (int64_t)st.st_ctim.tv_nsec);
}

static void add_table(uint64_t *state, const char *path, int depth)
{
	struct qd_ldap_table table;
	struct qd_error err;

	add_file(state, path);
	if (depth == QD_LDAP_DEPTH ||
	    qd_ldap_table_read(path, &table, &err) < 0)
		return;
	for (size_t i = 0; i < table.domains.count; i++) {
		const char *item = table.domains.items[i];
		const char *name = qd_ldap_domains_table(&table.domains, i);

		add(state, item, strlen(item) + 1);
		if (name)
			add_table(state, strchr(name, ':') + 1, depth + 1);
	}
	add_file(state, table.tls_ca_cert_file);
	add_file(state, table.tls_ca_cert_dir);
	add_file(state, table.tls_cert);
	add_file(state, table.tls_key);
	qd_ldap_table_free(&table);
}

uint64_t qd_alias_ldap_state(const char *name)
{
	uint64_t state = UINT64_C(0xcbf29ce484222325);

	add_table(&state, strchr(name, ':') + 1, 0);
	return state;
}
