/* SPDX-License-Identifier: BSD-2-Clause */
#include "quotadefer/options.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>
#include <unistd.h>

void qd_options_standard_files(void)
{
	int fd;

	do {
		fd = open("/dev/null", O_RDWR);
	} while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

int qd_options_fix_config(struct qd_options *options, struct qd_error *err)
{
	static const char installed[] = QD_SYSCONFDIR "/quotadefer.conf";
	static char path[2 * PATH_MAX];
	char directory[PATH_MAX];

	if (!options->config && access(installed, F_OK) == 0)
		options->config = installed;
	if (!options->config || options->config[0] == '/')
		return 0;
	if (!getcwd(directory, sizeof(directory)))
		return qd_error_set(err, EX_OSERR, "-c %s: %m",
				    options->config);
	snprintf(path, sizeof(path), "%s/%s", directory, options->config);
	options->config = path;
	return 0;
}

bool qd_options_take(struct qd_options *options, int letter, char *argument,
		     const char *usage)
{
	switch (letter) {
	case 'c':
		options->config = argument;
		return true;
	case 'o':
		qd_options_override(options, argument);
		return true;
	case 'n':
		options->check = true;
		return true;
	case 'v':
		options->verbose++;
		return true;
	case 'V':
		printf("%s %s\n", options->program, QD_VERSION);
		exit(EX_OK);
	case 'h':
		printf("usage: %s %s", options->program, usage);
		exit(EX_OK);
	default:
		return false;
	}
}

void qd_options_override(struct qd_options *options, const char *text)
{
	int most = (int)(sizeof(options->overrides) /
			 sizeof(options->overrides[0])) -
		   1;

	if (options->override_count == most) {
		fprintf(stderr, "%s: more than %d times -o\n", options->program,
			most);
		exit(EX_USAGE);
	}
	options->overrides[options->override_count++] = text;
}

int qd_options_misused(const struct qd_options *options, const char *usage)
{
	fprintf(stderr, "usage: %s %s", options->program, usage);
	return EX_USAGE;
}

/* What came from a file or the network stays on one line. */
int qd_options_fail(const struct qd_options *options,
		    const struct qd_error *err)
{
	fprintf(stderr, "%s: ", options->program);
	for (const char *p = err->text; *p; p++) {
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			fprintf(stderr, "\\x%02x", (unsigned char)*p);
		else
			putc(*p, stderr);
	}
	putc('\n', stderr);
	return err->status ? err->status : EX_SOFTWARE;
}
