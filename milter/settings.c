/* SPDX-License-Identifier: BSD-2-Clause */
#include "settings_impl.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sysexits.h>
#include <unistd.h>

#include "quotadefer/log.h"
#include "quotadefer/source.h"
#include "quotadefer/template.h"

/* "a.example, b.example" for a setting that takes several values */
static int add_words(struct qd_raw *raw, const char *text)
{
	while (*(text += strspn(text, ", "))) {
		size_t length = strcspn(text, ", ");
		char *word = strndup(text, length);
		int rc = word ? qd_raw_add(raw, word) : -1;

		free(word);
		if (rc < 0)
			return -1;
		text += length;
	}
	return 0;
}

static int apply_override(struct qd_raw *raw, const char *text,
			  struct qd_error *err)
{
	const char *equal = strchr(text, '=');
	char name[64] = "";
	const char *hint;
	int which, rc;

	if (equal && equal - text < (int)sizeof(name))
		memcpy(name, text, (size_t)(equal - text));
	which = qd_spec_find(name);
	if (!equal)
		return qd_error_set(err, EX_CONFIG,
				    "-o %s: write -o NAME=VALUE", text);
	if (which < 0) {
		hint = qd_spec_suggest(name);
		return qd_error_set(
			err, EX_CONFIG, "-o %s: there is no such setting; %s%s",
			text, hint ? "did you mean " : "quotadefer.conf(5) ",
			hint ? hint : "lists them all");
	}
	raw += which;
	qd_raw_clear(raw);
	strcpy(raw->where, "-o");
	if (qd_specs[which].is_list)
		rc = add_words(raw, equal + 1);
	else
		rc = qd_raw_add(raw, equal + 1);
	return rc ? qd_error_set(err, EX_OSERR, "-o %s: %m", text) : 0;
}

/* "FILE:12: name = \"value\": not WHAT IS EXPECTED" */
static int bad_value(const struct qd_spec *spec, const struct qd_raw *raw,
		     const char *value, const char *why, struct qd_error *err)
{
	char quoted[160];

	if (strcmp(spec->name, "redis") == 0) /* may hold a password */
		return qd_error_set(err, EX_CONFIG, "%s%s%s: %s", raw->where,
				    raw->where[0] ? ": " : "", spec->name, why);
	/* one line, whatever is in it */
	for (const char *p = value; *p; p++)
		if (iscntrl((unsigned char)*p))
			value = p = qd_log_quote(quoted, sizeof(quoted), value);
	return qd_error_set(err, EX_CONFIG, "%s%s%s = \"%.150s\": %s",
			    raw->where, raw->where[0] ? ": " : "", spec->name,
			    value, why);
}

static int read_values(struct qd_settings *settings, int which,
		       const struct qd_raw *raw, struct qd_error *err)
{
	const struct qd_spec *spec = &qd_specs[which];
	char why[300];

	for (size_t i = 0; i < raw->count; i++) {
		if (spec->read(spec, raw->values[i],
			       (char *)settings + spec->offset))
			continue;
		snprintf(why, sizeof(why), "not %s", spec->expected);
		return bad_value(spec, raw, raw->values[i], why, err);
	}
	return 0;
}

/* The defaults that only the running host knows. */
static int add_fallback(const struct qd_spec *spec, struct qd_raw *raw)
{
	char host[256];

	if (spec->fallback)
		return qd_raw_add(raw, spec->fallback);
	if (strcmp(spec->name, "source") != 0)
		return 0;
	if (gethostname(host, sizeof(host)) < 0)
		return -1;
	host[QD_SOURCE_MAX] = '\0';
	return qd_raw_add(raw, host);
}

/* The same of a setting by its name. */
static int bad_setting(const struct qd_loaded *loaded, const char *name,
		       const char *value, const char *why, struct qd_error *err)
{
	int which = qd_spec_find(name);

	return bad_value(&qd_specs[which], &loaded->raw[which], value, why,
			 err);
}

