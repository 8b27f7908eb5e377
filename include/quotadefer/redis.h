/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef QUOTADEFER_REDIS_H
#define QUOTADEFER_REDIS_H

#include <stddef.h>
#include <stdint.h>

#include "quotadefer/error.h"
#include "quotadefer/settings.h"

/*
 * One connection to a Redis server. It is of no more use after any failure,
 * except as qd_redis_settle has it: close it and open another. For one thread
 * at a time.
 */
struct qd_redis;

struct redisReply;

/*
 * Connect to the server of the settings, authenticate, select the database.
 * wake_fd: give up waiting, with EX_TEMPFAIL, when it becomes readable; or -1.
 * Blocks at most redis_timeout for each of connecting and the replies.
 * Returns 0, or -1 with *err: EX_UNAVAILABLE, or EX_NOPERM for a password or
 * permission that is missing.
 *
 * With sentinels: to the primary that they name, which must say so too. They
 * are asked again for about redis_timeout if it does not, or cannot be
 * reached. settings must then outlive the connection.
 */
int qd_redis_open(const struct qd_settings *settings, int wake_fd,
		  struct qd_redis **out, struct qd_error *err);

/* Close and set *redis to NULL. NULL is fine. */
void qd_redis_close(struct qd_redis **redis);

/* The server's name for messages, without secrets. */
const char *qd_redis_name(const struct qd_redis *redis);

/*
 * Add a command of so many words to what is to be sent. Nothing goes out
 * before qd_redis_reply. Returns 0 or -1 with *err.
 */
int qd_redis_send_words(struct qd_redis *redis, const char *const *words,
			size_t count, struct qd_error *err);

/* The same, with the words one by one. */
#define qd_redis_send(redis, err, ...)                                     \
	qd_redis_send_words(redis, (const char *const[]){ __VA_ARGS__ },   \
			    sizeof((const char *const[]){ __VA_ARGS__ }) / \
				    sizeof(const char *),                  \
			    err)

/*
 * Send what waits, and take the reply to the oldest command without one,
 * waiting extra_ms longer than redis_timeout for it (for BLOCK). An error
 * reply is a failure. The reply is the caller's, for freeReplyObject.
 */
int qd_redis_reply(struct qd_redis *redis, int64_t extra_ms,
		   struct redisReply **out, struct qd_error *err);

/* The text of a reply; NULL if it is not a string, or has a NUL in it. */
const char *qd_redis_text(const struct redisReply *reply);

/* What an error reply means to somebody who has to mend it; always -1. */
int qd_redis_refused(const struct qd_redis *redis, const char *text,
		     struct qd_error *err);

/* Take count replies and throw them away; -1 if one of them is a failure. */
int qd_redis_skip(struct qd_redis *redis, int count, struct qd_error *err);

/*
 * After a command was refused: take the replies to all others that were sent,
 * so that new ones can be. Returns 0, or -1 if the connection is dead.
 */
int qd_redis_settle(struct qd_redis *redis);

/*
 * Which process it is, and whose data it has: another text after a restart, a
 * failover, and where a server was promoted. "" if the server does not say.
 */
enum {
	QD_REDIS_IDENTITY = 128
};
int qd_redis_identity(struct qd_redis *redis, char out[QD_REDIS_IDENTITY],
		      struct qd_error *err);

/*
 * Ask a server that sentinels have named whether it still is the primary, as
 * one of other commands, and take the answer: -1 if it is not. Now and then a
 * sentinel is asked as well, for at most 0.2 s. Both do nothing for other
 * servers, which may be what they like.
 */
int qd_redis_ask_role(struct qd_redis *redis, struct qd_error *err);
int qd_redis_take_role(struct qd_redis *redis, struct qd_error *err);

/*
 * After the last write: -1 if most sentinels that answer, each within 0.2 s,
 * name another server by now, so that what was written may be thrown away. 0
 * for other servers.
 */
int qd_redis_confirm(const struct qd_redis *redis, struct qd_error *err);

/*
 * Key names, as in quotadefer-schema(7): "{PREFIX}:KIND" or
 * "{PREFIX}:KIND:SOURCE". Returns out.
 */
enum {
	QD_REDIS_KEY = 200
};
const char *qd_redis_key(char out[QD_REDIS_KEY], const char *prefix,
			 const char *kind, const char *source);

#endif
