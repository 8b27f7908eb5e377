/* SPDX-License-Identifier: BSD-2-Clause */
#include "quotadefer/changes.h"

#include <dirent.h>
#include <errno.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/vfs.h>
#include <sysexits.h>
#include <unistd.h>

#include "quotadefer/naming.h"
#include "quotadefer/quotadb.h"
#include "quotadefer/quotalegacy.h"

/* A directory, by what is in it. */
enum level {
	BASE,		/* quota, domain */
	LETTERS,	/* quota: a to z */
	DOMAIN_LETTERS, /* domain: a to z */
	DOMAINS,	/* domain/v: virt.example */
	DOMAIN,		/* domain/v/virt.example: quota */
	DOMAIN_QUOTA,	/* its quota: root, and a to z */
	FILES,		/* quota/j: user.joe */
	STORE,		/* the directory of a quotas.db */
	NOTHING
};

/* So many buffers full of events are taken at once. */
enum {
	PORTIONS = 64
};

struct watch {
	enum level level;
	char *path; /* NULL: none has this number */
	char *domain;
};

struct qd_changes {
	const struct qd_imapdconf *conf;
	int fd;
	struct watch *watches; /* by watch descriptor, which count up */
	int room;
	char store[256]; /* the name of quotas.db, or "" */
	bool opening;	 /* a full scan comes after this */
	/* of the call under way */
	struct qd_rootset *roots;
	bool *all;
};

static int fail(const char *path, const char *why, struct qd_error *err)
{
	return qd_error_set(err, EX_UNAVAILABLE, "%s: cannot be watched: %s",
			    path, why);
}

/*
 * inotify sees nothing of what other hosts do. Each directory is asked: any may
 * be the place of another file system, and the first ones links.
 */
static int check_file_system(const char *path, struct qd_error *err)
{
	static const long remote[] = { NFS_SUPER_MAGIC,	 SMB_SUPER_MAGIC,
				       SMB2_SUPER_MAGIC, CIFS_SUPER_MAGIC,
				       CEPH_SUPER_MAGIC, AFS_SUPER_MAGIC,
				       V9FS_MAGIC,	 FUSE_SUPER_MAGIC };
	struct statfs st;

	if (statfs(path, &st) < 0)
		return fail(path, strerror(errno), err);
	for (size_t i = 0; i < sizeof(remote) / sizeof(remote[0]); i++)
		if ((long)st.f_type == remote[i])
			return fail(path, "it is on a network file system",
				    err);
	return 0;
}

static uint32_t mask_of(enum level level)
{
	switch (level) {
	case FILES:
		return IN_MOVE_SELF | IN_MOVED_TO | IN_DELETE;
	case DOMAIN_QUOTA:
		return IN_MOVE_SELF | IN_MOVED_TO | IN_DELETE | IN_CREATE;
	case STORE:
		return IN_MOVE_SELF | IN_MOVED_TO | IN_MODIFY;
	default:
		return IN_MOVE_SELF | IN_MOVED_TO | IN_CREATE;
	}
}

/* Nothing tells of another one in its place. */
static bool may_be_link(enum level level)
{
	return level == BASE || level == LETTERS || level == DOMAIN_LETTERS ||
	       level == STORE;
}

static void forget(struct watch *watch)
{
	free(watch->path);
	free(watch->domain);
	memset(watch, 0, sizeof(*watch));
}

static struct watch *slot(struct qd_changes *c, int wd)
{
	if (wd >= c->room) {
		int room = wd < 64 ? 128 : wd * 2;
		struct watch *watches =
			realloc(c->watches, (size_t)room * sizeof(*watches));

		if (!watches)
			return NULL;
		memset(watches + c->room, 0,
		       (size_t)(room - c->room) * sizeof(*watches));
		c->watches = watches;
		c->room = room;
	}
	forget(&c->watches[wd]);
	return &c->watches[wd];
}

