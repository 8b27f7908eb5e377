/* SPDX-License-Identifier: BSD-2-Clause */
#include "ctl.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>

#include <jansson.h>

#include "quotadefer/deferline.h"
#include "quotadefer/log.h"
#include "quotadefer/metrics.h"
#include "quotadefer/rcpt.h"
#include "quotadefer/reply.h"

enum {
	STATUS_PASS = 0,
	STATUS_DEFER = 1,
	STATUS_UNKNOWN = EX_TEMPFAIL
};

/* One step of the decision, as a name and what came of it. */
struct step {
	const char *name;
	char text[QD_ROOT_MAX * 4 + 200];
};

struct explanation {
	struct step steps[16];
	int count;
	int status;
};

static void add_step(struct explanation *e, const char *name,
		     const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static void add_step(struct explanation *e, const char *name,
		     const char *format, ...)
{
	struct step *step = &e->steps[e->count++];
	va_list args;

	step->name = name;
	va_start(args, format);
	vsnprintf(step->text, sizeof(step->text), format, args);
	va_end(args);
}

static void explain_address(struct explanation *e, const char *typed,
			    const struct qd_answer *answer)
{
	static const char *const kinds[] = {
		[QD_ADDRESS_MAILBOX] = "",
		[QD_ADDRESS_LOCAL] = " (no domain)",
		[QD_ADDRESS_NULL] = "the null address",
		[QD_ADDRESS_ODD] = "not an address that is looked up",
	};
	char local[QD_LOCAL_MAX * 4 + 8], quoted[QD_ROOT_MAX * 4];
	char domain[QD_DOMAIN_MAX * 4 + 8];

	add_step(e, "recipient", "%s",
		 qd_log_quote(quoted, sizeof(quoted), typed));
	qd_log_quote(local, sizeof(local), answer->address.local);
	qd_log_quote(domain, sizeof(domain), answer->address.domain);
	add_step(e, "address", "%s%s%s%s", local, domain[0] ? "@" : "", domain,
		 kinds[answer->kind]);
}

static void explain_record(struct explanation *e,
			   const struct qd_answer *answer)
{
	const struct qd_record *rec = &answer->hit.rec;
	char text[QD_RECORD_TEXT], usage[CTL_USAGE], since[32], age[32];

	qd_record_format(rec, text);
	add_step(e, "record", "%s", text + 2);
	for (int i = 0; i < QD_RESOURCES; i++)
		if (rec->usage[i].limit >= 0)
			add_step(e, qd_resource_name((enum qd_resource)i), "%s",
				 ctl_usage(rec, (enum qd_resource)i, usage));
	add_step(e, "source", "%s", answer->hit.source);
	if (rec->since)
		add_step(e, "since", "%s", qd_time_text(rec->since, since));
	add_step(e, "age", "%s%s", ctl_age(answer->hit.age, age),
		 rec->kept ? " (could not be read since)" : "");
	add_step(e, "rule", "%s", qd_rule_name(answer->hit.rule));
}

/* The source that was heard of last. */
struct freshest {
	int64_t now, max_age, age;
	struct qd_source src;
};

static int take_fresher(void *arg, const struct qd_source *src)
{
	struct freshest *f = arg;
	int64_t age = qd_source_age(src, f->now, f->max_age);

	if (f->src.name[0] && age >= f->age)
		return 0;
	f->src = *src;
	f->age = age;
	return 0;
}

static void find_freshest(struct ctl *ctl, struct qd_table *table, int64_t now,
			  struct freshest *f)
{
	struct qd_view *view = qd_view_begin(table, NULL);

	memset(f, 0, sizeof(*f));
	f->now = now;
	f->max_age = ctl->settings->max_age_ms / 1000;
	if (!view)
		return;
	qd_view_each_source(view, take_fresher, f, NULL);
	qd_view_end(view);
}

/* No record: so it was not over at the last scan, and this old is that. */
static void explain_absence(struct explanation *e, const struct freshest *f)
{
	char age[32];

	add_step(e, "root", "none in the table");
	if (!f->src.name[0])
		return;
	add_step(e, "age", "%s, source %s", ctl_age(f->age, age), f->src.name);
	add_step(e, "rule", "%s", qd_rule_name(f->src.rule));
}

static void explain_mailbox(struct explanation *e,
			    const struct qd_answer *answer,
			    const struct freshest *freshest)
{
	char quoted[QD_ROOT_MAX * 4 + 8];

	if (!answer->mailbox.name[0])
		return;
	add_step(e, "mailbox", "%s",
		 qd_log_quote(quoted, sizeof(quoted), answer->mailbox.name));
	if (answer->root[0]) {
		add_step(e, "root", "%s",
			 qd_log_quote(quoted, sizeof(quoted), answer->root));
		explain_record(e, answer);
	} else if (answer->why == QD_WHY_NOT_FULL) {
		explain_absence(e, freshest);
	}
}

static void explain_verdict(struct explanation *e, struct ctl *ctl,
			    const struct qd_answer *answer)
{
	static const char *const verdicts[] = {
		[QD_PASS] = "pass",
		[QD_DEFER] = "defer",
		[QD_REJECT] = "reject",
	};
	struct qd_reply reply = { 0 };

	if (answer->why == QD_WHY_TABLE)
		add_step(e, "error", "%s", answer->err.text);
	if (e->status == STATUS_UNKNOWN)
		add_step(e, "verdict", "unknown, so pass: %s",
			 answer->why == QD_WHY_NOT_FULL ?
				 "every source is older than max_age" :
				 qd_why_text(answer->why));
	else
		add_step(e, "verdict", "%s: %s", verdicts[answer->verdict],
			 qd_why_text(answer->why));
	if (answer->verdict == QD_PASS) {
		add_step(e, "reply", "none of ours; the MTA goes on (250)");
		return;
	}
	qd_reply_defer(ctl->settings, answer->resource, &reply);
	add_step(e, "reply", "%s %s %s", reply.code, reply.dsn, reply.text);
}

/* That a root is not in the table says nothing if the table is all old. */
static int exit_status(const struct qd_answer *answer,
		       const struct freshest *freshest)
{
	if (answer->verdict != QD_PASS)
		return STATUS_DEFER;
	if (qd_metrics_class(answer) == QD_CLASS_UNKNOWN)
		return STATUS_UNKNOWN;
	if (answer->why == QD_WHY_NOT_FULL &&
	    (!freshest->src.name[0] || freshest->age > freshest->max_age))
		return STATUS_UNKNOWN;
	return STATUS_PASS;
}

static void print_text(const struct explanation *e)
{
	for (int i = 0; i < e->count; i++)
		printf("%-20s%s\n", e->steps[i].name, e->steps[i].text);
}

static void print_json(const struct explanation *e)
{
	json_t *object = json_object();

	for (int i = 0; i < e->count; i++)
		json_object_set_new(object, e->steps[i].name,
				    json_string(e->steps[i].text));
	json_object_set_new(object, "status", json_integer(e->status));
	json_dumpf(object, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
	putchar('\n');
	json_decref(object);
}

int ctl_query(struct ctl *ctl)
{
	static struct explanation e;
	static struct qd_answer answer;
	const struct qd_request request = {
		.rcpt = ctl->argument,
		.sender = ctl->sender,
		.size = ctl->size,
	};
	int64_t now = (int64_t)time(NULL);
	struct freshest freshest;
	struct qd_table *table;
	int ignored;

	table = ctl_open_table(ctl, &ignored);
	if (!table)
		return STATUS_UNKNOWN;
	qd_rcpt_decide(ctl->settings, NULL, table, &request, now, &answer);
	find_freshest(ctl, table, now, &freshest);
	e.status = exit_status(&answer, &freshest);
	explain_address(&e, ctl->argument, &answer);
	explain_mailbox(&e, &answer, &freshest);
	explain_verdict(&e, ctl, &answer);
	if (ctl->json)
		print_json(&e);
	else
		print_text(&e);
	qd_table_close(&table);
	return e.status;
}