/* A word in braces that nobody replaces would be sent as it is. */
static int check_template(const struct qd_loaded *loaded, const char *name,
			  const char *text, struct qd_error *err)
{
	char why[128];
	size_t length;
	const char *word = qd_template_unknown(text, &length);

	if (!word)
		return 0;
	snprintf(why, sizeof(why),
		 "there is no %.*s%s; there are {resource} and {recipient}",
		 (int)(length > 40 ? 40 : length), word,
		 length > 40 ? "..." : "");
	return bad_setting(loaded, name, text, why, err);
}

static int check_mode_domains(const struct qd_loaded *loaded,
			      struct qd_error *err)
{
	const struct qd_settings *s = &loaded->settings;

	for (size_t i = 0; i < s->mode_domain_count; i++)
		for (size_t j = 0; j < i; j++)
			if (strcasecmp(s->mode_domains[i].domain,
				       s->mode_domains[j].domain) == 0)
				return bad_setting(
					loaded, "mode_domains",
					s->mode_domains[i].domain,
					"is there twice; keep one of the two",
					err);
	return 0;
}

static int read_sockets(struct qd_loaded *loaded, struct qd_error *err)
{
	struct qd_settings *s = &loaded->settings;
	struct qd_error why = { 0 };

	if (qd_socketspec_parse(s->socket, &s->socket_spec, &why) < 0)
		return bad_setting(loaded, "socket", s->socket, why.text, err);
	if (strcmp(s->control_socket, s->socket_spec.path) == 0)
		return bad_setting(loaded, "control_socket", s->control_socket,
				   "socket is there as well; they need a path "
				   "each",
				   err);
	return 0;
}

/* Values whose form needs more words than one to explain. */
static int read_composites(struct qd_loaded *loaded, struct qd_error *err)
{
	struct qd_settings *s = &loaded->settings;
	struct qd_error why = { 0 };

	if (s->redis && qd_redisurl_parse(s->redis, &s->redis_url, &why) < 0)
		return bad_setting(loaded, "redis", s->redis, why.text, err);
	if (read_sockets(loaded, err) < 0 ||
	    check_mode_domains(loaded, err) < 0 ||
	    check_template(loaded, "reply_text", s->reply_text, err) < 0)
		return -1;
	return check_template(loaded, "reject_text", s->reject_text, err);
}

static int read_settings(struct qd_loaded *loaded, struct qd_error *err)
{
	for (int i = 0; i < QD_SETTINGS; i++) {
		struct qd_raw *raw = &loaded->raw[i];

		if (!raw->where[0] && add_fallback(&qd_specs[i], raw) < 0)
			return qd_error_set(err, EX_OSERR, "%s: %m",
					    qd_specs[i].name);
		if (read_values(&loaded->settings, i, raw, err) < 0)
			return -1;
	}
	return read_composites(loaded, err);
}

int qd_settings_load(const char *file, const char *const *overrides,
		     struct qd_settings **out, struct qd_error *err)
{
	struct qd_loaded *loaded = calloc(1, sizeof(*loaded));
	struct qd_settings *settings;
	bool optional = !file;

	if (!loaded)
		return qd_error_set(err, EX_OSERR, "settings: %m");
	atomic_init(&loaded->references, 1);
	settings = &loaded->settings;
	if (optional)
		file = QD_SYSCONFDIR "/quotadefer.conf";
	/* one that may not be looked at is not missing */
	if ((!optional || access(file, F_OK) == 0 || errno != ENOENT) &&
	    qd_settings_read_file(file, loaded->raw, err) < 0)
		goto fail;
	for (; overrides && *overrides; overrides++)
		if (apply_override(loaded->raw, *overrides, err) < 0)
			goto fail;
	if (read_settings(loaded, err) < 0)
		goto fail;
	*out = settings;
	return 0;
fail:
	qd_settings_unref(&settings);
	return -1;
}

