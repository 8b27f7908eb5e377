/* SPDX-License-Identifier: BSD-2-Clause */
/* quotadefer-ctl: ask the table, ask the filter. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "quotadefer/log.h"
#include "quotadefer/value.h"

#include "ctl.h"

static const char usage[] =
	"[-jnvVh] [-c FILE] [-o NAME=VALUE]... COMMAND\n"
	"commands:\n"
	"  query ADDRESS [--size BYTES] [--sender ADDRESS]\n"
	"                     what would be answered to this recipient, and "
	"why\n"
	"  list               every record of the table\n"
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
	{ "reload", ctl_reload, false },
};

static const struct command *find_command(const char *name)
{
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
	return NULL;
}

static bool take_option(struct ctl *ctl, int letter)
{
	enum {
		SIZE = 256,
		SENDER,
		OPENMETRICS
	};

	switch (letter) {
	case 'j':
		ctl->json = true;
		return true;
	case SIZE:
		if (qd_value_size(optarg, &ctl->size) == 0)
			return true;
		fprintf(stderr,
			"%s: --size %s: not a size: write 512K, 64M, "
			"4G or bytes\n",
			ctl->common.program, optarg);
		return false;
	case SENDER:
		ctl->sender = optarg;
		return true;
	case OPENMETRICS:
		ctl->openmetrics = true;
		return true;
	default:
		return qd_options_take(&ctl->common, letter, optarg, usage);
	}
}

static int read_arguments(int argc, char **argv, struct ctl *ctl,
			  const struct command **command)
{
	static const struct option longs[] = {
		QD_LONG_OPTIONS,
		{ "json", no_argument, NULL, 'j' },
		{ "size", required_argument, NULL, 256 },
		{ "sender", required_argument, NULL, 257 },
		{ "openmetrics", no_argument, NULL, 258 },
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
	struct ctl ctl = { .common.program = "quotadefer-ctl" };
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
