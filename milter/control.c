/* SPDX-License-Identifier: BSD-2-Clause */
#include "quotadefer/control.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sysexits.h>
#include <unistd.h>

#include "quotadefer/log.h"

enum {
	REQUEST_MAX = 1280,
	CLIENT_MS = 5000
};

/* A client first sends a line (answer NULL), then is sent the answer. */
struct client {
	int fd; /* -1: none here */
	int64_t deadline_ms;
	bool trusted;
	char request[REQUEST_MAX];
	size_t received;
	char *answer;
	size_t length, sent;
};

struct qd_control {
	int fd;
	qd_control_handler *handler;
	void *arg;
	struct client clients[QD_CONTROL_CLIENTS];
};

struct qd_control *qd_control_new(int fd, qd_control_handler *handler,
				  void *arg)
{
	struct qd_control *control = calloc(1, sizeof(*control));

	if (!control)
		return NULL;
	control->fd = fd;
	control->handler = handler;
	control->arg = arg;
	for (int i = 0; i < QD_CONTROL_CLIENTS; i++)
		control->clients[i].fd = -1;
	return control;
}

static void drop_client(struct client *client)
{
	if (client->fd >= 0)
		close(client->fd);
	free(client->answer);
	memset(client, 0, sizeof(*client));
	client->fd = -1;
}

void qd_control_free(struct qd_control **control)
{
	if (!*control)
		return;
	for (int i = 0; i < QD_CONTROL_CLIENTS; i++)
		drop_client(&(*control)->clients[i]);
	close((*control)->fd);
	free(*control);
	*control = NULL;
}

int qd_control_poll(struct qd_control *control, struct pollfd *pfds)
{
	int count = 0;
	bool room = false;

	for (int i = 0; i < QD_CONTROL_CLIENTS; i++) {
		const struct client *client = &control->clients[i];

		if (client->fd < 0) {
			room = true;
			continue;
		}
		pfds[count].fd = client->fd;
		pfds[count].revents = 0;
		pfds[count++].events = client->answer ? POLLOUT : POLLIN;
	}
	/* with no room new ones wait in the backlog */
	pfds[count].fd = room ? control->fd : -1;
	pfds[count].revents = 0;
	pfds[count++].events = POLLIN;
	return count;
}

static bool is_trusted(int fd)
{
	struct ucred peer;
	socklen_t size = sizeof(peer);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
		return false;
	return peer.uid == 0 || peer.uid == geteuid();
}

static void accept_client(struct qd_control *control, int64_t now_ms)
{
	int fd = accept4(control->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd < 0)
		return;
	for (int i = 0; i < QD_CONTROL_CLIENTS; i++) {
		struct client *client = &control->clients[i];

		if (client->fd >= 0)
			continue;
		client->fd = fd;
		client->trusted = is_trusted(fd);
		client->deadline_ms = now_ms + CLIENT_MS;
		return;
	}
	close(fd);
}

/* The whole answer in memory, so that a slow reader holds up nobody. */
static void make_answer(struct qd_control *control, struct client *client)
{
	struct qd_error err = { 0 };
	char *body = NULL;
	size_t length = 0;
	FILE *out = open_memstream(&body, &length);
	int rc = -1;

	if (out) {
		fputs("ok\n", out);
		rc = control->handler(control->arg, client->request,
				      client->trusted, out, &err);
		if (fclose(out) != 0)
			rc = -1;
	}
	if (rc == 0) {
		client->answer = body;
		client->length = length;
		return;
	}
	free(body);
	client->answer = malloc(sizeof(err.text) + 32);
	if (!client->answer) {
		drop_client(client);
		return;
	}
	client->length = (size_t)sprintf(client->answer, "error %d: %s\n",
					 err.text[0] ? err.status : EX_OSERR,
					 err.text[0] ? err.text : "no memory");
}

static void receive(struct qd_control *control, struct client *client)
{
	size_t room = sizeof(client->request) - 1 - client->received;
	ssize_t n = read(client->fd, client->request + client->received, room);
	char *end;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		drop_client(client);
		return;
	}
	client->received += (size_t)n;
	client->request[client->received] = '\0';
	end = memchr(client->request, '\n', client->received);
	if (end) {
		*end = '\0';
		client->request[strcspn(client->request, "\r")] = '\0';
		make_answer(control, client);
	} else if ((size_t)n == room) {
		drop_client(client); /* no request is that long */
	}
}

static void transmit(struct client *client)
{
	ssize_t n = send(client->fd, client->answer + client->sent,
			 client->length - client->sent, MSG_NOSIGNAL);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n > 0)
		client->sent += (size_t)n;
	if (n <= 0 || client->sent == client->length)
		drop_client(client);
}

static struct client *find_client(struct qd_control *control, int fd)
{
	for (int i = 0; i < QD_CONTROL_CLIENTS; i++)
		if (control->clients[i].fd == fd)
			return &control->clients[i];
	return NULL;
}

void qd_control_handle(struct qd_control *control, const struct pollfd *pfds,
		       int count, int64_t now_ms)
{
	for (int i = 0; i < count; i++) {
		struct client *client;

		if (pfds[i].fd < 0 || !pfds[i].revents)
			continue;
		if (pfds[i].fd == control->fd) {
			accept_client(control, now_ms);
			continue;
		}
		client = find_client(control, pfds[i].fd);
		if (client && client->answer)
			transmit(client);
		else if (client)
			receive(control, client);
	}
	for (int i = 0; i < QD_CONTROL_CLIENTS; i++)
		if (control->clients[i].fd >= 0 &&
		    now_ms > control->clients[i].deadline_ms)
			drop_client(&control->clients[i]);
}
