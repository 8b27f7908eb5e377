/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * RCPT after RCPT on many connections, as Postfix 3.7 sends them, and a check
 * of every answer. Closed loop: a connection asks again as soon as it has its
 * answer. Paced (-r): RCPTs are due at even intervals, and the time until the
 * answer is counted from when each was due, whatever held it up.
 *
 * The file has a line a recipient: what is expected, "c" for continue or "d"
 * for a deferral, a blank, and the address. Prints one line of JSON; fails if
 * any answer was not the expected one.
 */
#include <errno.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "milterclient.h"

enum {
	SAMPLES = 1 << 23,
	EVENTS = 256,
	HEAD = 5
};
static const int64_t WARM_UP_NS = 100000000, PATIENCE_NS = 10000000000;

struct recipient {
	char expected;
	char address[300];
	unsigned char *wire;
	size_t length;
};

struct connection {
	int fd;
	const struct recipient *asked; /* NULL: nothing is outstanding */
	int64_t since, due;
	long backlog;
	unsigned char in[1100];
	size_t got;
};

static struct {
	const char *path, *file;
	int connections;
	long rate, limit;
	double seconds;
	bool all_pass, hold;
} options = { .connections = 1, .seconds = 1 };

static struct recipient *recipients;
static size_t recipient_count, turn;
static struct connection *connections;
static uint32_t *samples; /* in ns */
static size_t sample_count;
static long asked, answered, wrong;
static int64_t start, end;

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "milterload: %s: %s\n", what, strerror(errno));
	exit(1);
}

static int64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void read_recipients(void)
{
	FILE *fp = fopen(options.file, "re");
	struct recipient r = { 0 };

	if (!fp)
		die(options.file);
	while (fscanf(fp, "%c %299s\n", &r.expected, r.address) == 2) {
		struct recipient *grown;

		grown = realloc(recipients,
				(recipient_count + 1) * sizeof(*grown));
		if (!grown)
			die("memory");
		recipients = grown;
		if (options.all_pass)
			r.expected = 'c';
		recipients[recipient_count++] = r;
	}
	fclose(fp);
	if (!recipient_count)
		die("no recipients");
}

/* Every recipient's packet is made once: making it is not to be measured. */
static void pack_recipients(struct mc *mc)
{
	unsigned char out[MC_WIRE];
	char path[310];

	for (size_t i = 0; i < recipient_count; i++) {
		struct recipient *r = &recipients[i];

		snprintf(path, sizeof(path), "<%s>", r->address);
		mc->macros.rcpt_addr = r->address;
		r->length = mc_pack(mc, MC_RCPT, path, out);
		r->wire = malloc(r->length);
		if (!r->wire)
			die("memory");
		memcpy(r->wire, out, r->length);
	}
}

static void open_one(struct mc *mc, struct connection *c)
{
	if (mc_open_unix(mc, options.path) < 0 ||
	    mc_negotiate(mc, MC_ALL_ACTIONS, MC_ALL_STEPS) < 0)
		die(options.path);
	mc->macros.client_addr = "192.0.2.1";
	mc->macros.client_name = "mx.ext.test";
	mc->macros.client_port = "4711";
	mc->macros.mail_addr = "a@ext.test";
	mc_event(mc, MC_HELO, "mx.ext.test", NULL);
	mc_event(mc, MC_MAIL, "<a@ext.test>", NULL);
	c->fd = mc->fd;
}

static int open_all(void)
{
	static struct mc mc;
	int poll = epoll_create1(EPOLL_CLOEXEC);

	for (int i = 0; i < options.connections; i++) {
		struct epoll_event event = { .events = EPOLLIN };

		open_one(&mc, &connections[i]);
		event.data.ptr = &connections[i];
		if (epoll_ctl(poll, EPOLL_CTL_ADD, connections[i].fd, &event))
			die("epoll");
	}
	pack_recipients(&mc);
	return poll;
}

static void ask(struct connection *c)
{
	const struct recipient *r = &recipients[turn++ % recipient_count];

	c->asked = r;
	c->since = options.rate ? c->due : now_ns();
	asked++;
	if (send(c->fd, r->wire, r->length, MSG_NOSIGNAL) != (ssize_t)r->length)
		die("send");
}

static bool may_ask(int64_t now)
{
	return now < end && (!options.limit || asked < options.limit);
}

/* Paced: whoever is due asks, or will when it has its answer. */
static void ask_due(int64_t now)
{
	static long arrivals;
	double interval = 1e9 / (double)options.rate;

	while (may_ask(now)) {
		struct connection *c =
			&connections[arrivals % options.connections];
		int64_t due = start + (int64_t)((double)arrivals * interval);

		if (due > now)
			return;
		arrivals++;
		if (c->asked) {
			c->backlog++;
			continue;
		}
		c->due = due;
		ask(c);
	}
}

static void ask_again(struct connection *c, int64_t now)
{
	if (options.rate && !c->backlog)
		return;
	if (!may_ask(now))
		return;
	if (options.rate) {
		c->backlog--;
		c->due += (int64_t)(1e9 * options.connections /
				    (double)options.rate);
	}
	ask(c);
}

