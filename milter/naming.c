/* SPDX-License-Identifier: BSD-2-Clause */
#include "quotadefer/naming.h"

#include <ctype.h>
#include <string.h>

#include "quotadefer/utf8.h"

/* A name being put together; used grows past the end instead of writing. */
struct name {
	char *out;
	size_t used;
};

static void put(struct name *name, char c)
{
	if (name->used < QD_ROOT_MAX)
		name->out[name->used] = c;
	name->used++;
}

static void put_text(struct name *name, const char *text)
{
	while (*text)
		put(name, *text++);
}

/* One level of the hierarchy: a dot in it would look like a separator. */
static void put_component(struct name *name, const char *text, size_t length)
{
	for (size_t i = 0; i < length; i++)
		put(name, text[i] == '.' ? '^' : text[i]);
}

static int finish(struct name *name)
{
	if (name->used == 0 || name->used > QD_ROOT_MAX)
		return -1;
	name->out[name->used] = '\0';
	return 0;
}

void qd_naming_defaults(struct qd_naming *naming)
{
	memset(naming, 0, sizeof(*naming));
	naming->unixhierarchysep = true;
	naming->lmtp_downcase_rcpt = true;
	strcpy(naming->defaultdomain, "internal");
}

bool qd_naming_equal(const struct qd_naming *a, const struct qd_naming *b)
{
	return a->virtdomains == b->virtdomains &&
	       a->unixhierarchysep == b->unixhierarchysep &&
	       a->lmtp_downcase_rcpt == b->lmtp_downcase_rcpt &&
	       a->tests_folder == b->tests_folder &&
	       strcmp(a->postuser, b->postuser) == 0 &&
	       /* without virtual domains every domain is dropped */
	       (a->virtdomains == QD_VIRTDOMAINS_OFF ||
		strcmp(a->defaultdomain, b->defaultdomain) == 0);
}

const char *qd_naming_virtdomains(enum qd_virtdomains virtdomains)
{
	switch (virtdomains) {
	case QD_VIRTDOMAINS_OFF:
		return "off";
	case QD_VIRTDOMAINS_USERID:
		return "userid";
	case QD_VIRTDOMAINS_ON:
		return "on";
	}
	return "?";
}

/* Cyrus's lcase(): ASCII only, whatever the locale. */
static void downcase(char *out, const char *text, size_t length)
{
	for (size_t i = 0; i < length; i++)
		out[i] = text[i] >= 'A' && text[i] <= 'Z' ?
				 (char)(text[i] + 'a' - 'A') :
				 text[i];
	out[length] = '\0';
}

static void keep_case(char *out, const char *text, size_t length)
{
	memcpy(out, text, length);
	out[length] = '\0';
}

/*
 * "list/archive" -> "list.archive", each level in modified UTF-7; below: the
 * name goes on from one that is there. The number of levels, or -1.
 */
static int put_folder(struct name *name, const char *detail, char separator,
		      bool below)
{
	char utf7[QD_ROOT_MAX + 1];
	const char sep[2] = { separator, '\0' };
	const char *at = utf7;
	int levels = 0;

	if (qd_utf8_to_utf7(detail, utf7, sizeof(utf7)) < 0)
		return -1;
	for (at += strspn(at, sep); *at; at += strspn(at, sep)) {
		size_t length = strcspn(at, sep);

		if (below || levels)
			put(name, '.');
		put_component(name, at, length);
		levels++;
		at += length;
	}
	return levels;
}

/*
 * lmtpd drops the default domain as it is spelled in imapd.conf, and again
 * when it has been lowered: by bytes, both times. With lmtp_downcase_rcpt off
 * joe@EXAMPLE.ORG is a user of another domain.
 */
static bool domain_is_kept(const struct qd_naming *naming, const char *domain,
			   const char *recased)
{
	return naming->virtdomains != QD_VIRTDOMAINS_OFF && domain[0] &&
	       strcmp(domain, naming->defaultdomain) != 0 &&
	       strcmp(recased, naming->defaultdomain) != 0;
}

/* The post user of smmapd is never one of a virtual domain. */
static bool is_post_user(const struct qd_naming *naming, const char *user,
			 bool has_domain)
{
	return strcmp(user, naming->postuser) == 0 &&
	       !(naming->tests_folder && has_domain);
}

int qd_naming_mailbox(const struct qd_naming *naming, const char *local,
		      const char *domain, struct qd_mailbox *out)
{
	void (*recase)(char *, const char *, size_t) =
		naming->lmtp_downcase_rcpt ? downcase : keep_case;
	struct name name = { .out = out->name };
	char separator = naming->unixhierarchysep ? '/' : '.';
	const char *detail = strchr(local, '+');
	size_t length = detail ? (size_t)(detail - local) : strlen(local);
	char user[QD_LOCAL_MAX + 1], recased[QD_DOMAIN_MAX + 1];
	bool has_domain;

	if (length > QD_LOCAL_MAX || strlen(domain) > QD_DOMAIN_MAX ||
	    strchr(domain, '!'))
		return -1;
	recase(user, local, length);
	recase(recased, domain, strlen(domain));
	has_domain = domain_is_kept(naming, domain, recased);
	if (has_domain) {
		put_text(&name, recased);
		put(&name, '!');
	}
	out->is_user = !is_post_user(naming, user, has_domain);
	if (!out->is_user)
		return detail && put_folder(&name, detail + 1, separator,
					    false) > 0 ?
			       finish(&name) :
			       -1;
	if (length == 0)
		return -1;
	put_text(&name, "user.");
	put_component(&name, user, length);
	if (naming->tests_folder && detail &&
	    put_folder(&name, detail + 1, separator, true) < 0)
		return -1;
	return finish(&name);
}

/* Where the name begins behind "domain!". */
static const char *unqualified(const char *name)
{
	const char *bang = strchr(name, '!');

	return bang ? bang + 1 : name;
}

bool qd_naming_parent(char *name)
{
	char *dot = strrchr(unqualified(name), '.');

	if (!dot)
		return false;
	*dot = '\0';
	return true;
}

bool qd_naming_domain_root(char *name)
{
	char *bang = strchr(name, '!');

	if (!bang || !bang[1])
		return false;
	bang[1] = '\0';
	return true;
}

bool qd_naming_is_inbox(const char *name)
{
	name = unqualified(name);
	return strncmp(name, "user.", 5) == 0 && name[5] &&
	       !strchr(name + 5, '.');
}

bool qd_naming_next_root(char *name)
{
	if (!qd_naming_is_inbox(name) && qd_naming_parent(name))
		return true;
	return qd_naming_domain_root(name);
}
