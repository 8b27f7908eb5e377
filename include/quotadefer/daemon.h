/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef QUOTADEFER_DAEMON_H
#define QUOTADEFER_DAEMON_H

#include <pthread.h>
#include <stdatomic.h>

#include "quotadefer/aliases.h"
#include "quotadefer/metrics.h"
#include "quotadefer/settings.h"
#include "quotadefer/table.h"

/*
 * What the threads of the filter share. The settings, and the alias maps that
 * go with them, are replaced whole by a reload; generation counts those, so
 * that a session can see cheaply that it holds old ones.
 */
struct qd_daemon {
	pthread_mutex_t lock;
	struct qd_settings *settings; /* under lock */
	struct qd_aliases *aliases;   /* too; NULL: no alias_maps */
	atomic_uint generation;
	struct qd_table *table;
	/* held by who writes to the table, or opens it anew */
	pthread_mutex_t writing;
	struct qd_metrics metrics;
	atomic_bool said_no_domains;
	atomic_llong alias_failed_at; /* last said so, monotonic seconds */
	atomic_bool table_failed;     /* said so, and not yet that it is back */
	atomic_llong table_failed_at; /* last, monotonic seconds */
};

/* Take over settings, aliases and table. */
void qd_daemon_init(struct qd_daemon *daemon, struct qd_settings *settings,
		    struct qd_aliases *aliases, struct qd_table *table);

/*
 * References to the settings and alias maps in force, and their generation;
 * both out parameters may be NULL.
 */
struct qd_settings *qd_daemon_settings(struct qd_daemon *daemon,
				       struct qd_aliases **aliases,
				       unsigned int *generation);

/* Put new settings and alias maps in force; takes over the references. */
void qd_daemon_replace_settings(struct qd_daemon *daemon,
				struct qd_settings *settings,
				struct qd_aliases *aliases);

/*
 * Note that a recipient passed because domains has to be set. Says so once,
 * and again after a reload that did not help. Thread-safe.
 */
void qd_daemon_no_domains(struct qd_daemon *daemon);

/*
 * Note that a recipient passed because an address could not be expanded. Says
 * why, once a minute at most: a map in trouble says so itself. Thread-safe.
 */
void qd_daemon_alias_failed(struct qd_daemon *daemon,
			    const struct qd_error *err);

/*
 * Note that the table could not be read, and what is done meanwhile. Logs the
 * first failure of an outage. Thread-safe.
 */
void qd_daemon_table_failed(struct qd_daemon *daemon,
			    const struct qd_error *err, const char *meanwhile);

/* Note that it can be read; logs the end of an outage, when it surely is. */
void qd_daemon_table_works(struct qd_daemon *daemon);

#endif
