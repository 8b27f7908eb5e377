/* SPDX-License-Identifier: BSD-2-Clause */
#include "quotadefer/crew.h"

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "quotadefer/load.h"

enum {
	MOST = 256,
	GROWN_MOST = 32,
	TICK_MS = 120,
	GROW_MS = 60
};

struct member {
	struct qd_crew *crew;
	pthread_t thread;
	void *state;
};

struct qd_crew {
	struct qd_crew_job job;
	pthread_mutex_t lock;
	pthread_cond_t task_added, all_done;
	void **pile;
	size_t height, room;
	int idle, threads;
	bool stopped; /* leave, whatever is left */
	struct member members[MOST];
};

struct qd_crew *qd_crew_new(const struct qd_crew_job *job)
{
	struct qd_crew *crew = calloc(1, sizeof(*crew));
	pthread_condattr_t monotonic;

	if (!crew)
		return NULL;
	crew->job = *job;
	pthread_mutex_init(&crew->lock, NULL);
	pthread_cond_init(&crew->task_added, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&crew->all_done, &monotonic);
	pthread_condattr_destroy(&monotonic);
	return crew;
}

int qd_crew_add(struct qd_crew *crew, void *task)
{
	int rc = 0;

	pthread_mutex_lock(&crew->lock);
	if (crew->height == crew->room) {
		size_t room = crew->room ? crew->room * 2 : 64;
		void **pile = realloc(crew->pile, room * sizeof(*pile));

		if (pile) {
			crew->pile = pile;
			crew->room = room;
		} else {
			rc = -1;
		}
	}
	if (rc == 0)
		crew->pile[crew->height++] = task;
	pthread_cond_signal(&crew->task_added);
	pthread_mutex_unlock(&crew->lock);
	if (rc < 0)
		crew->job.discard(task);
	return rc;
}

bool qd_crew_is_hungry(struct qd_crew *crew)
{
	bool hungry;

	pthread_mutex_lock(&crew->lock);
	hungry = crew->idle > 0 && crew->height < (size_t)crew->idle;
	pthread_mutex_unlock(&crew->lock);
	return hungry;
}

bool qd_crew_is_stopped(struct qd_crew *crew)
{
	bool stopped;

	pthread_mutex_lock(&crew->lock);
	stopped = crew->stopped;
	pthread_mutex_unlock(&crew->lock);
	return stopped;
}

/* The next task; NULL when the pile is empty and nobody can add to it. */
static void *next_task(struct qd_crew *crew)
{
	void *task = NULL;

	pthread_mutex_lock(&crew->lock);
	crew->idle++;
	while (!crew->stopped && !crew->height && crew->idle < crew->threads)
		pthread_cond_wait(&crew->task_added, &crew->lock);
	if (!crew->stopped && crew->height) {
		task = crew->pile[--crew->height];
		crew->idle--;
	} else {
		crew->stopped = true;
		pthread_cond_broadcast(&crew->task_added);
		pthread_cond_signal(&crew->all_done);
	}
	pthread_mutex_unlock(&crew->lock);
	return task;
}

static void *work(void *arg)
{
	struct member *member = arg;
	struct qd_crew *crew = member->crew;
	void *task;

	while ((task = next_task(crew)))
		crew->job.work(crew, member->state, task);
	return NULL;
}

static bool start_one(struct qd_crew *crew)
{
	struct member *member;
	bool started = false;

	pthread_mutex_lock(&crew->lock);
	if (crew->threads < MOST && !crew->stopped) {
		member = &crew->members[crew->threads];
		member->crew = crew;
		member->state = crew->job.join(crew->job.arg);
		if (member->state &&
		    pthread_create(&member->thread, NULL, work, member) == 0)
			started = true;
		else if (member->state)
			crew->job.leave(crew->job.arg, member->state);
		crew->threads += started;
	}
	pthread_mutex_unlock(&crew->lock);
	return started;
}

static void start(struct qd_crew *crew, int count)
{
	while (count-- > 0)
		if (!start_one(crew))
			return;
}

/*
 * Double the threads while processors are idle, and not because others wait
 * for something: two processes that want every processor can stop a virtual
 * machine's disk, and with it Cyrus, whatever their priority.
 */
static void grow(struct qd_crew *crew, struct qd_load *load, int cores)
{
	double own, others;

	qd_load_since(load, &own, &others);
	if (own > cores * 0.75 || others > 0.25 || crew->threads >= GROWN_MOST)
		return;
	start(crew, crew->threads < GROWN_MOST / 2 ?
			    crew->threads :
			    GROWN_MOST - crew->threads);
}

/* True when the crew is done; waits ms for it. */
static bool wait_done(struct qd_crew *crew, int ms)
{
	struct timespec until;
	bool done;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += ms * 1000000L;
	until.tv_sec += until.tv_nsec / 1000000000L;
	until.tv_nsec %= 1000000000L;
	pthread_mutex_lock(&crew->lock);
	if (!crew->stopped)
		pthread_cond_timedwait(&crew->all_done, &crew->lock, &until);
	done = crew->stopped;
	pthread_mutex_unlock(&crew->lock);
	return done;
}

static void stop(struct qd_crew *crew)
{
	pthread_mutex_lock(&crew->lock);
	crew->stopped = true;
	pthread_cond_broadcast(&crew->task_added);
	pthread_mutex_unlock(&crew->lock);
}

static int supervise(struct qd_crew *crew, int cores)
{
	struct qd_load load;
	int waited = 0;

	qd_load_begin(&load);
	while (!wait_done(crew, GROW_MS)) {
		if (!crew->job.threads)
			grow(crew, &load, cores);
		waited += GROW_MS;
		if (waited < TICK_MS)
			continue;
		waited = 0;
		if (crew->job.tick && crew->job.tick(crew->job.arg)) {
			stop(crew);
			return -1;
		}
	}
	return 0;
}

/* Half of the processors are left to Cyrus, until it is seen to be idle. */
static int first_threads(int cores)
{
	int half = cores / 2;

	if (half < 1)
		return 1;
	return half < GROWN_MOST ? half : GROWN_MOST;
}

int qd_crew_run(struct qd_crew *crew)
{
	int cores = (int)sysconf(_SC_NPROCESSORS_ONLN);
	int rc;

	start(crew,
	      crew->job.threads ? crew->job.threads : first_threads(cores));
	if (!crew->threads)
		return -1;
	rc = supervise(crew, cores);
	for (int i = 0; i < crew->threads; i++)
		pthread_join(crew->members[i].thread, NULL);
	for (int i = 0; i < crew->threads; i++)
		crew->job.leave(crew->job.arg, crew->members[i].state);
	crew->threads = 0;
	return rc;
}

void qd_crew_free(struct qd_crew **crew)
{
	struct qd_crew *c = *crew;

	if (!c)
		return;
	while (c->height)
		c->job.discard(c->pile[--c->height]);
	free(c->pile);
	pthread_cond_destroy(&c->all_done);
	pthread_cond_destroy(&c->task_added);
	pthread_mutex_destroy(&c->lock);
	free(c);
	*crew = NULL;
}
