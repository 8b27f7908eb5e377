/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef QUOTADEFER_SETTINGS_IMPL_H
#define QUOTADEFER_SETTINGS_IMPL_H

/* What the settings*.c files share; no other file may include this. */

#include <stdatomic.h>

#include "quotadefer/settings.h"

enum {
	QD_SETTINGS = 53
};

/* One setting: how it is called, read and what it is by default. */
struct qd_spec {
	const char *name;
	const char *fallback; /* as it would be written; NULL: unset */
	const char *expected; /* the end of "...: expected" */
	bool is_list;
	size_t offset;
	/* Read text into field; false if it is not what is expected. */
	bool (*read)(const struct qd_spec *spec, const char *text, void *field);
	const char *const *choices;
	int64_t min, max;
};

extern const struct qd_spec qd_specs[QD_SETTINGS];

/* What was written for a setting, and where. */
struct qd_raw {
	char **values;
	size_t count;
	char where[300]; /* "FILE:LINE", "-o", or "" for a default */
};

/* The settings with their texts behind them, as they are allocated. */
struct qd_loaded {
	struct qd_settings settings; /* first, so that pointers convert */
	atomic_int references;
	struct qd_raw raw[QD_SETTINGS];
};

/* The place of a setting in qd_specs, or -1. */
int qd_spec_find(const char *name);

/* The name most like a wrong one, or NULL. */
const char *qd_spec_suggest(const char *name);

/* Forget what was written; append one value. -1: out of memory. */
void qd_raw_clear(struct qd_raw *raw);
int qd_raw_add(struct qd_raw *raw, const char *value);

/* Read a file into raw[], with libconfuse. */
int qd_settings_read_file(const char *file, struct qd_raw *raw,
			  struct qd_error *err);

/*
 * Each reads one value: puts it into the field, or adds it to the list, and
 * returns true; false if it is not what the spec expects. milter/settings_read.c
 */
bool qd_read_path(const struct qd_spec *spec, const char *text, void *field);
bool qd_read_socket(const struct qd_spec *spec, const char *text, void *field);
bool qd_read_name(const struct qd_spec *spec, const char *text, void *field);
bool qd_read_text(const struct qd_spec *spec, const char *text, void *field);
bool qd_read_reply(const struct qd_spec *spec, const char *text, void *field);
bool qd_read_enhanced_code(const struct qd_spec *spec, const char *text,
			   void *field);
bool qd_read_delimiter(const struct qd_spec *spec, const char *text,
		       void *field);
bool qd_read_map(const struct qd_spec *spec, const char *text, void *field);
bool qd_read_account(const struct qd_spec *spec, const char *text, void *field);
bool qd_read_domain(const struct qd_spec *spec, const char *text, void *field);
bool qd_read_one_domain(const struct qd_spec *spec, const char *text,
			void *field);
bool qd_read_pattern(const struct qd_spec *spec, const char *text, void *field);
bool qd_read_duration(const struct qd_spec *spec, const char *text,
		      void *field);
bool qd_read_size(const struct qd_spec *spec, const char *text, void *field);
bool qd_read_integer(const struct qd_spec *spec, const char *text, void *field);
bool qd_read_percent(const struct qd_spec *spec, const char *text, void *field);
bool qd_read_mode(const struct qd_spec *spec, const char *text, void *field);
bool qd_read_choice(const struct qd_spec *spec, const char *text, void *field);
bool qd_read_netblock(const struct qd_spec *spec, const char *text,
		      void *field);
bool qd_read_domain_mode(const struct qd_spec *spec, const char *text,
			 void *field);
bool qd_read_after(const struct qd_spec *spec, const char *text, void *field);

/* For mode, and the values of mode_domains. */
extern const char *const qd_mode_names[];

#endif
