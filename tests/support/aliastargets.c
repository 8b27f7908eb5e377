/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Take texts of a virtual(5) map apart: reads one a line from the standard
 * input, and writes each target on a line, "address LOCAL\tDOMAIN",
 * "domain DOMAIN", "other" or "include PATH"; then "error WHY" if there was
 * one; then an empty line.
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

int main(void)
{
	struct qd_aliastargets targets;
	struct qd_error err;
	char *line = NULL;
	size_t size = 0;
	ssize_t n;

	while ((n = getline(&line, &size, stdin)) > 0) {
		if (line[n - 1] == '\n')
			line[n - 1] = '\0';
		if (qd_aliastargets_parse(line, QD_ALIASMAP_VIRTUAL, &targets,
					  &err) < 0) {
			printf("error %s\n\n", err.text);
			continue;
		}
		for (size_t i = 0; i < targets.count; i++)
			print(&targets.items[i]);
		putchar('\n');
		qd_aliastargets_free(&targets);
	}
	free(line);
	return 0;
}
