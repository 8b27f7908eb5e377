/* SPDX-License-Identifier: BSD-2-Clause */
/* quotadefer-scan: from Cyrus's quota roots to the over-quota table. */
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "quotadefer/guard.h"
#include "quotadefer/imapdconf.h"
#include "quotadefer/log.h"
#include "quotadefer/options.h"
#include "quotadefer/privs.h"
#include "quotadefer/progress.h"
#include "quotadefer/publish.h"
#include "quotadefer/quotastore.h"

static const char usage[] =
	"[-nqvVh] [-c FILE] [-o NAME=VALUE]... [--dry-run] [--force]\n"
	"  -c, --config FILE        read settings from FILE\n"
	"  -o, --option NAME=VALUE  a setting, over the file\n"
	"      --dry-run            print what would change, change nothing\n"
	"      --force              publish in spite of the guards\n"
	"  -q, --quiet              print nothing but errors\n"
	"  -n, --check              check the settings and imapd.conf, and "
	"exit\n"
	"  -v, --verbose            say more\n"
	"  -V, --version            print the version and exit\n"
	"  -h, --help               print this and exit\n";

/* Everything one run is about. */
struct run {
	struct qd_options common;
	bool force, dry_run, quiet;
	struct qd_settings *settings;
	struct qd_imapdconf conf;
	const struct qd_publisher *publisher;
	void *self;
	bool known; /* the source was published before */
	struct qd_source before, source;
	struct qd_rootset current;
	struct qd_scan scan;
	struct qd_progress progress;
	struct qd_published done;
	time_t renewed;
	struct qd_error stopped; /* why the scan was, if it was */
};

/* How often a lease is made to last longer; see LEASE_MS. */
enum {
	RENEW_S = 5
};

static volatile sig_atomic_t interrupted;

static void on_signal(int signal)
{
	interrupted = signal;
}

static int read_arguments(int argc, char **argv, struct run *run)
{
	enum {
		FORCE = 256,
		DRY_RUN
	};
	static const struct option longs[] = {
		QD_LONG_OPTIONS,
		{ "quiet", no_argument, NULL, 'q' },
		{ "force", no_argument, NULL, FORCE },
		{ "dry-run", no_argument, NULL, DRY_RUN },
		{ NULL, 0, NULL, 0 },
	};
	int letter;

	while ((letter = getopt_long(argc, argv, QD_OPTIONS "q", longs,
				     NULL)) != -1) {
		if (letter == 'q')
			run->quiet = true;
		else if (letter == FORCE)
			run->force = true;
		else if (letter == DRY_RUN)
			run->dry_run = true;
		else if (!qd_options_take(&run->common, letter, optarg, usage))
			return qd_options_misused(&run->common, usage);
	}
	if (optind < argc)
		return qd_options_misused(&run->common, usage);
	return 0;
}

static enum qd_rule rule_of(const struct run *run)
{
	switch (run->settings->rule) {
	case QD_USE_LMTPD:
		return QD_RULE_LMTPD;
	case QD_USE_STRICT:
		return QD_RULE_STRICT;
	case QD_USE_SMMAPD:
		return QD_RULE_SMMAPD;
	default:
		return run->conf.lmtp_strict_quota ? QD_RULE_STRICT :
						     QD_RULE_LMTPD;
	}
}

static int read_conf(struct run *run, struct qd_error *err)
{
	if (qd_imapdconf_read(run->settings->imapd_conf, &run->conf, err) < 0)
		return -1;
	if (qd_quotastore_check(&run->conf, err) < 0)
		return qd_error_prefix(err, run->settings->imapd_conf);
	return 0;
}

/* The owner of Cyrus's files, or of a place that root made for them: cyrus. */
static int find_owner(const struct run *run, struct qd_identity *owner,
		      struct qd_error *err)
{
	char base[1024];

	if (qd_imapdconf_quota_base(&run->conf, base, sizeof(base)) < 0)
		return qd_error_set(err, EX_CONFIG, "quota_db_path: too long");
	if (qd_privs_owner(base, owner, err) < 0) {
		err->status = EX_TEMPFAIL;
		return qd_error_prefix(err, "configdirectory, or the place of "
					    "quota_db_path");
	}
	if (owner->uid != 0)
		return 0;
	if (qd_privs_find("cyrus", owner, err) < 0)
		return qd_error_set(err, EX_NOPERM,
				    "%s belongs to root, and there is no user "
				    "cyrus: chown it to the user of Cyrus, as "
				    "whom it is to be read",
				    base);
	return 0;
}

