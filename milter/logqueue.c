/* SPDX-License-Identifier: BSD-2-Clause */
#include "quotadefer/logqueue.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>

#include "quotadefer/log.h"

enum {
	LINES = 1024
};

struct line {
	int priority;
	char text[QD_LOG_LINE];
};

/* There is one log. A line stays in its place until it is written. */
static struct {
	pthread_mutex_t lock;
	pthread_cond_t filled, emptied;
	struct line lines[LINES];
	unsigned int first, count;
	unsigned long lost;
} queue = { .lock = PTHREAD_MUTEX_INITIALIZER,
	    .filled = PTHREAD_COND_INITIALIZER,
	    .emptied = PTHREAD_COND_INITIALIZER };

static void put(int priority, const char *text)
{
	struct line *line;

	pthread_mutex_lock(&queue.lock);
	if (queue.count == LINES) {
		queue.lost++;
	} else {
		line = &queue.lines[(queue.first + queue.count++) % LINES];
		line->priority = priority;
		snprintf(line->text, sizeof(line->text), "%s", text);
		pthread_cond_signal(&queue.filled);
	}
	pthread_mutex_unlock(&queue.lock);
}

static void say_lost(unsigned long lost)
{
	char text[80];

	if (!lost)
		return;
	snprintf(text, sizeof(text),
		 "%lu log lines were lost: the log was not written in time",
		 lost);
	qd_log_write(LOG_WARNING, text);
}

/* With the lock held, let go of only while the line is being written. */
static void write_first(void)
{
	const struct line *line = &queue.lines[queue.first];
	unsigned long lost;

	pthread_mutex_unlock(&queue.lock);
	qd_log_write(line->priority, line->text);
	pthread_mutex_lock(&queue.lock);
	queue.first = (queue.first + 1) % LINES;
	queue.count--;
	lost = queue.lost;
	queue.lost = 0;
	pthread_mutex_unlock(&queue.lock);
	say_lost(lost);
	pthread_mutex_lock(&queue.lock);
}

static void *run(void *arg)
{
	pthread_mutex_lock(&queue.lock);
	for (;;) {
		while (!queue.count) {
			pthread_cond_broadcast(&queue.emptied);
			pthread_cond_wait(&queue.filled, &queue.lock);
		}
		write_first();
	}
	return arg;
}

/* All signals are for the threads that were there before. */
static int start_thread(void)
{
	pthread_t thread;
	sigset_t all, before;
	int rc;

	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &before);
	rc = pthread_create(&thread, NULL, run, NULL);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (rc == 0)
		pthread_detach(thread);
	return rc;
}

int qd_logqueue_start(struct qd_error *err)
{
	if (start_thread() != 0)
		return qd_error_set(err, EX_OSERR, "log: no thread");
	qd_log_through(put);
	return 0;
}

void qd_logqueue_flush(int timeout_ms)
{
	struct timespec end;

	clock_gettime(CLOCK_REALTIME, &end);
	end.tv_sec += timeout_ms / 1000;
	end.tv_nsec += timeout_ms % 1000 * 1000000L;
	if (end.tv_nsec >= 1000000000) {
		end.tv_nsec -= 1000000000;
		end.tv_sec++;
	}
	pthread_mutex_lock(&queue.lock);
	while (queue.count &&
	       pthread_cond_timedwait(&queue.emptied, &queue.lock, &end) == 0)
		;
	pthread_mutex_unlock(&queue.lock);
}
