/* SPDX-License-Identifier: BSD-2-Clause */
#include "settings_impl.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "quotadefer/address.h"
#include "quotadefer/netblock.h"
#include "quotadefer/source.h"
#include "quotadefer/template.h"
#include "quotadefer/value.h"

static bool store(const char *text, char **field)
{
	char *copy = strdup(text);

	if (!copy)
		return false;
	free(*field);
	*field = copy;
	return true;
}

static bool append(const char *text, struct qd_list *list)
{
	char **items = realloc(list->items, (list->count + 1) * sizeof(*items));

	if (!items)
		return false;
	list->items = items;
	items[list->count] = strdup(text);
	if (!items[list->count])
		return false;
	list->count++;
	return true;
}

static bool is_printable(const char *text)
{
	for (; *text; text++)
		if (*text < 0x20 || *text > 0x7e)
			return false;
	return true;
}

bool qd_read_path(const struct qd_spec *spec, const char *text, void *field)
{
	(void)spec;
	return text[0] == '/' && strlen(text) <= 255 && is_printable(text) &&
	       store(text, field);
}

/* sockaddr_un has no room for more. */
bool qd_read_socket(const struct qd_spec *spec, const char *text, void *field)
{
	size_t length = strlen(text);

	return length <= 107 && text[length - (length > 0)] != '/' &&
	       qd_read_path(spec, text, field);
}

bool qd_read_name(const struct qd_spec *spec, const char *text, void *field)
{
	(void)spec;
	return qd_source_name_valid(text) && store(text, field);
}

bool qd_read_text(const struct qd_spec *spec, const char *text, void *field)
{
	(void)spec;
	/* 512 is an SMTP reply line, RFC 5321 4.5.3.1.5 */
	return text[0] && strlen(text) <= 480 && is_printable(text) &&
	       store(text, field);
}

/* "\\n" is a line break however it came here: -o and single quotes keep it. */
static bool break_lines(const char *text, char *out, size_t size)
{
	size_t n = 0;

	for (; *text; text++) {
		bool is_break = text[0] == '\\' && text[1] == 'n';

		if (n + 1 >= size)
			return false;
		out[n++] = is_break ? '\n' : *text;
		text += is_break;
	}
	out[n] = '\0';
	return true;
}

/* A reply of one line or several, none of them empty. */
bool qd_read_reply(const struct qd_spec *spec, const char *text, void *field)
{
	char reply[QD_TEMPLATE_MAX + 1];
	int lines = 1;

	(void)spec;
	if (!break_lines(text, reply, sizeof(reply)) || !reply[0])
		return false;
	for (const char *p = reply; *p; p++) {
		if (*p != '\n') {
			if (*p < 0x20 || *p > 0x7e)
				return false;
			continue;
		}
		lines++;
		if (p == reply || p[1] == '\n' || !p[1])
			return false;
	}
	return lines <= QD_TEMPLATE_LINES && store(reply, field);
}

/* RFC 3463: "4.2.2", a subject and a detail of up to three digits each */
bool qd_read_enhanced_code(const struct qd_spec *spec, const char *text,
			   void *field)
{
	size_t subject, detail;

	(void)spec;
	if (strncmp(text, "4.", 2) != 0)
		return false;
	subject = strspn(text + 2, "0123456789");
	if (subject < 1 || subject > 3 || text[2 + subject] != '.')
		return false;
	detail = strspn(text + 3 + subject, "0123456789");
	return detail >= 1 && detail <= 3 && !text[3 + subject + detail] &&
	       store(text, field);
}

bool qd_read_delimiter(const struct qd_spec *spec, const char *text,
		       void *field)
{
	(void)spec;
	return strlen(text) <= 8 && is_printable(text) &&
	       !strpbrk(text, "@ \"") && store(text, field);
}

bool qd_read_map(const struct qd_spec *spec, const char *text, void *field)
{
	static const char *const types[] = { "texthash:/", "aliases:/",
					     "ldap:/" };

	(void)spec;
	if (strlen(text) > 255 || !is_printable(text))
		return false;
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (strncmp(text, types[i], strlen(types[i])) == 0)
			return append(text, field);
	return false;
}

bool qd_read_account(const struct qd_spec *spec, const char *text, void *field)
{
	(void)spec;
	return text[0] && strlen(text) <= 64 && !strpbrk(text, " :/") &&
	       is_printable(text) && store(text, field);
}

