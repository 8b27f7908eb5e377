/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef QUOTADEFER_RECORD_H
#define QUOTADEFER_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Cyrus's quota resources, in the order in which it tests them. */
enum qd_resource {
	QD_STORAGE,
	QD_MESSAGE,
	QD_ANNOTATION_STORAGE,
	QD_MAILBOX_COUNT,
	QD_RESOURCES
};

/* Which check of Cyrus's a verdict agrees with. */
enum qd_rule {
	QD_RULE_LMTPD,	/* lmtpd at RCPT, lmtp_strict_quota: 0 */
	QD_RULE_STRICT, /* lmtpd at RCPT, lmtp_strict_quota: 1 */
	QD_RULE_SMMAPD	/* smmapd */
};

/*
 * used is in bytes or messages or mailboxes; limit in KiB for the two storage
 * resources, else as used. A negative limit is no limit; 0 is a real one.
 */
struct qd_usage {
	int64_t used;
	int64_t limit;
};

/*
 * What is known of one quota root.
 *
 * since is when it went over (0: it is not), read when these figures were
 * read, both in seconds since 1970. kept: the root could not be read lately,
 * so this record is only as fresh as its own read time.
 */
struct qd_record {
	struct qd_usage usage[QD_RESOURCES];
	int64_t since;
	int64_t read;
	bool kept;
};

/* Room for the text form and the packed form. */
#define QD_RECORD_TEXT 256
#define QD_RECORD_PACK 128

/* No usage, no limit. */
void qd_record_init(struct qd_record *rec);

/* A limit in the unit of used; INT64_MAX for none. Multiplied in 64 bits. */
int64_t qd_usage_limit(const struct qd_record *rec, enum qd_resource res);

/*
 * The first resource that rule finds over for a message of size bytes (0 if
 * the sender did not say), or -1 if none is. Cyrus: quota_check in
 * imap/quota_db.c, verify_user in imap/lmtpd.c, verify_user in imap/smmapd.c.
 */
int qd_record_over(const struct qd_record *rec, enum qd_rule rule,
		   int64_t size);

/* True if the figures, since and kept are the same; read is not compared. */
bool qd_record_same(const struct qd_record *a, const struct qd_record *b);

/* The name for log lines: "storage", "message", ... */
const char *qd_resource_name(enum qd_resource res);

/* "lmtpd", "lmtpd-strict" or "smmapd". */
const char *qd_rule_name(enum qd_rule rule);

/*
 * The text form, as stored in Redis and documented in quotadefer-schema(7):
 * "1 S=102401/100 since=1700000000 read=1700000060". Returns its length.
 */
size_t qd_record_format(const struct qd_record *rec, char out[QD_RECORD_TEXT]);

/*
 * Read the text form. Returns 0, or -1 for another version, a malformed or a
 * truncated text, leaving *rec alone. Unknown keys are ignored.
 */
int qd_record_parse(const char *text, size_t length, struct qd_record *rec);

/* The packed form, as stored in the local table. Returns its length. */
size_t qd_record_pack(const struct qd_record *rec,
		      unsigned char out[QD_RECORD_PACK]);

/* Read the packed form. Returns 0, or -1 if it is not one. */
int qd_record_unpack(const unsigned char *data, size_t length,
		     struct qd_record *rec);

#endif
