/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * From the rename of a quota file to the changed answer at RCPT. Mailboxes in
 * turn become full and empty again, at even intervals; each is asked about
 * until the answer is the new one. The time is counted from the rename.
 *
 * Prints one line of JSON, in ms; fails if a change is never seen.
 */
#include <errno.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "milterclient.h"

enum {
	MAILBOXES = 1000,
	SAMPLES = 1 << 20
};
static const int64_t PATIENCE_NS = 10000000000;
/* between two rounds of asking; so exact is the figure */
static const struct timespec PAUSE = { .tv_nsec = 20000 };

static struct {
	const char *path, *directory;
	long rate;
	double seconds;
} options = { .rate = 200, .seconds = 5 };

static struct mailbox {
	bool full;
	int64_t since; /* the rename that was not answered yet; 0: none */
} mailboxes[MAILBOXES];

static struct mc mc;
static double *samples;
static size_t sample_count;
static long changed, skipped;

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "freshness: %s: %s\n", what, strerror(errno));
	exit(1);
}

static int64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* As Cyrus does it, but for the fsync. */
static void write_root(int i, bool full)
{
	char path[600], new[620];
	FILE *fp;

	snprintf(path, sizeof(path), "%s/f/user.f%04d", options.directory, i);
	snprintf(new, sizeof(new), "%s.NEW", path);
	fp = fopen(new, "we");
	if (!fp)
		die(new);
	fprintf(fp, "%%(S (%d 100) M (1) AS (0) NF (1) MODSEQ 3)\n",
		full ? 102401 : 0);
	if (fclose(fp) != 0)
		die(new);
	mailboxes[i].full = full;
	mailboxes[i].since = now_ns();
	if (rename(new, path) < 0)
		die(path);
}

static void change_next(void)
{
	int i = (int)(changed++ % MAILBOXES);

	/* one that was not even seen yet would be counted wrongly */
	if (mailboxes[i].since)
		skipped++;
	else
		write_root(i, !mailboxes[i].full);
}

static bool is_seen(int i)
{
	char path[40];
	struct mc_reply reply;

	snprintf(path, sizeof(path), "<f%04d@example.org>", i);
	reply = mc_event(&mc, MC_RCPT, path, NULL);
	if (reply.type == MC_LOST)
		die("the filter");
	return (reply.type == MC_REPLY) == mailboxes[i].full;
}

/* How many are still to be seen. */
static int ask_all(void)
{
	int waiting = 0;

	for (int i = 0; i < MAILBOXES; i++) {
		struct mailbox *m = &mailboxes[i];

		if (!m->since)
			continue;
		if (now_ns() - m->since > PATIENCE_NS) {
			fprintf(stderr, "freshness: user.f%04d: not seen\n", i);
			exit(1);
		}
		if (!is_seen(i)) {
			waiting++;
			continue;
		}
		if (sample_count < SAMPLES)
			samples[sample_count++] =
				(double)(now_ns() - m->since) / 1e6;
		m->since = 0;
	}
	return waiting;
}

static void run(void)
{
	int64_t start = now_ns(), now = start;
	int64_t end = start + (int64_t)(options.seconds * 1e9);
	int64_t interval = 1000000000 / options.rate;
	int waiting = 0;

	while (now < end || waiting) {
		if (now < end && now >= start + changed * interval)
			change_next();
		waiting = ask_all();
		nanosleep(&PAUSE, NULL);
		now = now_ns();
	}
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double share(double part)
{
	size_t i = (size_t)((double)sample_count * part);

	if (!sample_count)
		return 0;
	return samples[i < sample_count ? i : sample_count - 1];
}

static void report(void)
{
	qsort(samples, sample_count, sizeof(*samples), compare);
	printf("{\"changes\": %zu, \"skipped\": %ld, \"p50\": %.3f, "
	       "\"p99\": %.3f, \"worst\": %.3f}\n",
	       sample_count, skipped, share(0.5), share(0.99), share(1));
}

static void connect_filter(void)
{
	if (mc_open_unix(&mc, options.path) < 0 ||
	    mc_negotiate(&mc, MC_ALL_ACTIONS, MC_ALL_STEPS) < 0)
		die(options.path);
	mc.macros.client_addr = "192.0.2.1";
	mc.macros.client_name = "mx.ext.test";
	mc_event(&mc, MC_HELO, "mx.ext.test", NULL);
	mc_event(&mc, MC_MAIL, "<a@ext.test>", NULL);
}

static void read_options(int argc, char **argv)
{
	int letter;

	while ((letter = getopt(argc, argv, "s:d:r:t:")) != -1) {
		if (letter == 's')
			options.path = optarg;
		else if (letter == 'd')
			options.directory = optarg;
		else if (letter == 'r')
			options.rate = strtol(optarg, NULL, 10);
		else if (letter == 't')
			options.seconds = strtod(optarg, NULL);
	}
	if (options.path && options.directory && options.rate > 0)
		return;
	fprintf(stderr, "usage: freshness -s PATH -d QUOTA-DIRECTORY "
			"[-r CHANGES-A-SECOND] [-t SECONDS]\n");
	exit(64);
}

int main(int argc, char **argv)
{
	read_options(argc, argv);
	samples = malloc(SAMPLES * sizeof(*samples));
	if (!samples)
		die("memory");
	connect_filter();
	run();
	report();
	mc_close(&mc);
	free(samples);
	return 0;
}
