/* SPDX-License-Identifier: BSD-2-Clause */
#include "quotalegacy_impl.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "quotadefer/crew.h"

/* So many bytes of directory are one portion of work: some 400 names. */
enum {
	PORTION = 16 * 1024
};

enum kind {
	LIST_DOMAINS,	  /* domain/v */
	LOOK_INTO_DOMAIN, /* domain/v/virt.example */
	LIST_FILES,	  /* quota/j, domain/v/virt.example/quota/j */
	READ_FILES	  /* a portion of such a directory */
};

struct task {
	enum kind kind;
	struct qd_quotadir *dir; /* to open name in; READ_FILES: itself */
	char name[256];
	char *portion;
	size_t length;
};

struct walk {
	const struct qd_imapdconf *conf;
	const struct qd_scan_options *options;
	struct qd_scan *scan;
	pthread_mutex_t lock;
	bool no_memory;
};

static struct qd_quotadir *new_dir(int fd, const char *path, const char *domain,
				   char letter)
{
	struct qd_quotadir *dir = calloc(1, sizeof(*dir));

	if (!dir) {
		close(fd);
		return NULL;
	}
	dir->fd = fd;
	dir->letter = letter;
	snprintf(dir->path, sizeof(dir->path), "%s", path);
	snprintf(dir->domain, sizeof(dir->domain), "%s", domain);
	atomic_init(&dir->users, 1);
	return dir;
}

static void release_dir(struct qd_quotadir *dir)
{
	if (!dir || atomic_fetch_sub(&dir->users, 1) > 1)
		return;
	close(dir->fd);
	free(dir);
}

static struct task *new_task(enum kind kind, struct qd_quotadir *dir,
			     const char *name)
{
	struct task *task = calloc(1, sizeof(*task));

	if (!task)
		return NULL;
	atomic_fetch_add(&dir->users, 1);
	task->kind = kind;
	task->dir = dir;
	snprintf(task->name, sizeof(task->name), "%s", name);
	return task;
}

static void discard(void *arg)
{
	struct task *task = arg;

	release_dir(task->dir);
	free(task->portion);
	free(task);
}

static int add_task(struct qd_crew *crew, enum kind kind,
		    struct qd_quotadir *dir, const char *name)
{
	struct task *task = new_task(kind, dir, name);

	return task ? qd_crew_add(crew, task) : -1;
}

/* A link put there would lead elsewhere; anything else is trouble. */
static void not_opened(struct qd_legacy_reader *reader, const char *path,
		       int error)
{
	if (error == ELOOP || error == ENOTDIR)
		qd_findings_malformed(&reader->found, path,
				      "not a directory; links are not "
				      "followed");
	else if (error != ENOENT)
		qd_findings_directory(&reader->found, path, strerror(error));
}

/*
 * Open name in parent as a directory of that domain and letter; a missing one
 * is normal. NULL: it was noted, if need be.
 */
