/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdlib.h>
#include <string.h>

#include "alias_ldap_impl.h"

static bool make_room(struct qd_ldap_text *text, size_t more)
{
	size_t size = text->size ? text->size : 256;
	char *data;

	if (more >= QD_LDAP_TEXT_MAX - text->used)
		return false;
	while (size <= text->used + more)
		size *= 2;
	if (size == text->size)
		return true;
	data = realloc(text->data, size);
	if (!data)
		return false;
	text->data = data;
	text->size = size;
	return true;
}

void qd_ldap_text_add(struct qd_ldap_text *text, const char *data,
		      size_t length)
{
	if (text->overflowed || !make_room(text, length)) {
		text->overflowed = true;
		return;
	}
	memcpy(text->data + text->used, data, length);
	text->used += length;
	text->data[text->used] = '\0';
}

void qd_ldap_text_free(struct qd_ldap_text *text)
{
	free(text->data);
	*text = (struct qd_ldap_text){ 0 };
}

int qd_ldap_template_check(const char *template, bool is_query,
			   struct qd_ldap_parts *parts)
{
	int varies = 0;

	for (const char *p = template; *p; p++) {
		if (*p != '%')
			continue;
		p++;
		varies |= *p != '%';
		if (*p == 'u')
			*(is_query ? &parts->key_user : &parts->value_user) =
				true;
		else if (*p == 'd')
			*(is_query ? &parts->key_domain :
				     &parts->value_domain) = true;
		else if (*p == 'U')
			parts->key_user = true;
		else if (*p == 'D' || (*p >= '1' && *p <= '9'))
			parts->key_domain = true;
		else if (!*p || !strchr("%sS", *p))
			return -1;
		if (*p >= '1' && *p <= '9' && parts->labels < *p - '0')
			parts->labels = *p - '0';
	}
	return varies;
}

/* RFC 4515 and RFC 4514; what need not be escaped may be. */
static void add_escaped(struct qd_ldap_text *out, enum qd_ldap_escape escape,
			const char *data, size_t length)
{
	static const char *const special[] = {
		[QD_LDAP_PLAIN] = "",
		[QD_LDAP_FILTER] = "*()\\",
		/* not "=": a key may be meant as an attribute and value */
		[QD_LDAP_DN] = " \t\"#+,;<>\\",
	};
	static const char digits[] = "0123456789ABCDEF";

	for (size_t i = 0; i < length; i++) {
		unsigned char c = (unsigned char)data[i];
		char coded[3] = { '\\', digits[c >> 4], digits[c & 15] };

		if (strchr(special[escape], c))
			qd_ldap_text_add(out, coded, sizeof(coded));
		else
			qd_ldap_text_add(out, data + i, 1);
	}
}

struct piece {
	const char *start;
	size_t length;
};

/* A key or value, taken apart at its last "@". */
struct halves {
	struct piece whole, user, domain; /* a domain starts at NULL if none */
};

static struct halves take_apart(const char *text)
{
	const char *at = strrchr(text, '@');
	size_t length = strlen(text);
	struct halves halves = { .whole = { text, length } };

	halves.user = halves.whole;
	if (!at)
		return halves;
	halves.user.length = (size_t)(at - text);
	halves.domain.start = at + 1;
	halves.domain.length = length - halves.user.length - 1;
	return halves;
}

static bool has_parts(const struct halves *halves, bool user, bool domain)
{
	if (domain && !halves->domain.length)
		return false;
	/* without "@" the user is all of it */
	return !user || !halves->domain.start || halves->user.length;
}

/* Label number n of a domain from the right, from 1. Empty ones are none. */
static bool find_label(const struct piece *domain, int n, struct piece *out)
{
	const char *end = domain->start + domain->length;

	while (end > domain->start) {
		const char *start = end;

		while (start > domain->start && start[-1] != '.')
			start--;
		if (start < end && --n == 0) {
			*out = (struct piece){ start, (size_t)(end - start) };
			return true;
		}
		end = start > domain->start ? start - 1 : start;
	}
	return false;
}

static struct piece pick(char letter, const struct halves *key,
			 const struct halves *value)
{
	struct piece label = { "", 0 };

	switch (letter) {
	case '%':
		return (struct piece){ "%", 1 };
	case 's':
		return value->whole;
	case 'u':
		return value->user;
	case 'd':
		return value->domain;
	case 'S':
		return key->whole;
	case 'U':
		return key->user;
	case 'D':
		return key->domain;
	default:
		find_label(&key->domain, letter - '0', &label);
		return label;
	}
}

static void fill(const char *template, enum qd_ldap_escape escape,
		 const struct halves *key, const struct halves *value,
		 struct qd_ldap_text *out)
{
	struct piece piece;
	size_t plain;

	qd_ldap_text_add(out, "", 0);
	while (*template) {
		plain = strcspn(template, "%");
		qd_ldap_text_add(out, template, plain);
		template += plain;
		if (!*template)
			break;
		piece = pick(template[1], key, value);
		add_escaped(out, template[1] == '%' ? QD_LDAP_PLAIN : escape,
			    piece.start, piece.length);
		template += 2;
	}
}

bool qd_ldap_expand(const struct qd_ldap_parts *parts, const char *template,
		    enum qd_ldap_escape escape, const char *key,
		    const char *value, struct qd_ldap_text *out)
{
	struct halves key_halves = take_apart(key);
	struct halves halves = take_apart(value ? value : key);
	struct piece label;

	if (!halves.whole.length)
		return false;
	if (value &&
	    !has_parts(&halves, parts->value_user, parts->value_domain))
		return false;
	if (!has_parts(&key_halves, parts->key_user, parts->key_domain))
		return false;
	if (parts->labels &&
	    !find_label(&key_halves.domain, parts->labels, &label))
		return false;
	if (out->used)
		qd_ldap_text_add(out, ",", 1);
	fill(template, escape, &key_halves, &halves, out);
	return true;
}
