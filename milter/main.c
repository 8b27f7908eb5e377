/* SPDX-License-Identifier: BSD-2-Clause */
/* quotadefer-milter: the filter's process, around the callbacks. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "quotadefer/callbacks.h"
#include "quotadefer/listen.h"
#include "quotadefer/log.h"
#include "quotadefer/loop.h"
#include "quotadefer/options.h"
#include "quotadefer/privs.h"
#include "quotadefer/signals.h"

static const char usage[] =
	"[-fnvVh] [-c FILE] [-o NAME=VALUE]... [-p SOCKET] [-u USER]\n"
	"                         [-P PIDFILE]\n"
	"  -c, --config FILE        read settings from FILE\n"
	"  -o, --option NAME=VALUE  a setting, over the file\n"
	"  -f, --foreground         stay in the foreground, log to stderr\n"
	"  -p, --socket SOCKET      as -o socket=SOCKET\n"
	"  -u, --user USER          as -o user=USER\n"
	"  -P, --pidfile PIDFILE    as -o pidfile=PIDFILE\n"
	"  -n, --check              check the settings and exit; -v prints "
	"them\n"
	"  -v, --verbose            log recipients that pass, too\n"
	"  -V, --version            print the version and exit\n"
	"  -h, --help               print this and exit\n";

struct arguments {
	struct qd_options common;
	bool foreground;
	char socket[320], user[80], pidfile[300];
};

static bool take_option(struct arguments *a, int letter)
{
	switch (letter) {
	case 'f':
		a->foreground = true;
		return true;
	case 'p':
		snprintf(a->socket, sizeof(a->socket), "socket=%s", optarg);
		qd_options_override(&a->common, a->socket);
		return true;
	case 'u':
		snprintf(a->user, sizeof(a->user), "user=%s", optarg);
		qd_options_override(&a->common, a->user);
		return true;
	case 'P':
		snprintf(a->pidfile, sizeof(a->pidfile), "pidfile=%s", optarg);
		qd_options_override(&a->common, a->pidfile);
		return true;
	default:
		return qd_options_take(&a->common, letter, optarg, usage);
	}
}

static int read_arguments(int argc, char **argv, struct arguments *a)
{
	static const struct option longs[] = {
		QD_LONG_OPTIONS,
		{ "foreground", no_argument, NULL, 'f' },
		{ "socket", required_argument, NULL, 'p' },
		{ "user", required_argument, NULL, 'u' },
		{ "pidfile", required_argument, NULL, 'P' },
		{ NULL, 0, NULL, 0 },
	};
	int letter;

	while ((letter = getopt_long(argc, argv, QD_OPTIONS "fp:u:P:", longs,
				     NULL)) != -1)
		if (!take_option(a, letter))
			return qd_options_misused(&a->common, usage);
	if (optind < argc)
		return qd_options_misused(&a->common, usage);
	return 0;
}

/* Whom to become; with no root rights, whom we are. */
static int find_identity(const struct qd_settings *settings,
			 struct qd_identity *who, struct qd_error *err)
{
	if (geteuid() != 0) {
		who->uid = geteuid();
		who->gid = getegid();
		snprintf(who->name, sizeof(who->name), "#%u",
			 (unsigned)who->uid);
		return 0;
	}
	return qd_privs_find(settings->user, who, err);
}

static int parent_directory(const char *path, const struct qd_identity *who,
			    struct qd_error *err)
{
	char dir[256];
	char *slash;

	snprintf(dir, sizeof(dir), "%s", path);
	slash = strrchr(dir, '/');
	if (!slash || slash == dir)
		return 0;
	*slash = '\0';
	return qd_privs_directory(dir, 0755, who, err);
}

static int write_pidfile(const char *path, struct qd_error *err)
{
	int fd = open(path,
		      O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC,
		      0644);

	if (fd < 0 || dprintf(fd, "%ld\n", (long)getpid()) < 0) {
		qd_error_set(err, EX_CANTCREAT, "pidfile %s: %m", path);
		if (fd >= 0)
			close(fd);
		return -1;
	}
	close(fd);
	return 0;
}

/*
 * All that needs root's rights: directories, sockets, the pid file. Returns
 * the control socket's descriptor, or -1.
 */