/* Cyrus's files are read as the user who owns them, never as root for him. */
static int become_owner(const struct run *run, struct qd_error *err)
{
	const struct qd_settings *settings = run->settings;
	struct qd_identity owner;
	struct stat table;
	gid_t group = (gid_t)-1;

	if (geteuid() != 0)
		return 0;
	if (find_owner(run, &owner, err) < 0)
		return -1;
	if (!settings->redis && !run->dry_run &&
	    qd_privs_directory(settings->table, 02770, &owner, err) < 0)
		return -1;
	/* and may write the table, whose group he need not be in otherwise */
	if (!settings->redis && stat(settings->table, &table) == 0)
		group = table.st_gid;
	return qd_privs_drop(&owner, group, err);
}

static int on_tick(void *arg, const struct qd_scan *scan)
{
	struct run *run = arg;
	time_t now = time(NULL);

	qd_progress_show(&run->progress, scan);
	if (interrupted)
		return qd_error_set(&run->stopped, EX_TEMPFAIL,
				    "stopped by a signal (%s)",
				    strsignal(interrupted));
	if (run->dry_run || llabs((long long)(now - run->renewed)) < RENEW_S)
		return 0;
	run->renewed = now;
	return run->publisher->renew(run->self, &run->stopped);
}

static int scan(struct run *run, struct qd_error *err)
{
	const struct qd_settings *settings = run->settings;
	const struct qd_scan_options options = {
		.rule = run->source.rule,
		.size = run->source.rule == QD_RULE_STRICT ?
				settings->largest_message :
				0,
		.domain_roots = run->source.domain_roots,
		.cyr_dbtool = settings->cyr_dbtool,
		.threads = (int)settings->scan_threads,
		.now = (int64_t)time(NULL),
		.tick = on_tick,
		.arg = run,
	};
	int rc;

	rc = qd_quotastore_scan(&run->conf, &options, &run->scan, err);
	qd_progress_end(&run->progress);
	if (rc < 0 && run->stopped.status)
		*err = run->stopped;
	return rc;
}

static void describe_source(struct run *run)
{
	struct qd_source *src = &run->source;

	qd_source_init(src, run->settings->source);
	gethostname(src->host, sizeof(src->host) - 1);
	src->naming = run->conf.naming;
	src->rule = rule_of(run);
	src->naming.tests_folder = src->rule == QD_RULE_SMMAPD;
	src->domain_roots =
		run->settings->domain_roots == QD_DOMAIN_ROOTS_ENFORCE;
	src->largest_message = src->rule == QD_RULE_STRICT ?
				       run->settings->largest_message :
				       0;
	if (run->known) {
		src->scanned = run->before.scanned;
		src->heartbeat = run->before.heartbeat;
		src->records = run->before.records;
		src->roots = run->before.roots;
		src->over = run->before.over;
	}
}

static bool needs_announcement(const struct run *run)
{
	const struct qd_source *before = &run->before, *now = &run->source;

	return !run->known || before->rule != now->rule ||
	       before->domain_roots != now->domain_roots ||
	       before->largest_message != now->largest_message ||
	       !qd_naming_equal(&before->naming, &now->naming);
}

/* Connect, take the lease, and read what was published before. */
static int open_publisher(struct run *run, struct qd_error *err)
{
	const struct qd_settings *settings = run->settings;
	const struct qd_publisher *publisher = run->publisher;

	if (publisher->open(settings, run->dry_run, &run->self, err) < 0)
		return -1;
	if (!run->dry_run &&
	    publisher->lock(run->self, settings->source, err) < 0)
		return -1;
	if (publisher->load(run->self, settings->source, &run->known,
			    &run->before, &run->current, err) < 0)
		return -1;
	describe_source(run);
	return qd_publish_check_naming(publisher, run->self, &run->source,
				       (int64_t)time(NULL),
				       settings->max_age_ms / 1000, err);
}

static int check_guard(const struct run *run, struct qd_error *err)
{
	const struct qd_guard guard = {
		.roots_before = run->known ? run->before.roots : 0,
		.over_before = run->known ? run->before.over : 0,
		.roots = atomic_load(&run->scan.roots),
		.over = atomic_load(&run->scan.over),
		.unreadable = atomic_load(&run->scan.unreadable),
		.unreadable_directories =
			atomic_load(&run->scan.unreadable_directories),
		.roots_limit = run->settings->guard_roots,
		.full_limit = run->settings->guard_full,
	};

	return run->force ? 0 : qd_guard_check(&guard, err);
}

static void print_record(const struct qd_record *rec)
{
	char text[QD_RECORD_TEXT];

	qd_record_format(rec, text);
	printf(" %s", text + 2); /* without the version */
}

static void print_difference(void *arg, const char *root,
			     const struct qd_record *before,
			     const struct qd_record *after)
{
	char quoted[QD_ROOT_MAX * 4 + 8];

	(void)arg;
	printf("%s %s",
	       !before ? "add" :
	       after   ? "change" :
			 "remove",
	       qd_log_quote(quoted, sizeof(quoted), root));
	if (after)
		print_record(after);
	putchar('\n');
}

