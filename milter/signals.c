/* SPDX-License-Identifier: BSD-2-Clause */
#include "quotadefer/signals.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

/* A signal handler has no argument of ours. */
static int ends[2];

void qd_signals_tell(char what)
{
	/* the pipe does not block; if it is full, enough was said */
	if (write(ends[1], &what, 1) < 0)
		return;
}

static void on_signal(int signal)
{
	int saved = errno;

	qd_signals_tell(signal == SIGHUP || signal == SIGUSR1 ? 'H' : 'T');
	errno = saved;
}

static sigset_t our_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	return set;
}

void qd_signals_hold_reloads(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
}

void qd_signals_leave(void)
{
	const sigset_t set = our_signals();

	pthread_sigmask(SIG_BLOCK, &set, NULL);
}

/*
 * All other threads leave them (and libmilter's, see sigwait.c). SA_NODEFER:
 * one that comes during another is not kept waiting.
 */
int qd_signals_catch(void)
{
	struct sigaction action = { .sa_handler = on_signal,
				    .sa_flags = SA_NODEFER | SA_RESTART };
	const sigset_t set = our_signals();

	if (pipe2(ends, O_NONBLOCK | O_CLOEXEC) < 0)
		return -1;
	sigemptyset(&action.sa_mask);
	sigaction(SIGHUP, &action, NULL);
	sigaction(SIGUSR1, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
	signal(SIGPIPE, SIG_IGN);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	return ends[0];
}
