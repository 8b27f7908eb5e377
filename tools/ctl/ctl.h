/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef QUOTADEFER_CTL_H
#define QUOTADEFER_CTL_H

/* What quotadefer-ctl's commands share. */

#include <stdbool.h>

#include "quotadefer/options.h"
#include "quotadefer/settings.h"
#include "quotadefer/table.h"

/* Of "compare"; what was not given is NULL. */
struct compare_options {
	const char *smmapd, *imap, *lmtp; /* where to ask, one of them */
	const char *user, *password_file; /* for imap */
	bool yes;			  /* for lmtp */
	int64_t sample;
};

struct ctl {
	struct qd_options common;
	const struct qd_settings *settings;
	bool json;	      /* -j */
	bool openmetrics;     /* --openmetrics */
	int64_t size;	      /* --size */
	const char *sender;   /* --sender */
	const char *client;   /* --client */
	const char *argument; /* what follows the command */
	struct compare_options compare;
};

/* Each command returns the exit status. */
int ctl_query(struct ctl *ctl);
int ctl_list(struct ctl *ctl);
int ctl_status(struct ctl *ctl);
int ctl_stats(struct ctl *ctl);
int ctl_reload(struct ctl *ctl);
int ctl_compare(struct ctl *ctl);

/* Open the table for reading; NULL: said why, exit status in *status. */
struct qd_table *ctl_open_table(struct ctl *ctl, int *status);

/* "2 h 13 min", "41 s"; "unknown" for INT64_MAX. Returns out. */
const char *ctl_age(int64_t seconds, char out[32]);

/* Room for it. */
enum {
	CTL_USAGE = 128
};

/* "101.3 MiB of 100.0 MiB, 1.3 MiB over", "12 of 10". Returns out. */
const char *ctl_usage(const struct qd_record *rec, enum qd_resource res,
		      char out[CTL_USAGE]);

#endif
