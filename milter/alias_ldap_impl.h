/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef ALIAS_LDAP_IMPL_H
#define ALIAS_LDAP_IMPL_H

/*
 * Private to alias_ldap*.c: maps of ldap_table(5).
 *
 *	alias_ldap.c             the map: breaker, counters, what is told
 *	alias_ldap_file.c        name = value lines
 *	alias_ldap_table.c       what the parameters mean, checked
 *	alias_ldap_domain.c      the list of domains that are looked up
 *	alias_ldap_expand.c      the % templates, and escaping
 *	alias_ldap_pool.c        threads that ask, and those that wait
 *	alias_ldap_connection.c  a connection to one of the servers
 *	alias_ldap_search.c      a look-up over a connection
 *	alias_ldap_state.c       whether what it was read from has changed
 *
 * libldap is known to the two before the last only. What is told to errors here: status
 * EX_UNAVAILABLE is a server that does not answer, and anything else is not.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "quotadefer/aliasmap.h"
#include "quotadefer/error.h"
#include "quotadefer/fold.h"
#include "quotadefer/settings.h"

/* Bounds on what a directory can make us hold. */
enum {
	QD_LDAP_FILE_MAX = 1 << 20,
	QD_LDAP_TEXT_MAX = 1 << 20,
	QD_LDAP_MESSAGE_MAX = 16 << 20,
	/* groups in groups; each level takes some of a thread's stack */
	QD_LDAP_DEPTH_MAX = 5000
};

/* Tables name tables in "domain", and perhaps themselves. */
enum {
	QD_LDAP_DEPTH = 4
};

/* alias_ldap_expand.c: a text that grows, up to QD_LDAP_TEXT_MAX */
struct qd_ldap_text {
	char *data; /* NULL if nothing was added */
	size_t used, size;
	bool overflowed; /* or no memory: data is not all of it */
};

void qd_ldap_text_add(struct qd_ldap_text *text, const char *data,
		      size_t length);
void qd_ldap_text_free(struct qd_ldap_text *text);

/* Which parts of keys and values the templates of a table use. */
struct qd_ldap_parts {
	bool key_user, key_domain, value_user, value_domain;
	int labels; /* of the key's domain, counted from the right */
};

/* Add what template uses. Returns whether it depends on the key or value, or
 * -1 if it is malformed. */
int qd_ldap_template_check(const char *template, bool is_query,
			   struct qd_ldap_parts *parts);

/* How what is put into a template is made harmless. */
enum qd_ldap_escape {
	QD_LDAP_PLAIN,
	QD_LDAP_FILTER, /* RFC 4515 */
	QD_LDAP_DN	/* RFC 4514 */
};

/*
 * Expand a template of a query for key (value NULL), or of a result for a
 * value found for key. Results are joined with commas. Returns whether there
 * is an expansion: not if key or value lacks a part that is used.
 */
bool qd_ldap_expand(const struct qd_ldap_parts *parts, const char *template,
		    enum qd_ldap_escape escape, const char *key,
		    const char *value, struct qd_ldap_text *out);

/* alias_ldap_file.c: the lines of a file of parameters */
struct qd_ldap_file {
	const char *path;
	char *text, *logical; /* the file, and one logical line of it */
	const char *next;
	int physical; /* lines read so far */
};

int qd_ldap_file_open(struct qd_ldap_file *file, const char *path,
		      struct qd_error *err);
/*
 * The next parameter: 1, 0 at the end, or -1. *name and *value last until the
 * next call.
 */
int qd_ldap_file_next(struct qd_ldap_file *file, const char **name,
		      const char **value, int *line, struct qd_error *err);
void qd_ldap_file_close(struct qd_ldap_file *file);

/* Lists have a NULL behind the last item, if any. Split: at commas and white
 * space. Return 0, or -1 if there is no memory. */
int qd_ldap_list_add(struct qd_list *list, const char *text, size_t length);
int qd_ldap_list_split(struct qd_list *list, const char *text);
void qd_ldap_list_free(struct qd_list *list);

/* alias_ldap_domain.c */
int qd_ldap_domains_read(const char *text, struct qd_list *out,
			 struct qd_error *err);
/* The name of the i-th if it is a table of ours, "ldap:/path", or NULL. */
const char *qd_ldap_domains_table(const struct qd_list *domains, size_t i);
/* Who asks the i-th, a table, for a domain. */
struct qd_ldap_domains_asker {
	enum qd_found (*ask)(void *arg, size_t i, const char *domain);
	void *arg;
};
/* Is the domain of key one of them? All are if there are none. asker may be
 * NULL if none is a table. */
enum qd_found qd_ldap_domains_find(const struct qd_list *domains,
				   const char *key,
				   const struct qd_ldap_domains_asker *asker);

/* alias_ldap_table.c */
enum qd_ldap_scope {
	QD_LDAP_SUB,
	QD_LDAP_ONE,
	QD_LDAP_BASE
};

enum qd_ldap_bind {
	QD_LDAP_BIND_NONE,
	QD_LDAP_BIND_SIMPLE,
	QD_LDAP_BIND_SASL
};

