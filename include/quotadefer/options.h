/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef QUOTADEFER_OPTIONS_H
#define QUOTADEFER_OPTIONS_H

#include <stdbool.h>

#include "quotadefer/error.h"
#include "quotadefer/settings.h"

/* The options that the three programs have in common. */
struct qd_options {
	const char *program;
	const char *config;	       /* -c */
	const char *overrides[64 + 1]; /* -o, NULL-terminated */
	int override_count;
	bool check;  /* -n */
	int verbose; /* -v */
};

/* getopt's letters for them, to be followed by a program's own. */
#define QD_OPTIONS "c:o:nvVh"

/* Their getopt_long equivalents. */
#define QD_LONG_OPTIONS                                     \
	{ "config", required_argument, NULL, 'c' },         \
		{ "option", required_argument, NULL, 'o' }, \
		{ "check", no_argument, NULL, 'n' },        \
		{ "verbose", no_argument, NULL, 'v' },      \
		{ "version", no_argument, NULL, 'V' },      \
	{                                                   \
		"help", no_argument, NULL, 'h'              \
	}

/*
 * Make sure that descriptors 0 to 2 are open, be it on /dev/null: a socket or
 * the table there would get what is written to standard error. Call first.
 */
void qd_options_standard_files(void);

/*
 * Fix the name of the settings file for reloads: from the root directory too,
 * and with no falling back to the defaults if an installed file vanishes.
 * Returns 0 or -1 with *err.
 */
int qd_options_fix_config(struct qd_options *options, struct qd_error *err);

/*
 * Take one of them as getopt(3) found it. Returns false if it is none; prints
 * the version or usage and ends the process for -V and -h.
 */
bool qd_options_take(struct qd_options *options, int letter, char *argument,
		     const char *usage);

/* Add "name=value" as if by -o. */
void qd_options_override(struct qd_options *options, const char *text);

/* Say how to use the program, on standard error, and return EX_USAGE. */
int qd_options_misused(const struct qd_options *options, const char *usage);

/* Write "program: text" to standard error, and return the exit status. */
int qd_options_fail(const struct qd_options *options,
		    const struct qd_error *err);

#endif
