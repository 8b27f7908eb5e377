/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef QUOTADEFER_PUBLISH_REDIS_IMPL_H
#define QUOTADEFER_PUBLISH_REDIS_IMPL_H

/* What the publish_redis*.c files share; no other file may include this. */

#include "quotadefer/publish.h"
#include "quotadefer/redis.h"

/*
 * QD_REMOTE_BATCH changes are one transaction: about a millisecond of the server's
 * time.
 */
enum {
	QD_REMOTE_BATCH = 500
};

struct pending {
	char *root;
	char text[QD_RECORD_TEXT]; /* "": to be removed */
};

struct remote {
	struct qd_redis *redis;
	char server[QD_REDIS_IDENTITY];
	bool whole;	  /* all was loaded, not only some */
	char holder[400]; /* what the lease says, if we hold it */
	bool leased;
	const char *lease_ms;
	int64_t stream_length;
	char prefix[QD_SOURCE_MAX + 1];
	char source[QD_SOURCE_MAX + 1];
	char lease_key[QD_REDIS_KEY], root_key[QD_REDIS_KEY];
	char source_key[QD_REDIS_KEY], log_key[QD_REDIS_KEY];
	char sources_key[QD_REDIS_KEY];
	int64_t records; /* in the hash, with what is pending */
	struct pending pending[QD_REMOTE_BATCH];
	int waiting;
};

/*
 * Begin a transaction that comes to nothing if the lease is no longer ours,
 * or goes while we write; and EXEC it, after so many queued commands.
 */
int qd_remote_begin_transaction(struct remote *r, struct qd_error *err);
int qd_remote_end_transaction(struct remote *r, int queued,
			      struct qd_error *err);

/* Queue what makes the lease last longer. */
int qd_remote_renew_lease(struct remote *r, struct qd_error *err);

/*
 * What a lease says of us, another text each time; and whether what it says is
 * of somebody who has no use for it any more. In publish_redis_holder.c
 */
int qd_remote_name_holder(char *out, size_t size, struct qd_error *err);
bool qd_remote_holder_is_gone(const char *holder);

/*
 * Is this the server, with the data, that all was published to last? Another
 * may lack what it was given last. And: now it is.
 */
bool qd_remote_has_all(const struct remote *r);
void qd_remote_now_has_all(const struct remote *r);

/* Free what is not yet written. */
void qd_remote_forget_pending(struct remote *r);

/* As the members of struct qd_publisher; in publish_redis_load.c */
int qd_remote_load(void *self, const char *source, bool *known,
		   struct qd_source *before, struct qd_rootset *records,
		   struct qd_error *err);
int qd_remote_load_some(void *self, const char *source,
			const struct qd_rootset *names, bool *known,
			struct qd_source *before, struct qd_rootset *records,
			struct qd_error *err);
int qd_remote_sources(void *self,
		      int (*each)(void *arg, const struct qd_source *src),
		      void *arg, struct qd_error *err);

/* and in publish_redis_write.c. */
int qd_remote_begin(void *self, const struct qd_source *src, bool is_new,
		    struct qd_error *err);
int qd_remote_change(void *self, const char *root,
		     const struct qd_record *before,
		     const struct qd_record *after, struct qd_error *err);
int qd_remote_finish(void *self, const struct qd_source *src, bool beat,
		     struct qd_error *err);

#endif
