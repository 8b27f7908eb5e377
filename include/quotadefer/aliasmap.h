/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef QUOTADEFER_ALIASMAP_H
#define QUOTADEFER_ALIASMAP_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "quotadefer/error.h"
#include "quotadefer/found.h"

/*
 * One alias map: from a key to a text that lists addresses. What Postfix
 * calls a table of virtual_alias_maps or alias_maps; the same key gets the
 * same text here as from "postmap -q" or "postalias -q".
 */

/* The longest key that is looked up; longer ones are QD_ABSENT. */
#define QD_ALIAS_KEY_MAX 640

enum qd_aliasmap_kind {
	QD_ALIASMAP_VIRTUAL, /* virtual(5): keys are addresses and @domain */
	QD_ALIASMAP_LOCAL    /* aliases(5): keys are local parts */
};

/*
 * What a look-up gives. text is the caller's to free, and NULL if not
 * QD_FOUND. With explain set by the caller, detail gets a few words for people
 * on how it was found, such as the LDAP filters that were sent; else "".
 */
struct qd_aliasvalue {
	char *text;
	bool explain;
	char detail[1024];
};

/* Buckets of the latency of look-ups: up to 1 us, 2 us, 4 us, and so on. */
enum {
	QD_ALIAS_BUCKETS = 24
};

/* What a map counts; each member is atomic on its own. */
struct qd_aliasmap_stats {
	/* answered from memory: with targets, known to have none, too old */
	atomic_ullong hits, negative_hits, stale_hits;
	/* answered by a look-up that was under way for somebody else */
	atomic_ullong shared;
	/* asked for, and what came of it */
	atomic_ullong found, absent, errors;
	/* not asked for, because the breaker was open */
	atomic_ullong refused;
	atomic_ullong nanoseconds;
	atomic_ullong bucket[QD_ALIAS_BUCKETS];
	atomic_ullong breaker_opened; /* how often */
	atomic_bool breaker_open;
};

struct qd_aliasmap;

struct qd_aliasmap_ops {
	/*
	 * Look up key: UTF-8 or not, in any case, without the NUL. QD_ERROR
	 * means that the answer is unknown, and *err says why: EX_UNAVAILABLE
	 * if no key can be asked for at the moment.
	 *
	 * deadline_ms is on the clock of qd_aliasmap_now_ms; an answer that
	 * is not there by then is QD_ERROR. Thread-safe.
	 */
	enum qd_found (*get)(struct qd_aliasmap *map, const char *key,
			     int64_t deadline_ms, struct qd_aliasvalue *value,
			     struct qd_error *err);
	/*
	 * The text of an ":include:" file, as a list of targets; NULL for a
	 * map that has none. Otherwise as get.
	 */
	enum qd_found (*include)(struct qd_aliasmap *map, const char *path,
				 struct qd_aliasvalue *value,
				 struct qd_error *err);
	/* Free the map and what it holds. */
	void (*close)(struct qd_aliasmap *map);
};

/* Backends have this as their first member. name is "type:/path". */
struct qd_aliasmap {
	const struct qd_aliasmap_ops *ops;
	enum qd_aliasmap_kind kind;
	const char *name;
	struct qd_aliasmap_stats stats;
	/* told about outages and reloads; may be NULL. Thread-safe. */
	void (*say)(int priority, const char *text);
};

/* CLOCK_MONOTONIC in milliseconds, and in nanoseconds. */
int64_t qd_aliasmap_now_ms(void);
int64_t qd_aliasmap_now_ns(void);

/* For backends: count a look-up that began at start_ns, and its outcome. */
void qd_aliasmap_count(struct qd_aliasmap_stats *stats, enum qd_found found,
		       int64_t start_ns);

/*
 * Open "texthash:/path" and "aliases:/path". A file that cannot be read is
 * an error; lines that Postfix would skip are skipped, and each is told to
 * say. With strict they are an error.
 *
 * A file that changes later is read again by the first look-up after that.
 * One that was written in place, and so may be caught half-written or empty,
 * is used once it has been left alone for a second. One that is missing,
 * unreadable, or has more lines to be skipped than the content in use, is
 * told to say once, and the old content stays. A file that is empty for good
 * is a map without entries.
 *
 * The files, those of ":include:" too, are read while mail comes in: the user
 * that the filter runs as needs to be able to. An ":include:" file is bounded
 * to 1 MB, a map to 64 MB. Keys are folded as with smtputf8_enable = yes.
 *
 * Returns 0 or -1 with *err, which names file and line. name is borrowed.
 */
int qd_alias_texthash_open(const char *name, bool strict,
			   void (*say)(int priority, const char *text),
			   struct qd_aliasmap **out, struct qd_error *err);
int qd_alias_aliases_open(const char *name, bool strict,
			  void (*say)(int priority, const char *text),
			  struct qd_aliasmap **out, struct qd_error *err);

/* How a directory may be asked; the settings of the same names. */
struct qd_alias_ldap_limits {
	int64_t connect_timeout_ms;
	int64_t search_timeout_ms;
	int64_t connections;
};

/*
 * Open "ldap:/path" of ldap_table(5): reads the file, connects to nothing. A
 * parameter that cannot be honoured is an error that names it. Call once
 * before any thread is started, libldap asks for it. Built without libldap:
 * always an error, EX_CONFIG.
 */
int qd_alias_ldap_open(const char *name,
		       const struct qd_alias_ldap_limits *limits,
		       void (*say)(int priority, const char *text),
		       struct qd_aliasmap **out, struct qd_error *err);

/*
 * A number for what "ldap:/path" is read from: that file, and those that it
 * names, with certificates and domains. When it is another one, opening gives
 * another map.
 */
uint64_t qd_alias_ldap_state(const char *name);

/* What a cache in front of a map may hold, and for how long. */
struct qd_alias_cache_limits {
	int64_t entries;
	int64_t ttl_ms;
	int64_t negative_ttl_ms;
	int64_t stale_ms; /* beyond its TTL, while the map is in error */
};

/*
 * Put a cache in front of a map; takes the map over, even on failure. One
 * look-up of a key is in flight at a time: others wait for it, at most until
 * their own deadline. The stats are the inner map's, with the cache's.
 */
int qd_alias_cache_open(struct qd_aliasmap *inner,
			const struct qd_alias_cache_limits *limits,
			struct qd_aliasmap **out, struct qd_error *err);

/* In what state the cache has key: "absent", "fresh, 12 s old", ... */
void qd_alias_cache_state(struct qd_aliasmap *map, const char *key, char *out,
			  size_t size);

#endif
