/* SPDX-License-Identifier: BSD-2-Clause */
#include "table_impl.h"

#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* LMDB's two maps, of which it does not tell the addresses. */
enum {
	REGIONS = 8
};

/* Of the page that takes the place of a missing one. */
enum {
	RIGHTS = PROT_READ | PROT_WRITE,
	FLAGS = MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS
};

struct region {
	uintptr_t start, end;
};

/* A signal handler has no argument of ours. */
static struct {
	struct region regions[REGIONS];
	atomic_int count;
	atomic_uint trips;
	uintptr_t page_size;
} guard;

static bool is_guarded(uintptr_t address)
{
	int count = atomic_load(&guard.count);

	for (int i = 0; i < count; i++)
		if (address >= guard.regions[i].start &&
		    address < guard.regions[i].end)
			return true;
	return false;
}

/*
 * The file does not reach that far any more. A page of zeros takes the place
 * of the missing one, and LMDB can go on: it finds no page there that it
 * knows, and says so. What was asked for is then thrown away.
 */
static void on_sigbus(int number, siginfo_t *info, void *context)
{
	uintptr_t address = (uintptr_t)info->si_addr;
	int saved = errno;
	void *page = (void *)(address & ~(guard.page_size - 1));
	void *zeros = MAP_FAILED;

	(void)context;
	atomic_fetch_add(&guard.trips, 1);
	if (is_guarded(address))
		/* cppcheck-suppress invalidFunctionArg ; there is no file */
		zeros = mmap(page, guard.page_size, RIGHTS, FLAGS, -1, 0);
	if (zeros == MAP_FAILED)
		signal(number, SIG_DFL); /* happens again, and ends us */
	errno = saved;
}

int qd_table_guard(void)
{
	struct sigaction action = { .sa_sigaction = on_sigbus,
				    .sa_flags = SA_SIGINFO };

	guard.page_size = (uintptr_t)sysconf(_SC_PAGESIZE);
	sigemptyset(&action.sa_mask);
	return sigaction(SIGBUS, &action, NULL);
}

static bool ends_with(const char *text, const char *end)
{
	size_t length = strlen(text), tail = strlen(end);

	return length >= tail && strcmp(text + length - tail, end) == 0;
}

/* START-END rights offset device inode path */
static bool is_ours(char *line, struct region *region)
{
	char *end;

	line[strcspn(line, "\n")] = '\0';
	if (!ends_with(line, "/data.mdb") && !ends_with(line, "/lock.mdb"))
		return false;
	region->start = (uintptr_t)strtoull(line, &end, 16);
	if (*end != '-')
		return false;
	region->end = (uintptr_t)strtoull(end + 1, &end, 16);
	return *end == ' ';
}

unsigned int qd_guard_watch(void)
{
	FILE *maps = guard.page_size ? fopen("/proc/self/maps", "re") : NULL;
	char *line = NULL;
	size_t size = 0;
	int count = 0;

	if (!maps)
		return qd_guard_trips();
	atomic_store(&guard.count, 0);
	while (count < REGIONS && getline(&line, &size, maps) >= 0)
		count += is_ours(line, &guard.regions[count]);
	atomic_store(&guard.count, count);
	free(line);
	fclose(maps);
	return qd_guard_trips();
}

unsigned int qd_guard_trips(void)
{
	return atomic_load(&guard.trips);
}
