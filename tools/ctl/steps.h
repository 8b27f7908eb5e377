/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef QUOTADEFER_STEPS_H
#define QUOTADEFER_STEPS_H

#include <stdbool.h>

#include <jansson.h>

/*
 * What "query" has to say: steps, each a name and a text, in order. Some
 * belong together: a map that was asked, a target that was judged. To a person
 * all are lines; in JSON the plain ones are members, and the groups objects
 * in a list of their kind.
 */
struct steps {
	struct step *items;
	int count;
	const char *group; /* to which what is added belongs, or NULL */
	int groups;
	bool json_only; /* what is added now; a group has said it to people */
};

/* What follows belongs to a new group of that kind; NULL: to none. */
void steps_group(struct steps *steps, const char *kind);

/*
 * Add a step; without memory it is left out. The text may have come from
 * anywhere: what is not printable ASCII becomes \xNN.
 */
void steps_add(struct steps *steps, const char *name, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Add a step of our own text, of one line or several. */
void steps_add_lines(struct steps *steps, const char *name, const char *text);

void steps_print(const struct steps *steps);

/* An object of them, for the caller to add to and free. */
json_t *steps_json(const struct steps *steps);

void steps_free(struct steps *steps);

#endif
