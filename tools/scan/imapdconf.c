/* SPDX-License-Identifier: BSD-2-Clause */
#include "quotadefer/imapdconf.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sysexits.h>

#include "quotadefer/value.h"

enum {
	FILES_MAX = 32
};

/* Cyrus looks from wherever its master happened to be started. */
#define ABSOLUTE "; write an absolute path"

/* The keys of imapd.conf(5) that are read. */
enum key {
	KEY_CONFIGDIRECTORY,
	KEY_QUOTA_DB,
	KEY_QUOTA_DB_PATH,
	KEY_FULLDIRHASH,
	KEY_QUOTA_USE_CONVERSATIONS,
	KEY_LMTP_STRICT_QUOTA,
	KEY_VIRTDOMAINS,
	KEY_DEFAULTDOMAIN,
	KEY_UNIXHIERARCHYSEP,
	KEY_LMTP_DOWNCASE_RCPT,
	KEY_POSTUSER,
	KEYS
};

static const char *const key_names[KEYS + 1] = {
	"configdirectory",
	"quota_db",
	"quota_db_path",
	"fulldirhash",
	"quota_use_conversations",
	"lmtp_strict_quota",
	"virtdomains",
	"defaultdomain",
	"unixhierarchysep",
	"lmtp_downcase_rcpt",
	"postuser",
	NULL,
};

struct reader {
	struct qd_imapdconf *conf;
	int seen[KEYS];		/* the line it was on */
	int service_seen[KEYS]; /* the same, for lmtpd alone */
	char *files[FILES_MAX];
	int file_count;
	struct qd_error *err;
};

/* A line of a file, for messages. */
struct place {
	const char *file;
	int line;
};

static int fail(struct reader *r, const struct place *at, const char *text)
{
	return qd_error_set(r->err, EX_CONFIG, "%s:%d: %s", at->file, at->line,
			    text);
}

/* As config_parse_switch: a prefix will do, lower case only. */
static int read_switch(const char *value, bool *out)
{
	if (value[0] == '0' || value[0] == 'n' || value[0] == 'f' ||
	    strncmp(value, "of", 2) == 0)
		*out = false;
	else if (value[0] == '1' || value[0] == 'y' || value[0] == 't' ||
		 strncmp(value, "on", 2) == 0)
		*out = true;
	else
		return -1;
	return 0;
}

static int read_text(const char *value, char *out, size_t size)
{
	if (strlen(value) >= size)
		return -1;
	memcpy(out, value, strlen(value) + 1);
	return 0;
}

static int read_virtdomains(const char *value, enum qd_virtdomains *out)
{
	static const struct {
		const char *name;
		enum qd_virtdomains value;
	} names[] = {
		{ "off", QD_VIRTDOMAINS_OFF },
		{ "0", QD_VIRTDOMAINS_OFF },
		{ "no", QD_VIRTDOMAINS_OFF },
		{ "f", QD_VIRTDOMAINS_OFF },
		{ "false", QD_VIRTDOMAINS_OFF },
		{ "userid", QD_VIRTDOMAINS_USERID },
		{ "on", QD_VIRTDOMAINS_ON },
		{ "1", QD_VIRTDOMAINS_ON },
		{ "yes", QD_VIRTDOMAINS_ON },
		{ "t", QD_VIRTDOMAINS_ON },
		{ "true", QD_VIRTDOMAINS_ON },
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strcmp(names[i].name, value) == 0) {
			*out = names[i].value;
			return 0;
		}
	}
	return -1;
}

static int store(struct qd_imapdconf *conf, enum key key, const char *value)
{
	struct qd_naming *naming = &conf->naming;

	switch (key) {
	case KEY_CONFIGDIRECTORY:
		return read_text(value, conf->configdirectory,
				 sizeof(conf->configdirectory));
	case KEY_QUOTA_DB:
		return read_text(value, conf->quota_db, sizeof(conf->quota_db));
	case KEY_QUOTA_DB_PATH:
		return read_text(value, conf->quota_db_path,
				 sizeof(conf->quota_db_path));
	case KEY_FULLDIRHASH:
		return read_switch(value, &conf->fulldirhash);
	case KEY_QUOTA_USE_CONVERSATIONS:
		return read_switch(value, &conf->quota_use_conversations);
	case KEY_LMTP_STRICT_QUOTA:
		return read_switch(value, &conf->lmtp_strict_quota);
	case KEY_VIRTDOMAINS:
		return read_virtdomains(value, &naming->virtdomains);
	case KEY_DEFAULTDOMAIN:
		return read_text(value, naming->defaultdomain,
				 sizeof(naming->defaultdomain));
	case KEY_UNIXHIERARCHYSEP:
		return read_switch(value, &naming->unixhierarchysep);
	case KEY_LMTP_DOWNCASE_RCPT:
		return read_switch(value, &naming->lmtp_downcase_rcpt);
	case KEY_POSTUSER:
		return read_text(value, naming->postuser,
				 sizeof(naming->postuser));
	case KEYS:
		break;
	}
	return 0;
}

