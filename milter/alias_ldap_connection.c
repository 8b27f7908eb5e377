/* SPDX-License-Identifier: BSD-2-Clause */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sysexits.h>
#include <syslog.h>

#include <ldap.h>

#include "alias_ldap_impl.h"

enum {
	/* how long the other servers are tried first */
	AVOID_MS = 10000,
	CUT_LATER_MS = 50
};

struct server {
	const char *url;
	int64_t avoid_until_ms;
	bool told; /* that it cannot be connected to */
};

struct qd_ldap_servers {
	pthread_mutex_t lock;
	char *name; /* of the map */
	void (*say)(int priority, const char *text);
	size_t count;
	struct server items[];
};

struct qd_ldap_servers *
qd_ldap_servers_new(const struct qd_ldap_table *table, const char *name,
		    void (*say)(int priority, const char *text))
{
	size_t count = table->servers.count;
	struct qd_ldap_servers *servers =
		calloc(1, sizeof(*servers) + count * sizeof(struct server));

	if (!servers)
		return NULL;
	servers->name = strdup(name);
	if (!servers->name) {
		free(servers);
		return NULL;
	}
	pthread_mutex_init(&servers->lock, NULL);
	servers->say = say;
	servers->count = count;
	for (size_t i = 0; i < count; i++)
		servers->items[i].url = table->servers.items[i];
	return servers;
}

void qd_ldap_servers_free(struct qd_ldap_servers **servers)
{
	if (!*servers)
		return;
	pthread_mutex_destroy(&(*servers)->lock);
	free((*servers)->name);
	free(*servers);
	*servers = NULL;
}

bool qd_ldap_servers_told(struct qd_ldap_servers *servers)
{
	bool told = false;

	pthread_mutex_lock(&servers->lock);
	for (size_t i = 0; i < servers->count; i++)
		told |= servers->items[i].told;
	pthread_mutex_unlock(&servers->lock);
	return told;
}

/* Say it once for an outage, and once when it is over. */
static void note(struct qd_ldap_servers *servers, size_t i, const char *why)
{
	struct server *server = &servers->items[i];
	char text[640];
	bool is_news;

	pthread_mutex_lock(&servers->lock);
	is_news = server->told != (why != NULL);
	server->told = why != NULL;
	server->avoid_until_ms = why ? qd_aliasmap_now_ms() + AVOID_MS : 0;
	pthread_mutex_unlock(&servers->lock);
	if (!is_news || !servers->say)
		return;
	if (why) /* which starts with the server */
		snprintf(text, sizeof(text), "%s: %s", servers->name, why);
	else
		snprintf(text, sizeof(text), "%s: %s: answers again",
			 servers->name, server->url);
	servers->say(why ? LOG_WARNING : LOG_NOTICE, text);
}

/* Was the server, at a time, one to be tried only after the others? */
static bool was_avoided(struct qd_ldap_servers *servers, size_t i,
			int64_t then_ms)
{
	int64_t until;

	pthread_mutex_lock(&servers->lock);
	until = servers->items[i].avoid_until_ms;
	pthread_mutex_unlock(&servers->lock);
	return until > then_ms && until - AVOID_MS <= then_ms;
}

void qd_ldap_avoid(struct qd_ldap_connection *connection)
{
	struct qd_ldap_servers *servers = connection->shared->servers;

	pthread_mutex_lock(&servers->lock);
	servers->items[connection->server].avoid_until_ms =
		qd_aliasmap_now_ms() + AVOID_MS;
	pthread_mutex_unlock(&servers->lock);
	qd_ldap_disconnect(connection);
}

void qd_ldap_disconnect(struct qd_ldap_connection *connection)
{
	if (connection->ld)
		ldap_unbind_ext(connection->ld, NULL, NULL);
	connection->ld = NULL;
}

/* Put libldap's words, and the server's own, into *err. Returns -1. */
static int connect_failed(LDAP *ld, const char *url, const char *what, int rc,
			  struct qd_error *err)
{
	char *more = NULL;

