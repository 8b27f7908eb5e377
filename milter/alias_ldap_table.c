/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sysexits.h>
#include <unistd.h>

#include "alias_ldap_impl.h"

/* Postfix says yes and no only. */
#define YES_NO "expected yes or no"

enum kind {
	TEXT,	/* char * */
	NUMBER, /* int64_t */
	BOOL
};

struct parameter {
	const char *name;
	size_t offset;
	enum kind kind;
	const char *fallback;
	int64_t min, max; /* of a number; of the length of a text */
	const char *expected;
};

#define PARAMETER(field) \
	.name = #field, .offset = offsetof(struct qd_ldap_table, field)
#define COUNT                           \
	.kind = NUMBER, .max = INT_MAX, \
	.expected = "expected a number, 0 for no limit"

static const struct parameter parameters[] = {
	{ PARAMETER(server_host), .fallback = "localhost", .min = 1,
	  .expected = "expected host, host:port or URL" },
	{ PARAMETER(server_port), .kind = NUMBER, .fallback = "389", .min = 1,
	  .max = 65535, .expected = "expected a port from 1 to 65535" },
	/* of Debian; without its patch Postfix would say 2 */
	{ PARAMETER(version), .kind = NUMBER, .fallback = "3", .min = 2,
	  .max = 3, .expected = "expected 2 or 3" },
	{ PARAMETER(timeout), .kind = NUMBER, .fallback = "10", .min = 1,
	  .max = INT_MAX / 1000, .expected = "expected seconds, from 1" },
	{ PARAMETER(search_base), .fallback = "" },
	{ PARAMETER(query_filter), .fallback = "(mailacceptinggeneralid=%s)" },
	{ PARAMETER(result_format), .fallback = "" },
	{ PARAMETER(result_filter), .fallback = "%s" },
	{ PARAMETER(domain), .fallback = "" },
	{ PARAMETER(scope), .fallback = "sub", .min = 1,
	  .expected = "expected sub, one or base" },
	{ PARAMETER(result_attribute), .fallback = "maildrop" },
	{ PARAMETER(special_result_attribute), .fallback = "" },
	{ PARAMETER(leaf_result_attribute), .fallback = "" },
	{ PARAMETER(terminal_result_attribute), .fallback = "" },
	{ PARAMETER(bind), .fallback = "yes", .min = 1,
	  .expected = "expected yes, no, none, simple or sasl" },
	{ PARAMETER(bind_dn), .fallback = "" },
	{ PARAMETER(bind_pw), .fallback = "" },
	{ PARAMETER(sasl_mechs), .fallback = "" },
	{ PARAMETER(sasl_realm), .fallback = "" },
	{ PARAMETER(sasl_authz_id), .fallback = "" },
	{ PARAMETER(sasl_minssf), .kind = NUMBER, .fallback = "0", .max = 4096,
	  .expected = "expected a number from 0 to 4096" },
	{ PARAMETER(recursion_limit), .kind = NUMBER, .fallback = "1000",
	  .min = 1, .max = QD_LDAP_DEPTH_MAX,
	  .expected = "expected a number from 1 to 5000" },
	{ PARAMETER(expansion_limit), .fallback = "0", COUNT },
	/* that of expansion_limit */
	{ PARAMETER(size_limit), .fallback = NULL, COUNT },
	{ PARAMETER(dereference), .kind = NUMBER, .fallback = "0", .max = 3,
	  .expected = "expected a number from 0 to 3" },
	{ PARAMETER(chase_referrals), .kind = BOOL, .fallback = "no",
	  .expected = YES_NO },
	{ PARAMETER(start_tls), .kind = BOOL, .fallback = "no",
	  .expected = YES_NO },
	{ PARAMETER(tls_require_cert), .kind = BOOL, .fallback = "no",
	  .expected = YES_NO },
	{ PARAMETER(tls_ca_cert_file), .fallback = "" },
	{ PARAMETER(tls_ca_cert_dir), .fallback = "" },
	{ PARAMETER(tls_cert), .fallback = "" },
	{ PARAMETER(tls_key), .fallback = "" },
	{ PARAMETER(tls_random_file), .fallback = "" },
	{ PARAMETER(tls_cipher_suite), .fallback = "" },
	{ PARAMETER(debuglevel), .fallback = "0", .min = INT_MIN,
	  .kind = NUMBER, .max = INT_MAX, .expected = "expected a number" },
	{ PARAMETER(cache), .kind = BOOL, .fallback = "no",
	  .expected = YES_NO },
	{ PARAMETER(cache_expiry), .kind = NUMBER, .fallback = "-1",
	  .min = INT_MIN, .max = INT_MAX, .expected = "expected a number" },
	{ PARAMETER(cache_size), .kind = NUMBER, .fallback = "-1",
	  .min = INT_MIN, .max = INT_MAX, .expected = "expected a number" },
};

