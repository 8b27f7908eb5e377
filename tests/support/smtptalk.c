/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * smtptalk SOCKET SENDER RECIPIENT...: an SMTP conversation up to DATA with an
 * MTA that has the filter at SOCKET, printed as it goes. It stands in for
 * Postfix where none is at hand: it asks the filter as Postfix does, and says
 * itself what Postfix would say. The exit status is how many recipients were
 * deferred.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "milterclient.h"

static void said(const char *who, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static void said(const char *who, const char *format, ...)
{
	va_list args;

	printf("  %s: ", who);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	putchar('\n');
}

static void greet(struct mc *mc, const char *sender)
{
	static char bare[320];

	said("S", "220 mx.example ESMTP");
	said("C", "EHLO client.example");
	said("S", "250 mx.example");
	mc_event(mc, MC_HELO, "client.example", NULL);
	said("C", "MAIL FROM:<%s>", sender);
	snprintf(bare, sizeof(bare), "%s", sender);
	mc->macros.client_addr = "192.0.2.1";
	mc->macros.client_name = "client.example";
	mc->macros.client_port = "4711";
	mc->macros.mail_addr = bare;
	mc_event(mc, MC_MAIL, sender, NULL);
	said("S", "250 2.1.0 Ok");
}

/* 1 if the filter deferred it, 0 if not, -1 if the filter is gone. */
static int offer(struct mc *mc, const char *recipient)
{
	struct mc_reply reply;
	char path[600];

	snprintf(path, sizeof(path), "<%s>", recipient);
	said("C", "RCPT TO:%s", path);
	reply = mc_event(mc, MC_RCPT, path, NULL);
	if (reply.type == MC_LOST)
		return -1;
	if (reply.type == MC_REPLY)
		said("S", "%s", reply.text);
	else
		said("S", "250 2.1.5 Ok");
	return reply.type == MC_REPLY;
}

int main(int argc, char **argv)
{
	static struct mc mc;
	int deferred = 0;

	if (argc < 4) {
		fprintf(stderr, "usage: smtptalk SOCKET SENDER RECIPIENT...\n");
		return EX_USAGE;
	}
	if (mc_open_unix(&mc, argv[1]) < 0 ||
	    mc_negotiate(&mc, MC_ALL_ACTIONS, MC_ALL_STEPS) < 0) {
		fprintf(stderr, "smtptalk: %s: no filter there\n", argv[1]);
		return EX_UNAVAILABLE;
	}
	greet(&mc, argv[2]);
	for (int i = 3; i < argc; i++) {
		int rc = offer(&mc, argv[i]);

		if (rc < 0) {
			fprintf(stderr, "smtptalk: the filter went away\n");
			return EX_UNAVAILABLE;
		}
		deferred += rc;
	}
	said("C", "QUIT");
	said("S", "221 2.0.0 Bye");
	mc_close(&mc);
	return deferred;
}
