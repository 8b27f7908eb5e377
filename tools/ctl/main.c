/* SPDX-License-Identifier: BSD-2-Clause */
/* quotadefer-ctl: ask the table, ask the filter. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "quotadefer/log.h"
#include "quotadefer/netblock.h"
#include "quotadefer/value.h"

#include "ctl.h"

static const char usage[] =
	"[-jnvVh] [-c FILE] [-o NAME=VALUE]... COMMAND\n"
	"commands:\n"
	"  query ADDRESS [--size BYTES] [--sender ADDRESS] [--client IP]\n"
	"                     what would be answered to this recipient, and "
	"why\n"
	"  list               every record of the table\n"
	"  compare --smmapd SOCKET | --imap SOCKET [--user ADMIN]\n"
	"        --password-file FILE | --lmtp SOCKET --yes  [--sample N]\n"
	"                     the table beside what Cyrus itself says on this "
	"host\n"
	"  status             the running filter: sources, ages, counts\n"
	"  stats [--openmetrics]\n"
	"                     what the running filter counts\n"
	"  reload             make the running filter read its settings "
	"again\n"
	"options:\n"
	"  -c, --config FILE        read settings from FILE\n"
	"  -o, --option NAME=VALUE  a setting, over the file\n"
	"  -j, --json               print JSON\n"
	"  -n, --check              check the settings and exit\n"
	"  -v, --verbose            with -n: print the settings\n"
	"  -V, --version            print the version and exit\n"
	"  -h, --help               print this and exit\n";

struct command {
	const char *name;
	int (*run)(struct ctl *ctl);
	bool takes_argument;
};

static const struct command commands[] = {
	{ "query", ctl_query, true },	 { "list", ctl_list, false },
	{ "status", ctl_status, false }, { "stats", ctl_stats, false },
	{ "reload", ctl_reload, false }, { "compare", ctl_compare, false },
};

static const struct command *find_command(const char *name)
{
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
	return NULL;
}

enum {
	SIZE = 256,
	SENDER,
	CLIENT,
	OPENMETRICS,
	SMMAPD,
	IMAP,
	LMTP,
	USER,
	PASSWORD_FILE,
	YES,
	SAMPLE,
	SAMPLE_DEFAULT = 100,
	SAMPLE_MAX = 1000000
};

static bool take_size(struct ctl *ctl)
{
	if (qd_value_size(optarg, &ctl->size) == 0)
		return true;
	fprintf(stderr,
		"%s: --size %s: not a size: write 512K, 64M, 4G or bytes\n",
		ctl->common.program, optarg);
	return false;
}

static bool take_client(struct ctl *ctl)
{
	struct qd_netblock block;

	ctl->client = optarg;
	if (!strchr(optarg, '/') && qd_netblock_parse(optarg, &block) == 0)
		return true;
	fprintf(stderr,
		"%s: --client %s: not an address: write 192.0.2.1 or "
		"2001:db8::1\n",
		ctl->common.program, optarg);
	return false;
}

static bool take_sample(struct ctl *ctl)
{
	if (qd_value_integer(optarg, 0, SAMPLE_MAX, &ctl->compare.sample) == 0)
		return true;
	fprintf(stderr, "%s: --sample %s: not a number from 0 to %d\n",
		ctl->common.program, optarg, SAMPLE_MAX);
	return false;
}

static bool take_compare_option(struct ctl *ctl, int letter)
{
	struct compare_options *o = &ctl->compare;
	const char **const texts[] = {
		[SMMAPD - SMMAPD] = &o->smmapd,
		[IMAP - SMMAPD] = &o->imap,
		[LMTP - SMMAPD] = &o->lmtp,
		[USER - SMMAPD] = &o->user,
		[PASSWORD_FILE - SMMAPD] = &o->password_file,
	};

	if (letter >= SMMAPD && letter <= PASSWORD_FILE)
		*texts[letter - SMMAPD] = optarg;
	else if (letter == YES)
		o->yes = true;
	else if (letter == SAMPLE)
		return take_sample(ctl);
	else
		return false;
	return true;
}

static bool take_option(struct ctl *ctl, int letter)
{
	switch (letter) {
	case 'j':
		ctl->json = true;
		return true;
	case SIZE:
		return take_size(ctl);
	case SENDER:
		ctl->sender = optarg;
		return true;
	case CLIENT:
		return take_client(ctl);
	case OPENMETRICS:
		ctl->openmetrics = true;
		return true;
	default:
		return take_compare_option(ctl, letter) ||
		       qd_options_take(&ctl->common, letter, optarg, usage);
	}
}

static int read_arguments(int argc, char **argv, struct ctl *ctl,
			  const struct command **command)
{
	static const struct option longs[] = {
		QD_LONG_OPTIONS,
		{ "json", no_argument, NULL, 'j' },
		{ "size", required_argument, NULL, SIZE },
		{ "sender", required_argument, NULL, SENDER },
		{ "client", required_argument, NULL, CLIENT },
		{ "openmetrics", no_argument, NULL, OPENMETRICS },
		{ "smmapd", required_argument, NULL, SMMAPD },
		{ "imap", required_argument, NULL, IMAP },
		{ "lmtp", required_argument, NULL, LMTP },
		{ "user", required_argument, NULL, USER },
		{ "password-file", required_argument, NULL, PASSWORD_FILE },
		{ "yes", no_argument, NULL, YES },
		{ "sample", required_argument, NULL, SAMPLE },
		{ NULL, 0, NULL, 0 },
	};
	int letter;

	while ((letter = getopt_long(argc, argv, QD_OPTIONS "j", longs,
				     NULL)) != -1)
		if (!take_option(ctl, letter))
			return qd_options_misused(&ctl->common, usage);
	if (ctl->common.check && optind == argc)
		return 0;
	if (optind == argc)
		return qd_options_misused(&ctl->common, usage);
	*command = find_command(argv[optind++]);
	if (!*command)
		return qd_options_misused(&ctl->common, usage);
	if (argc - optind != (*command)->takes_argument)
		return qd_options_misused(&ctl->common, usage);
	ctl->argument = argv[optind];
	return 0;
}

int main(int argc, char **argv)
{
	struct ctl ctl = { .common.program = "quotadefer-ctl",
			   .compare.sample = SAMPLE_DEFAULT };
	const struct command *command = NULL;
	struct qd_settings *settings;
	struct qd_error err = { 0 };
	int status;

	qd_options_standard_files();
	status = read_arguments(argc, argv, &ctl, &command);
	if (status)
		return status;
	qd_log_open(ctl.common.program, true, LOG_INFO);
	if (qd_settings_load(ctl.common.config, ctl.common.overrides, &settings,
			     &err) < 0)
		return qd_options_fail(&ctl.common, &err);
	ctl.settings = settings;
	if (!ctl.common.check)
		status = command->run(&ctl);
	else if (ctl.common.verbose)
		qd_settings_print(settings, stdout);
	qd_settings_unref(&settings);
	return status;
}