enum {
	PARAMETERS = sizeof(parameters) / sizeof(parameters[0])
};

/* A table while it is read: where each parameter was set, 0 if nowhere. */
struct reader {
	const char *path;
	struct qd_ldap_table *table;
	int lines[PARAMETERS];
};

static void *field(const struct reader *reader, size_t i)
{
	return (char *)reader->table + parameters[i].offset;
}

static size_t find_parameter(const char *name)
{
	size_t i;

	for (i = 0; i < PARAMETERS; i++)
		if (strcmp(parameters[i].name, name) == 0)
			break;
	return i;
}

/* Say that the value of a parameter cannot be honoured, and what could. */
static int refuse(const struct reader *reader, const char *name,
		  const char *why, struct qd_error *err)
{
	size_t i = find_parameter(name);
	const char *value = *(char **)field(reader, i);

	if (!reader->lines[i])
		return qd_error_set(err, EX_CONFIG,
				    "%s: %s, which is %s by default: %s",
				    reader->path, name, value, why);
	return qd_error_set(err, EX_CONFIG, "%s, line %d: %s = %.100s: %s",
			    reader->path, reader->lines[i], name, value, why);
}

static bool read_bool(const char *text, bool *out)
{
	bool yes = strcasecmp(text, "yes") == 0;

	if (!yes && strcasecmp(text, "no") != 0)
		return false;
	*out = yes;
	return true;
}

static bool read_number(const struct parameter *parameter, const char *text,
			int64_t *out)
{
	long long number;
	char *end;

	errno = 0;
	number = strtoll(text, &end, 10);
	if (end == text || *end || errno || number < parameter->min ||
	    number > parameter->max)
		return false;
	*out = number;
	return true;
}

/* Returns 1, 0 if the value is wrong, or -1 if there is no memory. */
static int assign(const struct reader *reader, size_t i, const char *text)
{
	char **out;

	if (parameters[i].kind == NUMBER)
		return read_number(&parameters[i], text, field(reader, i));
	if (parameters[i].kind == BOOL)
		return read_bool(text, field(reader, i));
	if (strlen(text) < (size_t)parameters[i].min)
		return 0;
	out = field(reader, i);
	free(*out);
	*out = strdup(text);
	return *out ? 1 : -1;
}

static int no_memory(const struct reader *reader, struct qd_error *err)
{
	return qd_error_set(err, EX_OSERR, "%s: no memory", reader->path);
}

static int read_parameter(struct reader *reader, const char *name,
			  const char *value, int line, struct qd_error *err)
{
	size_t i = find_parameter(name);
	int done;

	if (i == PARAMETERS)
		return qd_error_set(err, EX_CONFIG,
				    "%s, line %d: %.40s = %.100s: no "
				    "parameter of ldap_table(5) in Postfix 3.7",
				    reader->path, line, name,
				    strcasestr(name, "pw") ? "..." : value);
	reader->lines[i] = line;
	done = assign(reader, i, value);
	if (done < 0)
		return no_memory(reader, err);
	if (!done)
		return qd_error_set(err, EX_CONFIG,
				    "%s, line %d: %s = %.100s: %s",
				    reader->path, line, name, value,
				    parameters[i].expected);
	return 0;
}

static int read_parameters(struct reader *reader, struct qd_error *err)
{
	struct qd_ldap_file file;
	const char *name, *value;
	int line, more;

	if (qd_ldap_file_open(&file, reader->path, err) < 0)
		return -1;
	while ((more = qd_ldap_file_next(&file, &name, &value, &line, err)) >
	       0) {
		more = read_parameter(reader, name, value, line, err);
		if (more < 0)
			break;
	}
	qd_ldap_file_close(&file);
	return more;
}

static int set_defaults(struct reader *reader, struct qd_error *err)
{
	for (size_t i = 0; i < PARAMETERS; i++)
		if (parameters[i].fallback &&
		    assign(reader, i, parameters[i].fallback) != 1)
			return no_memory(reader, err);
	return 0;
}

static int choose(const char *text, const char *const *names)
{
	int i;

	for (i = 0; names[i]; i++)
		if (strcasecmp(text, names[i]) == 0)
			break;
	return i;
}

