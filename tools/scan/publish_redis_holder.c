/* SPDX-License-Identifier: BSD-2-Clause */
/* Who holds a lease, and whether he is gone. */
#include "publish_redis_impl.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

/*
 * This process, in "process PID on HOST (WHERE-RANDOM.NUMBER)". WHERE is the
 * same in processes that see the same PIDs, and "" if that cannot be told.
 */
static struct {
	char where[48];
	uint64_t random;
	unsigned int leases;
} me;

/* The boot and the PID namespace: hosts may share a name, and PIDs. */
static void find_where(char *out, size_t size)
{
	FILE *file = fopen("/proc/sys/kernel/random/boot_id", "re");
	char boot[9] = "";
	struct stat st;

	if (file && fgets(boot, sizeof(boot), file) && boot[7] &&
	    stat("/proc/self/ns/pid", &st) == 0)
		snprintf(out, size, "%s-%jx", boot, (uintmax_t)st.st_ino);
	if (file)
		fclose(file);
}

int qd_remote_name_holder(char *out, size_t size, struct qd_error *err)
{
	char host[256] = "";

	gethostname(host, sizeof(host) - 1);
	if (!me.random) {
		if (getrandom(&me.random, sizeof(me.random), 0) < 0)
			return qd_error_set(err, EX_OSERR, "getrandom: %m");
		find_where(me.where, sizeof(me.where));
	}
	snprintf(out, size, "process %ld on %s (%s-%016" PRIx64 ".%u)",
		 (long)getpid(), host, me.where, me.random, ++me.leases);
	return 0;
}

/* On a connection that broke. */
static bool is_this_process(const char *bracket)
{
	char ours[96];

	snprintf(ours, sizeof(ours), "(%s-%016" PRIx64 ".", me.where,
		 me.random);
	return strncmp(bracket, ours, strlen(ours)) == 0;
}

static bool has_ended(const char *holder, const char *bracket)
{
	static const char process[] = "process ";
	char ours[64];
	long pid;

	snprintf(ours, sizeof(ours), "(%s-", me.where);
	if (!me.where[0] || strncmp(bracket, ours, strlen(ours)) != 0 ||
	    strncmp(holder, process, strlen(process)) != 0)
		return false;
	pid = strtol(holder + strlen(process), NULL, 10);
	return pid > 0 && pid <= INT32_MAX && kill((pid_t)pid, 0) < 0 &&
	       errno == ESRCH;
}

bool qd_remote_holder_is_gone(const char *holder)
{
	const char *bracket = strrchr(holder, '(');

	return bracket &&
	       (is_this_process(bracket) || has_ended(holder, bracket));
}