struct qd_settings *qd_settings_ref(struct qd_settings *settings)
{
	struct qd_loaded *loaded = (struct qd_loaded *)settings;

	atomic_fetch_add(&loaded->references, 1);
	return settings;
}

bool qd_list_has(const struct qd_list *list, const char *text)
{
	for (size_t i = 0; i < list->count; i++)
		if (strcasecmp(list->items[i], text) == 0)
			return true;
	return false;
}

static void free_list(struct qd_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		free(list->items[i]);
	free(list->items);
}

void qd_settings_unref(struct qd_settings **settings)
{
	struct qd_loaded *loaded = (struct qd_loaded *)*settings;
	struct qd_settings *s = *settings;

	*settings = NULL;
	if (!loaded || atomic_fetch_sub(&loaded->references, 1) > 1)
		return;
	free(s->table);
	free(s->redis);
	free(s->redis_password_file);
	free(s->prefix);
	free(s->socket);
	free(s->socket_group);
	free(s->control_socket);
	free(s->user);
	free(s->pidfile);
	free_list(&s->domains);
	for (size_t i = 0; i < s->mode_domain_count; i++)
		free(s->mode_domains[i].domain);
	free(s->mode_domains);
	free_list(&s->exempt_recipients);
	free_list(&s->exempt_senders);
	free(s->exempt_clients);
	free_list(&s->probe_senders);
	free(s->reply_enhanced_code);
	free(s->reply_text);
	free(s->reject_text);
	free_list(&s->alias_maps);
	free(s->recipient_delimiter);
	free(s->myorigin);
	free_list(&s->mydestination);
	free(s->source);
	free(s->imapd_conf);
	free(s->cyr_dbtool);
	for (int i = 0; i < QD_SETTINGS; i++)
		qd_raw_clear(&loaded->raw[i]);
	free(loaded);
}

static void print_value(FILE *out, const char *value)
{
	putc('"', out);
	for (; *value; value++) {
		if (strchr("\"\\\n", *value))
			putc('\\', out);
		putc(*value == '\n' ? 'n' : *value, out);
	}
	putc('"', out);
}

/* A password in the URL does not belong on a terminal. */
static void print_redis(const struct qd_settings *settings, FILE *out)
{
	char name[QD_REDISURL_NAME * QD_REDIS_SENTINELS];

	fprintf(out, "\"%s%s%s\"", qd_redisurl_scheme(&settings->redis_url),
		settings->redis_url.password[0] ? "...@" : "",
		qd_redisurl_name(&settings->redis_url, name, sizeof(name)));
}

void qd_settings_print(const struct qd_settings *settings, FILE *out)
{
	const struct qd_loaded *loaded = (const struct qd_loaded *)settings;

	for (int i = 0; i < QD_SETTINGS; i++) {
		const struct qd_spec *spec = &qd_specs[i];
		const struct qd_raw *raw = &loaded->raw[i];
		bool unset = raw->count == 0 && !spec->is_list;

		fprintf(out, "%s%s = ", unset ? "# " : "", spec->name);
		if (spec->is_list)
			fputs("{ ", out);
		for (size_t n = 0; n < raw->count; n++) {
			if (n > 0)
				fputs(", ", out);
			if (strcmp(spec->name, "redis") == 0)
				print_redis(settings, out);
			else
				print_value(out, raw->values[n]);
		}
		if (spec->is_list)
			fputs(raw->count ? " }" : "}", out);
		if (unset)
			fputs("unset", out);
		fprintf(out, " # %s\n", raw->where[0] ? raw->where : "default");
	}
}

void qd_settings_each(void (*each)(void *arg, const char *name,
				   const char *fallback),
		      void *arg)
{
	for (int i = 0; i < QD_SETTINGS; i++)
		each(arg, qd_specs[i].name, qd_specs[i].fallback);
}
