/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sysexits.h>

#include <ldap.h>

#include "alias_ldap_impl.h"
#include "quotadefer/utf8.h"

/* A look-up: what it gathers from one search after another. */
struct lookup {
	struct qd_ldap_connection *connection;
	const struct qd_ldap_table *table;
	const struct qd_ldap_query *query;
	struct qd_ldap_answer *answer;
	int64_t expansions;
	bool was_cut_off; /* the connection turned out to be gone */
};

/*
 * What entries are. As in Postfix it carries over to those after them in the
 * same result, if these do not say.
 */
struct walk {
	int64_t depth;
	bool is_terminal, is_inner;
};

static int walk_entries(struct lookup *lookup, LDAPMessage *result,
			int64_t depth);

static int fail(struct lookup *lookup, int status, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* With the server in front. Returns -1. */
static int fail(struct lookup *lookup, int status, const char *format, ...)
{
	const struct qd_list *servers = &lookup->table->servers;
	char text[256];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	return qd_error_set(&lookup->answer->err, status, "%.200s: %s",
			    servers->items[lookup->connection->server], text);
}

/* Is the server, or the way to it, what failed? */
static bool blames_server(int code)
{
	switch (code) {
	case LDAP_SERVER_DOWN:
	case LDAP_CONNECT_ERROR:
	case LDAP_LOCAL_ERROR:
	case LDAP_DECODING_ERROR:
	case LDAP_TIMEOUT:
	case LDAP_BUSY:
	case LDAP_UNAVAILABLE:
	case LDAP_TIMELIMIT_EXCEEDED:
		return true;
	default:
		return false;
	}
}

static int fail_search(struct lookup *lookup, int code)
{
	lookup->was_cut_off = code == LDAP_SERVER_DOWN;
	return fail(lookup, blames_server(code) ? EX_UNAVAILABLE : EX_CONFIG,
		    "search: %s", ldap_err2string(code));
}

/* For people: what was sent, and what came back. */
static void explain(struct lookup *lookup, const char *base, const char *filter,
		    int entries)
{
	char *detail = lookup->answer->detail;
	size_t size = sizeof(lookup->answer->detail);
	size_t used = strlen(detail);

	if (!lookup->query->explain)
		return;
	snprintf(detail + used, size - used,
		 "%sbase \"%s\" filter \"%s\": %d %s", used ? "; " : "", base,
		 filter, entries, entries == 1 ? "entry" : "entries");
	for (char *p = detail + used; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = '?';
}

static int64_t time_for_search(const struct lookup *lookup)
{
	int64_t left = lookup->query->deadline_ms - qd_aliasmap_now_ms();
	int64_t own = lookup->table->timeout * 1000;
	int64_t limit = lookup->connection->shared->limits.search_timeout_ms;

	if (left > limit)
		left = limit;
	return left > own ? own : left;
}

static int await_result(LDAP *ld, int id, struct timeval *limit,
			LDAPMessage **result)
{
	int code = LDAP_LOCAL_ERROR, rc;

	switch (ldap_result(ld, id, LDAP_MSG_ALL, limit, result)) {
	case -1:
		ldap_get_option(ld, LDAP_OPT_RESULT_CODE, &code);
		return code == LDAP_SUCCESS ? LDAP_LOCAL_ERROR : code;
	case 0:
		return LDAP_TIMEOUT;
	}
	rc = ldap_parse_result(ld, *result, &code, NULL, NULL, NULL, NULL, 0);
	return rc == LDAP_SUCCESS ? code : rc;
}

/* Search in time. *result is the caller's to free, whatever is returned. */
static int search(struct lookup *lookup, const char *base, int scope,
		  const char *filter, char **attributes, LDAPMessage **result)
{
	LDAP *ld = lookup->connection->ld;
	int64_t left = time_for_search(lookup);
	struct timeval limit = { .tv_sec = left / 1000,
				 .tv_usec = left % 1000 * 1000 };
	int id, code;

	*result = NULL;
	if (left <= 0)
		return LDAP_TIMEOUT;
	code = ldap_search_ext(ld, base, scope, filter, attributes, 0, NULL,
			       NULL, &limit, (int)lookup->table->size_limit,
			       &id);
	if (code == LDAP_SUCCESS)
		code = await_result(ld, id, &limit, result);
	explain(lookup, base, filter ? filter : "(objectClass=*)",
		*result ? ldap_count_entries(ld, *result) : 0);
	return code;
}

/* -1 if the entry does not have the attribute, else its number of values. */
static int count_values(struct lookup *lookup, LDAPMessage *entry,
			const char *attribute)
{
	struct berval **values =
		ldap_get_values_len(lookup->connection->ld, entry, attribute);
	int count = values ? ldap_count_values_len(values) : -1;

	ldap_value_free_len(values);
	return count;
}

/*
 * Which of two descriptions of attributes is the more special, such as
 * "cn;lang-de" against "cn"? 1: the second, or they are the same; -1: the
 * first; 0: they are of different attributes.
 */
static int compare_attributes(const char *a, const char *b)
{
	size_t length = strlen(a);

	if (length > strlen(b))
		return compare_attributes(b, a) ? -1 : 0;
	if (strncasecmp(a, b, length) != 0)
		return 0;
	return !b[length] || b[length] == ';' ? 1 : 0;
}

/* The place of an attribute among those asked for. */
static size_t find_attribute(const struct qd_ldap_table *table,
			     const char *name)
{
	size_t i;

	for (i = 0; i < table->attributes.count; i++)
		if (compare_attributes(table->attributes.items[i], name) > 0)
			break;
	return i;
}

static int take_values(struct lookup *lookup, struct berval **values)
{
	const struct qd_ldap_table *table = lookup->table;

	for (; *values; values++) {
		/* libldap puts a NUL behind each */
		if (!qd_ldap_expand(&table->parts, table->format, QD_LDAP_PLAIN,
				    lookup->query->key, (*values)->bv_val,
				    &lookup->answer->text))
			continue;
		if (table->expansion_limit > 0 &&
		    ++lookup->expansions > table->expansion_limit)
			return fail(lookup, EX_DATAERR,
				    "more values than expansion_limit = %lld",
				    (long long)table->expansion_limit);
		if (lookup->answer->text.overflowed)
			return fail(lookup, EX_DATAERR,
				    "values of more than %d bytes",
				    QD_LDAP_TEXT_MAX);
	}
	return 0;
}

/*
 * The entries that a value of a special attribute stands for. There may be
 * none any more.
 */
static int search_member(struct lookup *lookup, const char *base, int scope,
			 const char *filter, char **attributes, int64_t depth)
{
	LDAPMessage *result;
	int code = search(lookup, base, scope, filter, attributes, &result);
	int rc = 0;

	if (code == LDAP_SUCCESS)
		rc = walk_entries(lookup, result, depth);
	else if (code != LDAP_NO_SUCH_OBJECT)
		rc = fail_search(lookup, code);
	ldap_msgfree(result);
	return rc;
}

/* Those attributes that both the URL and the table ask for. */
static int select_attributes(const struct qd_ldap_table *table, char **of_url,
			     struct qd_list *out)
{
	for (; *of_url; of_url++)
		for (size_t i = 0; i < table->attributes.count; i++) {
			char *own = table->attributes.items[i];
			int order = compare_attributes(*of_url, own);
			const char *chosen = order > 0 ? own : *of_url;

			if (order &&
			    qd_ldap_list_add(out, chosen, strlen(chosen)) < 0)
				return -1;
		}
	return 0;
}

static int search_dn(struct lookup *lookup, const char *dn, int64_t depth)
{
	return search_member(lookup, dn, LDAP_SCOPE_BASE, "(objectClass=*)",
			     lookup->table->attributes.items, depth);
}

static int search_parsed(struct lookup *lookup, const LDAPURLDesc *url,
			 char **attributes, int64_t depth)
{
	return search_member(lookup, url->lud_dn, url->lud_scope,
			     url->lud_filter, attributes, depth);
}

static int search_url(struct lookup *lookup, const char *text, int64_t depth)
{
	struct qd_list some = { 0 };
	LDAPURLDesc *url;
	int rc = ldap_url_parse(text, &url);

	if (rc != LDAP_URL_SUCCESS)
		return fail(lookup, EX_DATAERR,
			    "a value that is no URL of RFC 4516");
	/* Postfix asks the same server, whatever the URL says */
	if (!url->lud_attrs || !*url->lud_attrs)
		rc = search_parsed(lookup, url, lookup->table->attributes.items,
				   depth);
	else if (select_attributes(lookup->table, url->lud_attrs, &some) < 0)
		rc = fail(lookup, EX_OSERR, "no memory");
	else if (some.count)
		rc = search_parsed(lookup, url, some.items, depth);
	qd_ldap_list_free(&some);
	ldap_free_urldesc(url);
	return rc;
}

static int follow_values(struct lookup *lookup, struct berval **values,
			 int64_t depth)
{
	int rc = 0;

	if (depth > lookup->table->recursion_limit)
		return fail(lookup, EX_DATAERR,
			    "deeper than recursion_limit = %lld",
			    (long long)lookup->table->recursion_limit);
	for (; rc == 0 && *values; values++) {
		const char *value = (*values)->bv_val;

		rc = ldap_is_ldap_url(value) ?
			     search_url(lookup, value, depth) :
			     search_dn(lookup, value, depth);
	}
	return rc;
}

static int take_attribute(struct lookup *lookup, const struct walk *walk,
			  const char *name, struct berval **values)
{
	const struct qd_ldap_table *table = lookup->table;
	size_t place = find_attribute(table, name);
	bool is_skipped = (walk->is_terminal && place >= table->terminal_end) ||
			  (walk->is_inner && place < table->leaf_end);

	if (!*values)
		return 0;
	if (walk->is_terminal || place < table->plain_end)
		return is_skipped ? 0 : take_values(lookup, values);
	if (place < table->attributes.count)
		return follow_values(lookup, values, walk->depth + 1);
	return 0;
}

/* What attributes an entry has decides what is made of the others. */
static void classify(struct lookup *lookup, LDAPMessage *entry,
		     struct walk *walk)
{
	const struct qd_ldap_table *table = lookup->table;
	int count;

	for (size_t i = 0; i < table->terminal_end; i++) {
		count = count_values(lookup, entry, table->attributes.items[i]);
		if (count < 0)
			continue;
		walk->is_terminal = count > 0;
		if (count > 0)
			break;
	}
	if (walk->is_terminal || table->leaf_end == table->terminal_end)
		return;
	for (size_t i = table->plain_end; i < table->attributes.count; i++) {
		count = count_values(lookup, entry, table->attributes.items[i]);
		if (count < 0)
			continue;
		walk->is_inner = count > 0;
		if (count > 0)
			break;
	}
}

static int take_entry(struct lookup *lookup, LDAPMessage *entry,
		      const struct walk *walk)
{
	LDAP *ld = lookup->connection->ld;
	struct berval **values;
	BerElement *ber = NULL;
	int rc = 0;

	for (char *name = ldap_first_attribute(ld, entry, &ber); name;
	     name = rc == 0 ? ldap_next_attribute(ld, entry, ber) : NULL) {
		values = ldap_get_values_len(ld, entry, name);
		if (values)
			rc = take_attribute(lookup, walk, name, values);
		ldap_value_free_len(values);
		ldap_memfree(name);
	}
	ber_free(ber, 0);
	return rc;
}

static int walk_entries(struct lookup *lookup, LDAPMessage *result,
			int64_t depth)
{
	LDAP *ld = lookup->connection->ld;
	int64_t limit = lookup->table->size_limit;
	struct walk walk = { .depth = depth };
	int64_t count = 0;

	for (LDAPMessage *entry = ldap_first_entry(ld, result); entry;
	     entry = ldap_next_entry(ld, entry)) {
		if (limit && ++count > limit)
			return fail(lookup, EX_DATAERR,
				    "more entries than size_limit = %lld",
				    (long long)limit);
		classify(lookup, entry, &walk);
		if (take_entry(lookup, entry, &walk) < 0)
			return -1;
	}
	return 0;
}

static int gather(struct lookup *lookup)
{
	static const int scopes[] = {
		[QD_LDAP_SUB] = LDAP_SCOPE_SUBTREE,
		[QD_LDAP_ONE] = LDAP_SCOPE_ONELEVEL,
		[QD_LDAP_BASE] = LDAP_SCOPE_BASE,
	};
	const struct qd_ldap_table *table = lookup->table;
	LDAPMessage *result;
	int code, rc = 0;

	code = search(lookup, lookup->query->base, scopes[table->scope_value],
		      lookup->query->filter, table->attributes.items, &result);
	if (code == LDAP_SUCCESS)
		rc = walk_entries(lookup, result, 1);
	/* there may be no base for a key, but a fixed one must be there */
	else if (code != LDAP_NO_SUCH_OBJECT || !table->base_varies)
		rc = fail_search(lookup, code);
	ldap_msgfree(result);
	return rc;
}

/* One attempt, over a connection that is open. */
static void attempt(struct lookup *lookup)
{
	struct qd_ldap_answer *answer = lookup->answer;

	answer->found = QD_ERROR;
	if (gather(lookup) < 0)
		return;
	if (!answer->text.used)
		answer->found = QD_ABSENT;
	else if (!qd_utf8_is_valid(answer->text.data))
		fail(lookup, EX_DATAERR, "a value that is not UTF-8");
	else
		answer->found = QD_FOUND;
}

/* Nothing of an attempt that failed stays. */
static void forget(struct qd_ldap_answer *answer)
{
	qd_ldap_text_free(&answer->text);
	answer->detail[0] = '\0';
	answer->found = QD_ERROR;
}

void qd_ldap_look_up(struct qd_ldap_connection *connection,
		     const struct qd_ldap_query *query,
		     struct qd_ldap_answer *answer)
{
	const struct qd_ldap_table *table = connection->shared->table;

	for (int attempts = 0; attempts < 2; attempts++) {
		struct lookup lookup = { .connection = connection,
					 .table = table,
					 .query = query,
					 .answer = answer };
		bool was_open = connection->ld;

		forget(answer);
		if (!was_open && qd_ldap_connect(connection, query->deadline_ms,
						 &answer->err) < 0)
			return;
		attempt(&lookup);
		if (answer->found != QD_ERROR ||
		    answer->err.status != EX_UNAVAILABLE)
			break;
		/* an old connection may have been closed meanwhile */
		if (was_open && lookup.was_cut_off)
			qd_ldap_disconnect(connection);
		else
			qd_ldap_avoid(connection);
		if (!was_open && table->servers.count == 1)
			break;
	}
	if (answer->found != QD_FOUND)
		qd_ldap_text_free(&answer->text);
}
