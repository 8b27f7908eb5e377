/* SPDX-License-Identifier: BSD-2-Clause */
#include "milterclient.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

/* Where smfi_setsymlist puts each event's macros, and the step bits. */
static const struct stage {
	int event, symbols;
	uint32_t no, no_reply;
} stages[] = {
	{ MC_CONNECT, 0, 0x1, 0x1000 }, { MC_HELO, 1, 0x2, 0x2000 },
	{ MC_MAIL, 2, 0x4, 0x4000 },	{ MC_RCPT, 3, 0x8, 0x8000 },
	{ MC_DATA, 4, 0x200, 0x10000 }, { MC_EOM, 5, 0, 0 },
	{ MC_ABORT, -1, 0, ~0u },	{ MC_QUIT, -1, 0, ~0u },
};

/* What Postfix sends of what we know, unless told otherwise. */
static const char *const default_symbols[] = {
	"", "", "i {auth_authen} {mail_addr}", "{rcpt_addr}", "i", "i",
};

static const struct stage *find_stage(int event)
{
	for (size_t i = 0; i < sizeof(stages) / sizeof(stages[0]); i++)
		if (stages[i].event == event)
			return &stages[i];
	return NULL;
}

static int set_up(struct mc *mc, int family, const struct sockaddr *address,
		  socklen_t size)
{
	const struct timeval patience = { 60, 0 };
	int on = 1;

	memset(&mc->macros, 0, sizeof(mc->macros));
	mc->fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (mc->fd < 0)
		return -1;
	setsockopt(mc->fd, SOL_SOCKET, SO_RCVTIMEO, &patience,
		   sizeof(patience));
	if (family == AF_INET)
		setsockopt(mc->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (connect(mc->fd, address, size) == 0)
		return 0;
	close(mc->fd);
	mc->fd = -1;
	return -1;
}

int mc_open_unix(struct mc *mc, const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	return set_up(mc, AF_UNIX, (struct sockaddr *)&address,
		      sizeof(address));
}

int mc_open_port(struct mc *mc, int port)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET,
		.sin_port = htons((uint16_t)port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};

	return set_up(mc, AF_INET, (struct sockaddr *)&address,
		      sizeof(address));
}

int mc_send(struct mc *mc, int command, const void *data, size_t length)
{
	uint32_t size = htonl((uint32_t)length + 1);
	char head[5];
	struct iovec iov[2] = { { head, sizeof(head) },
				{ (void *)data, length } };
	const struct msghdr message = { .msg_iov = iov, .msg_iovlen = 2 };
	size_t whole = sizeof(head) + length;

	memcpy(head, &size, 4);
	head[4] = (char)command;
	return sendmsg(mc->fd, &message, MSG_NOSIGNAL) == (ssize_t)whole ? 0 :
									   -1;
}

static int read_all(struct mc *mc, void *data, size_t length)
{
	/* asked for nothing, recv would wait for the next packet */
	if (length == 0)
		return 0;
	return recv(mc->fd, data, length, MSG_WAITALL) == (ssize_t)length ? 0 :
									    -1;
}

/* Postfix: "%%" is "%", a lone one is dropped. */
static void unescape(char *text)
{
	char *out = text;

	for (; *text; text++) {
		if (*text == '%' && *++text == '\0')
			break;
		*out++ = *text;
	}
	*out = '\0';
}

struct mc_reply mc_receive(struct mc *mc)
{
	struct mc_reply reply = { .type = MC_LOST };
	unsigned char head[5];
	uint32_t size;

	if (read_all(mc, head, sizeof(head)) < 0)
		return reply;
	memcpy(&size, head, 4);
	size = ntohl(size) - 1;
	if (size >= sizeof(mc->in) || read_all(mc, mc->in, size) < 0)
		return reply;
	mc->in[size] = '\0';
	reply.type = head[4];
	if (reply.type == MC_REPLY) {
		snprintf(reply.text, sizeof(reply.text), "%.*s",
			 (int)sizeof(reply.text) - 1, (const char *)mc->in);
		unescape(reply.text);
	}
	return reply;
}

/* Stage number, list of names, repeated. */
static void read_symbols(struct mc *mc, const unsigned char *at,
			 const unsigned char *end)
{
	while (end - at > 5) {
		uint32_t stage;

		memcpy(&stage, at, 4);
		stage = ntohl(stage);
		at += 4;
		if (stage < 8) {
			snprintf(mc->symbols[stage], sizeof(mc->symbols[0]),
				 "%s", (const char *)at);
			mc->asked[stage] = true;
		}
		at += strlen((const char *)at) + 1;
	}
}