	if (ld)
		ldap_get_option(ld, LDAP_OPT_DIAGNOSTIC_MESSAGE, &more);
	for (char *p = more; p && *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = '?';
	qd_error_set(err, EX_UNAVAILABLE, "%.200s: %s: %s%s%.100s", url, what,
		     ldap_err2string(rc), more && *more ? ": " : "",
		     more && *more ? more : "");
	ldap_memfree(more);
	return -1;
}

enum {
	SOCKETS = 8 /* one, and more where referrals are chased */
};

struct qd_ldap_guard {
	struct ldap_conncb callbacks;
	pthread_mutex_t lock;
	int sockets[SOCKETS]; /* -1: none */
	int64_t cut_at_ms;    /* 0: no connection is being made */
};

static void replace_socket(struct qd_ldap_guard *guard, int old, int new)
{
	pthread_mutex_lock(&guard->lock);
	for (int i = 0; i < SOCKETS; i++)
		if (guard->sockets[i] == old) {
			guard->sockets[i] = new;
			break;
		}
	pthread_mutex_unlock(&guard->lock);
}

/* libldap calls it when a socket is connected, before any handshake */
static int socket_added(LDAP *ld, Sockbuf *buffer, LDAPURLDesc *url,
			struct sockaddr *address, struct ldap_conncb *context)
{
	int fd = -1;

	(void)ld;
	(void)url;
	(void)address;
	if (ber_sockbuf_ctrl(buffer, LBER_SB_OPT_GET_FD, &fd) == 1)
		replace_socket(context->lc_arg, -1, fd);
	return 0;
}

/* and this before it is closed, so that no other file is cut; and once more
 * without any when the handle goes */
static void socket_gone(LDAP *ld, Sockbuf *buffer, struct ldap_conncb *context)
{
	int fd = -1;

	(void)ld;
	if (buffer && ber_sockbuf_ctrl(buffer, LBER_SB_OPT_GET_FD, &fd) == 1)
		replace_socket(context->lc_arg, fd, -1);
}

struct qd_ldap_guard *qd_ldap_guard_new(void)
{
	struct qd_ldap_guard *guard = calloc(1, sizeof(*guard));

