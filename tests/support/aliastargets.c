/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Take texts of alias maps apart. Without arguments: those of a virtual(5)
 * map, one a line of the standard input. Else: those of ":include:" files, as
 * "aliases:/path FILE...".
 *
 * For each, writes each target on a line, "address LOCAL\tDOMAIN", "domain
 * DOMAIN", "other" or "include PATH"; or "error WHY"; then an empty line.
 */
#include <stdio.h>
#include <stdlib.h>

#include "quotadefer/aliastargets.h"

static void print(const struct qd_aliastarget *target)
{
	const struct qd_address *address = &target->address;

	switch (target->kind) {
	case QD_ALIASTARGET_ADDRESS:
		printf("address %s\t%s\n", address->local, address->domain);
		break;
	case QD_ALIASTARGET_DOMAIN:
		printf("domain %s\n", address->domain);
		break;
	case QD_ALIASTARGET_OTHER:
		puts("other");
		break;
	case QD_ALIASTARGET_INCLUDE:
		printf("include %s\n", target->path);
		break;
	}
}

static void print_all(const char *text, enum qd_aliasmap_kind kind)
{
	struct qd_aliastargets targets = { 0 };
	struct qd_error err;

	if (qd_aliastargets_parse(text, kind, &targets, &err) < 0)
		printf("error %s\n", err.text);
	for (size_t i = 0; i < targets.count; i++)
		print(&targets.items[i]);
	putchar('\n');
	qd_aliastargets_free(&targets);
}

static void print_lines(void)
{
	char *line = NULL;
	size_t size = 0;
	ssize_t n;

	while ((n = getline(&line, &size, stdin)) > 0) {
		if (line[n - 1] == '\n')
			line[n - 1] = '\0';
		print_all(line, QD_ALIASMAP_VIRTUAL);
	}
	free(line);
}

static void print_include(struct qd_aliasmap *map, const char *path)
{
	struct qd_aliasvalue value = { 0 };
	struct qd_error err;

	if (map->ops->include(map, path, &value, &err) == QD_FOUND)
		print_all(value.text, QD_ALIASMAP_LOCAL);
	else
		printf("error %s\n\n", err.text);
	free(value.text);
}

int main(int argc, char **argv)
{
	struct qd_aliasmap *map;
	struct qd_error err;

	if (argc == 1) {
		print_lines();
		return 0;
	}
	if (qd_alias_aliases_open(argv[1], false, NULL, &map, &err) < 0) {
		fprintf(stderr, "%s\n", err.text);
		return err.status;
	}
	for (int i = 2; i < argc; i++)
		print_include(map, argv[i]);
	map->ops->close(map);
	return 0;
}
