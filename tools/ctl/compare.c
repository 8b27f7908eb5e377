/* SPDX-License-Identifier: BSD-2-Clause */
/* Is the table what Cyrus itself would answer? */
#include "compare.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "quotadefer/owner.h"

enum {
	STATUS_FALSE = 1,
	PASSWORD_MAX = 512
};

static int misused(const char *text, struct qd_error *err)
{
	return qd_error_set(err, EX_USAGE, "compare: %s", text);
}

static int check_options(const struct compare_options *o, struct qd_error *err)
{
	if (!!o->smmapd + !!o->imap + !!o->lmtp != 1)
		return misused("say whom to ask: one of --smmapd, --imap and "
			       "--lmtp",
			       err);
	if (o->imap && !o->password_file)
		return misused("--imap needs --password-file", err);
	if (!o->imap && (o->user || o->password_file))
		return misused("--user and --password-file are for --imap",
			       err);
	if (!o->lmtp)
		return o->yes ? misused("--yes is for --lmtp", err) : 0;
	fprintf(stderr,
		"quotadefer-ctl: warning: to lmtpd a RCPT is the beginning of "
		"a delivery: where\nautocreate_post is on it makes mailboxes "
		"that are missing. --smmapd and --imap\nchange nothing.\n");
	return o->yes ? 0 : misused("--lmtp needs --yes", err);
}

/* The first line of a file that not everybody may read. */
static int read_password(const char *path, char out[PASSWORD_MAX],
			 struct qd_error *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	struct stat st;
	ssize_t n = -1;

	if (fd < 0)
		return qd_error_set(err, EX_CONFIG, "--password-file %s: %m",
				    path);
	if (fstat(fd, &st) == 0 && (st.st_mode & S_IROTH))
		qd_error_set(err, EX_CONFIG,
			     "--password-file %s: everybody may read it; "
			     "chmod o-r it",
			     path);
	else if ((n = read(fd, out, PASSWORD_MAX - 1)) < 0)
		qd_error_set(err, EX_CONFIG, "--password-file %s: %m", path);
	close(fd);
	if (n < 0)
		return -1;
	out[n] = '\0';
	out[strcspn(out, "\r\n")] = '\0';
	if (!out[0])
		return qd_error_set(err, EX_CONFIG,
				    "--password-file %s: the first line is "
				    "empty",
				    path);
	return 0;
}

static int read_conf(struct comparison *c, struct qd_error *err)
{
	const char *path = c->settings->imapd_conf;

	if (qd_imapdconf_read(path, &c->conf, err) < 0)
		return -1;
	if (qd_quotastore_check(&c->conf, err) < 0)
		return qd_error_prefix(err, path);
	c->rule = qd_quotastore_rule(c->settings, &c->conf);
	c->conf.naming.tests_folder = c->rule == QD_RULE_SMMAPD;
	return 0;
}

/* imapd gives figures, to be judged as the program does that has the say. */
static enum qd_rule truth_rule(const struct comparison *c)
{
	if (c->rule == QD_RULE_SMMAPD)
		return QD_RULE_SMMAPD;
	return c->conf.lmtp_strict_quota ? QD_RULE_STRICT : QD_RULE_LMTPD;
}

static int open_asker(struct comparison *c, const char *password,
		      struct qd_error *err)
{
	const struct compare_options *o = &c->ctl->compare;

	c->asker.rule = truth_rule(c);
	if (o->smmapd)
		return asker_open_smmap(&c->asker, o->smmapd, err);
	if (o->lmtp)
		return asker_open_lmtp(&c->asker, o->lmtp, err);
	return asker_open_imap(&c->asker, o->imap, o->user ? o->user : "cyrus",
			       password, err);
}

static int prepare(struct comparison *c, struct qd_error *err)
{
	const struct compare_options *o = &c->ctl->compare;
	char password[PASSWORD_MAX] = "";
	int rc = -1;

	if (check_options(o, err) < 0 || read_conf(c, err) < 0)
		return -1;
	if (o->imap && read_password(o->password_file, password, err) < 0)
		return -1;
	if (qd_owner_become(&c->conf, c->settings->table, false, err) == 0 &&
	    qd_table_open(c->settings->table, QD_TABLE_READ,
			  c->settings->table_size, &c->table, NULL, err) == 0 &&
	    compare_collect(c, o->sample, err) == 0)
		rc = open_asker(c, password, err);
	explicit_bzero(password, sizeof(password));
	return rc;
}

static int judge_all(struct comparison *c, struct qd_error *err)
{
	const long *counts = c->counts;

	compare_report_begin(c);
	if (compare_all(c, err) < 0)
		return -1;
	compare_report_end(c);
	if (counts[UNSURE] && !counts[AGREE] && !counts[STALE] &&
	    !counts[MISSED] && !counts[FALSE])
		return qd_error_set(err, EX_TEMPFAIL,
				    "%s: no verdict on any mailbox",
				    c->asker.link.name);
	return 0;
}

static void forget(struct comparison *c)
{
	link_close(&c->asker.link);
	qd_table_close(&c->table);
	qd_rootset_free(&c->roots);
	qd_rootset_free(&c->doubts);
}

/* Whatever kept us from comparing, it may be gone later. */
static int fail(const struct comparison *c, struct qd_error *err)
{
	if (err->status != EX_USAGE && err->status != EX_CONFIG &&
	    err->status != EX_NOPERM)
		err->status = EX_TEMPFAIL;
	return qd_options_fail(&c->ctl->common, err);
}

int ctl_compare(struct ctl *ctl)
{
	static struct comparison c = { .asker.link.fd = -1 };
	struct qd_error err = { 0 };
	int rc;

	c.ctl = ctl;
	c.settings = ctl->settings;
	rc = prepare(&c, &err);
	if (rc == 0)
		rc = judge_all(&c, &err);
	forget(&c);
	if (rc < 0)
		return fail(&c, &err);
	return c.counts[FALSE] ? STATUS_FALSE : EX_OK;
}
