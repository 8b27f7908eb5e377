/* SPDX-License-Identifier: BSD-2-Clause */
/* Makes DIR/a to DIR/z as Cyrus keeps quota roots; every 50th is over. */
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	LETTERS = 26,
	THREADS = 2
};

static int base;
static long roots;

static int make_root(int dir, char letter, long number)
{
	static const char good[] = "%(S (0 1000) M (0) AS (0) NF (1) "
				   "MODSEQ 2)\n";
	static const char full[] = "%(S (1024001 1000) M (0) AS (0) NF (1) "
				   "MODSEQ 2)\n";
	const char *text = number % 50 ? good : full;
	size_t length = strlen(text);
	char name[40];
	int fd;

	snprintf(name, sizeof(name), "user.%c%07ld", letter, number);
	fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (fd < 0)
		return -1;
	if (write(fd, text, length) != (ssize_t)length) {
		close(fd);
		return -1;
	}
	return close(fd);
}

static int make_letter(int i)
{
	char letter[2] = { (char)('a' + i), '\0' };
	int dir, rc = 0;

	if (mkdirat(base, letter, 0755) < 0)
		return -1;
	dir = openat(base, letter, O_RDONLY | O_DIRECTORY);
	if (dir < 0)
		return -1;
	for (long number = i; rc == 0 && number < roots; number += LETTERS)
		rc = make_root(dir, letter[0], number);
	close(dir);
	return rc;
}

/* A thread's share of the letters; returns its argument if that failed. */
static void *work(void *arg)
{
	for (int i = *(int *)arg; i < LETTERS; i += THREADS) {
		if (make_letter(i) < 0) {
			perror("maketree");
			return arg;
		}
	}
	return NULL;
}

int main(int argc, char **argv)
{
	int shares[THREADS] = { 0, 1 };
	pthread_t other;
	void *failed, *other_failed;

	roots = argc == 3 ? strtol(argv[2], NULL, 10) : 0;
	if (roots < 1) {
		fprintf(stderr, "usage: maketree DIR ROOTS\n");
		return 64;
	}
	if (mkdir(argv[1], 0755) < 0 ||
	    (base = open(argv[1], O_RDONLY | O_DIRECTORY)) < 0) {
		perror(argv[1]);
		return 73;
	}
	if (pthread_create(&other, NULL, work, &shares[1]) != 0)
		return 71;
	failed = work(&shares[0]);
	pthread_join(other, &other_failed);
	return failed || other_failed ? 74 : 0;
}
