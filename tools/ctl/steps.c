/* SPDX-License-Identifier: BSD-2-Clause */
#include "steps.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct step {
	const char *name, *group;
	int number; /* of the group */
	bool json_only;
	char *text;
};

void steps_group(struct steps *steps, const char *kind)
{
	steps->group = kind;
	steps->groups += kind != NULL;
}

/* Takes text over; NULL: no memory for it. */
static void add(struct steps *steps, const char *name, char *text)
{
	struct step *items;

	items = realloc(steps->items,
			((size_t)steps->count + 1) * sizeof(*items));
	if (items)
		steps->items = items;
	if (!items || !text) {
		free(text);
		return;
	}
	items[steps->count++] = (struct step){
		.name = name,
		.group = steps->group,
		.number = steps->groups,
		.json_only = steps->json_only,
		.text = text,
	};
}

static char *printable(const char *text)
{
	char *out = malloc(strlen(text) * 4 + 1), *to = out;

	for (; out && *text; text++) {
		if (*text >= 0x20 && *text < 0x7f)
			*to++ = *text;
		else
			to += snprintf(to, 5, "\\x%02x", (unsigned char)*text);
	}
	if (out)
		*to = '\0';
	return out;
}

void steps_add(struct steps *steps, const char *name, const char *format, ...)
{
	char *raw;
	va_list args;
	int length;

	va_start(args, format);
	length = vasprintf(&raw, format, args);
	va_end(args);
	if (length < 0)
		return;
	add(steps, name, printable(raw));
	free(raw);
}

void steps_add_lines(struct steps *steps, const char *name, const char *text)
{
	add(steps, name, strdup(text));
}

/* Further lines of a text are indented. */
static void print_step(const struct step *step)
{
	const char *name = step->name, *line = step->text, *end;

	do {
		end = strchrnul(line, '\n');
		printf("%-20s%.*s\n", name, (int)(end - line), line);
		name = "";
		line = end + 1;
	} while (*end);
}

void steps_print(const struct steps *steps)
{
	for (int i = 0; i < steps->count; i++)
		if (!steps->items[i].json_only)
			print_step(&steps->items[i]);
}

static json_t *list_of(json_t *all, const char *kind)
{
	json_t *list = json_object_get(all, kind);

	if (!list) {
		list = json_array();
		json_object_set_new(all, kind, list);
	}
	return list;
}

json_t *steps_json(const struct steps *steps)
{
	json_t *all = json_object(), *group = NULL, *into;
	int number = 0;

	for (int i = 0; i < steps->count; i++) {
		const struct step *step = &steps->items[i];

		if (step->group && step->number != number) {
			group = json_object();
			json_array_append_new(list_of(all, step->group), group);
			number = step->number;
		}
		into = step->group ? group : all;
		json_object_set_new(into, step->name, json_string(step->text));
	}
	return all;
}

void steps_free(struct steps *steps)
{
	for (int i = 0; i < steps->count; i++)
		free(steps->items[i].text);
	free(steps->items);
	*steps = (struct steps){ 0 };
}
