/* SPDX-License-Identifier: BSD-2-Clause */
#include "settings_impl.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>

#include <confuse.h>

/*
 * libconfuse reports errors and values through callbacks without an argument
 * of ours, and is not reentrant; so this is the state of the one reading.
 */
static struct {
	struct qd_error *err;
	struct qd_raw *raw;
	const char *file;
	bool failed;
} reading;

static int fail_at(int line, const char *text)
{
	if (!reading.failed) /* the first error is the one to mend */
		qd_error_set(reading.err, EX_CONFIG, "%s:%d: %s", reading.file,
			     line, text);
	reading.failed = true;
	return -1;
}

static void on_error(cfg_t *cfg, const char *format, va_list args)
{
	static const char unknown[] = "no such option '";
	char text[256], better[400];
	const char *suggestion;

	vsnprintf(text, sizeof(text), format, args);
	if (strncmp(text, unknown, sizeof(unknown) - 1) == 0) {
		char *name = text + sizeof(unknown) - 1;

		name[strcspn(name, "'")] = '\0';
		if (strpbrk(name, ":;")) {
			snprintf(better, sizeof(better),
				 "%s: there is neither \":\" nor \";\" "
				 "here; write NAME = \"VALUE\"",
				 name);
			fail_at(cfg->line, better);
			return;
		}
		suggestion = qd_spec_suggest(name);
		snprintf(better, sizeof(better),
			 "%s: there is no such setting; %s%s", name,
			 suggestion ? "did you mean " : "quotadefer.conf(5) ",
			 suggestion ? suggestion : "lists them all");
	} else {
		snprintf(better, sizeof(better),
			 "%s; write NAME = \"VALUE\" or NAME = { \"A\", "
			 "\"B\" }",
			 text);
	}
	fail_at(cfg->line, better);
}

static int set_twice(const cfg_t *cfg, const char *name,
		     const struct qd_raw *raw)
{
	const char *line = strrchr(raw->where, ':');
	char text[200];

	snprintf(text, sizeof(text),
		 "%s: set before, on line %s; keep one of the two", name,
		 line ? line + 1 : "?");
	return fail_at(cfg->line, text);
}

/*
 * Called for each value, and once more for the end of a list in braces. The
 * values are taken away as they come: a new first one then shows that the
 * setting was set again, where libconfuse lets the last of several win.
 */
static int on_value(cfg_t *cfg, cfg_opt_t *opt)
{
	struct qd_raw *raw = &reading.raw[qd_spec_find(opt->name)];

	for (unsigned int i = 0; i < opt->nvalues; i++) {
		char *value = opt->values[i]->string;

		if (!value)
			continue;
		if (raw->where[0] && opt->nvalues == 1)
			return set_twice(cfg, opt->name, raw);
		if (!raw->where[0])
			snprintf(raw->where, sizeof(raw->where), "%s:%d",
				 reading.file, cfg->line);
		if (qd_raw_add(raw, value) < 0)
			return fail_at(cfg->line, "out of memory");
		free(value);
		opt->values[i]->string = NULL;
	}
	return 0;
}

/* Where in the text we are, from line to line. */
struct scan {
	int line;
	int opened;   /* the line on which this was opened: */
	bool comment; /* a C comment, or */
	char quote;   /* one of the two quotes */
};

/* "//", but not in the middle of a bare word such as a URL */
static bool is_comment(const char *line, const char *p)
{
	return *p == '#' || (strncmp(p, "//", 2) == 0 &&
			     (p == line || strchr(" \t={},", p[-1])));
}

/*
 * libconfuse replaces ${NAME} from the environment, except in single quotes,
 * and an unset one silently by nothing. Refuse those.
 */
static int check_variable(int line, const char *p)
{
	char text[200], name[100];

	snprintf(name, sizeof(name), "%.*s", (int)strcspn(p + 2, "}\n"), p + 2);
	if (strstr(name, ":-") || getenv(name))
		return 0;
	snprintf(text, sizeof(text),
		 "${%s}: there is no such variable in the environment; single "
		 "quotes keep it as it is",
		 name);
	return fail_at(line, text);
}