static bool is_domain(const char *text)
{
	struct qd_address address;
	char path[QD_DOMAIN_MAX + 8];

	if (strlen(text) > QD_DOMAIN_MAX)
		return false;
	snprintf(path, sizeof(path), "<x@%s>", text);
	return qd_address_parse(path, &address) == QD_ADDRESS_MAILBOX &&
	       strcmp(address.domain, text) == 0;
}

bool qd_read_domain(const struct qd_spec *spec, const char *text, void *field)
{
	(void)spec;
	return is_domain(text) && append(text, field);
}

bool qd_read_one_domain(const struct qd_spec *spec, const char *text,
			void *field)
{
	(void)spec;
	return is_domain(text) && store(text, field);
}

bool qd_read_pattern(const struct qd_spec *spec, const char *text, void *field)
{
	(void)spec;
	/* "@example.org" would match nobody */
	return strchr(text, '@') && text[0] != '@' && is_printable(text) &&
	       append(text, field);
}

bool qd_read_duration(const struct qd_spec *spec, const char *text, void *field)
{
	int64_t *out = field, ms;

	if (qd_value_duration(text, &ms) < 0 || ms < spec->min ||
	    ms > spec->max)
		return false;
	*out = ms;
	return true;
}

bool qd_read_size(const struct qd_spec *spec, const char *text, void *field)
{
	int64_t *out = field, bytes;

	if (qd_value_size(text, &bytes) < 0 || bytes < spec->min ||
	    bytes > spec->max)
		return false;
	*out = bytes;
	return true;
}

bool qd_read_integer(const struct qd_spec *spec, const char *text, void *field)
{
	return qd_value_integer(text, spec->min, spec->max, field) == 0;
}

bool qd_read_percent(const struct qd_spec *spec, const char *text, void *field)
{
	(void)spec;
	return qd_value_percent(text, field) == 0;
}

bool qd_read_mode(const struct qd_spec *spec, const char *text, void *field)
{
	(void)spec;
	return qd_value_mode(text, field) == 0;
}

bool qd_read_choice(const struct qd_spec *spec, const char *text, void *field)
{
	return qd_value_choice(text, spec->choices, field) == 0;
}

/* Arrays of what is not text; their counts follow them in the settings. */
#define COUNT_FOLLOWS(array, count)                                  \
	_Static_assert(offsetof(struct qd_settings, count) ==        \
			       offsetof(struct qd_settings, array) + \
				       sizeof(void *),               \
		       #count " must follow " #array)
COUNT_FOLLOWS(mode_domains, mode_domain_count);
COUNT_FOLLOWS(exempt_clients, exempt_client_count);

static void *grow(void *items, size_t count, size_t size)
{
	return realloc(items, (count + 1) * size);
}

bool qd_read_netblock(const struct qd_spec *spec, const char *text, void *field)
{
	struct qd_netblock block, **blocks = field;
	size_t *count = (size_t *)(blocks + 1);
	struct qd_netblock *grown;

	(void)spec;
	if (qd_netblock_parse(text, &block) < 0)
		return false;
	grown = grow(*blocks, *count, sizeof(block));
	if (!grown)
		return false;
	grown[(*count)++] = block;
	*blocks = grown;
	return true;
}

bool qd_read_domain_mode(const struct qd_spec *spec, const char *text,
			 void *field)
{
	struct qd_domain_mode **modes = field, *grown;
	size_t *count = (size_t *)(modes + 1);
	const char *equal = strchr(text, '=');
	char *domain;
	int mode;

	(void)spec;
	if (!equal || qd_value_choice(equal + 1, qd_mode_names, &mode) < 0)
		return false;
	grown = grow(*modes, *count, sizeof(**modes));
	if (!grown)
		return false;
	*modes = grown;
	domain = strndup(text, (size_t)(equal - text));
	if (!domain || !is_domain(domain)) {
		free(domain);
		return false;
	}
	grown[*count].domain = domain;
	grown[(*count)++].mode = (enum qd_mode)mode;
	return true;
}

/* -1 for "never" */
bool qd_read_after(const struct qd_spec *spec, const char *text, void *field)
{
	int64_t *out = field;

	if (strcmp(text, "never") != 0)
		return qd_read_duration(spec, text, field);
	*out = -1;
	return true;
}
