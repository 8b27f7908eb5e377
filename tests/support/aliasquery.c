/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Ask an alias map, as "postmap -q -" asks one of Postfix. Reads keys from
 * the standard input, and for each writes "FOUND value", "ABSENT" or
 * "ERROR why", at once.
 */
#include <errno.h>
#include <getopt.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "quotadefer/aliasmap.h"

struct options {
	int separator; /* between keys, and between answers */
	bool explain, count;
	int64_t wait_ms;
	int threads;
	struct qd_alias_ldap_limits limits;
};

struct worker {
	const struct options *options;
	struct qd_aliasmap *map;
};

static pthread_mutex_t input = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t output = PTHREAD_MUTEX_INITIALIZER;

static void say(int priority, const char *text)
{
	(void)priority;
	fprintf(stderr, "say %s\n", text);
}

static int open_map(const char *name, const struct options *options,
		    struct qd_aliasmap **out, struct qd_error *err)
{
	if (strncmp(name, "ldap:", 5) == 0)
		return qd_alias_ldap_open(name, &options->limits, say, out,
					  err);
	if (strncmp(name, "texthash:", 9) == 0)
		return qd_alias_texthash_open(name, false, say, out, err);
	if (strncmp(name, "aliases:", 8) == 0)
		return qd_alias_aliases_open(name, false, say, out, err);
	return qd_error_set(err, EX_USAGE, "%s: no such kind of map", name);
}

static void print_answer(const struct options *options, enum qd_found found,
			 const struct qd_aliasvalue *value,
			 const struct qd_error *err)
{
	if (found == QD_FOUND)
		printf("FOUND %s", value->text);
	else if (found == QD_ABSENT)
		fputs("ABSENT", stdout);
	else
		printf("ERROR %s", err->text);
	if (options->explain)
		printf("\t%s", value->detail);
	putchar(options->separator);
	fflush(stdout);
}

static void ask(const struct worker *worker, const char *key)
{
	const struct options *options = worker->options;
	struct qd_aliasvalue value = { .explain = options->explain };
	struct qd_error err = { 0 };
	enum qd_found found;

	found = worker->map->ops->get(worker->map, key,
				      qd_aliasmap_now_ms() + options->wait_ms,
				      &value, &err);
	pthread_mutex_lock(&output);
	if (options->threads > 1)
		printf("%s\t", key);
	print_answer(options, found, &value, &err);
	pthread_mutex_unlock(&output);
	free(value.text);
}

static void *run(void *arg)
{
	const struct worker *worker = arg;
	char *key = NULL;
	size_t size = 0;
	ssize_t n;

	for (;;) {
		pthread_mutex_lock(&input);
		n = getdelim(&key, &size, worker->options->separator, stdin);
		pthread_mutex_unlock(&input);
		if (n < 0)
			break;
		if (n > 0 && key[n - 1] == worker->options->separator)
			key[n - 1] = '\0';
		ask(worker, key);
	}
	free(key);
	return NULL;
}

static void run_all(struct worker *worker)
{
	pthread_t threads[256];
	int count = worker->options->threads;

	for (int i = 1; i < count; i++)
		if ((errno = pthread_create(&threads[i], NULL, run, worker))) {
			perror("pthread_create");
			exit(EX_OSERR);
		}
	run(worker);
	for (int i = 1; i < count; i++)
		pthread_join(threads[i], NULL);
}

static void print_stats(struct qd_aliasmap_stats *stats)
{
	fprintf(stderr,
		"stats found=%llu absent=%llu errors=%llu refused=%llu "
		"opened=%llu open=%d\n",
		atomic_load(&stats->found), atomic_load(&stats->absent),
		atomic_load(&stats->errors), atomic_load(&stats->refused),
		atomic_load(&stats->breaker_opened),
		atomic_load(&stats->breaker_open));
}

static void usage(void)
{
	fputs("usage: aliasquery [-0es] [-t MS] [-c MS] [-S MS] [-n "
	      "CONNECTIONS] [-j THREADS] MAP\n",
	      stderr);
	exit(EX_USAGE);
}

static void read_option(int c, struct options *options)
{
	switch (c) {
	case '0':
		options->separator = '\0';
		break;
	case 'e':
		options->explain = true;
		break;
	case 's':
		options->count = true;
		break;
	case 't':
		options->wait_ms = atol(optarg);
		break;
	case 'c':
		options->limits.connect_timeout_ms = atol(optarg);
		break;
	case 'S':
		options->limits.search_timeout_ms = atol(optarg);
		break;
	case 'n':
		options->limits.connections = atol(optarg);
		break;
	case 'j':
		options->threads = atoi(optarg);
		break;
	default:
		usage();
	}
}

int main(int argc, char **argv)
{
	struct options options = {
		.separator = '\n',
		.wait_ms = 2000,
		.threads = 1,
		.limits = { 500, 1000, 8 },
	};
	struct worker worker = { .options = &options };
	struct qd_error err;
	int c;

	while ((c = getopt(argc, argv, "0est:c:S:n:j:")) != -1)
		read_option(c, &options);
	if (optind != argc - 1 || options.threads < 1 || options.threads > 255)
		usage();
	if (open_map(argv[optind], &options, &worker.map, &err) < 0) {
		fprintf(stderr, "%s\n", err.text);
		return err.status;
	}
	run_all(&worker);
	if (options.count)
		print_stats(&worker.map->stats);
	worker.map->ops->close(worker.map);
	return 0;
}
