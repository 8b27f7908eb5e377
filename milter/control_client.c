/* SPDX-License-Identifier: BSD-2-Clause */
#include "quotadefer/control.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sysexits.h>
#include <unistd.h>

static int connect_to(const char *path, int timeout_ms, struct qd_error *err)
{
	const struct timeval timeout = { timeout_ms / 1000,
					 timeout_ms % 1000 * 1000 };
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd;

	if (strlen(path) >= sizeof(address.sun_path))
		return qd_error_set(err, EX_CONFIG,
				    "control socket %s: too "
				    "long a path",
				    path);
	strcpy(address.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return qd_error_set(err, EX_OSERR, "socket: %m");
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
		return fd;
	if (errno == EACCES)
		qd_error_set(err, EX_NOPERM, "control socket %s: %m", path);
	else
		qd_error_set(err, EX_UNAVAILABLE,
			     "control socket %s: %m; is quotadefer-milter "
			     "running?",
			     path);
	close(fd);
	return -1;
}

static int send_line(int fd, const char *request)
{
	char line[512];
	int n = snprintf(line, sizeof(line), "%s\n", request);

	if (n >= (int)sizeof(line))
		return -1;
	return send(fd, line, (size_t)n, MSG_NOSIGNAL) == n ? 0 : -1;
}

/* "error 77: reload: only root ..." */
static int refused(const char *text, struct qd_error *err)
{
	int status = EX_PROTOCOL, skip = 0;

	if (sscanf(text, "error %d: %n", &status, &skip) < 1 || !skip)
		return qd_error_set(err, EX_PROTOCOL, "no answer of ours: %s",
				    text);
	return qd_error_set(err, status, "%s", text + skip);
}

/* "ok" or "error STATUS: REASON", then the answer. */
static int copy_answer(FILE *in, FILE *out, struct qd_error *err)
{
	char text[4096];
	size_t n;

	if (!fgets(text, sizeof(text), in))
		return qd_error_set(err, EX_UNAVAILABLE, "no answer");
	if (strcmp(text, "ok\n") != 0) {
		text[strcspn(text, "\n")] = '\0';
		return refused(text, err);
	}
	while ((n = fread(text, 1, sizeof(text), in)) > 0)
		if (fwrite(text, 1, n, out) != n)
			return qd_error_set(err, EX_IOERR, "%m");
	if (ferror(in))
		return qd_error_set(err, EX_UNAVAILABLE,
				    "the answer was cut "
				    "short");
	return 0;
}

int qd_control_ask(const char *path, const char *request, int timeout_ms,
		   FILE *out, struct qd_error *err)
{
	int fd = connect_to(path, timeout_ms, err);
	FILE *in;
	int rc;

	if (fd < 0)
		return -1;
	if (send_line(fd, request) < 0) {
		qd_error_set(err, EX_UNAVAILABLE, "control socket %s: %m",
			     path);
		close(fd);
		return -1;
	}
	in = fdopen(fd, "r");
	if (!in) {
		close(fd);
		return qd_error_set(err, EX_OSERR, "fdopen: %m");
	}
	rc = copy_answer(in, out, err);
	fclose(in);
	return rc;
}