int mc_negotiate(struct mc *mc, uint32_t actions, uint32_t steps)
{
	uint32_t offer[3] = { htonl(6), htonl(actions), htonl(steps) };
	uint32_t agreed[3], size;
	unsigned char head[5];

	memset(mc->asked, 0, sizeof(mc->asked));
	mc->offered_actions = actions;
	mc->offered_steps = steps;
	if (mc_send(mc, 'O', offer, sizeof(offer)) < 0 ||
	    read_all(mc, head, sizeof(head)) < 0 || head[4] != 'O')
		return -1;
	memcpy(&size, head, 4);
	size = ntohl(size) - 1;
	if (size < sizeof(agreed) || size >= sizeof(mc->in) ||
	    read_all(mc, mc->in, size) < 0)
		return -1;
	memcpy(agreed, mc->in, sizeof(agreed));
	mc->actions = ntohl(agreed[1]);
	mc->steps = ntohl(agreed[2]);
	read_symbols(mc, mc->in + sizeof(agreed), mc->in + size);
	return 0;
}

static const char *macro_value(const struct mc *mc, const char *name)
{
	const struct {
		const char *name, *value;
	} known[] = {
		{ "i", mc->macros.queue_id },
		{ "{client_addr}", mc->macros.client_addr },
		{ "{client_name}", mc->macros.client_name },
		{ "{client_port}", mc->macros.client_port },
		{ "{auth_authen}", mc->macros.auth_authen },
		{ "{mail_addr}", mc->macros.mail_addr },
		{ "f", mc->macros.sender },
		{ "{rcpt_addr}", mc->macros.rcpt_addr },
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (strcmp(known[i].name, name) == 0)
			return known[i].value;
	return NULL;
}

static size_t put(char *out, size_t used, size_t size, const char *text)
{
	size_t length = strlen(text) + 1;

	if (used + length > size)
		return used;
	memcpy(out + used, text, length);
	return used + length;
}

/* Append one packet to out, which has room for it. */
static size_t pack(unsigned char *out, size_t used, int command,
		   const void *data, size_t length)
{
	uint32_t size = htonl((uint32_t)length + 1);

	memcpy(out + used, &size, 4);
	out[used + 4] = (unsigned char)command;
	memcpy(out + used + 5, data, length);
	return used + 5 + length;
}

static size_t pack_macros(const struct mc *mc, const struct stage *stage,
			  unsigned char *out)
{
	char data[4096], names[256], *rest, *name;
	size_t used = 0;

	if (stage->symbols < 0)
		return 0;
	snprintf(names, sizeof(names), "%s",
		 mc->asked[stage->symbols] ? mc->symbols[stage->symbols] :
					     default_symbols[stage->symbols]);
	data[used++] = (char)stage->event;
	for (name = strtok_r(names, " ", &rest); name;
	     name = strtok_r(NULL, " ", &rest)) {
		const char *value = macro_value(mc, name);

		if (!value)
			continue;
		used = put(data, used, sizeof(data), name);
		used = put(data, used, sizeof(data), value);
	}
	return used > 1 ? pack(out, 0, 'D', data, used) : 0;
}

static size_t pack_event(const struct mc *mc, const struct stage *stage,
			 const void *data, size_t length, unsigned char *out)
{
	size_t used = pack_macros(mc, stage, out);

	return pack(out, used, stage->event, data, length);
}

/* Macros and event in one write, as Postfix's stream has them. */
static struct mc_reply exchange(struct mc *mc, const struct stage *stage,
				const void *data, size_t length)
{
	struct mc_reply none = { .type = MC_NOREPLY };
	unsigned char out[MC_WIRE];
	size_t used;

	if (mc->steps & stage->no)
		return none;
	used = pack_event(mc, stage, data, length, out);
	if (send(mc->fd, out, used, MSG_NOSIGNAL) != (ssize_t)used) {
		none.type = MC_LOST;
		return none;
	}
	if (stage->no_reply == ~0u ||
	    (mc->steps & mc->offered_steps & stage->no_reply))
		return none;
	return mc_receive(mc);
}

static size_t arguments(char data[8192], const char *text,
			const char *const *args)
{
	size_t used = 0;

	if (text)
		used = put(data, used, 8192, text);
	for (; args && *args; args++)
		used = put(data, used, 8192, *args);
	return used;
}

struct mc_reply mc_event(struct mc *mc, int event, const char *text,
			 const char *const *args)
{
	char data[8192];
	size_t used = arguments(data, text, args);

	return exchange(mc, find_stage(event), data, used);
}

size_t mc_pack(const struct mc *mc, int event, const char *text,
	       unsigned char out[MC_WIRE])
{
	char data[8192];
	size_t used = arguments(data, text, NULL);

	return pack_event(mc, find_stage(event), data, used, out);
}

struct mc_reply mc_connect(struct mc *mc, const char *name, const char *address)
{
	char data[600];
	size_t used = put(data, 0, sizeof(data) - 3, name);

	data[used++] = '4';
	data[used++] = 0;
	data[used++] = 25;
	used = put(data, used, sizeof(data), address);
	return exchange(mc, find_stage(MC_CONNECT), data, used);
}

void mc_close(struct mc *mc)
{
	if (mc->fd < 0)
		return;
	mc_send(mc, MC_QUIT, "", 0);
	close(mc->fd);
	mc->fd = -1;
}