static int check_line(struct scan *scan, const char *line)
{
	for (const char *p = line; *p; p++) {
		if (scan->comment) {
			scan->comment = strncmp(p, "*/", 2) != 0;
			p += !scan->comment;
		} else if (*p == '\\' && p[1]) {
			p++;
		} else if (scan->quote ? *p == scan->quote :
					 (*p == '"' || *p == '\'')) {
			scan->quote = scan->quote ? '\0' : *p;
			scan->opened = scan->line;
		} else if (!scan->quote && strncmp(p, "/*", 2) == 0) {
			scan->comment = true;
			scan->opened = scan->line;
		} else if (!scan->quote && is_comment(line, p)) {
			return 0;
		} else if (scan->quote != '\'' && strncmp(p, "${", 2) == 0 &&
			   check_variable(scan->line, p) < 0) {
			return -1;
		}
	}
	return 0;
}

/* What libconfuse lets pass, or says less well. */
static int check_text(FILE *fp)
{
	struct scan scan = { 0 };
	char *line = NULL;
	size_t size = 0;
	ssize_t length;
	int rc = 0;

	while (rc == 0 && (length = getline(&line, &size, fp)) >= 0) {
		scan.line++;
		if (strlen(line) != (size_t)length)
			rc = fail_at(scan.line, "a NUL byte; write text");
		else
			rc = check_line(&scan, line);
	}
	free(line);
	rewind(fp);
	if (rc == 0 && scan.comment)
		rc = fail_at(scan.opened, "a comment that is not closed; write "
					  "*/ at its end");
	if (rc == 0 && scan.quote)
		rc = fail_at(scan.opened, "a quote that is not closed; write "
					  "NAME = \"VALUE\"");
	return rc;
}

static FILE *open_file(const char *file, struct qd_error *err)
{
	FILE *fp = fopen(file, "re");
	struct stat st;

	if (!fp) {
		qd_error_set(err, EX_CONFIG, "%s: %m", file);
		return NULL;
	}
	/* the scanner in libconfuse ends the process if it cannot read */
	if (fstat(fileno(fp), &st) < 0 || S_ISDIR(st.st_mode)) {
		qd_error_set(err, EX_CONFIG, "%s: not a file", file);
		fclose(fp);
		return NULL;
	}
	return fp;
}

/* An empty list calls nothing, but was written. */
static void note_empty_lists(cfg_t *cfg)
{
	for (int i = 0; i < QD_SETTINGS; i++) {
		const cfg_opt_t *opt = cfg_getopt(cfg, qd_specs[i].name);
		struct qd_raw *raw = &reading.raw[i];

		if (opt->flags & CFGF_MODIFIED && !raw->where[0])
			snprintf(raw->where, sizeof(raw->where), "%s",
				 reading.file);
	}
}

static cfg_t *new_parser(cfg_opt_t opts[QD_SETTINGS + 1])
{
	const cfg_opt_t one = CFG_STR(NULL, NULL, CFGF_NODEFAULT);
	const cfg_opt_t list = CFG_STR_LIST(NULL, NULL, CFGF_NODEFAULT);
	const cfg_opt_t end = CFG_END();
	cfg_t *cfg;

	for (int i = 0; i < QD_SETTINGS; i++) {
		opts[i] = qd_specs[i].is_list ? list : one;
		opts[i].name = qd_specs[i].name;
		opts[i].validcb = on_value;
	}
	opts[QD_SETTINGS] = end;
	cfg = cfg_init(opts, CFGF_NONE);
	if (cfg)
		cfg_set_error_function(cfg, on_error);
	return cfg;
}

int qd_settings_read_file(const char *file, struct qd_raw *raw,
			  struct qd_error *err)
{
	cfg_opt_t opts[QD_SETTINGS + 1];
	cfg_t *cfg = NULL;
	FILE *fp = open_file(file, err);
	int rc = -1;

	if (!fp)
		return -1;
	reading.err = err;
	reading.raw = raw;
	reading.file = file;
	reading.failed = false;

	if (check_text(fp) < 0)
		goto out;
	cfg = new_parser(opts);
	if (!cfg) {
		qd_error_set(err, EX_OSERR, "%s: %m", file);
		goto out;
	}
	if (cfg_parse_fp(cfg, fp) != CFG_SUCCESS) {
		if (!reading.failed)
			qd_error_set(err, EX_CONFIG, "%s: not readable", file);
		goto out;
	}
	note_empty_lists(cfg);
	rc = 0;
out:
	if (cfg)
		cfg_free(cfg);
	fclose(fp);
	return rc;
}
