/* SPDX-License-Identifier: BSD-2-Clause */
/* The parameter "domain": a list of postconf(5), with files in it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "alias_ldap_impl.h"

/* Lists name files in lists; Postfix follows them without end. */
enum {
	DEPTH = 8
};

static int read_items(const char *text, bool negate, int depth,
		      struct qd_list *out, struct qd_error *err);

static int read_file(const char *path, bool negate, int depth,
		     struct qd_list *out, struct qd_error *err)
{
	char *line = NULL;
	size_t size = 0;
	FILE *fp;
	int rc = 0;

	if (depth == DEPTH)
		return qd_error_set(err, EX_CONFIG, "%s: too many files deep",
				    path);
	fp = fopen(path, "re");
	if (!fp)
		return qd_error_set(err, EX_CONFIG, "%s: %m", path);
	while (rc == 0 && getline(&line, &size, fp) >= 0)
		if (line[0] != '#')
			rc = read_items(line, negate, depth + 1, out, err);
	if (rc == 0 && ferror(fp))
		rc = qd_error_set(err, EX_CONFIG, "%s: %m", path);
	free(line);
	fclose(fp);
	return rc;
}

static int add_name(const char *item, bool negate, struct qd_list *out,
		    struct qd_error *err)
{
	char folded[1 + QD_ALIAS_KEY_MAX * QD_FOLD_GROWTH + 1] = "!";

	/* braces would group, with nothing to be grouped here */
	if (strpbrk(item, "{}") ||
	    qd_fold(item, folded + negate, sizeof(folded) - negate) < 0)
		return qd_error_set(err, EX_CONFIG, "%s: not a domain", item);
	if (qd_ldap_list_add(out, folded, strlen(folded)) < 0)
		return qd_error_set(err, EX_OSERR, "no memory");
	return 0;
}

static int read_item(char *item, bool negate, int depth, struct qd_list *out,
		     struct qd_error *err)
{
	for (; *item == '!'; item++)
		negate = !negate;
	if (!*item)
		return qd_error_set(err, EX_CONFIG, "no domain after \"!\"");
	if (*item == '/')
		return read_file(item, negate, depth, out, err);
	if (*item != '[' && strchr(item, ':'))
		return qd_error_set(err, EX_CONFIG,
				    "%s: tables are not supported here; "
				    "expected domains, or /file with domains",
				    item);
	return add_name(item, negate, out, err);
}

static int read_items(const char *text, bool negate, int depth,
		      struct qd_list *out, struct qd_error *err)
{
	struct qd_list items = { 0 };
	int rc = 0;

	if (qd_ldap_list_split(&items, text) < 0)
		rc = qd_error_set(err, EX_OSERR, "no memory");
	for (size_t i = 0; rc == 0 && i < items.count; i++) {
		if (items.items[i][0] == '#')
			rc = qd_error_set(err, EX_CONFIG,
					  "a comment must have a line of its "
					  "own");
		else
			rc = read_item(items.items[i], negate, depth, out, err);
	}
	qd_ldap_list_free(&items);
	return rc;
}

int qd_ldap_domains_read(const char *text, struct qd_list *out,
			 struct qd_error *err)
{
	return read_items(text, false, 0, out, err);
}

/* The first that fits decides. Both sides are folded. */
bool qd_ldap_domains_have(const struct qd_list *domains, const char *key)
{
	const char *domain = strrchr(key, '@');

	if (!domains->count)
		return true;
	if (!domain || !domain[1])
		return false;
	for (size_t i = 0; i < domains->count; i++) {
		const char *item = domains->items[i];
		bool negated = *item == '!';

		if (strcmp(item + negated, domain + 1) == 0)
			return !negated;
	}
	return false;
}
