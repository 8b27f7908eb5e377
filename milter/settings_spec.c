/* SPDX-License-Identifier: BSD-2-Clause */
#include "settings_impl.h"

#include <grp.h>
#include <stdlib.h>
#include <string.h>

#include "quotadefer/address.h"
#include "quotadefer/source.h"
#include "quotadefer/value.h"

#define DURATION "a duration: write 500ms, 90s, 15m, 3h or 7d"
#define SIZE	 "a size: write 512K, 64M, 4G or bytes"
#define PERCENT	 "a share: write 0% to 100%"
#define PATH	 "an absolute path of at most 255 bytes"
#define SOCKET	 "the absolute path of a socket, of at most 107 bytes"

static bool store(const char *text, char **field)
{
	char *copy = strdup(text);

	if (!copy)
		return false;
	free(*field);
	*field = copy;
	return true;
}

static bool append(const char *text, struct qd_list *list)
{
	char **items = realloc(list->items, (list->count + 1) * sizeof(*items));

	if (!items)
		return false;
	list->items = items;
	items[list->count] = strdup(text);
	if (!items[list->count])
		return false;
	list->count++;
	return true;
}

static bool is_printable(const char *text)
{
	for (; *text; text++)
		if (*text < 0x20 || *text > 0x7e)
			return false;
	return true;
}

static bool read_path(const struct qd_spec *spec, const char *text, void *field)
{
	(void)spec;
	return text[0] == '/' && strlen(text) <= 255 && is_printable(text) &&
	       store(text, field);
}

/* sockaddr_un has no room for more. */
static bool read_socket(const struct qd_spec *spec, const char *text,
			void *field)
{
	size_t length = strlen(text);

	return length <= 107 && text[length - (length > 0)] != '/' &&
	       read_path(spec, text, field);
}

static bool read_name(const struct qd_spec *spec, const char *text, void *field)
{
	(void)spec;
	return qd_source_name_valid(text) && store(text, field);
}

static bool read_text(const struct qd_spec *spec, const char *text, void *field)
{
	(void)spec;
	/* 512 is an SMTP reply line, RFC 5321 4.5.3.1.5 */
	return text[0] && strlen(text) <= 480 && is_printable(text) &&
	       store(text, field);
}

static bool read_account(const struct qd_spec *spec, const char *text,
			 void *field)
{
	(void)spec;
	return text[0] && strlen(text) <= 64 && !strpbrk(text, " :/") &&
	       is_printable(text) && store(text, field);
}

static bool read_domain(const struct qd_spec *spec, const char *text,
			void *field)
{
	struct qd_address address;
	char path[QD_DOMAIN_MAX + 8];

	(void)spec;
	if (strlen(text) > QD_DOMAIN_MAX)
		return false;
	snprintf(path, sizeof(path), "<x@%s>", text);
	return qd_address_parse(path, &address) == QD_ADDRESS_MAILBOX &&
	       strcmp(address.domain, text) == 0 && append(text, field);
}

static bool read_pattern(const struct qd_spec *spec, const char *text,
			 void *field)
{
	(void)spec;
	return strchr(text, '@') && is_printable(text) && append(text, field);
}

static bool read_duration(const struct qd_spec *spec, const char *text,
			  void *field)
{
	int64_t *out = field, ms;

	if (qd_value_duration(text, &ms) < 0 || ms < spec->min ||
	    ms > spec->max)
		return false;
	*out = ms;
	return true;
}

static bool read_size(const struct qd_spec *spec, const char *text, void *field)
{
	int64_t *out = field, bytes;

	if (qd_value_size(text, &bytes) < 0 || bytes < spec->min ||
	    bytes > spec->max)
		return false;
	*out = bytes;
	return true;
}

static bool read_integer(const struct qd_spec *spec, const char *text,
			 void *field)
{
	return qd_value_integer(text, spec->min, spec->max, field) == 0;
}

static bool read_percent(const struct qd_spec *spec, const char *text,
			 void *field)
{
	(void)spec;
	return qd_value_percent(text, field) == 0;
}

static bool read_mode(const struct qd_spec *spec, const char *text, void *field)
{
	(void)spec;
	return qd_value_mode(text, field) == 0;
}

static bool read_choice(const struct qd_spec *spec, const char *text,
			void *field)
{
	return qd_value_choice(text, spec->choices, field) == 0;
}

static const char *const mode_names[] = { "enforce", "monitor", NULL };
static const char *const null_names[] = { "data", "rcpt", "pass", NULL };
static const char *const auth_names[] = { "pass", "defer", NULL };
static const char *const rule_names[] = { "auto", "lmtpd", "lmtpd-strict",
					  "smmapd", NULL };
static const char *const domain_names[] = { "ignore", "enforce", NULL };

#define FIELD(field) \
	.name = #field, .offset = offsetof(struct qd_settings, field)

