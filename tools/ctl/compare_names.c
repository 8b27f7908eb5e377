/* SPDX-License-Identifier: BSD-2-Clause */
/* From a quota root back to the names that lead to it. */
#include "compare.h"

#include <stdio.h>
#include <string.h>

/* Text being put together; used grows past the end instead of writing. */
struct text {
	char *out;
	size_t size, used;
};

static void put(struct text *text, const char *from, size_t length, char dot,
		char caret)
{
	for (size_t i = 0; i < length; i++, text->used++) {
		char c = from[i] == '.' ? dot :
			 from[i] == '^' ? caret :
					  from[i];

		if (text->used + 1 < text->size)
			text->out[text->used] = c;
	}
}

static bool finish(struct text *text)
{
	if (text->used >= text->size)
		return false;
	text->out[text->used] = '\0';
	return true;
}

/* "user.first^last.Sub" -> "first.last+Sub"; "shared" -> "postuser+shared" */
static bool put_local(struct text *text, const struct qd_naming *naming,
		      const char *name)
{
	char sep = naming->unixhierarchysep ? '/' : '.';
	char caret = naming->unixhierarchysep ? '.' : '^';
	const char *folder = name;

	if (strncmp(name, "user.", 5) == 0) {
		size_t length = strcspn(name + 5, ".");

		put(text, name + 5, length, '.', '.');
		folder = name[5 + length] ? name + 6 + length : "";
	} else {
		put(text, naming->postuser, strlen(naming->postuser), '.', '^');
	}
	if (*folder) {
		put(text, "+", 1, '.', '^');
		put(text, folder, strlen(folder), sep, caret);
	}
	return *name;
}

static bool make_address(const struct qd_naming *naming, const char *domain,
			 size_t length, const char *name, char *out)
{
	struct text text = { out, RECIPIENT_MAX, 0 };

	if (!put_local(&text, naming, name))
		return false;
	put(&text, "@", 1, '.', '^');
	put(&text, domain, length, '.', '^');
	return finish(&text);
}

/* As an administrator of all domains sees it: "user/first.last@domain". */
static bool make_imap(const struct qd_naming *naming, const char *domain,
		      size_t length, const char *name, char *out)
{
	char sep = naming->unixhierarchysep ? '/' : '.';
	char caret = naming->unixhierarchysep ? '.' : '^';
	struct text text = { out, RECIPIENT_MAX, 0 };

	put(&text, name, strlen(name), sep, caret);
	if (length) {
		put(&text, "@", 1, '.', '^');
		put(&text, domain, length, '.', '^');
	}
	return finish(&text);
}

/* Does the address lead to that root, by the code that answers mail? */
static bool leads_to(const struct qd_naming *naming, const char *text,
		     const char *root)
{
	struct qd_address address;
	struct qd_mailbox mailbox;

	return qd_address_parse(text, &address) == QD_ADDRESS_MAILBOX &&
	       qd_naming_mailbox(naming, address.local, address.domain,
				 &mailbox) == 0 &&
	       strcmp(mailbox.name, root) == 0;
}

bool compare_recipient(const struct qd_naming *naming, const char *root,
		       struct recipient *out)
{
	const char *bang = strchr(root, '!'), *name = bang ? bang + 1 : root;
	size_t length = bang ? (size_t)(bang - root) : 0;
	const char *domain = bang ? root : naming->defaultdomain;

	if (strlen(root) > QD_ROOT_MAX)
		return false;
	strcpy(out->root, root);
	if (!make_imap(naming, root, length, name, out->imap))
		return false;
	if (!bang)
		length = strlen(domain);
	return make_address(naming, domain, length, name, out->address) &&
	       leads_to(naming, out->address, root);
}