static struct qd_quotadir *open_dir(struct qd_legacy_reader *reader,
				    const struct qd_quotadir *parent,
				    const char *name, const char *domain,
				    char letter)
{
	char path[sizeof(parent->path) + 256];
	struct qd_quotadir *dir;
	int fd = openat(parent->fd, name,
			O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	snprintf(path, sizeof(path), "%s/%s", parent->path, name);
	if (fd < 0) {
		not_opened(reader, path, errno);
		return NULL;
	}
	dir = new_dir(fd, path, domain, letter);
	if (!dir)
		reader->found.no_memory = true;
	return dir;
}

typedef void portion_fn(struct qd_legacy_reader *reader, struct qd_crew *crew,
			struct qd_quotadir *dir, const char *portion,
			size_t length);

/* Call each with the names in a directory, a portion at a time. */
static void list(struct qd_legacy_reader *reader, struct qd_crew *crew,
		 struct qd_quotadir *dir, portion_fn *each)
{
	_Alignas(struct dirent64) char portion[PORTION];
	ssize_t n = 0;

	while (!qd_crew_is_stopped(crew) &&
	       (n = getdents64(dir->fd, portion, sizeof(portion))) > 0)
		each(reader, crew, dir, portion, (size_t)n);
	if (n < 0)
		not_opened(reader, dir->path, errno);
}

/* The next name of a portion; NULL at its end. */
static const struct dirent64 *next_entry(const char *portion, size_t length,
					 size_t *at)
{
	const struct dirent64 *entry = (const void *)(portion + *at);

	if (*at >= length)
		return NULL;
	*at += entry->d_reclen;
	return entry;
}

/* Not Cyrus's own temporary file. */
static bool is_root_name(const char *name)
{
	size_t length = strlen(name);

	if (name[0] == '.')
		return false;
	return length < 4 || strcmp(name + length - 4, ".NEW") != 0;
}

static void read_portion(struct qd_legacy_reader *reader,
			 const struct qd_quotadir *dir, const char *portion,
			 size_t length)
{
	const struct dirent64 *entry;
	size_t at = 0;

	while ((entry = next_entry(portion, length, &at))) {
		if (!is_root_name(entry->d_name))
			continue;
		if (entry->d_type == DT_REG || entry->d_type == DT_UNKNOWN)
			qd_legacy_read(reader, dir, entry->d_name,
				       entry->d_type == DT_REG);
		else
			qd_legacy_hidden(reader, dir, entry->d_name);
	}
}

/* Leave this portion to a thread that has nothing to do, if there is one. */
static bool pass_on(struct qd_crew *crew, struct qd_quotadir *dir,
		    const char *portion, size_t length)
{
	struct task *task;

	if (!qd_crew_is_hungry(crew))
		return false;
	task = new_task(READ_FILES, dir, "");
	if (!task)
		return false;
	task->portion = malloc(length);
	if (!task->portion) {
		discard(task);
		return false;
	}
	memcpy(task->portion, portion, length);
	task->length = length;
	return qd_crew_add(crew, task) == 0;
}

static void files_listed(struct qd_legacy_reader *reader, struct qd_crew *crew,
			 struct qd_quotadir *dir, const char *portion,
			 size_t length)
{
	if (!pass_on(crew, dir, portion, length))
		read_portion(reader, dir, portion, length);
}

/* The letters under which Cyrus itself looks: a..z, or A..W. */
static bool is_letter(const struct qd_imapdconf *conf, const char *name)
{
	if (name[0] == '\0' || name[1] != '\0')
		return false;
	return conf->fulldirhash ? name[0] >= 'A' && name[0] < 'A' + 23 :
				   name[0] >= 'a' && name[0] <= 'z';
}

static void letters_listed(struct qd_legacy_reader *reader,
			   struct qd_crew *crew, struct qd_quotadir *dir,
			   const char *portion, size_t length)
{
	const struct dirent64 *entry;
	size_t at = 0;

	while ((entry = next_entry(portion, length, &at)))
		if (is_letter(reader->conf, entry->d_name) &&
		    add_task(crew, LIST_FILES, dir, entry->d_name) < 0)
			reader->found.no_memory = true;
}

static void domains_listed(struct qd_legacy_reader *reader,
			   struct qd_crew *crew, struct qd_quotadir *dir,
			   const char *portion, size_t length)
{
	bool full = reader->conf->fulldirhash;
	const struct dirent64 *entry;
	size_t at = 0;

	while ((entry = next_entry(portion, length, &at))) {
		const char *name = entry->d_name;

		if (name[0] == '.' ||
		    (entry->d_type != DT_DIR && entry->d_type != DT_UNKNOWN))
			continue;
		if (qd_quotalegacy_letter(name, false, full) != dir->letter)
			continue;
		if (add_task(crew, LOOK_INTO_DOMAIN, dir, name) < 0)
			reader->found.no_memory = true;
	}
}

static void open_and_list(struct qd_legacy_reader *reader, struct qd_crew *crew,
			  const struct task *task, portion_fn *each)
{
	struct qd_quotadir *dir = open_dir(reader, task->dir, task->name,
					   task->dir->domain, task->name[0]);

	if (dir)
		list(reader, crew, dir, each);
	release_dir(dir);
}

/* domain/v/virt.example: quota/root, quota/a to quota/z */
static void look_into_domain(struct qd_legacy_reader *reader,
			     struct qd_crew *crew, const struct task *task)
{
	struct qd_quotadir *dir, *quota;

	dir = open_dir(reader, task->dir, task->name, task->name, '\0');
	if (!dir)
		return;
	quota = open_dir(reader, dir, "quota", task->name, '\0');
	if (quota) {
		qd_legacy_read(reader, quota, "root", false);
		list(reader, crew, quota, letters_listed);
	}
	release_dir(quota);
	release_dir(dir);
}

static void work(struct qd_crew *crew, void *worker, void *arg)
{
	struct qd_legacy_reader *reader = worker;
	struct task *task = arg;

	switch (task->kind) {
	case LIST_DOMAINS:
		open_and_list(reader, crew, task, domains_listed);
		break;
	case LOOK_INTO_DOMAIN:
		look_into_domain(reader, crew, task);
		break;
	case LIST_FILES:
		open_and_list(reader, crew, task, files_listed);
		break;
	case READ_FILES:
		read_portion(reader, task->dir, task->portion, task->length);
		break;
	}
	discard(task);
}

static void *join(void *arg)
{
	struct walk *walk = arg;
	struct qd_legacy_reader *reader = calloc(1, sizeof(*reader));

	if (!reader)
		return NULL;
	reader->conf = walk->conf;
	reader->found.scan = walk->scan;
	reader->found.options = walk->options;
	reader->found.lock = &walk->lock;
	return reader;
}

static void leave(void *arg, void *worker)
{
	struct walk *walk = arg;
	struct qd_legacy_reader *reader = worker;

	if (qd_findings_merge(&reader->found) < 0)
		walk->no_memory = true;
	free(reader);
}

static int tick(void *arg)
{
	const struct walk *walk = arg;
	const struct qd_scan_options *options = walk->options;

	return options->tick ? options->tick(options->arg, walk->scan) : 0;
}

/* One task for every letter that Cyrus itself would look under. */
static int add_letters(struct qd_crew *crew, const struct qd_imapdconf *conf,
		       enum kind kind, struct qd_quotadir *dir)
{
	char name[2] = "";
	int rc = 0;

	for (char c = 'A'; rc == 0 && c <= 'z'; c++) {
		name[0] = c;
		if (is_letter(conf, name))
			rc = add_task(crew, kind, dir, name);
	}
	return rc;
}

/* Why, in *err, for errno; 0 if it may do without. */
static int tree_not_opened(const char *path, struct qd_error *err)
{
	bool missing = errno == ENOENT;

	if (errno == EACCES)
		return qd_error_set(err, EX_NOPERM,
				    "%s: %m; run it as the user of Cyrus, or "
				    "as root, which becomes him",
				    path);
	qd_error_set(err, EX_TEMPFAIL,
		     "%s: %m; is imapd.conf the right one, and its disk "
		     "mounted?",
		     path);
	return missing ? 0 : -1;
}

/*
 * base/quota or base/domain, which may be links of the administrator's. Each
 * is made with its first root; *found stays as it is if this one was not.
 */
static int add_tree(struct qd_crew *crew, const struct qd_imapdconf *conf,
		    const char *name, enum kind kind, bool *found,
		    struct qd_error *err)
{
	char base[1024], path[1100];
	struct qd_quotadir *dir;
	int fd, rc;

	if (qd_imapdconf_quota_base(conf, base, sizeof(base)) < 0)
		return qd_error_set(err, EX_CONFIG, "quota_db_path: too long");
	snprintf(path, sizeof(path), "%s/%s", base, name);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return tree_not_opened(path, err);
	*found = true;
	dir = new_dir(fd, name, "", '\0');
	rc = dir ? add_letters(crew, conf, kind, dir) : -1;
	release_dir(dir);
	return rc ? qd_error_set(err, EX_OSERR, "no memory") : 0;
}

static int add_trees(struct qd_crew *crew, const struct qd_imapdconf *conf,
		     struct qd_error *err)
{
	bool virtdomains = conf->naming.virtdomains != QD_VIRTDOMAINS_OFF;
	bool found = false;

	if (virtdomains &&
	    add_tree(crew, conf, "domain", LIST_DOMAINS, &found, err) < 0)
		return -1;
	if (add_tree(crew, conf, "quota", LIST_FILES, &found, err) < 0)
		return -1;
	return found ? 0 : -1;
}

int qd_quotalegacy_scan(const struct qd_imapdconf *conf,
			const struct qd_scan_options *options,
			struct qd_scan *scan, struct qd_error *err)
{
	struct walk walk = { .conf = conf, .options = options, .scan = scan };
	const struct qd_crew_job job = { .work = work,
					 .join = join,
					 .leave = leave,
					 .discard = discard,
					 .tick = tick,
					 .arg = &walk,
					 .threads = options->threads };
	struct qd_crew *crew = qd_crew_new(&job);
	int rc = -1;

	if (!crew)
		return qd_error_set(err, EX_OSERR, "no memory");
	pthread_mutex_init(&walk.lock, NULL);
	if (add_trees(crew, conf, err) < 0)
		goto out;
	if (qd_crew_run(crew) < 0)
		qd_error_set(err, EX_TEMPFAIL, "the scan was stopped");
	else if (walk.no_memory)
		qd_error_set(err, EX_OSERR, "no memory for what was found");
	else
		rc = 0;
out:
	qd_crew_free(&crew);
	pthread_mutex_destroy(&walk.lock);
	return rc;
}
