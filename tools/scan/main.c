/* SPDX-License-Identifier: BSD-2-Clause */
/* quotadefer-scan: from Cyrus's quota roots to the over-quota table. */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <sysexits.h>
#include <unistd.h>

#include "quotadefer/log.h"
#include "quotadefer/owner.h"

#include "run.h"

enum {
	FAILOVER_MS = 60000,
	FAILOVER_PAUSE_MS = 100
};

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

static bool may_be_failover(const struct run *run, const struct qd_error *err)
{
	return run->settings->redis_url.sentinel_count && run->connected &&
	       !run->dry_run && !interrupted && err->status == EX_UNAVAILABLE;
}

/*
 * When a server fails under us, another takes over. Our lease may be there as
 * well: nobody but us could scan much sooner than it ends.
 */
static int complete(struct run *run, struct qd_error *err)
{
	const struct timespec pause = { .tv_nsec =
						FAILOVER_PAUSE_MS * 1000000L };
	int64_t end = 0;

	while (run_complete(run, err) < 0) {
		if (!may_be_failover(run, err))
			return -1;
		if (!end && !run->quiet)
			qd_log(LOG_NOTICE, "%s; trying again", err->text);
		if (!end)
			end = run_now_ms() + FAILOVER_MS;
		else if (run_now_ms() >= end)
			return -1;
		nanosleep(&pause, NULL);
	}
	return 0;
}

static int work(struct run *run)
{
	const struct qd_settings *settings = run->settings;
	struct qd_error err = { 0 };

	run->publisher =
		settings->redis ? &qd_publisher_redis : &qd_publisher_lmdb;
	if (qd_owner_become(&run->conf,
			    settings->redis ? NULL : settings->table,
			    !run->dry_run, &err) < 0)
		return qd_options_fail(&run->common, &err);
	if (run->watch)
		return run_watch(run);
	/* a scan has time; who delivers mail has not */
	if (nice(10) < 0)
		qd_log(LOG_DEBUG, "nice: %m");
	if (complete(run, &err) < 0)
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
	       run->conf.naming.defaultdomain,
	       qd_rule_name(qd_quotastore_rule(run->settings, &run->conf)));
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
