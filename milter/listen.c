/* SPDX-License-Identifier: BSD-2-Clause */
#include "quotadefer/listen.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sysexits.h>
#include <unistd.h>

static void unix_address(const char *path, struct sockaddr_un *out)
{
	memset(out, 0, sizeof(*out));
	out->sun_family = AF_UNIX;
	snprintf(out->sun_path, sizeof(out->sun_path), "%s", path);
}

/* Anybody who can write to the directory can put his own socket there. */
static int check_directory(const char *path, struct qd_error *err)
{
	char dir[sizeof(((struct qd_socketspec *)0)->path)];
	struct stat st;
	char *slash;

	snprintf(dir, sizeof(dir), "%s", path);
	slash = strrchr(dir, '/');
	slash[slash == dir] = '\0';
	if (stat(dir, &st) < 0)
		return qd_error_set(err, EX_CONFIG,
				    "socket %s: directory %s: %m", path, dir);
	if ((st.st_mode & S_IWOTH) && !(st.st_mode & S_ISVTX))
		return qd_error_set(err, EX_CONFIG,
				    "socket %s: anybody may write to %s; "
				    "chmod o-w it",
				    path, dir);
	return 0;
}

/* Held until the process ends; a second instance cannot have it. */
static int lock_socket(const char *path, struct qd_error *err)
{
	char name[128];
	int fd;

	snprintf(name, sizeof(name), "%s.lock", path);
	fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return qd_error_set(
			err, errno == EACCES ? EX_NOPERM : EX_CONFIG,
			"%s: %m%s", name,
			errno == EACCES ? "; start it as root" : "");
	if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		close(fd);
		return qd_error_set(err, EX_TEMPFAIL,
				    "socket %s: another instance serves it",
				    path);
	}
	/* cppcheck-suppress resourceLeak ; it is to stay open */
	return 0;
}

static int refuse_if_live(const char *path, struct qd_error *err)
{
	struct sockaddr_un address;
	int fd, rc;

	unix_address(path, &address);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return qd_error_set(err, EX_OSERR, "socket: %m");
	rc = connect(fd, (struct sockaddr *)&address, sizeof(address));
	/* EAGAIN is a full backlog: somebody is there, if busy */
	if (rc < 0 && errno != EAGAIN)
		rc = errno == ECONNREFUSED || errno == ENOENT ? 0 : -errno;
	else
		rc = 1;
	close(fd);
	if (rc == 0)
		return 0;
	if (rc < 0)
		return qd_error_set(err, EX_NOPERM, "socket %s: %s", path,
				    strerror(-rc));
	return qd_error_set(err, EX_TEMPFAIL,
			    "socket %s: another program serves it", path);
}

static int claim_unix(const char *path, struct qd_error *err)
{
	struct stat st;

	if (check_directory(path, err) < 0)
		return -1;
	if (lstat(path, &st) == 0 && !S_ISSOCK(st.st_mode))
		return qd_error_set(err, EX_CONFIG,
				    "socket %s: something that is not a "
				    "socket is in the way",
				    path);
	if (lock_socket(path, err) < 0 || refuse_if_live(path, err) < 0)
		return -1;
	if (unlink(path) < 0 && errno != ENOENT)
		return qd_error_set(err, EX_NOPERM,
				    "socket %s: cannot remove the old one: %m",
				    path);
	return 0;
}

static int try_bind(const struct addrinfo *info,
		    const struct qd_socketspec *spec, struct qd_error *err)
{
	int on = 1, rc;
	int fd = socket(info->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return qd_error_set(err, EX_OSERR, "socket: %m");
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	rc = bind(fd, info->ai_addr, info->ai_addrlen);
	if (rc < 0 && errno == EADDRINUSE)
		qd_error_set(err, EX_TEMPFAIL,
			     "socket %s: another program serves it",
			     spec->milter);
	else if (rc < 0)
		qd_error_set(err, errno == EACCES ? EX_NOPERM : EX_CONFIG,
			     "socket %s: %m", spec->milter);
	close(fd);
	return rc;
}

static int claim_inet(const struct qd_socketspec *spec, struct qd_error *err)
{
	const struct addrinfo hints = { .ai_family = spec->family,
					.ai_socktype = SOCK_STREAM,
					.ai_flags = AI_PASSIVE };
	struct addrinfo *info;
	char port[8];
	int rc;

	snprintf(port, sizeof(port), "%d", spec->port);
	rc = getaddrinfo(spec->host[0] ? spec->host : NULL, port, &hints,
			 &info);
	if (rc)
		return qd_error_set(err, EX_CONFIG, "socket %s: %s",
				    spec->milter, gai_strerror(rc));
	rc = try_bind(info, spec, err);
	freeaddrinfo(info);
	return rc;
}

int qd_listen_claim(const struct qd_socketspec *spec, struct qd_error *err)
{
	if (spec->family == AF_UNIX)
		return claim_unix(spec->path, err);
	return claim_inet(spec, err);
}

int qd_listen_group(const char *name, gid_t *out, struct qd_error *err)
{
	/* cppcheck-suppress getgrnamCalled ; there is one thread as yet */
	const struct group *group = getgrnam(name ? name : "postfix");

	if (name && !group)
		return qd_error_set(err, EX_CONFIG,
				    "socket_group %s: there is no such group; "
				    "groupadd --system %s makes one",
				    name, name);
	*out = group ? group->gr_gid : (gid_t)-1;
	return 0;
}

int qd_listen_unix(const char *path, mode_t mode, struct qd_error *err)
{
	struct sockaddr_un address;
	mode_t mask;
	int fd, rc;

	if (strlen(path) >= sizeof(address.sun_path))
		return qd_error_set(err, EX_CONFIG,
				    "socket %s: longer than %zu bytes", path,
				    sizeof(address.sun_path) - 1);
	if (claim_unix(path, err) < 0)
		return -1;
	unix_address(path, &address);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return qd_error_set(err, EX_OSERR, "socket: %m");
	mask = umask(0777 & ~mode);
	rc = bind(fd, (struct sockaddr *)&address, sizeof(address));
	umask(mask);
	if (rc < 0 || listen(fd, 16) < 0) {
		qd_error_set(err, EX_OSERR, "socket %s: %m", path);
		close(fd);
		return -1;
	}
	return fd;
}
