/* SPDX-License-Identifier: BSD-2-Clause */
#include <signal.h>
#include <unistd.h>

/*
 * libmilter has a thread that asks sigwait() for SIGHUP, SIGTERM and SIGINT,
 * and ends the filter when it gets one. Those are for the main thread. Which
 * thread the kernel picks cannot be left to chance: while the main thread is
 * just being given one signal and is not running, the next one goes to whoever
 * waits. So in this program that thread is found another sigwait(), which
 * never returns; nobody else calls it.
 */
int sigwait(const sigset_t *set, int *number)
{
	(void)set;
	(void)number;
	for (;;)
		pause();
}
