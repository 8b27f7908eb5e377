/* SPDX-License-Identifier: BSD-2-Clause */
#include "quotadefer/requests.h"

#include <inttypes.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

struct status {
	FILE *out;
	int64_t now, max_age;
};

static int print_source(void *arg, const struct qd_source *src)
{
	struct status *s = arg;
	int64_t age = qd_source_age(src, s->now, s->max_age);

	fprintf(s->out,
		"source %s state=%s age=%" PRId64 " scanned=%" PRId64
		" roots=%" PRId64 " over=%" PRId64 " records=%" PRId64
		" malformed=%" PRId64 " unreadable=%" PRId64 " rule=%s\n",
		src->name, age > s->max_age ? "stale" : "fresh",
		age == INT64_MAX ? -1 : age, src->scanned, src->roots,
		src->over, src->records, src->malformed, src->unreadable,
		qd_rule_name(src->rule));
	return 0;
}

static void print_table(struct qd_daemon *daemon, struct status *s)
{
	struct qd_error err = { 0 };
	struct qd_view *view = qd_view_begin(daemon->table, &err);

	fprintf(s->out, "table %s\n", view ? "readable" : err.text);
	if (!view)
		return;
	qd_view_each_source(view, print_source, s, NULL);
	qd_view_end(view);
}

static const char *feed_state(const struct qd_daemon *daemon,
			      const struct qd_settings *settings)
{
	if (!settings->redis)
		return "none";
	return atomic_load(&daemon->metrics.feed_up) ? "following" : "down";
}

static void print_status(struct qd_daemon *daemon, FILE *out)
{
	struct qd_settings *settings = qd_daemon_settings(daemon, NULL, NULL);
	struct qd_metrics *m = &daemon->metrics;
	struct status s = { .out = out,
			    .now = (int64_t)time(NULL),
			    .max_age = settings->max_age_ms / 1000 };

	fprintf(out, "version %s\n", QD_VERSION);
	fprintf(out, "pid %ld\n", (long)getpid());
	fprintf(out, "uptime %" PRId64 "\n", s.now - m->started);
	fprintf(out, "socket %s\n", settings->socket_spec.milter);
	fprintf(out, "mode %s\n",
		settings->mode == QD_MODE_MONITOR ? "monitor" : "enforce");
	if (settings->mode_domain_count)
		fprintf(out, "mode_domains %zu\n", settings->mode_domain_count);
	if (settings->enforce_share < 100)
		fprintf(out, "enforce_share %" PRId64 "%%\n",
			settings->enforce_share);
	fprintf(out, "sessions %lld\n", (long long)atomic_load(&m->sessions));
	fprintf(out, "deferred %llu\n", atomic_load(&m->rcpt[QD_CLASS_DEFER]));
	fprintf(out, "unknown %llu\n", atomic_load(&m->rcpt[QD_CLASS_UNKNOWN]));
	fprintf(out, "feed %s\n", feed_state(daemon, settings));
	fprintf(out, "settings %s\n",
		atomic_load(&m->last_reload_good) ? "current" :
						    "old, a reload failed");
	fprintf(out, "max_age %" PRId64 "\n", s.max_age);
	print_table(daemon, &s);
	qd_settings_unref(&settings);
}

/* "cached\tMAP\tKEY", checked by who keeps it: neither has to be there. */
static void print_cached(struct qd_daemon *daemon, const char *request,
			 FILE *out)
{
	const char *map = strchr(request, '\t') + 1;
	const char *key = strchr(map, '\t');
	struct qd_settings *settings;
	struct qd_aliases *aliases;
	char name[300], state[80] = "no such map";

	settings = qd_daemon_settings(daemon, &aliases, NULL);
	if (aliases && key && key - map < (int)sizeof(name)) {
		memcpy(name, map, (size_t)(key - map));
		name[key - map] = '\0';
		qd_aliases_cached(aliases, name, key + 1, state, sizeof(state));
	}
	fprintf(out, "%s\n", state);
	qd_aliases_unref(&aliases);
	qd_settings_unref(&settings);
}

static void print_metrics(struct qd_daemon *daemon, bool openmetrics, FILE *out)
{
	struct qd_settings *settings;
	struct qd_aliases *aliases;
	const int64_t now = (int64_t)time(NULL);

	settings = qd_daemon_settings(daemon, &aliases, NULL);
	qd_metrics_write(&daemon->metrics, daemon->table, aliases, now,
			 openmetrics, out);
	qd_aliases_unref(&aliases);
	qd_settings_unref(&settings);
}

int qd_requests_answer(struct qd_daemon *daemon, const char *request, FILE *out,
		       struct qd_error *err)
{
	if (strcmp(request, "status") == 0)
		print_status(daemon, out);
	else if (strcmp(request, "stats") == 0)
		print_metrics(daemon, false, out);
	else if (strcmp(request, "metrics") == 0)
		print_metrics(daemon, true, out);
	else if (strncmp(request, "cached\t", 7) == 0)
		print_cached(daemon, request, out);
	else if (strcmp(request, "ping") != 0)
		return qd_error_set(err, EX_USAGE,
				    "no such request; there are status, "
				    "stats, metrics, ping and reload");
	return 0;
}