static int claim(struct qd_daemon *daemon, const struct qd_settings *settings,
		 const struct qd_identity *who, struct qd_error *err)
{
	const struct qd_socketspec *spec = &settings->socket_spec;
	int control;

	if (spec->path[0] && parent_directory(spec->path, who, err) < 0)
		return -1;
	if (parent_directory(settings->control_socket, who, err) < 0)
		return -1;
	if (geteuid() == 0 && qd_privs_table(settings->table, who, err) < 0)
		return -1;
	if (qd_listen_claim(spec, err) < 0 ||
	    qd_callbacks_register(daemon, settings, err) < 0)
		return -1;
	/* anybody may ask; only root and we may change anything */
	control = qd_listen_unix(settings->control_socket, 0666, err);
	if (control < 0)
		return -1;
	if (settings->pidfile && write_pidfile(settings->pidfile, err) < 0)
		return -1;
	return control;
}

/*
 * Fork into the background. The parent stays until the child says through
 * the returned descriptor how its start went, and exits with that.
 */
static int go_to_background(struct qd_error *err)
{
	int fds[2];
	char status = EX_SOFTWARE;
	pid_t child;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return qd_error_set(err, EX_OSERR, "pipe: %m");
	child = fork();
	if (child < 0)
		return qd_error_set(err, EX_OSERR, "fork: %m");
	if (child > 0) {
		close(fds[1]);
		while (read(fds[0], &status, 1) < 0 && errno == EINTR)
			;
		_exit(status);
	}
	close(fds[0]);
	setsid();
	if (chdir("/") < 0)
		return qd_error_set(err, EX_OSERR, "chdir /: %m");
	return fds[1];
}

/* The terminal is not ours any more. */
static void report_start(int report)
{
	char status = EX_OK;
	int null;

	if (report < 0)
		return;
	null = open("/dev/null", O_RDWR);
	for (int fd = STDIN_FILENO; null >= 0 && fd <= STDERR_FILENO; fd++)
		dup2(null, fd);
	if (null > STDERR_FILENO)
		close(null);
	if (write(report, &status, 1) < 0)
		qd_log(LOG_ERR, "the parent process is gone");
	close(report);
}

static int report_failure(int report, int status)
{
	char byte = (char)status;

	if (report >= 0 && write(report, &byte, 1) < 0)
		return status;
	return status;
}

/* A session is a descriptor; as many as the administrator allows. */
static void raise_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

/* Whatever the table is like, the filter runs: recipients pass. */
static int open_table(const struct qd_settings *settings,
		      struct qd_daemon *daemon, struct qd_error *err)
{
	char aside[256];
	int rc;

	qd_table_guard();
	rc = qd_table_open(settings->table, QD_TABLE_WRITE,
			   settings->table_size, &daemon->table, aside, err);
	if (!daemon->table)
		return -1;
	if (rc < 0)
		qd_daemon_table_failed(daemon, err, "recipients pass");
	if (aside[0])
		qd_log(LOG_WARNING,
		       "table %s: it was damaged or of another version; kept "
		       "as %s, and begun anew: recipients pass until a "
		       "source has published",
		       settings->table, aside);
	return 0;
}

/* The lock on the socket is still ours, so these are. */
static void tidy_up(const struct qd_settings *settings)
{
	if (settings->pidfile)
		unlink(settings->pidfile);
	if (settings->socket_spec.path[0])
		unlink(settings->socket_spec.path);
	unlink(settings->control_socket);
}

static void check_readable(const char *file)
{
	if (access(file, R_OK) < 0 && errno == EACCES)
		qd_log(LOG_WARNING,
		       "%s: the filter's user cannot read it, or not enter a "
		       "directory above it, so it cannot be reloaded; chgrp "
		       "it to his group, chmod g+r",
		       file);
}

/* A reload is done by the user that the filter has become. */
static void check_reload(const struct qd_options *options,
			 const struct qd_settings *settings)
{
	check_readable(options->config ? options->config :
					 QD_SYSCONFDIR "/quotadefer.conf");
	for (size_t i = 0; i < settings->alias_maps.count; i++)
		check_readable(strchr(settings->alias_maps.items[i], '/'));
}

static int start(struct arguments *a, struct qd_settings *settings,
		 struct qd_error *err)
{
	static struct qd_daemon daemon; /* libmilter's threads never end */
	struct qd_aliases *aliases;
	struct qd_identity who;
	int control, report = -1, status;

