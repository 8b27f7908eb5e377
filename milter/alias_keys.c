/* SPDX-License-Identifier: BSD-2-Clause */
#include "aliases_impl.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "quotadefer/fold.h"

static bool is_origin(const struct qd_settings *settings, const char *domain)
{
	return settings->myorigin &&
	       strcasecmp(settings->myorigin, domain) == 0;
}

bool qd_alias_is_local(const struct qd_settings *settings, const char *domain)
{
	if (settings->mydestination.count)
		return qd_list_has(&settings->mydestination, domain);
	/* with neither, it could be any domain of the world */
	return is_origin(settings, domain) ||
	       qd_list_has(&settings->domains, domain);
}

/* The characters that RFC 822 wants quoted in a local part, but for dots. */
static bool is_special(unsigned char c)
{
	return c <= ' ' || c == 0x7f || strchr("()<>@,;:\\\"[]", c);
}

static bool needs_quotes(const char *local)
{
	size_t length = strlen(local);

	for (const char *at = local; *at; at++)
		if (is_special((unsigned char)*at))
			return true;
	return !length || local[0] == '.' || local[length - 1] == '.' ||
	       strstr(local, "..");
}

int qd_alias_quote(const char *local, const char *domain, char *out,
		   size_t size)
{
	char quoted[2 * QD_LOCAL_MAX + 3];
	char *to = quoted;
	const char *at = *domain ? "@" : "";
	int length;

	if (needs_quotes(local)) {
		if (strlen(local) > QD_LOCAL_MAX)
			return -1;
		*to++ = '"';
		for (; *local; *to++ = *local++)
			if (strchr("\"\\\r", *local))
				*to++ = '\\';
		*to++ = '"';
		*to = '\0';
		local = quoted;
	}
	length = snprintf(out, size, "%s%s%s", local, at, domain);
	return length >= 0 && (size_t)length < size ? 0 : -1;
}

static bool starts_with(const char *text, const char *head)
{
	return strncasecmp(text, head, strlen(head)) == 0;
}

static bool ends_with(const char *text, const char *tail)
{
	size_t length = strlen(text), tail_length = strlen(tail);

	return length > tail_length &&
	       strcasecmp(text + length - tail_length, tail) == 0;
}

/* Names that Postfix takes whole, with whatever delimiters are in them. */
static bool is_whole(const char *local, const char *delimiters)
{
	return strcasecmp(local, "postmaster") == 0 ||
	       strcasecmp(local, "mailer-daemon") == 0 ||
	       strcasecmp(local, "double-bounce") == 0 ||
	       (strchr(delimiters, '-') &&
		(starts_with(local, "owner-") || ends_with(local, "-request")));
}

/* How long the part of local in front of its extension is. */
static size_t user_length(const char *local, const char *delimiters)
{
	size_t length = strcspn(local, delimiters);

	if (length == 0 || is_whole(local, delimiters))
		return strlen(local);
	return length;
}

static void add_key(struct qd_alias_keys *keys, const char *local,
		    const char *domain, bool is_stripped)
{
	struct qd_alias_key *key = &keys->items[keys->count];

	if (qd_alias_quote(local, domain, key->text, sizeof(key->text)) < 0)
		return;
	key->is_stripped = is_stripped;
	keys->count++;
}

/* Fills user and the extension; true if there is one. */
static bool split(const struct qd_settings *settings, const char *local,
		  char *user, struct qd_alias_keys *keys)
{
	size_t length = user_length(local, settings->recipient_delimiter);

	memcpy(user, local, length);
	user[length] = '\0';
	strcpy(keys->extension, local + length);
	return local[length] != '\0';
}

void qd_alias_virtual_keys(const struct qd_settings *settings,
			   const struct qd_address *address,
			   struct qd_alias_keys *keys)
{
	char user[QD_LOCAL_MAX + 1];
	bool has_extension;

	keys->count = 0;
	has_extension = split(settings, address->local, user, keys);
	add_key(keys, address->local, address->domain, false);
	if (has_extension)
		add_key(keys, user, address->domain, true);
	if (is_origin(settings, address->domain) ||
	    qd_alias_is_local(settings, address->domain)) {
		add_key(keys, address->local, "", false);
		if (has_extension)
			add_key(keys, user, "", true);
	}
	snprintf(keys->items[keys->count].text,
		 sizeof(keys->items[keys->count].text), "@%s", address->domain);
	keys->items[keys->count++].is_stripped = false;
}

/* aliases(5) is asked for names as they are, without quotes */
static void add_name(struct qd_alias_keys *keys, const char *name,
		     bool is_stripped)
{
	struct qd_alias_key *key = &keys->items[keys->count];

	strcpy(key->text, name);
	key->is_stripped = is_stripped;
	keys->count++;
}

void qd_alias_local_keys(const struct qd_settings *settings,
			 const struct qd_address *address,
			 struct qd_alias_keys *keys)
{
	char folded[QD_LOCAL_MAX + 1], user[QD_LOCAL_MAX + 1];
	bool has_extension;

	keys->count = 0;
	keys->extension[0] = '\0';
	if (!qd_alias_is_local(settings, address->domain) ||
	    qd_fold(address->local, folded, sizeof(folded)) < 0)
		return;
	has_extension = split(settings, folded, user, keys);
	/* local(8) drops an extension that could be part of a path */
	if (!has_extension || !strchr(keys->extension, '/'))
		add_name(keys, folded, false);
	if (has_extension)
		add_name(keys, user, true);
}
