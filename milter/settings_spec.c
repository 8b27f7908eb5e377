/* SPDX-License-Identifier: BSD-2-Clause */
#include "settings_impl.h"

#include <stdlib.h>
#include <string.h>

#define DURATION "a duration: write 500ms, 90s, 15m, 3h or 7d"
#define SIZE	 "a size: write 512K, 64M, 4G or bytes"
#define PERCENT	 "a share: write 0% to 100%"
#define PATTERN                                                     \
	"an address in which * stands for any characters, such as " \
	"*@example.org"
#define PATH "an absolute path of at most 255 bytes"
#define REPLY                                                            \
	"1 to 8 lines of printable ASCII, at most 480 characters, with " \
	"\\n between them"
#define SOCKET "the absolute path of a socket, of at most 107 bytes"

const char *const qd_mode_names[] = { "enforce", "monitor", NULL };
static const char *const null_names[] = { "data", "rcpt", "pass", NULL };
static const char *const auth_names[] = { "pass", "defer", NULL };
static const char *const rule_names[] = { "auto", "lmtpd", "lmtpd-strict",
					  "smmapd", NULL };
static const char *const domain_names[] = { "ignore", "enforce", NULL };
static const char *const alias_names[] = { "all", "any", NULL };

#define FIELD(field) \
	.name = #field, .offset = offsetof(struct qd_settings, field)

