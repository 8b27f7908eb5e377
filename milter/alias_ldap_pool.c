/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Connections to a directory, each leased to one look-up at a time.
 *
 * Each connection lives in a thread of its own, and whoever looks something up
 * waits for that thread until his deadline and not longer. No limit of libldap
 * covers all that it may wait for: not the resolver, nor a server that is
 * silent in a TLS handshake, or in the middle of a TLS record. Such a server
 * is cut off by who waits; and what cannot be, holds one of the bounded number
 * of threads, and no mail.
 *
 * Threads are started when they are first needed: a map is opened before the
 * daemon forks.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "alias_ldap_impl.h"

enum {
	/* room for QD_LDAP_DEPTH_MAX levels twice over */
	STACK_SIZE = 4 << 20,
	/* for threads to end that have nothing to wait for */
	CLOSE_MS = 1000,
	/* how often those who wait look at what they wait for */
	WATCH_MS = 50
};

enum state {
	QUEUED,
	RUNNING,
	DONE,
	ABANDONED /* nobody waits any more: whoever runs it frees it */
};

struct job {
	struct job *next;
	enum state state;
	pthread_cond_t done;
	struct qd_ldap_guard *guard; /* of the connection, while RUNNING */
	struct qd_ldap_query query;  /* with copies of its own */
	struct qd_ldap_answer answer;
};

struct qd_ldap_pool {
	pthread_mutex_t lock;
	pthread_cond_t work, ended;
	struct qd_ldap_shared *shared;
	struct job *first, **last; /* those that are QUEUED */
	int64_t threads, idle;
	bool is_closing;
	bool is_orphaned; /* the last thread frees it */
};

static void init_cond(pthread_cond_t *cond)
{
	pthread_condattr_t attr;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(cond, &attr);
	pthread_condattr_destroy(&attr);
}

static void free_job(struct job *job)
{
	free((char *)job->query.key);
	free((char *)job->query.base);
	free((char *)job->query.filter);
	qd_ldap_text_free(&job->answer.text);
	pthread_cond_destroy(&job->done);
	free(job);
}

static struct job *new_job(const struct qd_ldap_query *query)
{
	struct job *job = calloc(1, sizeof(*job));

	if (!job)
		return NULL;
	init_cond(&job->done);
	job->query = *query;
	job->query.key = strdup(query->key);
	job->query.base = strdup(query->base);
	job->query.filter = strdup(query->filter);
	if (job->query.key && job->query.base && job->query.filter)
		return job;
	free_job(job);
	return NULL;
}

void qd_ldap_shared_free(struct qd_ldap_shared **shared)
{
	if (!*shared)
		return;
	qd_ldap_servers_free(&(*shared)->servers);
	qd_ldap_table_free((*shared)->table);
	free((*shared)->table);
	free(*shared);
	*shared = NULL;
}

static void free_pool(struct qd_ldap_pool *pool)
{
	pthread_cond_destroy(&pool->work);
	pthread_cond_destroy(&pool->ended);
	pthread_mutex_destroy(&pool->lock);
	qd_ldap_shared_free(&pool->shared);
	free(pool);
}

static void enqueue(struct qd_ldap_pool *pool, struct job *job)
{
	*pool->last = job;
	pool->last = &job->next;
}

static void dequeue(struct qd_ldap_pool *pool, struct job *job)
{
	struct job **link = &pool->first;

	while (*link != job)
		link = &(*link)->next;
	*link = job->next;
	if (!*link)
		pool->last = link;
	job->next = NULL;
}

/* Run one, with the lock held before and after, but not meanwhile. */
static void run_job(struct qd_ldap_pool *pool, struct job *job,
		    struct qd_ldap_connection *connection)
{
	dequeue(pool, job);
	job->state = RUNNING;
	job->guard = connection->guard;
	pthread_mutex_unlock(&pool->lock);
	qd_ldap_look_up(connection, &job->query, &job->answer);
	pthread_mutex_lock(&pool->lock);
	if (job->state == ABANDONED) {
		free_job(job);
		return;
	}
	job->state = DONE;
	pthread_cond_signal(&job->done);
}

static void *serve(void *arg)
{
	struct qd_ldap_pool *pool = arg;
	struct qd_ldap_connection connection = {
		.shared = pool->shared,
		.guard = qd_ldap_guard_new(),
	};
	bool is_orphaned;

	pthread_mutex_lock(&pool->lock);
	while (connection.guard && !pool->is_closing) {
		if (pool->first) {
			run_job(pool, pool->first, &connection);
			continue;
		}
		pool->idle++;
		pthread_cond_wait(&pool->work, &pool->lock);
		pool->idle--;
	}
	pthread_mutex_unlock(&pool->lock);
	qd_ldap_disconnect(&connection);
	qd_ldap_guard_free(&connection.guard);

	pthread_mutex_lock(&pool->lock);
	pool->threads--;
	is_orphaned = pool->is_orphaned && pool->threads == 0;
	pthread_cond_signal(&pool->ended);
	pthread_mutex_unlock(&pool->lock);
	if (is_orphaned)
		free_pool(pool);
	return NULL;
}

