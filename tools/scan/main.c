/* SPDX-License-Identifier: BSD-2-Clause */
/* quotadefer-scan: from Cyrus's quota roots to the over-quota table. */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "quotadefer/log.h"
#include "quotadefer/privs.h"

#include "run.h"

static const char usage[] =
	"[-nqvVh] [-c FILE] [-o NAME=VALUE]... [--watch] [--dry-run]\n"
	"                       [--force]\n"
	"  -c, --config FILE        read settings from FILE\n"
	"  -o, --option NAME=VALUE  a setting, over the file\n"
	"      --watch              stay, and publish each change as it "
	"happens\n"
	"      --dry-run            print what would change, change nothing\n"
	"      --force              publish in spite of the guards\n"
	"  -q, --quiet              print nothing but errors\n"
	"  -n, --check              check the settings and imapd.conf, and "
	"exit\n"
	"  -v, --verbose            print each change\n"
	"  -V, --version            print the version and exit\n"
	"  -h, --help               print this and exit\n";

static void on_signal(int signal)
{
	interrupted = signal;
}

static int read_arguments(int argc, char **argv, struct run *run)
{
	enum {
		FORCE = 256,
		DRY_RUN,
		WATCH
	};
	static const struct option longs[] = {
		QD_LONG_OPTIONS,
		{ "quiet", no_argument, NULL, 'q' },
		{ "force", no_argument, NULL, FORCE },
		{ "dry-run", no_argument, NULL, DRY_RUN },
		{ "watch", no_argument, NULL, WATCH },
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
		else if (letter == WATCH)
			run->watch = true;
		else if (!qd_options_take(&run->common, letter, optarg, usage))
			return qd_options_misused(&run->common, usage);
	}
	if (optind < argc || (run->watch && run->dry_run))
		return qd_options_misused(&run->common, usage);
	return 0;
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

static int work(struct run *run)
{
	struct qd_error err = { 0 };

	run->publisher =
		run->settings->redis ? &qd_publisher_redis : &qd_publisher_lmdb;
	if (become_owner(run, &err) < 0)
		return qd_options_fail(&run->common, &err);
	if (run->watch)
		return run_watch(run);
	if (run_complete(run, &err) < 0)
		return qd_options_fail(&run->common, &err);
	return EX_OK;
}

static int check_only(const struct run *run)
{
	char base[1024] = "";

	if (!run->common.verbose)
		return EX_OK;
	qd_settings_print(run->settings, stdout);
	qd_imapdconf_quota_base(&run->conf, base, sizeof(base));
	printf("# %s: %s, quota roots below %s, virtdomains %s, defaultdomain "
	       "%s, rule %s\n",
	       run->settings->imapd_conf, run->conf.quota_db, base,
	       qd_naming_virtdomains(run->conf.naming.virtdomains),
	       run->conf.naming.defaultdomain, qd_rule_name(run_rule(run)));
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
	else
		status = work(&run);
	if (run.self)
		run.publisher->close(&run.self);
	qd_settings_unref(&run.settings);
	return status;
}
