/* SPDX-License-Identifier: BSD-2-Clause */
#include "quotadefer/metrics.h"

#include <inttypes.h>
#include <string.h>

static const char *const class_names[QD_CLASSES] = {
	[QD_CLASS_ACCEPT] = "accept",	[QD_CLASS_DEFER] = "defer",
	[QD_CLASS_REJECT] = "reject",	[QD_CLASS_WOULD_DEFER] = "would_defer",
	[QD_CLASS_LIMITED] = "limited", [QD_CLASS_EXEMPT] = "exempt",
	[QD_CLASS_UNKNOWN] = "unknown",
};

/* Each bucket is twice the one before, from one microsecond. */
static int64_t bucket_limit(int bucket)
{
	return INT64_C(1000) << bucket;
}

enum qd_class qd_metrics_class(const struct qd_answer *answer)
{
	switch (answer->why) {
	case QD_WHY_FULL:
		return answer->verdict == QD_REJECT ? QD_CLASS_REJECT :
						      QD_CLASS_DEFER;
	case QD_WHY_NOT_FULL:
	case QD_WHY_ELSEWHERE:
	case QD_WHY_NO_MAILBOX:
	case QD_WHY_NOWHERE:
		return QD_CLASS_ACCEPT;
	case QD_WHY_MONITOR:
	case QD_WHY_SHARE:
		return QD_CLASS_WOULD_DEFER;
	case QD_WHY_DEFER_LIMIT:
		return QD_CLASS_LIMITED;
	case QD_WHY_AUTHENTICATED:
	case QD_WHY_LOCAL_SUBMISSION:
	case QD_WHY_POSTMASTER:
	case QD_WHY_EXEMPT_RECIPIENT:
	case QD_WHY_EXEMPT_SENDER:
	case QD_WHY_EXEMPT_CLIENT:
	case QD_WHY_PROBE_RECIPIENT:
	case QD_WHY_ODD_ADDRESS:
	case QD_WHY_NO_DOMAIN:
	case QD_WHY_OTHER_DOMAIN:
	case QD_WHY_NULL_SENDER:
		return QD_CLASS_EXEMPT;
	default:
		return QD_CLASS_UNKNOWN;
	}
}

void qd_metrics_rcpt(struct qd_metrics *metrics, const struct qd_answer *answer,
		     int64_t nanoseconds)
{
	int bucket = 0;

	while (bucket < QD_BUCKETS - 1 && nanoseconds > bucket_limit(bucket))
		bucket++;
	atomic_fetch_add_explicit(&metrics->rcpt[qd_metrics_class(answer)], 1,
				  memory_order_relaxed);
	atomic_fetch_add_explicit(&metrics->rcpt_seconds_bucket[bucket], 1,
				  memory_order_relaxed);
	atomic_fetch_add_explicit(&metrics->rcpt_nanoseconds,
				  (unsigned long long)nanoseconds,
				  memory_order_relaxed);
}

/* How one figure is written: plain lines, or OpenMetrics. */
struct writer {
	FILE *out;
	bool openmetrics;
	int64_t now;
	const char *family; /* of the per-source figures being written */
};

static void head(struct writer *w, const char *name, const char *type,
		 const char *help)
{
	if (!w->openmetrics)
		return;
	fprintf(w->out, "# TYPE quotadefer_%s %s\n", name, type);
	fprintf(w->out, "# HELP quotadefer_%s %s\n", name, help);
}

/* label is "" or {key="value"}; plain text shows it as it is. */
static void figure(struct writer *w, const char *name, const char *label,
		   double value)
{
	fprintf(w->out, "%s%s%s %.17g\n", w->openmetrics ? "quotadefer_" : "",
		name, label, value);
}

static void counter(struct writer *w, const char *name, const char *help,
		    atomic_ullong *value)
{
	char total[80];

	head(w, name, "counter", help);
	snprintf(total, sizeof(total), "%s_total", name);
	figure(w, total, "", (double)atomic_load(value));
}

static void gauge(struct writer *w, const char *name, const char *help,
		  double value)
{
	head(w, name, "gauge", help);
	figure(w, name, "", value);
}

static void write_rcpt(struct writer *w, struct qd_metrics *m)
{
	char label[64];

	head(w, "rcpt", "counter", "Recipients by verdict.");
	for (int i = 0; i < QD_CLASSES; i++) {
		snprintf(label, sizeof(label), "{verdict=\"%s\"}",
			 class_names[i]);
		figure(w, "rcpt_total", label,
		       (double)atomic_load(&m->rcpt[i]));
	}
}

