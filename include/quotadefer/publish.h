/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef QUOTADEFER_PUBLISH_H
#define QUOTADEFER_PUBLISH_H

#include <stdbool.h>
#include <stdint.h>

#include "quotadefer/error.h"
#include "quotadefer/rootset.h"
#include "quotadefer/settings.h"
#include "quotadefer/source.h"

/*
 * Where records are published: the local table, or Redis. Every function
 * returns 0, or -1 with *err. self is what open made.
 */
struct qd_publisher {
	const char *name;
	int (*open)(const struct qd_settings *settings, bool read_only,
		    void **self, struct qd_error *err);
	/* Hold source alone; EX_TEMPFAIL with who has it otherwise. brief:
	   for a moment, so that it is soon free if we die in it. */
	int (*lock)(void *self, const char *source, bool brief,
		    struct qd_error *err);
	/* Hold it no longer, whether it is held or not. */
	void (*unlock)(void *self);
	/* Go on holding it; call at least every few seconds. */
	int (*renew)(void *self, struct qd_error *err);
	/* Is what was published still there, as far as can be told without
	   reading it? To be asked now and then. NULL: it always is. */
	int (*look)(void *self, struct qd_error *err);
	/* What source published before (*known), and its records. */
	int (*load)(void *self, const char *source, bool *known,
		    struct qd_source *before, struct qd_rootset *records,
		    struct qd_error *err);
	/* The same, but only the records of these names (sorted). Not known
	   also if some of what was published is lost. */
	int (*load_some)(void *self, const char *source,
			 const struct qd_rootset *names, bool *known,
			 struct qd_source *before, struct qd_rootset *records,
			 struct qd_error *err);
	/* Call each for every source there is. */
	int (*sources)(void *self,
		       int (*each)(void *arg, const struct qd_source *src),
		       void *arg, struct qd_error *err);
	/* Say whose changes follow; announce: src is new, or not as before. */
	int (*begin)(void *self, const struct qd_source *src, bool announce,
		     struct qd_error *err);
	/* Replace a record, at the latest by finish. before NULL: there was
	   none; after NULL: there is to be none. */
	int (*change)(void *self, const char *root,
		      const struct qd_record *before,
		      const struct qd_record *after, struct qd_error *err);
	/* Write what is left, and src as it is now; beat false: of src no
	   more need be told than the number of its records. May end the hold
	   already. */
	int (*finish)(void *self, const struct qd_source *src, bool beat,
		      struct qd_error *err);
	void (*close)(void **self);
};

extern const struct qd_publisher qd_publisher_lmdb;
extern const struct qd_publisher qd_publisher_redis;

struct qd_published {
	int64_t added, changed, removed;
};

/* Told of each difference; before or after is NULL. */
typedef void qd_difference(void *arg, const char *root,
			   const struct qd_record *before,
			   const struct qd_record *after);

/*
 * What to publish: wanted and current are sorted; unreadable (sorted) roots
 * keep the record they have, marked as kept. removals: the scan was complete;
 * if not, all roots that it did not find are treated so.
 */
struct qd_reconcile {
	struct qd_rootset *current;
	struct qd_rootset *wanted;
	const struct qd_rootset *unreadable;
	int64_t last_scan; /* when current was last known to be true */
	bool removals;
};

/*
 * Work out the differences and hand them over: first what is added or
 * changed, from the last name to the first, then what is removed, from the
 * first to the last: so a root that shields others is in the table as long as
 * what it shields them from. A root that stays over keeps its since.
 * publisher NULL: only tell. each may be NULL. Returns 0 or -1 with *err;
 * *done counts in both cases.
 */
int qd_publish_reconcile(const struct qd_reconcile *what,
			 const struct qd_publisher *publisher, void *self,
			 qd_difference *each, void *arg,
			 struct qd_published *done, struct qd_error *err);

/*
 * Refuse (EX_CONFIG) if another source that is alive has another naming than
 * src: one table has one naming.
 */
int qd_publish_check_naming(const struct qd_publisher *publisher, void *self,
			    const struct qd_source *src, int64_t now,
			    int64_t max_age, struct qd_error *err);

#endif
