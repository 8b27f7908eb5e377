/* SPDX-License-Identifier: BSD-2-Clause */
#include "ctl.h"
#include "steps.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>

#include <jansson.h>

#include "quotadefer/control.h"
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

enum {
	CACHE_MS = 1000,
	QUOTED = 2048
};

/* The source that was heard of last. */
struct freshest {
	int64_t now, max_age, age;
	struct qd_source src;
};

struct query {
	struct ctl *ctl;
	struct steps steps;
	struct freshest freshest;
	struct qd_aliases *aliases;
	int targets, full;
	bool no_filter; /* to ask for what is in its cache */
};

/* What was asked, and how the address is read. */
static void explain_request(struct query *q)
{
	static const char *const kinds[] = {
		[QD_ADDRESS_MAILBOX] = "",
		[QD_ADDRESS_LOCAL] = " (no domain)",
		[QD_ADDRESS_NULL] = "the null address",
		[QD_ADDRESS_ODD] = "not an address that is looked up",
	};
	const struct ctl *ctl = q->ctl;
	char local[QD_LOCAL_MAX * 4 + 8], quoted[QD_ROOT_MAX * 4];
	char domain[QD_DOMAIN_MAX * 4 + 8];
	struct qd_address address;
	enum qd_address_kind kind = qd_address_parse(ctl->argument, &address);

	steps_add(&q->steps, "recipient", "%s",
		  qd_log_quote(quoted, sizeof(quoted), ctl->argument));
	if (ctl->sender)
		steps_add(&q->steps, "sender", "%s",
			  qd_log_quote(quoted, sizeof(quoted), ctl->sender));
	if (ctl->client)
		steps_add(&q->steps, "client", "%s",
			  qd_log_quote(quoted, sizeof(quoted), ctl->client));
	if (ctl->size)
		steps_add(&q->steps, "size", "%" PRId64, ctl->size);
	qd_log_quote(local, sizeof(local), address.local);
	qd_log_quote(domain, sizeof(domain), address.domain);
	steps_add(&q->steps, "address", "%s%s%s%s", local, domain[0] ? "@" : "",
		  domain, kinds[kind]);
}

static void explain_record(struct query *q, const struct qd_answer *answer)
{
	const struct qd_record *rec = &answer->hit.rec;
	char text[QD_RECORD_TEXT], usage[CTL_USAGE], since[32], age[32];

	qd_record_format(rec, text);
	steps_add(&q->steps, "record", "%s", text + 2);
	for (int i = 0; i < QD_RESOURCES; i++)
		if (rec->usage[i].limit >= 0)
			steps_add(&q->steps,
				  qd_resource_name((enum qd_resource)i), "%s",
				  ctl_usage(rec, (enum qd_resource)i, usage));
	steps_add(&q->steps, "source", "%s", answer->hit.source);
	if (rec->since)
		steps_add(&q->steps, "since", "%s",
			  qd_time_text(rec->since, since));
	steps_add(&q->steps, "age", "%s%s", ctl_age(answer->hit.age, age),
		  rec->kept ? " (could not be read since)" : "");
	steps_add(&q->steps, "rule", "%s", qd_rule_name(answer->hit.rule));
}

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
static void explain_absence(struct query *q)
{
	const struct freshest *f = &q->freshest;
	char age[32];

	steps_add(&q->steps, "root", "none in the table");
	if (!f->src.name[0])
		return;
	steps_add(&q->steps, "age", "%s, source %s", ctl_age(f->age, age),
		  f->src.name);
	steps_add(&q->steps, "rule", "%s", qd_rule_name(f->src.rule));
}

static void explain_mailbox(struct query *q, const struct qd_answer *answer)
{
	char quoted[QD_ROOT_MAX * 4 + 8];

	if (!answer->mailbox.name[0])
		return;
	steps_add(&q->steps, "mailbox", "%s",
		  qd_log_quote(quoted, sizeof(quoted), answer->mailbox.name));
	if (answer->root[0]) {
		steps_add(&q->steps, "root", "%s",
			  qd_log_quote(quoted, sizeof(quoted), answer->root));
		explain_record(q, answer);
	} else if (answer->why == QD_WHY_NOT_FULL) {
		explain_absence(q);
	}
}

/* What the running filter has in its memory; ours is empty. */
static void explain_cache(struct query *q, const char *map, const char *key)
{
	char request[QD_ALIAS_KEY_MAX + 320], state[128] = "";
	struct qd_error err = { 0 };
	FILE *out;

	if (strncmp(map, "ldap:", 5) != 0 || q->no_filter)
		return;
	out = fmemopen(state, sizeof(state), "w");
	if (!out)
		return;
	snprintf(request, sizeof(request), "cached\t%s\t%s", map, key);
	q->no_filter = qd_control_ask(q->ctl->settings->control_socket, request,
				      CACHE_MS, out, &err) < 0;
	fclose(out);
	state[strcspn(state, "\n")] = '\0';
	if (q->no_filter)
		steps_add(&q->steps, "cache", "not known: %s", err.text);
	else
		steps_add(&q->steps, "cache", "%s", state);
}

static void on_asked(void *arg, const struct qd_aliasmap *map, const char *key,
		     enum qd_found found, const struct qd_aliasvalue *value,
		     const struct qd_error *err)
{
	struct query *q = arg;
	char quoted[QUOTED];

	steps_group(&q->steps, "maps");
	steps_add(&q->steps, "map", "%s", map->name);
	steps_add(&q->steps, "key", "%s",
		  qd_log_quote(quoted, sizeof(quoted), key));
	if (value->detail[0])
		steps_add(&q->steps, "how", "%s", value->detail);
	explain_cache(q, map->name, key);
	if (found == QD_FOUND)
		steps_add(&q->steps, "answer", "%s", value->text);
	else
		steps_add(&q->steps, "answer", "%s",
			  found == QD_ABSENT ? "nothing" : err->text);
	steps_group(&q->steps, NULL);
}