	if (find_identity(settings, &who, err) < 0)
		return qd_options_fail(&a->common, err);
	if (!a->foreground && (report = go_to_background(err)) < 0)
		return qd_options_fail(&a->common, err);
	qd_signals_hold_reloads();
	raise_limit();
	qd_log_open(a->common.program, a->foreground,
		    a->common.verbose ? LOG_DEBUG : LOG_INFO);
	/* libldap wants to be called first while there are no threads */
	if (qd_aliases_open(settings, false, qd_log_text, &aliases, err) < 0)
		return report_failure(report, qd_options_fail(&a->common, err));
	control = claim(&daemon, settings, &who, err);
	if (control < 0 || qd_privs_drop(&who, (gid_t)-1, err) < 0 ||
	    open_table(settings, &daemon, err) < 0)
		return report_failure(report, qd_options_fail(&a->common, err));
	check_reload(&a->common, settings);
	/* a reload lets go of the daemon's own reference */
	qd_daemon_init(&daemon, qd_settings_ref(settings), aliases,
		       daemon.table);
	qd_log(LOG_NOTICE, "%s on %s", QD_VERSION,
	       settings->socket_spec.milter);
	status =
		qd_loop_run(&daemon, control, &a->common, report_start, report);
	tidy_up(settings);
	qd_settings_unref(&settings);
	return status;
}

static void print_note(void *program, const char *text)
{
	fprintf(stderr, "%s: note: %s\n", (const char *)program, text);
}

/* What is allowed, and may still not be what was meant. */
static void print_notes(const char *program, const struct qd_settings *settings)
{
	const struct qd_socketspec *spec = &settings->socket_spec;

	if (!settings->domains.count)
		fprintf(stderr,
			"%s: note: domains is not set: with virtdomains off "
			"nothing will be deferred\n",
			program);
	if (spec->port && !spec->host[0])
		fprintf(stderr,
			"%s: note: socket %s has no host: anybody who reaches "
			"this machine may ask who is full\n",
			program, spec->milter);
	if (strcmp(settings->user, "root") == 0)
		fprintf(stderr,
			"%s: note: user is root: a fault in the filter is "
			"root's\n",
			program);
	qd_settings_notes(settings, print_note, (void *)program);
}

/*
 * Text files are read again, and settings too, by the user that the filter
 * becomes; so this ends as that user.
 */
static void print_unreadable(const struct arguments *a,
			     const struct qd_settings *settings,
			     const struct qd_identity *who)
{
	struct qd_error err;

	if (geteuid() == 0 && qd_privs_drop(who, (gid_t)-1, &err) < 0)
		return;
	for (size_t i = 0; i < settings->alias_maps.count; i++) {
		const char *map = settings->alias_maps.items[i];

		if (access(strchr(map, '/'), R_OK) < 0 && errno == EACCES)
			fprintf(stderr,
				"%s: note: %s: user %s cannot read it, or not "
				"enter a directory above it, so it cannot be "
				"reloaded; chgrp it to his group, chmod g+r\n",
				a->common.program, map, who->name);
	}
}

static int check_only(const struct arguments *a,
		      const struct qd_settings *settings)
{
	struct qd_aliases *aliases;
	struct qd_identity who;
	struct qd_error err;
	gid_t group;

	if (a->common.verbose)
		qd_settings_print(settings, stdout);
	if (find_identity(settings, &who, &err) < 0 ||
	    qd_listen_group(settings->socket_group, &group, &err) < 0)
		return qd_options_fail(&a->common, &err);
	if (qd_aliases_open(settings, true, NULL, &aliases, &err) < 0)
		return qd_options_fail(&a->common, &err);
	qd_aliases_unref(&aliases);
	print_notes(a->common.program, settings);
	print_unreadable(a, settings, &who);
	return EX_OK;
}

int main(int argc, char **argv)
{
	struct arguments a = { .common.program = "quotadefer-milter" };
	struct qd_settings *settings;
	struct qd_error err = { 0 };
	int status;

	qd_options_standard_files();
	status = read_arguments(argc, argv, &a);
	if (status)
		return status;
	if (qd_options_fix_config(&a.common, &err) < 0 ||
	    qd_settings_load(a.common.config, a.common.overrides, &settings,
			     &err) < 0)
		return qd_options_fail(&a.common, &err);
	if (!a.common.check)
		return start(&a, settings, &err);
	status = check_only(&a, settings);
	qd_settings_unref(&settings);
	return status;
}