	if (!guard)
		return NULL;
	pthread_mutex_init(&guard->lock, NULL);
	for (int i = 0; i < SOCKETS; i++)
		guard->sockets[i] = -1;
	guard->callbacks = (struct ldap_conncb){ .lc_add = socket_added,
						 .lc_del = socket_gone,
						 .lc_arg = guard };
	return guard;
}

void qd_ldap_guard_free(struct qd_ldap_guard **guard)
{
	if (!*guard)
		return;
	pthread_mutex_destroy(&(*guard)->lock);
	free(*guard);
	*guard = NULL;
}

void qd_ldap_guard_cut(struct qd_ldap_guard *guard, bool at_all_events)
{
	pthread_mutex_lock(&guard->lock);
	if (at_all_events ||
	    (guard->cut_at_ms && guard->cut_at_ms <= qd_aliasmap_now_ms()))
		for (int i = 0; i < SOCKETS; i++)
			if (guard->sockets[i] >= 0)
				shutdown(guard->sockets[i], SHUT_RDWR);
	pthread_mutex_unlock(&guard->lock);
}

static void set_cut(struct qd_ldap_guard *guard, int64_t at_ms)
{
	pthread_mutex_lock(&guard->lock);
	guard->cut_at_ms = at_ms;
	pthread_mutex_unlock(&guard->lock);
}

struct option {
	int option;
	const void *value;
};

static int set_options(LDAP *ld, const struct option *options, size_t count)
{
	int rc = LDAP_OPT_SUCCESS;

	for (size_t i = 0; rc == LDAP_OPT_SUCCESS && i < count; i++)
		rc = ldap_set_option(ld, options[i].option, options[i].value);
	return rc;
}

static int set_plain_options(LDAP *ld, const struct qd_ldap_table *table)
{
	int version = (int)table->version;
	int dereference = (int)table->dereference;
	int idle = 60, probes = 3, interval = 10;
	const struct option options[] = {
		{ LDAP_OPT_PROTOCOL_VERSION, &version },
		{ LDAP_OPT_DEREF, &dereference },
		{ LDAP_OPT_REFERRALS,
		  table->chase_referrals ? LDAP_OPT_ON : LDAP_OPT_OFF },
		{ LDAP_OPT_RESTART, LDAP_OPT_ON },
		/* a firewall may forget a connection that is idle */
		{ LDAP_OPT_X_KEEPALIVE_IDLE, &idle },
		{ LDAP_OPT_X_KEEPALIVE_PROBES, &probes },
		{ LDAP_OPT_X_KEEPALIVE_INTERVAL, &interval },
	};

	return set_options(ld, options, sizeof(options) / sizeof(options[0]));
}

static int set_tls_options(LDAP *ld, const struct qd_ldap_table *table)
{
	int require = table->tls_require_cert ? LDAP_OPT_X_TLS_DEMAND :
						LDAP_OPT_X_TLS_NEVER;
	int is_server = 0;
	const struct option texts[] = {
		{ LDAP_OPT_X_TLS_RANDOM_FILE, table->tls_random_file },
		{ LDAP_OPT_X_TLS_CACERTFILE, table->tls_ca_cert_file },
		{ LDAP_OPT_X_TLS_CACERTDIR, table->tls_ca_cert_dir },
		{ LDAP_OPT_X_TLS_CERTFILE, table->tls_cert },
		{ LDAP_OPT_X_TLS_KEYFILE, table->tls_key },
		{ LDAP_OPT_X_TLS_CIPHER_SUITE, table->tls_cipher_suite },
	};
	const struct option last[] = {
		{ LDAP_OPT_X_TLS_REQUIRE_CERT, &require },
		/* else the options are of all handles of the process */
		{ LDAP_OPT_X_TLS_NEWCTX, &is_server },
	};
	int rc = LDAP_OPT_SUCCESS;

	if (!table->uses_tls)
		return rc;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		if (rc == LDAP_OPT_SUCCESS && *(const char *)texts[i].value)
			rc = set_options(ld, &texts[i], 1);
	if (rc == LDAP_OPT_SUCCESS)
		rc = set_options(ld, last, 2);
	return rc;
}

/* How long the next step may last: both of libldap's own limits. */
static int set_timeouts(LDAP *ld, int64_t until_ms)
{
	int64_t left = until_ms - qd_aliasmap_now_ms();
	struct timeval limit = { .tv_sec = left / 1000,
				 .tv_usec = left % 1000 * 1000 };
	const struct option options[] = {
		{ LDAP_OPT_NETWORK_TIMEOUT, &limit },
		{ LDAP_OPT_TIMEOUT, &limit },
	};

	if (left <= 0)
		return LDAP_TIMEOUT;
	return set_options(ld, options, 2);
}

static void limit_messages(LDAP *ld)
{
	ber_len_t max = QD_LDAP_MESSAGE_MAX;
	Sockbuf *buffer = NULL;

	if (ldap_get_option(ld, LDAP_OPT_SOCKBUF, &buffer) ==
		    LDAP_OPT_SUCCESS &&
	    buffer)
		ber_sockbuf_ctrl(buffer, LBER_SB_OPT_SET_MAX_INCOMING, &max);
}

static int bind_now(LDAP *ld, const struct qd_ldap_table *table)
{
	bool is_sasl = table->bind_value == QD_LDAP_BIND_SASL;
	char *secret = is_sasl ? table->sasl_authz_id : table->bind_pw;
	struct berval credentials = { strlen(secret), secret };
	LDAPMessage *result = NULL;
	int rc, code, id;

	/* EXTERNAL says all in its first message: libsasl is not needed */
	rc = ldap_sasl_bind(ld, is_sasl ? NULL : table->bind_dn,
			    is_sasl ? "EXTERNAL" : LDAP_SASL_SIMPLE,
			    &credentials, NULL, NULL, &id);
	if (rc != LDAP_SUCCESS)
		return rc;
	/* no time given: that of LDAP_OPT_TIMEOUT */
	switch (ldap_result(ld, id, LDAP_MSG_ALL, NULL, &result)) {
	case -1:
		ldap_get_option(ld, LDAP_OPT_RESULT_CODE, &rc);
		return rc == LDAP_SUCCESS ? LDAP_LOCAL_ERROR : rc;
	case 0:
		return LDAP_TIMEOUT;
	default:
		rc = ldap_parse_result(ld, result, &code, NULL, NULL, NULL,
				       NULL, 1);
		return rc == LDAP_SUCCESS ? code : rc;
	}
}

/* The steps to a connection that can be searched over. */
static int establish(LDAP *ld, const struct qd_ldap_table *table,
		     int64_t until_ms, const char **what)
{
	int rc;

	*what = "options";
	if ((rc = set_plain_options(ld, table)) != LDAP_SUCCESS)
		return rc;
	*what = "TLS options";
	if ((rc = set_tls_options(ld, table)) != LDAP_SUCCESS)
		return rc;
	*what = "connect";
	if ((rc = set_timeouts(ld, until_ms)) != LDAP_SUCCESS ||
	    (rc = ldap_connect(ld)) != LDAP_SUCCESS)
		return rc;
	limit_messages(ld);
	*what = "StartTLS";
	if (table->start_tls &&
	    ((rc = set_timeouts(ld, until_ms)) != LDAP_SUCCESS ||
	     (rc = ldap_start_tls_s(ld, NULL, NULL)) != LDAP_SUCCESS))
		return rc;
	*what = "bind";
	if (table->bind_value == QD_LDAP_BIND_NONE ||
	    (rc = set_timeouts(ld, until_ms)) != LDAP_SUCCESS)
		return rc;
	return bind_now(ld, table);
}

static int connect_to(struct qd_ldap_connection *connection, size_t i,
		      int64_t until_ms, struct qd_error *err)
{
	const struct qd_ldap_table *table = connection->shared->table;
	const char *url = table->servers.items[i], *what;
	LDAP *ld = NULL;
	int rc = ldap_initialize(&ld, url);

	if (rc != LDAP_SUCCESS)
		return connect_failed(NULL, url, "options", rc, err);
	ldap_set_option(ld, LDAP_OPT_CONNECT_CB, &connection->guard->callbacks);
	/* libldap's own limits first, which know better what it was */
	set_cut(connection->guard, until_ms + CUT_LATER_MS);
	rc = establish(ld, table, until_ms, &what);
	set_cut(connection->guard, 0);
	if (rc != LDAP_SUCCESS) {
		connect_failed(ld, url, what, rc, err);
		ldap_unbind_ext(ld, NULL, NULL);
		return -1;
	}
	connection->ld = ld;
	connection->server = i;
	return 0;
}

static int try_server(struct qd_ldap_connection *connection, size_t i,
		      int64_t deadline_ms, struct qd_error *err)
{
	struct qd_ldap_shared *shared = connection->shared;
	int64_t until =
		qd_aliasmap_now_ms() + shared->limits.connect_timeout_ms;

	if (until > deadline_ms)
		until = deadline_ms;
	if (connect_to(connection, i, until, err) < 0) {
		note(shared->servers, i, err->text);
		return -1;
	}
	note(shared->servers, i, NULL);
	return 0;
}

int qd_ldap_connect(struct qd_ldap_connection *connection, int64_t deadline_ms,
		    struct qd_error *err)
{
	struct qd_ldap_servers *servers = connection->shared->servers;
	int64_t start = qd_aliasmap_now_ms();