/* 1: watched; 0: there is no such directory now. */
static int add_watch(struct qd_changes *c, enum level level, const char *path,
		     const char *domain, struct qd_error *err)
{
	uint32_t follow = may_be_link(level) ? 0 : IN_DONT_FOLLOW;
	int wd = inotify_add_watch(c->fd, path,
				   mask_of(level) | follow | IN_ONLYDIR |
					   IN_EXCL_UNLINK);
	struct watch *watch;

	if (wd < 0 && (errno == ENOENT || errno == ENOTDIR || errno == ELOOP))
		return 0;
	if (wd < 0 && errno == ENOSPC)
		return fail(path,
			    "no watches are left; raise "
			    "fs.inotify.max_user_watches",
			    err);
	if (wd < 0)
		return fail(path, strerror(errno), err);
	if (check_file_system(path, err) < 0)
		return -1;
	watch = slot(c, wd);
	if (watch) {
		watch->level = level;
		watch->path = strdup(path);
		watch->domain = strdup(domain);
	}
	if (!watch || !watch->path || !watch->domain)
		return qd_error_set(err, EX_OSERR, "no memory");
	return 1;
}

static bool is_letter(const struct qd_imapdconf *conf, const char *name)
{
	return name[0] && !name[1] &&
	       (conf->fulldirhash ? name[0] >= 'A' && name[0] < 'A' + 23 :
				    name[0] >= 'a' && name[0] <= 'z');
}

static bool is_new(const char *name)
{
	const char *dot = strrchr(name, '.');

	return dot && strcmp(dot, ".NEW") == 0;
}

static int changed(struct qd_changes *c, const char *domain, const char *name,
		   struct qd_error *err)
{
	char root[QD_ROOT_MAX + 1];

	if (name[0] == '.' || is_new(name) ||
	    snprintf(root, sizeof(root), "%s%s%s", domain, domain[0] ? "!" : "",
		     name) >= (int)sizeof(root))
		return 0;
	if (qd_rootset_add(c->roots, root, 0, NULL) < 0)
		return qd_error_set(err, EX_OSERR, "no memory");
	return 0;
}

static int watch_tree(struct qd_changes *c, enum level level, const char *path,
		      const char *domain, struct qd_error *err);

/* What is in the directory of that name; NOTHING of ours if so. */
static enum level level_below(const struct qd_changes *c, enum level level,
			      const char *name)
{
	bool virtdomains = c->conf->naming.virtdomains != QD_VIRTDOMAINS_OFF;

	switch (level) {
	case BASE:
		if (strcmp(name, "domain") == 0 && virtdomains)
			return DOMAIN_LETTERS;
		return strcmp(name, "quota") == 0 ? LETTERS : NOTHING;
	case LETTERS:
	case DOMAIN_QUOTA:
		return is_letter(c->conf, name) ? FILES : NOTHING;
	case DOMAIN_LETTERS:
		return is_letter(c->conf, name) ? DOMAINS : NOTHING;
	case DOMAINS:
		return name[0] == '.' ? NOTHING : DOMAIN;
	case DOMAIN:
		return strcmp(name, "quota") == 0 ? DOMAIN_QUOTA : NOTHING;
	default:
		return NOTHING;
	}
}

/* Something of that name is, or was, in a directory. */
static int look(struct qd_changes *c, const struct watch *dir, const char *name,
		struct qd_error *err)
{
	enum level below = level_below(c, dir->level, name);
	char path[1400];

	if (dir->level == FILES)
		return changed(c, dir->domain, name, err);
	if (dir->level == DOMAIN_QUOTA && strcmp(name, "root") == 0)
		return changed(c, dir->domain, "", err);
	if (dir->level == STORE && strcmp(name, c->store) == 0)
		*c->all = true;
	if (below == NOTHING || snprintf(path, sizeof(path), "%s/%s", dir->path,
					 name) >= (int)sizeof(path))
		return 0;
	return watch_tree(c, below, path, below == DOMAIN ? name : dir->domain,
			  err);
}

/*
 * Watch a directory first, then look what is in it: what is made meanwhile is
 * seen twice rather than not at all.
 */
static int watch_tree(struct qd_changes *c, enum level level, const char *path,
		      const char *domain, struct qd_error *err)
{
	const struct watch dir = { level, (char *)path, (char *)domain };
	const struct dirent *entry;
	int rc = add_watch(c, level, path, domain, err);
	DIR *stream;

	if (rc <= 0 || (level == FILES && c->opening))
		return rc < 0 ? -1 : 0;
	stream = opendir(path);
	if (!stream)
		return errno == ENOENT ? 0 : fail(path, strerror(errno), err);
	rc = 0;
	/* cppcheck-suppress readdirCalled ; the stream is ours alone */
	while (rc == 0 && (entry = readdir(stream)))
		rc = look(c, &dir, entry->d_name, err);
	closedir(stream);
	return rc;
}