/* What would have been right. */
static const char *expected(enum key key)
{
	switch (key) {
	case KEY_FULLDIRHASH:
	case KEY_QUOTA_USE_CONVERSATIONS:
	case KEY_LMTP_STRICT_QUOTA:
	case KEY_UNIXHIERARCHYSEP:
	case KEY_LMTP_DOWNCASE_RCPT:
		return "write yes or no";
	case KEY_VIRTDOMAINS:
		return "write off, userid or on";
	default:
		return "too long";
	}
}

/*
 * "lmtpunix_postuser" is postuser for the service lmtpunix of cyrus.conf
 * alone. What lmtpd goes by is what counts, and lmtp... is how it is called.
 */
static bool find_key(const char *name, int *key, bool *of_service)
{
	const char *underscore = strchr(name, '_');

	*of_service = false;
	if (qd_value_choice(name, key_names, key) == 0)
		return true;
	*of_service = true;
	return strncmp(name, "lmtp", 4) == 0 && underscore &&
	       qd_value_choice(underscore + 1, key_names, key) == 0;
}

static int set_key(struct reader *r, const struct place *at, const char *name,
		   const char *value)
{
	char text[300];
	bool of_service;
	int key, *seen;

	if (!find_key(name, &key, &of_service))
		return 0;
	seen = of_service ? &r->service_seen[key] : &r->seen[key];
	if (*seen) {
		snprintf(text, sizeof(text),
			 "%s: set before, on line %d; keep one of the two",
			 name, *seen);
		return fail(r, at, text);
	}
	*seen = at->line;
	if (!of_service && r->service_seen[key])
		return 0;
	if (store(r->conf, (enum key)key, value) == 0)
		return 0;
	snprintf(text, sizeof(text), "%s: %.100s: %s", name, value,
		 expected((enum key)key));
	return fail(r, at, text);
}

static char *skip_space(char *p)
{
	while (isspace((unsigned char)*p))
		p++;
	return p;
}

static void trim_end(char *text)
{
	size_t length = strlen(text);

	while (length > 1 && isspace((unsigned char)text[length - 1]))
		text[--length] = '\0';
}

/* The name, lower-cased in place, up to its colon; NULL if there is none. */
static char *end_of_name(char *name)
{
	char *p = name;

	if (*p == '@')
		p++;
	for (; isalnum((unsigned char)*p) || *p == '-' || *p == '_'; p++)
		*p = (char)tolower((unsigned char)*p);
	return *p == ':' ? p : NULL;
}

static int read_file(struct reader *r, const char *path,
		     const struct place *from);

static int read_line(struct reader *r, const struct place *at, char *line)
{
	char *name = skip_space(line), *value;

	if (!*name || *name == '#')
		return 0;
	value = end_of_name(name);
	if (!value)
		return fail(r, at, "not of the form \"option: value\"");
	*value++ = '\0';
	value = skip_space(value);
	trim_end(value);
	if (!*value)
		return fail(r, at, "an option without a value");
	if (strcmp(name, "@include") == 0)
		return read_file(r, value, at);
	if (*name == '@')
		return fail(r, at, "a directive other than @include");
	return set_key(r, at, name, value);
}

/* Cut off the end of a line; does the next one go on with it? */
static bool is_continued(char *part, size_t *length)
{
	if (!*length || part[*length - 1] != '\n')
		return false;
	part[--*length] = '\0';
	if (!*length || part[*length - 1] != '\\')
		return false;
	part[--*length] = '\0';
	return true;
}

static bool append(char **line, size_t *size, size_t used, const char *part,
		   size_t length)
{
	char *grown;

	if (used + length + 1 > *size) {
		grown = realloc(*line, used + length + 1);
		if (!grown)
			return false;
		*line = grown;
		*size = used + length + 1;
	}
	memcpy(*line + used, part, length + 1);
	return true;
}

