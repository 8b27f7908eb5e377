/* SPDX-License-Identifier: BSD-2-Clause */
/* Commands that ask the running filter. */
#include "ctl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include <jansson.h>

#include "quotadefer/control.h"

enum {
	TIMEOUT_MS = 5000
};

static int ask(struct ctl *ctl, const char *request, FILE *out)
{
	struct qd_error err = { 0 };

	if (qd_control_ask(ctl->settings->control_socket, request, TIMEOUT_MS,
			   out, &err) < 0)
		return qd_options_fail(&ctl->common, &err);
	return EX_OK;
}

/* A number if it is written as one, else a string. */
static json_t *json_value(const char *text)
{
	char *end;
	double number = strtod(text, &end);

	if (!*text || *end || strspn(text, "0123456789.e+-") != strlen(text))
		return json_string(text);
	if (number > -1e15 && number < 1e15 &&
	    number == (double)(json_int_t)number)
		return json_integer((json_int_t)number);
	return json_real(number);
}

/* "NAME key=value key=value" */
static json_t *json_source(char *text)
{
	json_t *source = json_object();
	char *rest, *word = strtok_r(text, " ", &rest);

	json_object_set_new(source, "name", json_string(word ? word : ""));
	while ((word = strtok_r(NULL, " ", &rest))) {
		char *equal = strchr(word, '=');

		if (!equal)
			continue;
		*equal = '\0';
		json_object_set_new(source, word, json_value(equal + 1));
	}
	return source;
}

/* Lines "key value"; "source ..." lines become a list. */
static void print_json(char *text)
{
	json_t *all = json_object(), *sources = json_array();
	char *rest, *line;

	for (line = strtok_r(text, "\n", &rest); line;
	     line = strtok_r(NULL, "\n", &rest)) {
		char *space = strchr(line, ' ');

		if (strncmp(line, "source ", 7) == 0) {
			json_array_append_new(sources, json_source(line + 7));
			continue;
		}
		if (!space)
			continue;
		*space = '\0';
		json_object_set_new(all, line, json_value(space + 1));
	}
	if (json_array_size(sources))
		json_object_set(all, "sources", sources);
	json_decref(sources);
	json_dumpf(all, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
	putchar('\n');
	json_decref(all);
}

static int show(struct ctl *ctl, const char *request)
{
	char *text = NULL;
	size_t length = 0;
	FILE *out;
	int status;

	if (!ctl->json)
		return ask(ctl, request, stdout);
	out = open_memstream(&text, &length);
	if (!out)
		return EX_OSERR;
	status = ask(ctl, request, out);
	fclose(out);
	if (status == EX_OK)
		print_json(text);
	free(text);
	return status;
}

int ctl_status(struct ctl *ctl)
{
	return show(ctl, "status");
}

int ctl_stats(struct ctl *ctl)
{
	if (ctl->openmetrics)
		return ask(ctl, "metrics", stdout);
	return show(ctl, "stats");
}

int ctl_reload(struct ctl *ctl)
{
	return ask(ctl, "reload", stdout);
}
