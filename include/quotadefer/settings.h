/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef QUOTADEFER_SETTINGS_H
#define QUOTADEFER_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "quotadefer/error.h"
#include "quotadefer/netblock.h"
#include "quotadefer/redisurl.h"
#include "quotadefer/socketspec.h"

struct qd_list {
	char **items;
	size_t count;
};

/* True if text is one of them, in any case. */
bool qd_list_has(const struct qd_list *list, const char *text);

enum qd_mode {
	QD_MODE_ENFORCE,
	QD_MODE_MONITOR
};
enum qd_null_sender {
	QD_NULL_DATA,
	QD_NULL_RCPT,
	QD_NULL_PASS
};
enum qd_authenticated {
	QD_AUTH_PASS,
	QD_AUTH_DEFER
};
enum qd_alias_rule {
	QD_ALIAS_ALL,
	QD_ALIAS_ANY
};
enum qd_rule_setting {
	QD_USE_AUTO,
	QD_USE_LMTPD,
	QD_USE_STRICT,
	QD_USE_SMMAPD
};
enum qd_domain_roots {
	QD_DOMAIN_ROOTS_IGNORE,
	QD_DOMAIN_ROOTS_ENFORCE
};

/* "example.org=monitor": what holds for one domain. */
struct qd_domain_mode {
	char *domain;
	enum qd_mode mode;
};

/*
 * The settings of quotadefer.conf(5), checked; names and meanings are the
 * same there. Read-only once loaded, and shared by reference count.
 */
struct qd_settings {
	char *table;
	int64_t table_size;
	int64_t max_age_ms;

	char *redis; /* NULL: one host, no Redis */
	struct qd_redisurl redis_url;
	char *redis_password_file;
	int64_t redis_timeout_ms;
	char *prefix;
	int64_t stream_length;

	char *socket;
	struct qd_socketspec socket_spec;
	int64_t socket_mode;
	char *socket_group;
	char *control_socket;
	char *user;
	char *pidfile;

	struct qd_list domains;
	int mode;
	struct qd_domain_mode *mode_domains;
	size_t mode_domain_count;
	int64_t enforce_share; /* percent */
	struct qd_list exempt_recipients;
	struct qd_list exempt_senders;
	struct qd_netblock *exempt_clients;
	size_t exempt_client_count;
	int null_sender;
	struct qd_list probe_senders;
	int authenticated;
	int64_t defer_limit;
	int64_t reply_code;
	char *reply_enhanced_code;
	char *reply_text;
	int64_t reject_after_ms; /* -1: never */
	char *reject_text;

	struct qd_list alias_maps;
	int alias_rule;
	int64_t alias_timeout_ms;
	int64_t alias_connect_timeout_ms;
	int64_t alias_search_timeout_ms;
	int64_t alias_connections;
	int64_t alias_cache_size;
	int64_t alias_cache_ttl_ms;
	int64_t alias_negative_ttl_ms;
	int64_t alias_stale_ms;
	char *recipient_delimiter;
	char *myorigin; /* NULL: the domain of the address looked up */
	struct qd_list mydestination;

	char *source;
	char *imapd_conf;
	int rule;
	int64_t largest_message;
	int domain_roots;
	char *cyr_dbtool;
	int64_t scan_interval_ms;
	int64_t scan_threads;
	int64_t guard_roots;
	int64_t guard_full;
};

/*
 * Read file, then the NULL-terminated "name=value" overrides over it, then
 * defaults for the rest. file NULL is the installed file, which may be
 * missing; a file that is named must exist.
 *
 * Returns 0 and a reference in *out, or -1 with *err (EX_CONFIG), which names
 * the file and line or the override, the value, and what would be right.
 * Not thread-safe (libconfuse is not). Reads small local files.
 */
int qd_settings_load(const char *file, const char *const *overrides,
		     struct qd_settings **out, struct qd_error *err);

/* One more reference; thread-safe. */
struct qd_settings *qd_settings_ref(struct qd_settings *settings);

/* One less; the last one frees. Sets *settings to NULL. NULL is fine. */
void qd_settings_unref(struct qd_settings **settings);

/*
 * Write every setting in force, in the syntax of the file, each with where it
 * came from as a comment.
 */
void qd_settings_print(const struct qd_settings *settings, FILE *out);

/*
 * Tell say of what is allowed but makes little sense, such as settings that
 * have no effect together; each text is one line without an end.
 */
void qd_settings_notes(const struct qd_settings *settings,
		       void (*say)(void *arg, const char *text), void *arg);

/* Call each with the name and default of every setting, in manual order. */
void qd_settings_each(void (*each)(void *arg, const char *name,
				   const char *fallback),
		      void *arg);

#endif