/*
 * The next line with its continuations, in *line; false at the end. One that
 * is to go on and does not is lost, as it is to Cyrus.
 */
static bool next_line(FILE *fp, char **line, size_t *size, int *number)
{
	char *part = NULL;
	size_t part_size = 0, used = 0;
	bool whole = false;
	ssize_t n;

	while (!whole && (n = getline(&part, &part_size, fp)) >= 0) {
		size_t length = (size_t)n;

		++*number;
		whole = !is_continued(part, &length);
		if (!append(line, size, used, part, length)) {
			whole = false;
			break;
		}
		used += length;
	}
	free(part);
	return whole;
}

/* Cyrus refuses a file that is included twice, and so any loop. */
static int remember_file(struct reader *r, const char *path,
			 const struct place *from)
{
	for (int i = 0; from && i < r->file_count; i++)
		if (strcmp(r->files[i], path) == 0)
			return fail(r, from, "this file was included before");
	if (from && r->file_count == FILES_MAX)
		return fail(r, from, "over 32 files are included");
	r->files[r->file_count] = strdup(path);
	if (!r->files[r->file_count])
		return qd_error_set(r->err, EX_OSERR, "%s: %m", path);
	r->file_count++;
	return 0;
}

static int read_file(struct reader *r, const char *path,
		     const struct place *from)
{
	struct place at = { .file = path };
	char *line = NULL;
	size_t size = 0;
	FILE *fp;
	int rc = 0;

	if (remember_file(r, path, from) < 0)
		return -1;
	at.file = r->files[r->file_count - 1];
	fp = fopen(path, "re");
	if (!fp && from)
		return qd_error_set(r->err, EX_CONFIG,
				    "%s:%d: @include %s: %m%s", from->file,
				    from->line, path,
				    path[0] == '/' ? "" : ABSOLUTE);
	if (!fp)
		return qd_error_set(r->err,
				    errno == EACCES ? EX_NOPERM : EX_CONFIG,
				    "imapd_conf %s: %m", path);
	while (rc == 0 && next_line(fp, &line, &size, &at.line))
		rc = read_line(r, &at, line);
	if (rc == 0 && ferror(fp))
		rc = qd_error_set(r->err, EX_CONFIG, "%s: %m", path);
	free(line);
	fclose(fp);
	return rc;
}

/* "{configdirectory}/x" -> "/var/lib/cyrus/x" */
static int expand(const struct qd_imapdconf *conf, char *value, size_t size)
{
	static const char word[] = "{configdirectory}";
	size_t skip = sizeof(word) - 1;
	char whole[2048];

	if (strncasecmp(value, word, skip) != 0)
		return 0;
	if (snprintf(whole, sizeof(whole), "%s%s", conf->configdirectory,
		     value + skip) >= (int)sizeof(whole))
		return -1;
	return read_text(whole, value, size);
}

static void set_defaults(struct qd_imapdconf *conf)
{
	memset(conf, 0, sizeof(*conf));
	strcpy(conf->quota_db, "quotalegacy");
	qd_naming_defaults(&conf->naming);
}

int qd_imapdconf_read(const char *path, struct qd_imapdconf *out,
		      struct qd_error *err)
{
	struct qd_imapdconf conf;
	struct reader r = { .conf = &conf, .err = err };
	int rc;

	set_defaults(&conf);
	rc = read_file(&r, path, NULL);
	for (int i = 0; i < r.file_count; i++)
		free(r.files[i]);
	if (rc < 0)
		return -1;
	if (!conf.configdirectory[0])
		return qd_error_set(err, EX_CONFIG,
				    "%s: configdirectory is not set; Cyrus "
				    "does not start without it either",
				    path);
	if (expand(&conf, conf.quota_db_path, sizeof(conf.quota_db_path)) < 0)
		return qd_error_set(err, EX_CONFIG,
				    "%s: quota_db_path: too long", path);
	if (read_text(path, conf.path, sizeof(conf.path)) < 0)
		return qd_error_set(err, EX_CONFIG, "%s: too long", path);
	*out = conf;
	return 0;
}

int qd_imapdconf_quota_base(const struct qd_imapdconf *conf, char *out,
			    size_t size)
{
	const char *path = conf->quota_db_path;
	char *slash;

	/* quotalegacy strips the last name of what it takes for a file */
	if (!path[0])
		return read_text(conf->configdirectory, out, size);
	if (read_text(path, out, size) < 0)
		return -1;
	slash = strrchr(out, '/');
	if (slash)
		*slash = '\0';
	return 0;
}
