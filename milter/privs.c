/* SPDX-License-Identifier: BSD-2-Clause */
#include "quotadefer/privs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

enum {
	GROUPS_MAX = 256
};

static void from_passwd(const struct passwd *pw, struct qd_identity *out)
{
	snprintf(out->name, sizeof(out->name), "%s", pw->pw_name);
	out->uid = pw->pw_uid;
	out->gid = pw->pw_gid;
}

int qd_privs_find(const char *name, struct qd_identity *out,
		  struct qd_error *err)
{
	/* cppcheck-suppress getpwnamCalled ; there is one thread as yet */
	const struct passwd *pw = getpwnam(name);

	if (!pw)
		return qd_error_set(err, EX_CONFIG,
				    "user %s: there is no such user; useradd "
				    "--system %s makes one",
				    name, name);
	from_passwd(pw, out);
	return 0;
}

int qd_privs_owner(const char *path, struct qd_identity *out,
		   struct qd_error *err)
{
	const struct passwd *pw;
	struct stat st;

	if (stat(path, &st) < 0)
		return qd_error_set(err, EX_CONFIG, "%s: %m", path);
	/* cppcheck-suppress getpwuidCalled ; there is one thread as yet */
	pw = getpwuid(st.st_uid);
	if (pw) {
		from_passwd(pw, out);
		return 0;
	}
	snprintf(out->name, sizeof(out->name), "#%u", (unsigned)st.st_uid);
	out->uid = st.st_uid;
	out->gid = st.st_gid;
	return 0;
}

static int set_groups(const struct qd_identity *who, gid_t extra_group)
{
	gid_t groups[GROUPS_MAX];
	int count = GROUPS_MAX - 1;

	if (getgrouplist(who->name, who->gid, groups, &count) < 0)
		count = GROUPS_MAX - 1;
	if (extra_group != (gid_t)-1)
		groups[count++] = extra_group;
	return setgroups((size_t)count, groups);
}

int qd_privs_drop(const struct qd_identity *who, gid_t extra_group,
		  struct qd_error *err)
{
	if (geteuid() == who->uid && getuid() == who->uid)
		return 0;
	if (geteuid() != 0)
		return qd_error_set(err, EX_NOPERM,
				    "only root can become user %s", who->name);
	if (set_groups(who, extra_group) < 0 ||
	    setresgid(who->gid, who->gid, who->gid) < 0 ||
	    setresuid(who->uid, who->uid, who->uid) < 0)
		return qd_error_set(err, EX_NOPERM, "user %s: %m", who->name);
	if (who->uid != 0 && (setuid(0) == 0 || seteuid(0) == 0))
		return qd_error_set(err, EX_NOPERM,
				    "user %s: root could come back", who->name);
	return 0;
}

static int make_parents(const char *path, struct qd_error *err)
{
	char parent[256];

	if (snprintf(parent, sizeof(parent), "%s", path) >= (int)sizeof(parent))
		return qd_error_set(err, EX_CONFIG, "%s: too long", path);
	for (char *p = parent + 1; *p; p++) {
		if (*p != '/')
			continue;
		*p = '\0';
		if (mkdir(parent, 0755) < 0 && errno != EEXIST)
			return qd_error_set(err, EX_CANTCREAT, "%s: %m",
					    parent);
		*p = '/';
	}
	return 0;
}

/* A new directory as it is to be, under a name that nobody looks at. */
static int make_directory(const char *made, mode_t mode,
			  const struct qd_identity *owner)
{
	if (mkdir(made, 0700) < 0)
		return -1;
	if (geteuid() == 0 && chown(made, owner->uid, owner->gid) < 0)
		return -1;
	/* after chown, which takes the set-group-id bit off */
	return chmod(made, mode);
}

/* Give it its name, unless another process was faster. */
static int name_directory(const char *made, const char *path)
{
	struct stat st;
	int rc = renameat2(AT_FDCWD, made, AT_FDCWD, path, RENAME_NOREPLACE);

	/* not every file system can; it replaces only what is empty */
	if (rc < 0 && errno == EINVAL)
		rc = rename(made, path);
	if (rc < 0 && (errno == EEXIST || errno == ENOTEMPTY))
		rc = stat(path, &st);
	return rc;
}

int qd_privs_directory(const char *path, mode_t mode,
		       const struct qd_identity *owner, struct qd_error *err)
{
	char made[300];
	struct stat st;
	int rc;

	if (stat(path, &st) == 0) {
		if (S_ISDIR(st.st_mode))
			return 0;
		return qd_error_set(err, EX_CONFIG, "%s: not a directory",
				    path);
	}
	if (make_parents(path, err) < 0)
		return -1;
	snprintf(made, sizeof(made), "%s.new-%ld", path, (long)getpid());
	rc = make_directory(made, mode, owner);
	if (rc == 0)
		rc = name_directory(made, path);
	if (rc < 0)
		qd_error_set(err, EX_CANTCREAT, "%s: %m", path);
	rmdir(made); /* gone already if it has its name */
	return rc;
}

/* Give one of the table's files, never a link, to the group. */
static int share_file(int dirfd, const char *name, gid_t gid)
{
	int fd = openat(dirfd, name,
			O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	struct stat st;
	int rc;

	if (fd < 0)
		return errno == ENOENT ? 0 : -1;
	rc = fstat(fd, &st);
	if (rc == 0 && S_ISREG(st.st_mode) && st.st_gid != gid)
		rc = fchown(fd, (uid_t)-1, gid);
	if (rc == 0 && S_ISREG(st.st_mode) && (st.st_mode & 0060) != 0060)
		rc = fchmod(fd, 0660);
	close(fd);
	return rc;
}

static bool is_table_file(const char *name)
{
	const char *dot = strrchr(name, '.');

	return strcmp(name, "data.mdb") == 0 || strcmp(name, "lock.mdb") == 0 ||
	       (strncmp(name, "scan-", 5) == 0 && dot &&
		strcmp(dot, ".lock") == 0);
}

static int share_files(int dirfd, gid_t gid)
{
	int copy = fcntl(dirfd, F_DUPFD_CLOEXEC, 0);
	DIR *stream = copy >= 0 ? fdopendir(copy) : NULL;
	const struct dirent *entry;
	int rc = 0;

	if (!stream)
		return -1;
	/* cppcheck-suppress readdirCalled ; the stream is ours alone */
	while (rc == 0 && (entry = readdir(stream)))
		if (is_table_file(entry->d_name))
			rc = share_file(dirfd, entry->d_name, gid);
	closedir(stream);
	return rc;
}

int qd_privs_table(const char *dir, const struct qd_identity *who,
		   struct qd_error *err)
{
	struct stat st;
	int fd, rc = 0;

	if (qd_privs_directory(dir, 02770, who, err) < 0)
		return -1;
	if (geteuid() != 0 || who->uid == 0)
		return 0;
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 || fstat(fd, &st) < 0)
		rc = -1;
	/* somebody else's group would lock who out */
	if (rc == 0 && st.st_uid != who->uid && st.st_gid != who->gid)
		rc = fchown(fd, (uid_t)-1, who->gid);
	if (rc == 0 && (st.st_mode & 02070) != 02070)
		rc = fchmod(fd, 02770);
	if (rc == 0)
		rc = share_files(fd, who->gid);
	if (rc < 0)
		qd_error_set(err, EX_NOPERM, "table %s: %m", dir);
	if (fd >= 0)
		close(fd);
	return rc;
}
