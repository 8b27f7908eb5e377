/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef MILTERCLIENT_H
#define MILTERCLIENT_H

/*
 * The MTA's side of the milter protocol, version 6, as Postfix 3.7 speaks it:
 * events that the filter negotiated away are not sent, replies that it said
 * it does not give are not waited for, and the macros that it asked for go
 * ahead of each event. For tests and benchmarks; any failure of the transport
 * is reported by MC_LOST.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What an MTA offers: Postfix 3.7 and sendmail 8.17 offer all of it. */
#define MC_ALL_ACTIONS 0x1ff
#define MC_ALL_STEPS   0x1fffff
#define MC_SETSYMLIST  0x100

/* Events, as on the wire. */
#define MC_CONNECT 'C'
#define MC_HELO	   'H'
#define MC_MAIL	   'M'
#define MC_RCPT	   'R'
#define MC_DATA	   'T'
#define MC_EOM	   'E'
#define MC_ABORT   'A'
#define MC_QUIT	   'Q'

/* What the filter answered; the letters are the protocol's. */
#define MC_CONTINUE 'c'
#define MC_ACCEPT   'a'
#define MC_TEMPFAIL 't'
#define MC_REPLY    'y' /* text is "451 4.2.2 ..." */
#define MC_NOREPLY  0	/* the event was not sent, or has no reply */
#define MC_LOST	    -1

struct mc_reply {
	int type;
	char text[1024]; /* of MC_REPLY, with %% made % as Postfix does */
};

/* Macros that the MTA knows; NULL: it does not. */
struct mc_macros {
	const char *queue_id;	 /* i */
	const char *client_addr; /* {client_addr} */
	const char *client_name; /* {client_name} */
	const char *client_port; /* {client_port} */
	const char *auth_authen; /* {auth_authen} */
	const char *mail_addr;	 /* {mail_addr} */
	const char *sender;	 /* f: only sendmail has it */
	const char *rcpt_addr;	 /* {rcpt_addr} */
};

struct mc {
	int fd;
	uint32_t offered_actions, offered_steps;
	uint32_t actions, steps; /* as agreed */
	char symbols[8][256];	 /* by stage, as smfi_setsymlist */
	bool asked[8];
	struct mc_macros macros;
	unsigned char in[65536];
};

/* Connect to a unix socket path, or to a loopback port. 0 or -1. */
int mc_open_unix(struct mc *mc, const char *path);
int mc_open_port(struct mc *mc, int port);

/* Negotiate; 0 or -1. */
int mc_negotiate(struct mc *mc, uint32_t actions, uint32_t steps);

/* Send one event; text is its argument, args (may be NULL) its further ones. */
struct mc_reply mc_event(struct mc *mc, int event, const char *text,
			 const char *const *args);

/*
 * What mc_event would put on the wire: macros and event. Returns its length.
 * For those who send it themselves, whatever was negotiated.
 */
#define MC_WIRE 16384
size_t mc_pack(const struct mc *mc, int event, const char *text,
	       unsigned char out[MC_WIRE]);

/* The connect event, for an MTA whose filter wants it. */
struct mc_reply mc_connect(struct mc *mc, const char *name,
			   const char *address);

/* Just put a packet on the wire, or take one off it. */
int mc_send(struct mc *mc, int command, const void *data, size_t length);
struct mc_reply mc_receive(struct mc *mc);

/* Say QUIT, if the connection is still there, and close. */
void mc_close(struct mc *mc);

#endif