static void write_duration(struct writer *w, struct qd_metrics *m)
{
	unsigned long long count = 0;
	char label[64];

	head(w, "rcpt_duration_seconds", "histogram",
	     "Time to decide about a recipient.");
	for (int i = 0; i < QD_BUCKETS; i++) {
		count += atomic_load(&m->rcpt_seconds_bucket[i]);
		if (i < QD_BUCKETS - 1)
			snprintf(label, sizeof(label), "{le=\"%.6f\"}",
				 (double)bucket_limit(i) / 1e9);
		else
			snprintf(label, sizeof(label), "{le=\"+Inf\"}");
		figure(w, "rcpt_duration_seconds_bucket", label, (double)count);
	}
	figure(w, "rcpt_duration_seconds_count", "", (double)count);
	figure(w, "rcpt_duration_seconds_sum", "",
	       (double)atomic_load(&m->rcpt_nanoseconds) / 1e9);
}

static int write_source(void *arg, const struct qd_source *src)
{
	struct writer *w = arg;
	const struct {
		const char *family;
		double value;
	} figures[] = {
		{ "table_age_seconds",
		  (double)qd_source_age(src, w->now, INT64_MAX) },
		{ "table_entries", (double)src->records },
		{ "scan_roots", (double)src->roots },
		{ "scan_roots_full", (double)src->over },
		{ "scan_roots_malformed", (double)src->malformed },
		{ "scan_roots_unreadable", (double)src->unreadable },
	};
	char label[QD_SOURCE_MAX + 16];

	snprintf(label, sizeof(label), "{source=\"%s\"}", src->name);
	for (size_t i = 0; i < sizeof(figures) / sizeof(figures[0]); i++)
		if (strcmp(figures[i].family, w->family) == 0)
			figure(w, w->family, label, figures[i].value);
	return 0;
}

static void write_table(struct writer *w, struct qd_table *table)
{
	static const struct {
		const char *name, *help;
	} families[] = {
		{ "table_age_seconds",
		  "Time since the source was last known to be well." },
		{ "table_entries", "Records published by the source." },
		{ "scan_roots", "Quota roots at the last complete scan." },
		{ "scan_roots_full", "Quota roots over quota then." },
		{ "scan_roots_malformed", "Quota records that make no sense." },
		{ "scan_roots_unreadable", "Quota records not readable." },
	};
	struct qd_view *view = qd_view_begin(table, NULL);

	gauge(w, "table_up", "1 if the table can be read.", view ? 1 : 0);
	for (size_t i = 0; view && i < sizeof(families) / sizeof(*families);
	     i++) {
		head(w, families[i].name, "gauge", families[i].help);
		w->family = families[i].name;
		qd_view_each_source(view, write_source, w, NULL);
	}
	if (view)
		qd_view_end(view);
}

/* A map's name is the administrator's, and any printable ASCII. */
static void map_label(const char *map, const char *more, char *out, size_t size)
{
	size_t n = (size_t)snprintf(out, size, "{map=\"");

	for (; *map && n + strlen(more) + 6 < size; map++) {
		if (*map == '"' || *map == '\\')
			out[n++] = '\\';
		out[n++] = *map;
	}
	snprintf(out + n, size - n, "\"%s}", more);
}

static void write_map_latency(struct writer *w, const char *map,
			      const struct qd_aliasmap_stats *s)
{
	unsigned long long count = 0;
	char label[640], more[48];

	for (int i = 0; i < QD_ALIAS_BUCKETS; i++) {
		count += atomic_load(&s->bucket[i]);
		if (i < QD_ALIAS_BUCKETS - 1)
			snprintf(more, sizeof(more), ",le=\"%.6f\"",
				 (double)bucket_limit(i) / 1e9);
		else
			snprintf(more, sizeof(more), ",le=\"+Inf\"");
		map_label(map, more, label, sizeof(label));
		figure(w, "alias_lookup_duration_seconds_bucket", label,
		       (double)count);
	}
	map_label(map, "", label, sizeof(label));
	figure(w, "alias_lookup_duration_seconds_count", label, (double)count);
	figure(w, "alias_lookup_duration_seconds_sum", label,
	       (double)atomic_load(&s->nanoseconds) / 1e9);
}