static int publish(struct run *run, struct qd_error *err)
{
	const struct qd_reconcile what = {
		.current = &run->current,
		.wanted = &run->scan.publish,
		.unreadable = &run->scan.unreadable_roots,
		.last_scan = run->before.scanned,
		.removals = !atomic_load(&run->scan.unreadable_directories),
	};
	struct qd_source *src = &run->source;

	/* a reader that forgot us must not take our records for stale */
	src->heartbeat = (int64_t)time(NULL);
	if (run->dry_run)
		return qd_publish_reconcile(&what, NULL, NULL, print_difference,
					    NULL, &run->done, err);
	if (run->publisher->begin(run->self, src, needs_announcement(run),
				  err) < 0 ||
	    qd_publish_reconcile(&what, run->publisher, run->self, NULL, NULL,
				 &run->done, err) < 0)
		return -1;
	src->scanned = (int64_t)time(NULL);
	src->heartbeat = src->scanned;
	src->roots = atomic_load(&run->scan.roots);
	src->over = atomic_load(&run->scan.over);
	src->malformed = atomic_load(&run->scan.malformed);
	src->unreadable = atomic_load(&run->scan.unreadable);
	src->records = (int64_t)run->current.count + run->done.added -
		       run->done.removed;
	return run->publisher->finish(run->self, src, err);
}

static void print_complaints(const struct run *run)
{
	const struct qd_scan *scan = &run->scan;
	long long all = atomic_load(&scan->malformed) +
			atomic_load(&scan->unreadable) +
			atomic_load(&scan->unreadable_directories);
	char quoted[1200];

	for (int i = 0; i < scan->complaint_count; i++)
		fprintf(stderr, "%s: %s: %s\n", run->common.program,
			qd_log_quote(quoted, sizeof(quoted),
				     scan->complaints[i].what),
			scan->complaints[i].why);
	if (all > scan->complaint_count)
		fprintf(stderr, "%s: and %lld more\n", run->common.program,
			all - scan->complaint_count);
}

static void print_summary(const struct run *run)
{
	const struct qd_scan *scan = &run->scan;

	printf("%s: source=%s roots=%lld over=%lld malformed=%lld "
	       "unreadable=%lld added=%" PRId64 " changed=%" PRId64
	       " removed=%" PRId64 " seconds=%.3f%s\n",
	       run->common.program, run->settings->source,
	       atomic_load(&scan->roots), atomic_load(&scan->over),
	       atomic_load(&scan->malformed), atomic_load(&scan->unreadable),
	       run->done.added, run->done.changed, run->done.removed,
	       qd_progress_seconds(&run->progress),
	       run->dry_run ? " (dry run)" : "");
}

/* Open, scan, doubt, publish. */
static int work(struct run *run, struct qd_error *err)
{
	run->publisher =
		run->settings->redis ? &qd_publisher_redis : &qd_publisher_lmdb;
	qd_progress_begin(&run->progress, run->quiet);
	run->renewed = time(NULL);
	if (become_owner(run, err) < 0 || open_publisher(run, err) < 0 ||
	    scan(run, err) < 0)
		return -1;
	if (!run->quiet)
		print_complaints(run);
	if (check_guard(run, err) < 0 || publish(run, err) < 0)
		return -1;
	if (!run->quiet)
		print_summary(run);
	return 0;
}

static int check_only(const struct run *run)
{
	char base[1024] = "";

	if (!run->common.verbose)
		return EX_OK;
	qd_settings_print(run->settings, stdout);
	qd_imapdconf_quota_base(&run->conf, base, sizeof(base));
	printf("# %s: quota roots below %s, virtdomains %s, defaultdomain %s, "
	       "rule %s\n",
	       run->settings->imapd_conf, base,
	       qd_naming_virtdomains(run->conf.naming.virtdomains),
	       run->conf.naming.defaultdomain, qd_rule_name(rule_of(run)));
	return EX_OK;
}

static void catch_signals(void)
{
	struct sigaction action = { .sa_handler = on_signal };

	sigemptyset(&action.sa_mask);
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	signal(SIGPIPE, SIG_IGN);
}

static void clean_up(struct run *run)
{
	if (run->self)
		run->publisher->close(&run->self);
	qd_rootset_free(&run->current);
	qd_scan_free(&run->scan);
	qd_settings_unref(&run->settings);
}

int main(int argc, char **argv)
{
	static struct run run = { .common.program = "quotadefer-scan" };
	struct qd_error err = { 0 };
	int status = read_arguments(argc, argv, &run);

	if (status)
		return status;
	qd_log_open(run.common.program, true, LOG_INFO);
	catch_signals();
	if (qd_settings_load(run.common.config, run.common.overrides,
			     &run.settings, &err) < 0 ||
	    read_conf(&run, &err) < 0)
		status = qd_options_fail(&run.common, &err);
	else if (run.common.check)
		status = check_only(&run);
	else if (work(&run, &err) < 0)
		status = qd_options_fail(&run.common, &err);
	clean_up(&run);
	return status;
}
