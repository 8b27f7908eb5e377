/* SPDX-License-Identifier: BSD-2-Clause */
#include "compare.h"

#include <stdio.h>
#include <time.h>

#include <jansson.h>

#include "quotadefer/log.h"

static const char *const names[OUTCOMES] = { "agree", "stale", "missed",
					     "false", "unsure" };
static const char *const verdicts[] = {
	[CYRUS_ACCEPTS] = "accept",
	[CYRUS_REFUSES] = "refuse",
	[CYRUS_NO_MAILBOX] = "no-mailbox",
	[CYRUS_UNSURE] = "unsure",
};

static int64_t table_age(const struct comparison *c)
{
	return qd_source_age(&c->source, (int64_t)time(NULL),
			     c->settings->max_age_ms / 1000);
}

void compare_report_begin(struct comparison *c)
{
	char age[32];

	if (c->ctl->json) {
		c->lines = json_array();
		return;
	}
	printf("source=%s rule=%s age=\"%s\" asked=\"%s\" mailboxes=%zu\n",
	       c->source.name, qd_rule_name(c->rule),
	       ctl_age(table_age(c), age), c->asker.link.name, c->roots.count);
}

static json_t *json_line(enum outcome outcome,
			 const struct recipient *recipient, bool defers,
			 const struct said *said)
{
	char root[QD_ROOT_MAX * 4 + 8], address[RECIPIENT_MAX * 4 + 8];

	return json_pack(
		"{s:s,s:s,s:s,s:s,s:s,s:s}", "outcome", names[outcome],
		"address",
		qd_log_quote(address, sizeof(address), recipient->address),
		"root", qd_log_quote(root, sizeof(root), recipient->root),
		"table", defers ? "defer" : "pass", "cyrus",
		verdicts[said->cyrus], "said", said->text);
}

void compare_report_line(struct comparison *c, enum outcome outcome,
			 const struct recipient *recipient, bool defers,
			 const struct said *said)
{
	char root[QD_ROOT_MAX * 4 + 8], address[RECIPIENT_MAX * 4 + 8];

	c->counts[outcome]++;
	if (outcome == AGREE)
		return;
	if (c->lines) {
		json_array_append_new(
			c->lines, json_line(outcome, recipient, defers, said));
		return;
	}
	printf("%s: to=<%s> root=%s table=%s cyrus=%s said=\"%s\"\n",
	       names[outcome],
	       qd_log_quote(address, sizeof(address), recipient->address),
	       qd_log_quote(root, sizeof(root), recipient->root),
	       defers ? "defer" : "pass", verdicts[said->cyrus], said->text);
}

static void print_json(struct comparison *c)
{
	json_t *all = json_pack("{s:s,s:s,s:I,s:s}", "source", c->source.name,
				"rule", qd_rule_name(c->rule), "age",
				(json_int_t)table_age(c), "asked",
				c->asker.link.name);

	for (int i = 0; i < OUTCOMES; i++)
		json_object_set_new(all, names[i], json_integer(c->counts[i]));
	json_object_set_new(all, "skipped", json_integer(c->skipped));
	json_object_set_new(all, "differences", c->lines);
	json_dumpf(all, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
	putchar('\n');
	json_decref(all);
}

void compare_report_end(struct comparison *c)
{
	if (c->lines) {
		print_json(c);
		return;
	}
	for (int i = 0; i < OUTCOMES; i++)
		printf("%s=%ld ", names[i], c->counts[i]);
	printf("skipped=%ld\n", c->skipped);
}
