/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef QUOTADEFER_SOURCE_H
#define QUOTADEFER_SOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "quotadefer/naming.h"
#include "quotadefer/record.h"

/* The version of the records and keys that this program reads and writes. */
#define QD_SCHEMA     1
#define QD_SOURCE_MAX 63

/*
 * What a source (one Cyrus server) publishes beside its records.
 *
 * scanned is when the last complete scan ended, heartbeat when the scanner
 * last said it was well; both in seconds since 1970. records is how many
 * records are published, which is at least over.
 */
struct qd_source {
	char name[QD_SOURCE_MAX + 1];
	char host[256];
	int64_t schema;
	int64_t scanned;
	int64_t heartbeat;
	int64_t roots;
	int64_t over;
	int64_t malformed;
	int64_t unreadable;
	int64_t records;
	enum qd_rule rule;
	int64_t largest_message;
	bool domain_roots; /* a domain's root counts for its users */
	struct qd_naming naming;
};

/* Letters, digits, dots, hyphens and underscores; 1 to QD_SOURCE_MAX. */
bool qd_source_name_valid(const char *name);

/* Schema of this program, nothing scanned, default naming. */
void qd_source_init(struct qd_source *src, const char *name);

/*
 * Call put for every published field with its text; the name itself is not
 * one. Stops and returns the first non-zero result of put.
 */
int qd_source_each(const struct qd_source *src,
		   int (*put)(void *arg, const char *field, const char *value),
		   void *arg);

/*
 * Set a field from its text. Unknown fields are ignored, so that a newer
 * source can say more. Returns -1 if the value cannot be read.
 */
int qd_source_set(struct qd_source *src, const char *field, const char *value);

/*
 * Seconds since the source was last known to be well, never negative. A time
 * in the future (clocks differ between hosts) counts as now, unless it is
 * further off than max_age: then nobody knows, and the answer is INT64_MAX.
 */
int64_t qd_source_age(const struct qd_source *src, int64_t now,
		      int64_t max_age);

/* The same for one time stamp. */
int64_t qd_age(int64_t stamp, int64_t now, int64_t max_age);

#endif
