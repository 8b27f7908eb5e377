/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef QUOTADEFER_CREW_H
#define QUOTADEFER_CREW_H

#include <stdbool.h>

/*
 * A crew of threads that works off a pile of tasks, which may put further
 * tasks on the pile, until nothing is left.
 *
 * Reading warm files is bound by the processor and wants a thread a core;
 * cold ones wait for the disk and want many at once; and a server that is at
 * work wants to be left alone. Unless told how many, the crew starts with half
 * the cores, and grows while the machine has nothing else to do.
 */
struct qd_crew;

struct qd_crew_job {
	/* Do one task; worker is that thread's own state. */
	void (*work)(struct qd_crew *crew, void *worker, void *task);
	/* A thread's state: made when it starts (NULL: it does not), and
	   handed over, in the thread of qd_crew_run, when all is done. */
	void *(*join)(void *arg);
	void (*leave)(void *arg, void *worker);
	/* Throw a task away undone. */
	void (*discard)(void *task);
	/* About every 100 ms, in the thread of qd_crew_run; not 0: stop. */
	int (*tick)(void *arg);
	void *arg;
	int threads; /* 0: as many as pay */
};

/* NULL if there is no memory. */
struct qd_crew *qd_crew_new(const struct qd_crew_job *job);

/* Put a task on the pile; on -1 (no memory) it was discarded. */
int qd_crew_add(struct qd_crew *crew, void *task);

/* True while some thread has nothing to do: worth splitting a task. */
bool qd_crew_is_hungry(struct qd_crew *crew);

/* Was it stopped by tick? Then a long task may as well end early. */
bool qd_crew_is_stopped(struct qd_crew *crew);

/*
 * Work off the pile. Returns 0 when nothing is left, -1 if a tick stopped it
 * or no thread could be started.
 */
int qd_crew_run(struct qd_crew *crew);

/* Free, discarding what is left; sets *crew to NULL. */
void qd_crew_free(struct qd_crew **crew);

#endif