/* The parameters, by their names, and what follows from them. */
struct qd_ldap_table {
	char *server_host;
	int64_t server_port, version, timeout;
	char *search_base, *query_filter, *result_format, *result_filter;
	char *domain, *scope;
	char *result_attribute, *special_result_attribute;
	char *leaf_result_attribute, *terminal_result_attribute;
	char *bind, *bind_dn, *bind_pw;
	char *sasl_mechs, *sasl_realm, *sasl_authz_id;
	int64_t sasl_minssf;
	int64_t recursion_limit, expansion_limit, size_limit, dereference;
	bool chase_referrals, start_tls, tls_require_cert;
	char *tls_ca_cert_file, *tls_ca_cert_dir, *tls_cert, *tls_key;
	char *tls_random_file, *tls_cipher_suite;
	int64_t debuglevel;
	/* Postfix has not used these for long */
	bool cache;
	int64_t cache_expiry, cache_size;

	struct qd_list servers; /* URLs */
	bool uses_tls;
	enum qd_ldap_scope scope_value;
	enum qd_ldap_bind bind_value;
	const char *format; /* of results */
	struct qd_ldap_parts parts;
	bool base_varies;	/* with the key */
	struct qd_list domains; /* names and tables; empty: all */
	/* terminal, leaf, other and special ones; with a NULL at the end */
	struct qd_list attributes;
	size_t terminal_end, leaf_end, plain_end;
};

/* Returns 0, or -1 with *err, which names file, line, parameter and value. */
int qd_ldap_table_read(const char *path, struct qd_ldap_table *out,
		       struct qd_error *err);
void qd_ldap_table_free(struct qd_ldap_table *table);

/* What a look-up is about, and what comes of it. */
struct qd_ldap_query {
	const char *key; /* folded */
	const char *base, *filter;
	int64_t deadline_ms;
	bool explain;
};

struct qd_ldap_answer {
	enum qd_found found;
	struct qd_ldap_text text;
	struct qd_error err;
	char detail[1024];
};

/* alias_ldap_connection.c */
struct ldap;
struct qd_ldap_servers;

/* What all connections of a map have in common. */
struct qd_ldap_shared {
	struct qd_ldap_table *table;
	struct qd_alias_ldap_limits limits;
	struct qd_ldap_servers *servers;
};

struct qd_ldap_guard;

/* A connection, which may be none at the moment. */
struct qd_ldap_connection {
	struct qd_ldap_shared *shared;
	struct ldap *ld;
	size_t server;
	struct qd_ldap_guard *guard;
};

/* What libldap wants to be called before there are threads. */
int qd_ldap_library_init(int debuglevel, struct qd_error *err);
/* A URL of a server, or a filter of RFC 4515, as libldap takes them. */
bool qd_ldap_is_url(const char *text);
bool qd_ldap_is_filter(const char *text);

/*
 * say is told when a server cannot be connected to, and when it can again.
 * The table is borrowed. NULL: no memory.
 */
struct qd_ldap_servers *
qd_ldap_servers_new(const struct qd_ldap_table *table, const char *name,
		    void (*say)(int priority, const char *text));
void qd_ldap_servers_free(struct qd_ldap_servers **servers);
/* True if the last failure of one of them has been told to say. */
bool qd_ldap_servers_told(struct qd_ldap_servers *servers);

/*
 * libldap with GnuTLS spins for ever in a handshake that the server does not
 * answer, whatever limits it has. So others watch: whoever waits for a look-up
 * cuts its sockets when they take too long, in another thread.
 */
struct qd_ldap_guard *qd_ldap_guard_new(void);
void qd_ldap_guard_free(struct qd_ldap_guard **guard);
/* Cut them if a connection should have been made by now, or at all events. */
void qd_ldap_guard_cut(struct qd_ldap_guard *guard, bool at_all_events);

/* Connect to the first server that can be, in time. Thread-safe. */
int qd_ldap_connect(struct qd_ldap_connection *connection, int64_t deadline_ms,
		    struct qd_error *err);
void qd_ldap_disconnect(struct qd_ldap_connection *connection);
/* Try other servers before that of the connection for a while; disconnect. */
void qd_ldap_avoid(struct qd_ldap_connection *connection);

/* alias_ldap_search.c: one look-up, connecting as needed */
void qd_ldap_look_up(struct qd_ldap_connection *connection,
		     const struct qd_ldap_query *query,
		     struct qd_ldap_answer *answer);

/* alias_ldap_pool.c */
struct qd_ldap_pool;

void qd_ldap_shared_free(struct qd_ldap_shared **shared);

/* Takes shared over, to be freed with the last thread. NULL: no memory. */
struct qd_ldap_pool *qd_ldap_pool_new(struct qd_ldap_shared *shared);
/* No look-up may be under way. Does not wait for a server. */
void qd_ldap_pool_close(struct qd_ldap_pool **pool);
/* Ask over one of the connections; answers by query->deadline_ms. */
void qd_ldap_pool_ask(struct qd_ldap_pool *pool,
		      const struct qd_ldap_query *query,
		      struct qd_ldap_answer *answer);

#endif
