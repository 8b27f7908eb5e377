/* SPDX-License-Identifier: BSD-2-Clause */
#include "quotadefer/quotadb.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "quotadefer/crew.h"
#include "quotadefer/findings.h"
#include "quotadefer/quotarecord.h"

extern char **environ;

/*
 * One reading. The program runs beside us, and a crew of one thread reads
 * what it prints: so the scan's ticks come, and can end it, while it waits.
 */
struct reading {
	struct qd_findings found;
	const struct qd_scan_options *options;
	bool is_flat;
	pid_t pid;
	FILE *out; /* its standard output */
	int why;   /* a file with its standard error */
	/* "KEY\tVALUE" as far as it was read */
	char *pair;
	size_t used;
};

int qd_quotadb_path(const struct qd_imapdconf *conf, char *out, size_t size)
{
	int n;

	if (conf->quota_db_path[0])
		n = snprintf(out, size, "%s", conf->quota_db_path);
	else
		n = snprintf(out, size, "%s/quotas.db", conf->configdirectory);
	return n < (int)size ? 0 : -1;
}

/*
 * The end of a value in a flat file is not marked when Cyrus has it: a record
 * of the old form is read on into what that lmtpd read before, and may turn
 * out full, not full or wrong (myfetch in lib/cyrusdb_flat.c, quota_parseval
 * in imap/quota_db.c). So nothing is known of it.
 */
static enum qd_quotarecord read_value(const struct reading *r,
				      const char *value, size_t length,
				      struct qd_record *rec, const char **why)
{
	enum qd_quotarecord kind;

	kind = qd_quotarecord_value(value, length, rec, why);
	if (kind != QD_QUOTA_ROOT || !r->is_flat || value[0] == '%')
		return kind;
	*why = "the old form in a flat file, which Cyrus misreads";
	return QD_QUOTA_MALFORMED;
}

/* "virt.example!user.joe" is root user.joe of domain virt.example. */
static void note_root(struct reading *r, char *key, const char *value,
		      size_t length)
{
	char *bang = strchr(key, '!');
	const char *domain = bang ? key : "", *why = "";
	const char *name = bang ? bang + 1 : key;
	enum qd_quotarecord kind;
	struct qd_record rec;

	kind = read_value(r, value, length, &rec, &why);
	if (kind == QD_QUOTA_MALFORMED)
		qd_findings_malformed(&r->found, key, why);
	if (bang)
		*bang = '\0';
	if (kind == QD_QUOTA_ROOT)
		qd_findings_root(&r->found, domain, name, &rec);
	else
		qd_findings_hidden(&r->found, domain, name);
}

static void end_pair(struct reading *r)
{
	char *tab = r->used ? memchr(r->pair, '\t', r->used) : NULL;

	if (tab) {
		*tab = '\0';
		note_root(r, r->pair, tab + 1,
			  (size_t)(r->pair + r->used - (tab + 1)));
	}
	r->used = 0;
}

static void append(struct reading *r, const char *data, size_t length)
{
	char *pair = realloc(r->pair, r->used + length);

	if (!pair) {
		r->found.no_memory = true;
		return;
	}
	memcpy(pair + r->used, data, length);
	r->pair = pair;
	r->used += length;
}

/*
 * "KEY\tVALUE\n", where a VALUE of the old form has a line break in it: so a
 * pair is over when the next line has a tab, or at the end.
 */
static void read_pairs(struct qd_crew *crew, void *worker, void *task)
{
	struct reading *r = task;
	char *line = NULL;
	size_t size = 0;
	ssize_t n;

	(void)crew;
	(void)worker;
	while ((n = getline(&line, &size, r->out)) > 0) {
		size_t length = (size_t)n - (line[n - 1] == '\n');

		if (memchr(line, '\t', length))
			end_pair(r);
		else
			append(r, "\n", 1);
		append(r, line, length);
	}
	end_pair(r);
	free(line);
}

static int tick(void *arg)
{
	const struct reading *r = arg;
	const struct qd_scan_options *options = r->options;
	int rc;

	if (!options->tick)
		return 0;
	rc = options->tick(options->arg, r->found.scan);
	if (rc)
		kill(r->pid, SIGTERM);
	return rc;
}

