/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef QUOTADEFER_CTL_COMPARE_H
#define QUOTADEFER_CTL_COMPARE_H

/* The parts of quotadefer-ctl compare. */

#include <stdbool.h>

#include "quotadefer/imapdconf.h"
#include "quotadefer/quotastore.h"
#include "quotadefer/rootset.h"
#include "quotadefer/table.h"

#include "asker.h"
#include "ctl.h"

/* What becomes of one mailbox. */
enum outcome {
	AGREE,
	STALE,	/* a new scan would agree */
	MISSED, /* Cyrus refuses, and the table lets pass */
	FALSE,	/* the table defers, and Cyrus accepts */
	UNSURE, /* Cyrus gave no verdict, or not exactly enough */
	OUTCOMES
};

struct comparison {
	struct ctl *ctl;
	const struct qd_settings *settings;
	struct qd_imapdconf conf;
	struct qd_table *table;
	struct qd_source source;
	enum qd_rule rule; /* that a scan would publish now */
	struct asker asker;
	struct qd_rootset roots; /* to compare: names only */
	struct qd_rootset doubts;
	long counts[OUTCOMES];
	long skipped; /* get no mail under that name */
	void *lines;  /* of the report */
};

/* What was found about one mailbox whose answers differ. */
struct facts {
	bool defers; /* the table */
	enum cyrus cyrus;
	bool rules_differ;	/* smmapd has another rule than lmtpd here */
	bool over_before, over; /* the quota file, before and after asking */
};

/*
 * All names that a quota root's mailbox has for Cyrus. Returns false if no
 * mail is looked up under that root: a folder of a user, a domain root, a name
 * that no address becomes.
 */
bool compare_recipient(const struct qd_naming *naming, const char *root,
		       struct recipient *out);

enum outcome compare_judge(const struct facts *facts);

/* The source's records, and a sample of users without one. 0 or -1. */
int compare_collect(struct comparison *c, int64_t sample, struct qd_error *err);

/* Read these roots, and those above them, as they are now. 0 or -1. */
int compare_read(const struct comparison *c, const struct qd_rootset *names,
		 struct qd_scan *scan, struct qd_error *err);

/* The root that counts for this mailbox, if it was read. */
bool compare_find(const struct comparison *c, const struct qd_scan *scan,
		  const char *mailbox, struct qd_record *rec);

/* Compare all of c->roots, and report. 0, or -1 with *err: it was cut short. */
int compare_all(struct comparison *c, struct qd_error *err);

/* Begin, add to, and print a report. */
void compare_report_begin(struct comparison *c);
void compare_report_line(struct comparison *c, enum outcome outcome,
			 const struct recipient *recipient, bool defers,
			 const struct said *said);
void compare_report_end(struct comparison *c);

#endif