static int resolve_choices(const struct reader *reader, struct qd_error *err)
{
	static const char *const scopes[] = { "sub", "one", "base", NULL };
	static const enum qd_ldap_scope scope_values[] = { QD_LDAP_SUB,
							   QD_LDAP_ONE,
							   QD_LDAP_BASE };
	static const char *const binds[] = { "no",     "none", "yes",
					     "simple", "sasl", NULL };
	static const enum qd_ldap_bind bind_values[] = {
		QD_LDAP_BIND_NONE, QD_LDAP_BIND_NONE, QD_LDAP_BIND_SIMPLE,
		QD_LDAP_BIND_SIMPLE, QD_LDAP_BIND_SASL
	};
	struct qd_ldap_table *table = reader->table;
	int scope = choose(table->scope, scopes);
	int bind = choose(table->bind, binds);

	if (!scopes[scope])
		return refuse(reader, "scope", "expected sub, one or base",
			      err);
	if (!binds[bind])
		return refuse(reader, "bind",
			      "expected yes, no, none, simple or sasl", err);
	table->scope_value = scope_values[scope];
	table->bind_value = bind_values[bind];
	return 0;
}

static bool has_scheme(const char *url, const char *scheme)
{
	return strncasecmp(url, scheme, strlen(scheme)) == 0;
}

/* "host" and "host:port" are short for URLs. Returns -1 if it is none. */
static int add_server(struct qd_ldap_table *table, const char *host)
{
	char url[1024];
	int n;

	if (strstr(host, "://"))
		n = snprintf(url, sizeof(url), "%s", host);
	else if (strchr(host, ':'))
		n = snprintf(url, sizeof(url), "ldap://%s", host);
	else
		n = snprintf(url, sizeof(url), "ldap://%s:%d", host,
			     (int)table->server_port);
	if (n < 0 || (size_t)n >= sizeof(url) || !qd_ldap_is_url(url))
		return -1;
	/* as Postfix does, which warns */
	if (!has_scheme(url, "ldap://"))
		table->version = 3;
	table->uses_tls |= has_scheme(url, "ldaps://");
	return qd_ldap_list_add(&table->servers, url, (size_t)n);
}

static int resolve_servers(const struct reader *reader, struct qd_error *err)
{
	struct qd_ldap_table *table = reader->table;
	struct qd_list hosts = { 0 };
	int rc = qd_ldap_list_split(&hosts, table->server_host);

	if (table->start_tls) {
		table->version = 3;
		table->uses_tls = true;
	}
	for (size_t i = 0; rc == 0 && i < hosts.count; i++)
		rc = add_server(table, hosts.items[i]);
	qd_ldap_list_free(&hosts);
	if (rc < 0 || !table->servers.count)
		return refuse(reader, "server_host",
			      "expected host, host:port, ldap://, ldaps:// or "
			      "ldapi://",
			      err);
	return 0;
}

static int resolve_sasl(const struct reader *reader, struct qd_error *err)
{
	struct qd_ldap_table *table = reader->table;

	if (table->bind_value != QD_LDAP_BIND_SASL)
		return 0;
	if (strcasecmp(table->sasl_mechs, "EXTERNAL") != 0)
		return refuse(
			reader, table->sasl_mechs[0] ? "sasl_mechs" : "bind",
			"with sasl only sasl_mechs = EXTERNAL is supported",
			err);
	if (table->version != 3)
		return refuse(reader, "bind", "sasl needs version = 3", err);
	for (size_t i = 0; i < table->servers.count; i++)
		if (table->sasl_minssf > 0 &&
		    !(has_scheme(table->servers.items[i], "ldapi://") &&
		      table->sasl_minssf <= 71))
			return qd_error_set(
				err, EX_CONFIG,
				"%s, line %d: sasl_minssf = %d: expected 0, "
				"or at most 71 where all of server_host is "
				"ldapi://",
				reader->path,
				reader->lines[find_parameter("sasl_minssf")],
				(int)table->sasl_minssf);
	return 0;
}

static int resolve_template(const struct reader *reader, const char *name,
			    bool is_query, struct qd_error *err)
{
	const char *text = *(char **)field(reader, find_parameter(name));
	int varies =
		qd_ldap_template_check(text, is_query, &reader->table->parts);

	if (varies < 0)
		return refuse(reader, name,
			      "after \"%\" expected one of % s S u U d D 1 to "
			      "9",
			      err);
	return varies;
}