/* Signals are for others; and a SIGPIPE that is blocked is just EPIPE. */
static int start_thread(struct qd_ldap_pool *pool)
{
	pthread_attr_t attr;
	pthread_t thread;
	sigset_t all, before;
	int rc;

	sigfillset(&all);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_SIZE);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	rc = pthread_create(&thread, &attr, serve, pool);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attr);
	return rc;
}

struct qd_ldap_pool *qd_ldap_pool_new(struct qd_ldap_shared *shared)
{
	struct qd_ldap_pool *pool = calloc(1, sizeof(*pool));

	if (!pool)
		return NULL;
	pthread_mutex_init(&pool->lock, NULL);
	init_cond(&pool->work);
	init_cond(&pool->ended);
	pool->shared = shared;
	pool->last = &pool->first;
	return pool;
}

static struct timespec to_timespec(int64_t ms)
{
	return (struct timespec){ .tv_sec = ms / 1000,
				  .tv_nsec = ms % 1000 * 1000000 };
}

void qd_ldap_pool_close(struct qd_ldap_pool **pool)
{
	struct qd_ldap_pool *closing = *pool;
	struct timespec until = to_timespec(qd_aliasmap_now_ms() + CLOSE_MS);
	int64_t threads, busy;

	if (!closing)
		return;
	*pool = NULL;
	pthread_mutex_lock(&closing->lock);
	closing->is_closing = true;
	busy = closing->threads - closing->idle;
	pthread_cond_broadcast(&closing->work);
	/* the busy ones may wait for a server for long: they go alone */
	while (closing->threads > busy &&
	       pthread_cond_timedwait(&closing->ended, &closing->lock,
				      &until) == 0)
		;
	closing->is_orphaned = true;
	threads = closing->threads;
	pthread_mutex_unlock(&closing->lock);
	if (threads == 0)
		free_pool(closing);
}

/* A thread for what is in the queue, unless one is free for it. */
static int provide_thread(struct qd_ldap_pool *pool, struct qd_error *err)
{
	int64_t waiting = 0;

	for (struct job *job = pool->first; job; job = job->next)
		waiting++;
	if (pool->idle >= waiting ||
	    pool->threads >= pool->shared->limits.connections) {
		pthread_cond_signal(&pool->work);
		return 0;
	}
	errno = start_thread(pool);
	if (errno == 0)
		pool->threads++;
	else if (pool->threads == 0)
		return qd_error_set(err, EX_OSERR, "a thread: %m");
	return 0;
}

/* The state in which the deadline finds the job. */
static enum state await(struct qd_ldap_pool *pool, struct job *job)
{
	int64_t deadline = job->query.deadline_ms, now;

	while (job->state != DONE && (now = qd_aliasmap_now_ms()) < deadline) {
		int64_t left = deadline - now;
		struct timespec until =
			to_timespec(now + (left < WATCH_MS ? left : WATCH_MS));

		pthread_cond_timedwait(&job->done, &pool->lock, &until);
		if (job->state == RUNNING)
			qd_ldap_guard_cut(job->guard, false);
	}
	return job->state;
}

static void run_out_of_time(struct qd_ldap_pool *pool, struct job *job,
			    struct qd_error *err)
{
	const char *server = pool->shared->table->servers.items[0];

	if (job->state == QUEUED) {
		dequeue(pool, job);
		free_job(job);
		qd_error_set(err, EX_UNAVAILABLE,
			     "%.200s: all %d connections are busy", server,
			     (int)pool->threads);
		return;
	}
	job->state = ABANDONED;
	qd_ldap_guard_cut(job->guard, true);
	qd_error_set(err, EX_UNAVAILABLE, "%.200s: no answer in time", server);
}

void qd_ldap_pool_ask(struct qd_ldap_pool *pool,
		      const struct qd_ldap_query *query,
		      struct qd_ldap_answer *answer)
{
	struct job *job = new_job(query);

	answer->found = QD_ERROR;
	if (!job) {
		qd_error_set(&answer->err, EX_OSERR, "no memory");
		return;
	}
	pthread_mutex_lock(&pool->lock);
	enqueue(pool, job);
	if (provide_thread(pool, &answer->err) < 0) {
		dequeue(pool, job);
		free_job(job);
	} else if (await(pool, job) == DONE) {
		*answer = job->answer;
		job->answer.text = (struct qd_ldap_text){ 0 };
		free_job(job);
	} else {
		run_out_of_time(pool, job, &answer->err);
	}
	pthread_mutex_unlock(&pool->lock);
}