/* In the order of quotadefer.conf(5). */
const struct qd_spec qd_specs[QD_SETTINGS] = {
	/* the table */
	{ FIELD(table), .read = read_path, .expected = PATH,
	  .fallback = QD_STATEDIR "/table" },
	{ FIELD(table_size), .read = read_size, .min = 1 << 20,
	  .max = INT64_C(1) << 44, .fallback = "4G",
	  .expected = SIZE ", from 1M to 16T" },
	{ .name = "max_age",
	  .offset = offsetof(struct qd_settings, max_age_ms),
	  .read = read_duration,
	  .min = 1000,
	  .max = INT64_C(366) * 86400000,
	  .fallback = "3h",
	  .expected = DURATION ", from 1s to 366d" },
	/* Redis */
	{ FIELD(redis), .read = read_text,
	  .expected = "a URL: redis://[user:password@]host[:port][/db] or "
		      "unix:/path" },
	{ FIELD(redis_password_file), .read = read_path, .expected = PATH },
	{ .name = "redis_timeout",
	  .offset = offsetof(struct qd_settings, redis_timeout_ms),
	  .read = read_duration,
	  .min = 10,
	  .max = 600000,
	  .fallback = "5s",
	  .expected = DURATION ", from 10ms to 10m" },
	{ FIELD(prefix), .read = read_name, .fallback = "quotadefer",
	  .expected = "a name of letters, digits, dots, hyphens and "
		      "underscores" },
	{ FIELD(stream_length), .read = read_integer, .min = 100,
	  .max = 1000000000, .fallback = "200000",
	  .expected = "a number from 100 to 1000000000" },
	/* the filter */
	{ FIELD(socket), .read = read_text,
	  .fallback = "unix:/var/spool/postfix/quotadefer/quotadefer.sock",
	  .expected = "a socket: unix:/path, inet:PORT@HOST or "
		      "inet:HOST:PORT" },
	{ FIELD(socket_mode), .read = read_mode, .fallback = "0660",
	  .expected = "a file mode in octal, such as 0660" },
	{ FIELD(socket_group), .read = read_account,
	  .expected = "the name of a group" },
	{ FIELD(control_socket), .read = read_socket,
	  .fallback = QD_RUNDIR "/control.sock", .expected = SOCKET },
	{ FIELD(user), .read = read_account, .fallback = "quotadefer",
	  .expected = "the name of a user" },
	{ FIELD(pidfile), .read = read_path, .expected = PATH },
	/* whom to defer, and how */
	{ FIELD(domains), .is_list = true, .read = read_domain,
	  .expected = "a domain name such as \"example.org\"" },
	{ FIELD(mode), .read = read_choice, .choices = mode_names,
	  .fallback = "enforce", .expected = "enforce or monitor" },
	{ FIELD(null_sender), .read = read_choice, .choices = null_names,
	  .fallback = "data", .expected = "data, rcpt or pass" },
	{ FIELD(probe_senders), .is_list = true, .read = read_pattern,
	  .fallback = "double-bounce@*",
	  .expected = "an address in which * stands for any characters" },
	{ FIELD(authenticated), .read = read_choice, .choices = auth_names,
	  .fallback = "pass", .expected = "pass or defer" },
	{ FIELD(defer_limit), .read = read_integer, .min = 0, .max = 1000000,
	  .fallback = "8",
	  .expected = "a number from 0 (no limit) to 1000000" },
	{ FIELD(reply_code), .read = read_integer, .min = 450, .max = 452,
	  .fallback = "451", .expected = "450, 451 or 452" },
	{ FIELD(reply_text), .read = read_text,
	  .fallback = "mailbox full, please try again later",
	  .expected = "printable ASCII, at most 480 characters" },
	/* the scanner */
	{ FIELD(source), .read = read_name,
	  .expected = "a name of letters, digits, dots, hyphens and "
		      "underscores, at most 63" },
	{ FIELD(imapd_conf), .read = read_path, .fallback = "/etc/imapd.conf",
	  .expected = PATH },
	{ FIELD(rule), .read = read_choice, .choices = rule_names,
	  .fallback = "auto",
	  .expected = "auto, lmtpd, lmtpd-strict or smmapd" },
	{ FIELD(largest_message), .read = read_size, .min = 0,
	  .max = INT64_C(1) << 40, .fallback = "64M",
	  .expected = SIZE ", up to 1T" },
	{ FIELD(domain_roots), .read = read_choice, .choices = domain_names,
	  .fallback = "ignore", .expected = "ignore or enforce" },
	{ FIELD(cyr_dbtool), .read = read_path,
	  .fallback = "/usr/lib/cyrus/bin/cyr_dbtool", .expected = PATH },
	{ .name = "scan_interval",
	  .offset = offsetof(struct qd_settings, scan_interval_ms),
	  .read = read_duration,
	  .min = 1000,
	  .max = INT64_C(86400000),
	  .fallback = "15m",
	  .expected = DURATION ", from 1s to 1d" },
	{ FIELD(scan_threads), .read = read_integer, .min = 0, .max = 256,
	  .fallback = "0",
	  .expected = "a number from 0 (as many as pay) to 256" },
	{ FIELD(guard_roots), .read = read_percent, .fallback = "50%",
	  .expected = PERCENT },
	{ FIELD(guard_full), .read = read_percent, .fallback = "25%",
	  .expected = PERCENT },
};

int qd_spec_find(const char *name)
{
	for (int i = 0; i < QD_SETTINGS; i++)
		if (strcmp(qd_specs[i].name, name) == 0)
			return i;
	return -1;
}

static int least(int a, int b)
{
	return a < b ? a : b;
}

/* How many letters must be added, dropped or changed (Levenshtein). */
static int distance(const char *a, const char *b)
{
	int row[64];
	int length = (int)strlen(b);

	if (length >= 64)
		return 64;
	for (int j = 0; j <= length; j++)
		row[j] = j;
	for (int i = 1; a[i - 1]; i++) {
		int diagonal = row[0];

		row[0] = i;
		for (int j = 1; j <= length; j++) {
			int change = diagonal + (a[i - 1] != b[j - 1]);

			diagonal = row[j];
			row[j] = least(change, least(row[j], row[j - 1]) + 1);
		}
	}
	return row[length];
}

const char *qd_spec_suggest(const char *name)
{
	const char *best = NULL;
	int length = (int)strlen(name);
	/* with half of the letters changed anything would do */
	int best_distance = least(4, length / 2 + 1);

	for (int i = 0; i < QD_SETTINGS; i++) {
		int d = distance(name, qd_specs[i].name);

		if (d < best_distance) {
			best_distance = d;
			best = qd_specs[i].name;
		}
	}
	return best;
}
