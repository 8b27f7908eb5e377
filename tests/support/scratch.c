/* SPDX-License-Identifier: BSD-2-Clause */
#include "scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char directory[256];

static void die(const char *what)
{
	perror(what);
	exit(1);
}

int scratch_make(void **state)
{
	const char *tmp = getenv("TMPDIR");

	(void)state;
	snprintf(directory, sizeof(directory), "%s/quotadefer-unit-XXXXXX",
		 tmp ? tmp : "/tmp");
	if (!mkdtemp(directory))
		die(directory);
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int flag,
		      struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	return remove(path);
}

int scratch_remove(void **state)
{
	(void)state;
	return nftw(directory, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

const char *scratch_path(const char *name)
{
	static char paths[256][1024];
	static unsigned int turn;
	char *path = paths[turn++ % 256];

	snprintf(path, sizeof(paths[0]), "%s/%s", directory, name);
	return path;
}

static void make_parents(char *path)
{
	for (char *p = path + strlen(directory) + 1; *p; p++) {
		if (*p != '/')
			continue;
		*p = '\0';
		if (mkdir(path, 0755) < 0 && errno != EEXIST)
			die(path);
		*p = '/';
	}
}

void scratch_write(const char *name, const char *data, size_t length)
{
	char path[1024];
	int fd;

	snprintf(path, sizeof(path), "%s", scratch_path(name));
	make_parents(path);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	if (fd < 0 || write(fd, data, length) != (ssize_t)length)
		die(path);
	close(fd);
}

void scratch_text(const char *name, const char *text)
{
	scratch_write(name, text, strlen(text));
}