static int watch_store(struct qd_changes *c, struct qd_error *err)
{
	char path[1100];
	char *slash;

	if (qd_quotadb_path(c->conf, path, sizeof(path)) < 0)
		return fail("quota_db_path", "too long", err);
	slash = strrchr(path, '/');
	if (!slash)
		return fail(path, "not an absolute path", err);
	snprintf(c->store, sizeof(c->store), "%s", slash + 1);
	slash[slash == path] = '\0';
	if (access(path, F_OK) < 0)
		return fail(path, strerror(errno), err);
	return watch_tree(c, STORE, path, "", err);
}

static int watch_legacy(struct qd_changes *c, struct qd_error *err)
{
	char base[1024];

	if (qd_imapdconf_quota_base(c->conf, base, sizeof(base)) < 0)
		return fail("quota_db_path", "too long", err);
	if (access(base, F_OK) < 0)
		return fail(base, strerror(errno), err);
	return watch_tree(c, BASE, base, "", err);
}

int qd_changes_open(const struct qd_imapdconf *conf, struct qd_changes **out,
		    struct qd_error *err)
{
	struct qd_changes *c = calloc(1, sizeof(*c));
	struct qd_rootset ignored = { 0 };
	bool all;
	int rc;

	if (!c)
		return qd_error_set(err, EX_OSERR, "no memory");
	c->conf = conf;
	c->opening = true;
	c->roots = &ignored;
	c->all = &all;
	c->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (c->fd < 0 && errno == EMFILE)
		rc = fail("inotify",
			  "no instances are left; raise "
			  "fs.inotify.max_user_instances",
			  err);
	else if (c->fd < 0)
		rc = fail("inotify", strerror(errno), err);
	else if (strcmp(conf->quota_db, "quotalegacy") == 0)
		rc = watch_legacy(c, err);
	else
		rc = watch_store(c, err);
	qd_rootset_free(&ignored);
	c->opening = false;
	if (rc < 0)
		qd_changes_close(&c);
	*out = c;
	return rc;
}

int qd_changes_fd(const struct qd_changes *changes)
{
	return changes->fd;
}

static int take_event(struct qd_changes *c, const struct inotify_event *event,
		      struct qd_error *err)
{
	struct watch dir;

	if (event->mask & IN_Q_OVERFLOW)
		*c->all = true;
	if (event->wd < 0 || event->wd >= c->room ||
	    !c->watches[event->wd].path)
		return 0;
	/* the array may move when a directory is added */
	dir = c->watches[event->wd];
	if (event->mask & (IN_MOVE_SELF | IN_UNMOUNT))
		return fail(dir.path, "it was moved or unmounted", err);
	if (event->mask & IN_IGNORED && may_be_link(dir.level))
		return fail(dir.path, "it was removed", err);
	if (event->mask & IN_IGNORED) {
		forget(&c->watches[event->wd]);
		return 0;
	}
	return event->len ? look(c, &dir, event->name, err) : 0;
}

/* A buffer full of events. 1: there may be more; 0: not now. */
static int take_portion(struct qd_changes *c, struct qd_error *err)
{
	_Alignas(struct inotify_event) char buffer[64 * 1024];
	ssize_t n = read(c->fd, buffer, sizeof(buffer));
	const struct inotify_event *event;

	for (ssize_t at = 0; at < n;
	     at += (ssize_t)(sizeof(*event) + event->len)) {
		event = (const void *)(buffer + at);
		if (take_event(c, event, err) < 0)
			return -1;
	}
	if (n < 0 && errno != EAGAIN && errno != EINTR)
		return fail("inotify", strerror(errno), err);
	return n > 0;
}

int qd_changes_take(struct qd_changes *changes, struct qd_rootset *roots,
		    bool *all, struct qd_error *err)
{
	int rc = 1;

	changes->roots = roots;
	changes->all = all;
	/* who writes without a pause must not keep us here */
	for (int i = 0; rc > 0 && i < PORTIONS; i++)
		rc = take_portion(changes, err);
	return rc < 0 ? -1 : 0;
}

void qd_changes_close(struct qd_changes **changes)
{
	struct qd_changes *c = *changes;

	if (!c)
		return;
	if (c->fd >= 0)
		close(c->fd);
	for (int i = 0; i < c->room; i++)
		forget(&c->watches[i]);
	free(c->watches);
	free(c);
	*changes = NULL;
}