static void explain_target(struct query *q, const struct qd_answer *answer)
{
	const struct qd_address *target = &answer->target;
	char local[QD_LOCAL_MAX * 4 + 8], domain[QD_DOMAIN_MAX * 4 + 8];

	if (answer->why == QD_WHY_NO_MAILBOX) {
		steps_add(&q->steps, "target", "a program or a file");
		return;
	}
	qd_log_quote(local, sizeof(local), target->local);
	qd_log_quote(domain, sizeof(domain), target->domain);
	steps_add(&q->steps, "target", "%s@%s", local, domain);
}

static void on_judged(void *arg, const struct qd_answer *answer)
{
	struct query *q = arg;

	q->targets++;
	q->full += answer->why == QD_WHY_FULL;
	if (!q->aliases) {
		explain_mailbox(q, answer);
		return;
	}
	steps_group(&q->steps, "targets");
	explain_target(q, answer);
	explain_mailbox(q, answer);
	steps_add(&q->steps, "judged", "%s", qd_why_text(answer->why));
	steps_group(&q->steps, NULL);
}

/* Together they decide; what decided is also what JSON has at the top. */
static void explain_targets(struct query *q, const struct qd_answer *answer)
{
	const char *rule =
		q->ctl->settings->alias_rule == QD_ALIAS_ANY ? "any" : "all";

	if (!q->aliases || !q->targets)
		return;
	steps_add(&q->steps, "alias_rule", "%s: %d of %d full", rule, q->full,
		  q->targets);
	q->steps.json_only = true;
	explain_mailbox(q, answer);
	q->steps.json_only = false;
}

/* As the MTA says it: each line with the codes, "-" on all but the last. */
static void explain_reply(struct query *q, const struct qd_reply *reply)
{
	char whole[sizeof(*reply) + QD_REPLY_LINES * sizeof("451-4.999.999 ")];
	const char *line = reply->text, *end;
	size_t n = 0;

	do {
		end = strchrnul(line, '\n');
		n += (size_t)snprintf(
			whole + n, sizeof(whole) - n, "%s%c%s %.*s%s",
			reply->code, *end ? '-' : ' ', reply->dsn,
			(int)(end - line), line, *end ? "\n" : "");
		line = end + 1;
	} while (*end);
	steps_add_lines(&q->steps, "reply", whole);
}

static void explain_verdict(struct query *q, const struct qd_answer *answer,
			    int status)
{
	static const char *const verdicts[] = {
		[QD_PASS] = "pass",
		[QD_DEFER] = "defer",
		[QD_REJECT] = "reject",
	};
	struct qd_reply reply = { 0 };

	if (answer->why == QD_WHY_TABLE || answer->why == QD_WHY_ALIAS)
		steps_add(&q->steps, "error", "%s", answer->err.text);
	if (status == STATUS_UNKNOWN)
		steps_add(&q->steps, "verdict", "unknown, so pass: %s",
			  answer->why == QD_WHY_NOT_FULL ?
				  "every source is older than max_age" :
				  qd_why_text(answer->why));
	else
		steps_add(&q->steps, "verdict", "%s%s: %s",
			  verdicts[answer->verdict],
			  answer->at_data ? ", at the DATA command" : "",
			  qd_why_text(answer->why));
	if (answer->verdict == QD_PASS) {
		steps_add(&q->steps, "reply",
			  "none of ours; the MTA goes on (250)");
		return;
	}
	qd_reply_make(q->ctl->settings, answer->verdict, answer->resource,
		      &answer->address, &reply);
	explain_reply(q, &reply);
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

static void print(const struct query *q, int status)
{
	json_t *object;

	if (!q->ctl->json) {
		steps_print(&q->steps);
		return;
	}
	object = steps_json(&q->steps);
	json_object_set_new(object, "status", json_integer(status));
	json_dumpf(object, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
	putchar('\n');
	json_decref(object);
}

static int decide(struct query *q, struct qd_table *table)
{
	const struct qd_rcpt_watcher watcher = {
		.aliases = { .arg = q, .asked = on_asked },
		.judged = on_judged,
	};
	const struct qd_request request = {
		.rcpt = q->ctl->argument,
		.sender = q->ctl->sender,
		.client = q->ctl->client,
		.size = q->ctl->size,
		.watcher = &watcher,
	};
	static struct qd_answer answer;
	int status;

	explain_request(q);
	qd_rcpt_decide(q->ctl->settings, q->aliases, table, &request,
		       q->freshest.now, &answer);
	status = exit_status(&answer, &q->freshest);
	explain_targets(q, &answer);
	explain_verdict(q, &answer, status);
	return status;
}

int ctl_query(struct ctl *ctl)
{
	static struct query q;
	struct qd_error err = { 0 };
	struct qd_table *table;
	int status;

	q.ctl = ctl;
	if (qd_aliases_open(ctl->settings, false, qd_log_text, &q.aliases,
			    &err) < 0)
		return qd_options_fail(&ctl->common, &err);
	table = ctl_open_table(ctl, &status);
	if (!table) {
		qd_aliases_unref(&q.aliases);
		return STATUS_UNKNOWN;
	}
	find_freshest(ctl, table, (int64_t)time(NULL), &q.freshest);
	status = decide(&q, table);
	print(&q, status);
	steps_free(&q.steps);
	qd_table_close(&table);
	qd_aliases_unref(&q.aliases);
	return status;
}