/* As it will be, for a key that has all that a template may use. */
static int check_filter(const struct reader *reader, struct qd_error *err)
{
	const struct qd_ldap_table *table = reader->table;
	struct qd_ldap_text text = { 0 };
	int rc = 0;

	if (!qd_ldap_expand(&table->parts, table->query_filter, QD_LDAP_FILTER,
			    "u@i.h.g.f.e.d.c.b.a", NULL, &text) ||
	    text.overflowed || !qd_ldap_is_filter(text.data))
		rc = refuse(reader, "query_filter",
			    "expected a filter of RFC 4515", err);
	qd_ldap_text_free(&text);
	return rc;
}

static int resolve_templates(const struct reader *reader, struct qd_error *err)
{
	struct qd_ldap_table *table = reader->table;
	const char *format =
		*table->result_format ? "result_format" : "result_filter";
	int varies;

	table->format = *table->result_format ? table->result_format :
						table->result_filter;
	if (!*table->format)
		return refuse(reader, format, "expected a template", err);
	varies = resolve_template(reader, "search_base", true, err);
	if (varies < 0 ||
	    resolve_template(reader, "query_filter", true, err) < 0 ||
	    resolve_template(reader, format, false, err) < 0)
		return -1;
	table->base_varies = varies;
	return check_filter(reader, err);
}

static int resolve_attributes(const struct reader *reader, struct qd_error *err)
{
	struct qd_ldap_table *table = reader->table;
	struct qd_list *all = &table->attributes;

	/* in this order: each kind is a range of places */
	if (qd_ldap_list_split(all, table->terminal_result_attribute) < 0)
		return no_memory(reader, err);
	table->terminal_end = all->count;
	if (qd_ldap_list_split(all, table->leaf_result_attribute) < 0)
		return no_memory(reader, err);
	table->leaf_end = all->count;
	if (qd_ldap_list_split(all, table->result_attribute) < 0)
		return no_memory(reader, err);
	table->plain_end = all->count;
	if (qd_ldap_list_split(all, table->special_result_attribute) < 0)
		return no_memory(reader, err);
	if (!all->count)
		return refuse(reader, "result_attribute",
			      "expected an attribute", err);
	return 0;
}

static int resolve_domains(const struct reader *reader, struct qd_error *err)
{
	struct qd_ldap_table *table = reader->table;
	struct qd_error why;

	if (!*table->domain)
		return 0;
	if (qd_ldap_domains_read(table->domain, &table->domains, &why) < 0)
		return refuse(reader, "domain", why.text, err);
	if (!table->domains.count)
		return refuse(reader, "domain", "no domain in it", err);
	return 0;
}

static int check_files(const struct reader *reader, struct qd_error *err)
{
	static const char *const names[] = { "tls_ca_cert_file",
					     "tls_ca_cert_dir", "tls_cert",
					     "tls_key" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		const char *path =
			*(char **)field(reader, find_parameter(names[i]));
		struct qd_error why;

		if (!reader->table->uses_tls || !*path ||
		    access(path, R_OK) == 0)
			continue;
		qd_error_set(&why, EX_CONFIG, "%m");
		return refuse(reader, names[i], why.text, err);
	}
	return 0;
}

int qd_ldap_table_read(const char *path, struct qd_ldap_table *out,
		       struct qd_error *err)
{
	struct qd_ldap_table table = { .size_limit = -1 };
	struct reader reader = { .path = path, .table = &table };

	if (set_defaults(&reader, err) < 0 ||
	    read_parameters(&reader, err) < 0 ||
	    resolve_choices(&reader, err) < 0 ||
	    resolve_servers(&reader, err) < 0 ||
	    resolve_sasl(&reader, err) < 0 ||
	    resolve_templates(&reader, err) < 0 ||
	    resolve_attributes(&reader, err) < 0 ||
	    resolve_domains(&reader, err) < 0 ||
	    check_files(&reader, err) < 0) {
		qd_ldap_table_free(&table);
		return -1;
	}
	if (table.size_limit < 0)
		table.size_limit = table.expansion_limit;
	*out = table;
	return 0;
}

void qd_ldap_table_free(struct qd_ldap_table *table)
{
	struct reader reader = { .table = table };

	if (table->bind_pw)
		explicit_bzero(table->bind_pw, strlen(table->bind_pw));
	for (size_t i = 0; i < PARAMETERS; i++)
		if (parameters[i].kind == TEXT)
			free(*(char **)field(&reader, i));
	qd_ldap_list_free(&table->servers);
	qd_ldap_list_free(&table->domains);
	qd_ldap_list_free(&table->attributes);
	*table = (struct qd_ldap_table){ 0 };
}