static void *join(void *arg)
{
	return arg;
}

static void leave(void *arg, void *worker)
{
	(void)arg;
	(void)worker;
}

static void discard(void *task)
{
	(void)task;
}

static int read_all(struct reading *r, struct qd_error *err)
{
	const struct qd_crew_job job = { .work = read_pairs,
					 .join = join,
					 .leave = leave,
					 .discard = discard,
					 .tick = tick,
					 .arg = r,
					 .threads = 1 };
	struct qd_crew *crew = qd_crew_new(&job);
	int rc = -1;

	if (!crew || qd_crew_add(crew, r) < 0)
		qd_error_set(err, EX_OSERR, "no memory");
	else if (qd_crew_run(crew) < 0)
		qd_error_set(err, EX_TEMPFAIL, "the scan was stopped");
	else
		rc = 0;
	qd_crew_free(&crew);
	return rc;
}

static int start(struct reading *r, char *const argv[], struct qd_error *err)
{
	posix_spawn_file_actions_t actions;
	int out[2], rc;

	r->why = memfd_create("stderr", MFD_CLOEXEC);
	if (r->why < 0)
		return qd_error_set(err, EX_OSERR, "memfd_create: %m");
	if (pipe2(out, O_CLOEXEC) < 0) {
		close(r->why);
		return qd_error_set(err, EX_OSERR, "pipe: %m");
	}
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, out[1], STDOUT_FILENO);
	posix_spawn_file_actions_adddup2(&actions, r->why, STDERR_FILENO);
	rc = posix_spawn(&r->pid, argv[0], &actions, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	close(out[1]);
	r->out = fdopen(out[0], "r");
	if (rc == 0 && r->out)
		return 0;
	close(out[0]);
	close(r->why);
	return qd_error_set(err, EX_CONFIG,
			    "cyr_dbtool %s: %s; it reads the formats of "
			    "quota_db other than quotalegacy",
			    argv[0], strerror(rc ? rc : ENOMEM));
}

/* How it ended; what it complained of is part of the reason. */
static int finish(struct reading *r, const char *path, struct qd_error *err)
{
	char why[200];
	int status;
	ssize_t n;

	fclose(r->out);
	while (waitpid(r->pid, &status, 0) < 0 && errno == EINTR)
		;
	n = pread(r->why, why, sizeof(why) - 1, 0);
	close(r->why);
	why[n > 0 ? n : 0] = '\0';
	why[strcspn(why, "\n")] = '\0';
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	return qd_error_set(err, EX_TEMPFAIL,
			    "%s: cyr_dbtool could not read it: %s; the old "
			    "records stay",
			    path, why[0] ? why : "it was killed");
}

static int run(struct reading *r, char *const argv[], struct qd_error *err)
{
	struct qd_error ended;
	int rc;

	if (start(r, argv, err) < 0)
		return -1;
	rc = read_all(r, err);
	if (finish(r, argv[3], rc < 0 ? &ended : err) < 0)
		rc = -1;
	free(r->pair);
	return rc;
}

int qd_quotadb_scan(const struct qd_imapdconf *conf,
		    const struct qd_scan_options *options, struct qd_scan *scan,
		    struct qd_error *err)
{
	pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	struct reading r = {
		.found = { .scan = scan, .options = options, .lock = &lock },
		.options = options,
		.is_flat = strcmp(conf->quota_db, "flat") == 0
	};
	char path[1100];
	char *const argv[] = { (char *)options->cyr_dbtool,
			       "-C",
			       (char *)conf->path,
			       path,
			       (char *)conf->quota_db,
			       "show",
			       NULL };

	if (qd_quotadb_path(conf, path, sizeof(path)) < 0)
		return qd_error_set(err, EX_CONFIG, "quota_db_path: too long");
	if (access(path, R_OK) < 0)
		return qd_error_set(err, EX_TEMPFAIL, "%s: %m", path);
	if (run(&r, argv, err) < 0)
		return -1;
	if (qd_findings_merge(&r.found) < 0)
		return qd_error_set(err, EX_OSERR,
				    "no memory for what was found");
	return 0;
}