	qd_error_set(err, EX_UNAVAILABLE, "%s: no time left to connect",
		     servers->items[0].url);
	for (int avoided = 0; avoided < 2; avoided++)
		for (size_t i = 0; i < servers->count; i++) {
			if (qd_aliasmap_now_ms() >= deadline_ms)
				return -1;
			if (was_avoided(servers, i, start) == avoided &&
			    try_server(connection, i, deadline_ms, err) == 0)
				return 0;
		}
	return -1;
}

bool qd_ldap_is_url(const char *text)
{
	static const char *const schemes[] = { "ldap", "ldaps", "ldapi" };
	LDAPURLDesc *url;
	bool is_known = false, is_port;

	if (ldap_url_parse(text, &url) != LDAP_URL_SUCCESS)
		return false;
	for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++)
		is_known |= strcasecmp(url->lud_scheme, schemes[i]) == 0;
	is_port = url->lud_port >= 0 && url->lud_port <= 65535;
	ldap_free_urldesc(url);
	return is_known && is_port;
}

/*
 * libldap encodes a request before it connects, and says if it cannot. What
 * it has to encode a filter alone refuses those with "&" in them.
 */
bool qd_ldap_is_filter(const char *text)
{
	LDAP *ld = NULL;
	int id, rc;

	if (ldap_initialize(&ld, "ldapi://%2Fdev%2Fnull") != LDAP_SUCCESS)
		return false;
	rc = ldap_search_ext(ld, "", LDAP_SCOPE_BASE, text, NULL, 0, NULL, NULL,
			     NULL, LDAP_NO_LIMIT, &id);
	ldap_unbind_ext(ld, NULL, NULL);
	return rc != LDAP_FILTER_ERROR;
}

int qd_ldap_library_init(int debuglevel, struct qd_error *err)
{
	LDAP *ld = NULL;

	/* the first call of all reads ldap.conf(5) */
	if (ldap_initialize(&ld, NULL) != LDAP_SUCCESS)
		return qd_error_set(err, EX_OSERR, "libldap: no memory");
	ldap_unbind_ext(ld, NULL, NULL);
	/* there is only one for the process, and it goes to stderr */
	if (debuglevel > 0)
		ldap_set_option(NULL, LDAP_OPT_DEBUG_LEVEL, &debuglevel);
	return 0;
}
