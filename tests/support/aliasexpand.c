/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Say where addresses lead to, with the settings of a file: aliasexpand FILE.
 * Reads addresses from the standard input, and for each writes "FOUND" and the
 * targets ("|" for one that is no address), "ABSENT" or "ERROR" and why, with
 * tabs between them.
 */
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "../../milter/aliases_impl.h"

static void say(int priority, const char *text)
{
	(void)priority;
	fprintf(stderr, "aliasexpand: %s\n", text);
}

static void print_target(const struct qd_target *target)
{
	char text[QD_ALIAS_KEY_MAX + QD_DOMAIN_MAX];

	if (target->kind == QD_TARGET_OTHER)
		fputs("\t|", stdout);
	else if (qd_alias_quote(target->address.local, target->address.domain,
				text, sizeof(text)) == 0)
		printf("\t%s", text);
}

static void expand(struct qd_aliases *aliases,
		   const struct qd_settings *settings, const char *line)
{
	struct qd_targets targets = { 0 };
	struct qd_address address;
	struct qd_error err = { 0 };
	enum qd_found found = QD_ERROR;

	if (qd_address_parse(line, &address) > QD_ADDRESS_LOCAL)
		qd_error_set(&err, EX_DATAERR, "not an address");
	else
		found = qd_aliases_expand(aliases, settings, &address, NULL,
					  &targets, &err);
	if (found == QD_ERROR)
		printf("ERROR\t%s", err.text);
	else
		fputs(found == QD_FOUND ? "FOUND" : "ABSENT", stdout);
	for (size_t i = 0; i < targets.count; i++)
		print_target(&targets.items[i]);
	putchar('\n');
	fflush(stdout);
	qd_targets_free(&targets);
}

int main(int argc, char **argv)
{
	struct qd_settings *settings;
	struct qd_aliases *aliases;
	struct qd_error err;
	char line[4096];

	if (argc != 2)
		return EX_USAGE;
	if (qd_settings_load(argv[1], NULL, &settings, &err) < 0 ||
	    qd_aliases_open(settings, false, say, &aliases, &err) < 0) {
		fprintf(stderr, "aliasexpand: %s\n", err.text);
		return err.status;
	}
	while (fgets(line, sizeof(line), stdin)) {
		line[strcspn(line, "\n")] = '\0';
		expand(aliases, settings, line);
	}
	qd_aliases_unref(&aliases);
	qd_settings_unref(&settings);
	return 0;
}