static void write_map(void *arg, const char *map,
		      const struct qd_aliasmap_stats *s)
{
	struct writer *w = arg;
	const struct {
		const char *family, *name, *more;
		double value;
	} figures[] = {
		{ "alias_cache", "alias_cache_total", ",result=\"hit\"",
		  (double)atomic_load(&s->hits) },
		{ "alias_cache", "alias_cache_total", ",result=\"negative\"",
		  (double)atomic_load(&s->negative_hits) },
		{ "alias_cache", "alias_cache_total", ",result=\"stale\"",
		  (double)atomic_load(&s->stale_hits) },
		{ "alias_cache", "alias_cache_total", ",result=\"shared\"",
		  (double)atomic_load(&s->shared) },
		{ "alias_lookups", "alias_lookups_total", ",result=\"found\"",
		  (double)atomic_load(&s->found) },
		{ "alias_lookups", "alias_lookups_total", ",result=\"absent\"",
		  (double)atomic_load(&s->absent) },
		{ "alias_lookups", "alias_lookups_total", ",result=\"error\"",
		  (double)atomic_load(&s->errors) },
		{ "alias_lookups", "alias_lookups_total", ",result=\"refused\"",
		  (double)atomic_load(&s->refused) },
		{ "alias_breaker_open", "alias_breaker_open", "",
		  atomic_load(&s->breaker_open) },
		{ "alias_breaker_opened", "alias_breaker_opened_total", "",
		  (double)atomic_load(&s->breaker_opened) },
	};
	char label[640];

	for (size_t i = 0; i < sizeof(figures) / sizeof(figures[0]); i++) {
		if (strcmp(figures[i].family, w->family) != 0)
			continue;
		map_label(map, figures[i].more, label, sizeof(label));
		figure(w, figures[i].name, label, figures[i].value);
	}
	if (strcmp(w->family, "alias_lookup_duration_seconds") == 0)
		write_map_latency(w, map, s);
}

static void write_aliases(struct writer *w, struct qd_aliases *aliases)
{
	static const struct {
		const char *name, *type, *help;
	} families[] = {
		{ "alias_cache", "counter",
		  "Look-ups that the cache spared the map." },
		{ "alias_lookups", "counter", "Look-ups that asked the map." },
		{ "alias_lookup_duration_seconds", "histogram",
		  "Time that a map took to answer." },
		{ "alias_breaker_open", "gauge",
		  "1 while the map is not asked because it failed." },
		{ "alias_breaker_opened", "counter",
		  "Times the map began not to be asked." },
	};

	for (size_t i = 0; i < sizeof(families) / sizeof(families[0]); i++) {
		head(w, families[i].name, families[i].type, families[i].help);
		w->family = families[i].name;
		qd_aliases_each(aliases, write_map, w);
	}
}

static void write_daemon(struct writer *w, struct qd_metrics *m)
{
	write_rcpt(w, m);
	write_duration(w, m);
	counter(w, "data_deferred",
		"Messages refused at DATA, null and probe senders.",
		&m->data_deferred);
	counter(w, "reply_errors",
		"Recipients passed because the reply could not be set.",
		&m->reply_errors);
	counter(w, "sessions", "SMTP sessions seen.", &m->sessions_total);
	gauge(w, "sessions_open", "SMTP sessions at this moment.",
	      (double)atomic_load(&m->sessions));
	gauge(w, "feed_up", "1 while the feed follows Redis.",
	      atomic_load(&m->feed_up));
	counter(w, "feed_connects", "Connections made to Redis.",
		&m->feed_connects);
	counter(w, "feed_errors", "Connections to Redis lost or refused.",
		&m->feed_errors);
	counter(w, "feed_loads", "Times the whole of Redis was compared.",
		&m->feed_loads);
	counter(w, "feed_changes", "Changes taken from the stream.",
		&m->feed_changes);
	counter(w, "config_reloads", "Successful reloads.", &m->reloads);
	counter(w, "config_reload_errors",
		"Reloads refused, the old settings kept.", &m->reload_errors);
	gauge(w, "config_last_reload_successful",
	      "1 if the settings in force are those of the file.",
	      atomic_load(&m->last_reload_good));
	gauge(w, "start_time_seconds", "When the filter was started.",
	      (double)m->started);
	head(w, "build", "info", "The version that runs.");
	figure(w, "build_info", "{version=\"" QD_VERSION "\"}", 1);
}

void qd_metrics_write(struct qd_metrics *metrics, struct qd_table *table,
		      struct qd_aliases *aliases, int64_t now, bool openmetrics,
		      FILE *out)
{
	struct writer w = { .out = out,
			    .openmetrics = openmetrics,
			    .now = now };

	write_daemon(&w, metrics);
	write_table(&w, table);
	if (aliases)
		write_aliases(&w, aliases);
	if (openmetrics)
		fputs("# EOF\n", out);
}