static bool is_expected(const struct connection *c, size_t length)
{
	static const char deferral[] = "451 4.2.2 ";

	if (c->asked->expected == 'c')
		return length == 1 && c->in[4] == MC_CONTINUE;
	return c->in[4] == MC_REPLY && length > sizeof(deferral) &&
	       memcmp(c->in + HEAD, deferral, sizeof(deferral) - 1) == 0;
}

static void take_answer(struct connection *c, size_t length)
{
	int64_t now = now_ns();

	answered++;
	if (!is_expected(c, length)) {
		if (!wrong++)
			fprintf(stderr, "milterload: %s: got '%c' %.*s\n",
				c->asked->address, c->in[4], (int)length - 1,
				(const char *)c->in + HEAD);
	}
	if (now > start + WARM_UP_NS && sample_count < SAMPLES)
		samples[sample_count++] = (uint32_t)(now - c->since);
	c->asked = NULL;
	c->got = 0;
	ask_again(c, now);
}

static void receive(struct connection *c)
{
	ssize_t n = recv(c->fd, c->in + c->got, sizeof(c->in) - c->got, 0);
	uint32_t length;

	if (n <= 0)
		die("recv");
	c->got += (size_t)n;
	if (c->got < HEAD)
		return;
	length = (uint32_t)c->in[0] << 24 | (uint32_t)c->in[1] << 16 |
		 (uint32_t)c->in[2] << 8 | c->in[3];
	if (!c->asked || length + 4 > sizeof(c->in) || c->got > length + 4)
		die("not one answer");
	if (c->got == length + 4)
		take_answer(c, length);
}

/* Until nothing may be asked and nothing is outstanding. */
static void run(int poll)
{
	struct epoll_event events[EVENTS];

	start = now_ns();
	end = start + (int64_t)(options.seconds * 1e9);
	for (int i = 0; !options.rate && i < options.connections; i++)
		ask(&connections[i]);
	while (may_ask(now_ns()) || answered < asked) {
		/* the paced client spins: a timer would come late */
		int n = epoll_wait(poll, events, EVENTS, options.rate ? 0 : 1);

		for (int i = 0; i < n; i++)
			receive(events[i].data.ptr);
		if (options.rate)
			ask_due(now_ns());
		if (now_ns() > end + PATIENCE_NS)
			break;
	}
	wrong += asked - answered;
}

static int compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static double microseconds(double share)
{
	size_t i = (size_t)((double)sample_count * share);

	if (!sample_count)
		return 0;
	return samples[i < sample_count ? i : sample_count - 1] / 1e3;
}

static void report(double elapsed)
{
	qsort(samples, sample_count, sizeof(*samples), compare);
	printf("{\"rcpts\": %ld, \"wrong\": %ld, \"rate\": %.0f, "
	       "\"p50\": %.2f, \"p99\": %.2f, \"p999\": %.2f, "
	       "\"worst\": %.2f}\n",
	       answered, wrong, (double)answered / elapsed, microseconds(0.5),
	       microseconds(0.99), microseconds(0.999), microseconds(1));
	fflush(stdout);
}

static void read_options(int argc, char **argv)
{
	int letter;

	while ((letter = getopt(argc, argv, "s:f:c:r:t:N:nw")) != -1) {
		switch (letter) {
		case 's':
			options.path = optarg;
			break;
		case 'f':
			options.file = optarg;
			break;
		case 'c':
			options.connections = (int)strtol(optarg, NULL, 10);
			break;
		case 'r':
			options.rate = strtol(optarg, NULL, 10);
			break;
		case 't':
			options.seconds = strtod(optarg, NULL);
			break;
		case 'N':
			options.limit = strtol(optarg, NULL, 10);
			break;
		case 'n':
			options.all_pass = true;
			break;
		case 'w':
			options.hold = true;
			break;
		}
	}
	if (options.path && options.file && options.connections > 0)
		return;
	fprintf(stderr,
		"usage: milterload -s PATH -f FILE [-c CONNECTIONS] "
		"[-r RATE] [-t SECONDS] [-N RCPTS] [-n] [-w]\n"
		"  -n  every answer is to be continue, whatever FILE says\n"
		"  -w  keep the connections until the end of the input\n");
	exit(64);
}

int main(int argc, char **argv)
{
	struct rlimit files;
	int64_t began;
	int poll;

	read_options(argc, argv);
	getrlimit(RLIMIT_NOFILE, &files);
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
	connections = calloc((size_t)options.connections, sizeof(*connections));
	samples = malloc(SAMPLES * sizeof(*samples));
	if (!connections || !samples)
		die("memory");
	read_recipients();
	poll = open_all();
	began = now_ns();
	run(poll);
	report((double)(now_ns() - began) / 1e9);
	while (options.hold && getchar() != EOF)
		;
	return wrong ? 1 : 0;
}
