/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The floor of every scan: getdents64, openat, read and close of every file
 * below DIR/a to DIR/z, in so many threads, and nothing done with it.
 */
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum {
	THREADS_MAX = 256,
	PORTION = 16 * 1024
};

static int base;
static atomic_long files;

/* The next portion of names, of whichever directory is being listed. */
static ssize_t next_portion(char *portion, int *dir)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	static char letter[2] = "`";
	static int current = -1;
	ssize_t n = 0;

	pthread_mutex_lock(&lock);
	for (;;) {
		if (current >= 0)
			n = getdents64(current, portion, PORTION);
		if (n > 0 || letter[0] == 'z')
			break;
		letter[0]++;
		/* others may still read in the last one: it stays open */
		current = openat(base, letter, O_RDONLY | O_DIRECTORY);
	}
	*dir = current;
	pthread_mutex_unlock(&lock);
	return n;
}

static void read_one(int dir, const char *name)
{
	char data[4096];
	int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return;
	if (read(fd, data, sizeof(data)) > 0)
		atomic_fetch_add_explicit(&files, 1, memory_order_relaxed);
	close(fd);
}

static void *work(void *arg)
{
	_Alignas(struct dirent64) char portion[PORTION];
	ssize_t n;
	int dir;

	while ((n = next_portion(portion, &dir)) > 0) {
		for (ssize_t at = 0; at < n;) {
			const struct dirent64 *entry =
				(const void *)(portion + at);

			at += entry->d_reclen;
			if (entry->d_type == DT_REG)
				read_one(dir, entry->d_name);
		}
	}
	return arg;
}

int main(int argc, char **argv)
{
	int threads = argc == 3 ? (int)strtol(argv[2], NULL, 10) : 0;
	pthread_t others[THREADS_MAX];

	if (threads < 1 || threads > THREADS_MAX) {
		fprintf(stderr, "usage: scanfloor DIR THREADS\n");
		return 64;
	}
	base = open(argv[1], O_RDONLY | O_DIRECTORY);
	if (base < 0) {
		perror(argv[1]);
		return 66;
	}
	for (int i = 1; i < threads; i++)
		if (pthread_create(&others[i], NULL, work, NULL) != 0)
			return 71;
	work(NULL);
	for (int i = 1; i < threads; i++)
		pthread_join(others[i], NULL);
	printf("%ld\n", atomic_load(&files));
	return 0;
}