/* In the order of quotadefer.conf(5). */
const struct qd_spec qd_specs[QD_SETTINGS] = {
	/* the table */
	{ FIELD(table), .read = qd_read_path, .expected = PATH,
	  .fallback = QD_STATEDIR "/table" },
	{ FIELD(table_size), .read = qd_read_size, .min = 1 << 20,
	  .max = INT64_C(1) << 44, .fallback = "4G",
	  .expected = SIZE ", from 1M to 16T" },
	{ .name = "max_age",
	  .offset = offsetof(struct qd_settings, max_age_ms),
	  .read = qd_read_duration,
	  .min = 1000,
	  .max = INT64_C(366) * 86400000,
	  .fallback = "3h",
	  .expected = DURATION ", from 1s to 366d" },
	/* Redis */
	{ FIELD(redis), .read = qd_read_text,
	  .expected = "a URL: redis://[user:password@]host[:port][/db], "
		      "sentinel://[user:password@]host[:port],.../MASTER"
		      "[/db] or unix:/path" },
	{ FIELD(redis_password_file), .read = qd_read_path, .expected = PATH },
	{ .name = "redis_timeout",
	  .offset = offsetof(struct qd_settings, redis_timeout_ms),
	  .read = qd_read_duration,
	  .min = 10,
	  .max = 600000,
	  .fallback = "5s",
	  .expected = DURATION ", from 10ms to 10m" },
	{ FIELD(prefix), .read = qd_read_name, .fallback = "quotadefer",
	  .expected = "a name of letters, digits, dots, hyphens and "
		      "underscores" },
	{ FIELD(stream_length), .read = qd_read_integer, .min = 100,
	  .max = 1000000000, .fallback = "200000",
	  .expected = "a number from 100 to 1000000000" },
	/* the filter */
	{ FIELD(socket), .read = qd_read_text,
	  .fallback = "unix:/var/spool/postfix/quotadefer/quotadefer.sock",
	  .expected = "a socket: unix:/path, inet:PORT@HOST or "
		      "inet:HOST:PORT" },
	{ FIELD(socket_mode), .read = qd_read_mode, .fallback = "0660",
	  .expected = "a file mode in octal, such as 0660" },
	{ FIELD(socket_group), .read = qd_read_account,
	  .expected = "the name of a group" },
	{ FIELD(control_socket), .read = qd_read_socket,
	  .fallback = QD_RUNDIR "/control.sock", .expected = SOCKET },
	{ FIELD(user), .read = qd_read_account, .fallback = "quotadefer",
	  .expected = "the name of a user" },
	{ FIELD(pidfile), .read = qd_read_path, .expected = PATH },
	/* whom to defer, and how */
	{ FIELD(domains), .is_list = true, .read = qd_read_domain,
	  .expected = "a domain name such as \"example.org\"" },
	{ FIELD(mode), .read = qd_read_choice, .choices = qd_mode_names,
	  .fallback = "enforce", .expected = "enforce or monitor" },
	{ FIELD(mode_domains), .is_list = true, .read = qd_read_domain_mode,
	  .expected = "a domain and its mode, enforce or monitor, such as "
		      "\"example.org=monitor\"" },
	{ FIELD(enforce_share), .read = qd_read_percent, .fallback = "100%",
	  .expected = PERCENT },
	{ FIELD(exempt_recipients), .is_list = true, .read = qd_read_pattern,
	  .expected = PATTERN },
	{ FIELD(exempt_senders), .is_list = true, .read = qd_read_pattern,
	  .expected = PATTERN },
	{ FIELD(exempt_clients), .is_list = true, .read = qd_read_netblock,
	  .expected = "a network such as 192.0.2.0/24 or 2001:db8::/32, all "
		      "bits after the prefix zero" },
	{ FIELD(null_sender), .read = qd_read_choice, .choices = null_names,
	  .fallback = "data", .expected = "data, rcpt or pass" },
	{ FIELD(probe_senders), .is_list = true, .read = qd_read_pattern,
	  .fallback = "double-bounce@*", .expected = PATTERN },
	{ FIELD(authenticated), .read = qd_read_choice, .choices = auth_names,
	  .fallback = "pass", .expected = "pass or defer" },
	{ FIELD(defer_limit), .read = qd_read_integer, .min = 0, .max = 1000000,
	  .fallback = "8",
	  .expected = "a number from 0 (no limit) to 1000000" },
	{ FIELD(reply_code), .read = qd_read_integer, .min = 450, .max = 452,
	  .fallback = "451", .expected = "450, 451 or 452" },
	{ FIELD(reply_enhanced_code), .read = qd_read_enhanced_code,
	  .fallback = "4.2.2", .expected = "a code such as 4.2.2" },
	{ FIELD(reply_text), .read = qd_read_reply,
	  .fallback = "mailbox full, please try again later",
	  .expected = REPLY },
	{ .name = "reject_after",
	  .offset = offsetof(struct qd_settings, reject_after_ms),
	  .read = qd_read_after,
	  .min = 60000,
	  .max = INT64_C(3660) * 86400000,
	  .fallback = "never",
	  .expected = "never, or " DURATION ", from 1m to 3660d" },
	{ FIELD(reject_text), .read = qd_read_reply, .fallback = "mailbox full",
	  .expected = REPLY },
	/* aliases */
	{ FIELD(alias_maps), .is_list = true, .read = qd_read_map,
	  .expected =
		  "a map: ldap:/path, aliases:/path or texthash:/path (the text "
		  "of a hash:, lmdb: or cdb: map)" },
	{ FIELD(alias_rule), .read = qd_read_choice, .choices = alias_names,
	  .fallback = "all", .expected = "all or any" },
	{ .name = "alias_timeout",
	  .offset = offsetof(struct qd_settings, alias_timeout_ms),
	  .read = qd_read_duration,
	  .min = 10,
	  .max = 60000,
	  .fallback = "2s",
	  .expected = DURATION ", from 10ms to 1m" },
	{ .name = "alias_connect_timeout",
	  .offset = offsetof(struct qd_settings, alias_connect_timeout_ms),
	  .read = qd_read_duration,
	  .min = 10,
	  .max = 60000,
	  .fallback = "500ms",
	  .expected = DURATION ", from 10ms to 1m" },
	{ .name = "alias_search_timeout",
	  .offset = offsetof(struct qd_settings, alias_search_timeout_ms),
	  .read = qd_read_duration,
	  .min = 10,
	  .max = 60000,
	  .fallback = "1s",
	  .expected = DURATION ", from 10ms to 1m" },
	{ FIELD(alias_connections), .read = qd_read_integer, .min = 1,
	  .max = 256, .fallback = "8", .expected = "a number from 1 to 256" },
	{ FIELD(alias_cache_size), .read = qd_read_integer, .min = 100,
	  .max = 100000000, .fallback = "100000",
	  .expected = "a number of entries from 100 to 100000000" },
	{ .name = "alias_cache_ttl",
	  .offset = offsetof(struct qd_settings, alias_cache_ttl_ms),
	  .read = qd_read_duration,
	  .min = 0,
	  .max = INT64_C(30) * 86400000,
	  .fallback = "5m",
	  .expected = DURATION ", up to 30d" },
	{ .name = "alias_negative_ttl",
	  .offset = offsetof(struct qd_settings, alias_negative_ttl_ms),
	  .read = qd_read_duration,
	  .min = 0,
	  .max = INT64_C(30) * 86400000,
	  .fallback = "1m",
	  .expected = DURATION ", up to 30d" },
	{ .name = "alias_stale",
	  .offset = offsetof(struct qd_settings, alias_stale_ms),
	  .read = qd_read_duration,
	  .min = 0,
	  .max = INT64_C(366) * 86400000,
	  .fallback = "1d",
	  .expected = DURATION ", up to 366d" },
	{ FIELD(recipient_delimiter), .read = qd_read_delimiter,
	  .fallback = "+",
	  .expected = "the characters, at most 8, or \"\" for none" },
	{ FIELD(myorigin), .read = qd_read_one_domain,
	  .expected = "a domain name such as \"example.org\"" },
	{ FIELD(mydestination), .is_list = true, .read = qd_read_domain,
	  .expected = "a domain name such as \"example.org\"" },
	/* the scanner */
	{ FIELD(source), .read = qd_read_name,
	  .expected = "a name of letters, digits, dots, hyphens and "
		      "underscores, at most 63" },
	{ FIELD(imapd_conf), .read = qd_read_path,
	  .fallback = "/etc/imapd.conf", .expected = PATH },
	{ FIELD(rule), .read = qd_read_choice, .choices = rule_names,
	  .fallback = "auto",
	  .expected = "auto, lmtpd, lmtpd-strict or smmapd" },
	{ FIELD(largest_message), .read = qd_read_size, .min = 0,
	  .max = INT64_C(1) << 40, .fallback = "64M",
	  .expected = SIZE ", up to 1T" },
	{ FIELD(domain_roots), .read = qd_read_choice, .choices = domain_names,
	  .fallback = "ignore", .expected = "ignore or enforce" },
	{ FIELD(cyr_dbtool), .read = qd_read_path,
	  .fallback = "/usr/lib/cyrus/bin/cyr_dbtool", .expected = PATH },
	{ .name = "scan_interval",
	  .offset = offsetof(struct qd_settings, scan_interval_ms),
	  .read = qd_read_duration,
	  .min = 1000,
	  .max = INT64_C(86400000),
	  .fallback = "15m",
	  .expected = DURATION ", from 1s to 1d" },
	{ FIELD(scan_threads), .read = qd_read_integer, .min = 0, .max = 256,
	  .fallback = "0",
	  .expected = "a number from 0 (as many as pay) to 256" },
	{ FIELD(guard_roots), .read = qd_read_percent, .fallback = "50%",
	  .expected = PERCENT },
	{ FIELD(guard_full), .read = qd_read_percent, .fallback = "25%",
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
