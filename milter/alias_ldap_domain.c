/* SPDX-License-Identifier: BSD-2-Clause */
/* The parameter "domain": a list of postconf(5), with files and tables in it. */
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

/* A table has all keys that it finds something for. Its path keeps its case. */
static int add_table(const char *item, bool negate, struct qd_list *out,
		     struct qd_error *err)
{
	char text[1024] = "!";
	int n;

	if (strncmp(item, "proxy:", 6) == 0)
		item += 6;
	n = snprintf(text + negate, sizeof(text) - negate, "%s", item);
	if ((strncmp(item, "ldap:/", 6) != 0 &&
	     strncmp(item, "static:", 7) != 0) ||
	    n < 0 || (size_t)n >= sizeof(text) - negate)
		return qd_error_set(err, EX_CONFIG,
				    "%s: tables are not supported here, but "
				    "for ldap:/file and static:; expected "
				    "domains, or /file with domains",
				    item);
	if (qd_ldap_list_add(out, text, strlen(text)) < 0)
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
		return add_table(item, negate, out, err);
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

const char *qd_ldap_domains_table(const struct qd_list *domains, size_t i)
{
	const char *item = domains->items[i] + (domains->items[i][0] == '!');

	return strncmp(item, "ldap:", 5) == 0 ? item : NULL;
}

/* Does the domain fit the item, which is a name or a table? */
static enum qd_found fits(const struct qd_ldap_domains_asker *asker, size_t i,
			  const char *item, const char *domain)
{
	if (strncmp(item, "static:", 7) == 0)
		return QD_FOUND;
	if (strncmp(item, "ldap:", 5) == 0)
		return asker->ask(asker->arg, i, domain);
	return strcmp(item, domain) == 0 ? QD_FOUND : QD_ABSENT;
}

/*
 * The first that fits decides. Both sides are folded. Keys without a local
 * part are not looked up.
 */
enum qd_found qd_ldap_domains_find(const struct qd_list *domains,
				   const char *key,
				   const struct qd_ldap_domains_asker *asker)
{
	const char *domain = strrchr(key, '@');

	if (!domains->count)
		return QD_FOUND;
	if (!domain || domain == key || !domain[1])
		return QD_ABSENT;
	for (size_t i = 0; i < domains->count; i++) {
		const char *item = domains->items[i];
		bool negated = *item == '!';
		enum qd_found found =
			fits(asker, i, item + negated, domain + 1);

		if (found == QD_FOUND)
			return negated ? QD_ABSENT : QD_FOUND;
		if (found == QD_ERROR)
			return QD_ERROR;
	}
	return QD_ABSENT;
}
