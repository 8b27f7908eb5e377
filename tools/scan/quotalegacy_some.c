/* SPDX-License-Identifier: BSD-2-Clause */
/* Reading single roots, by name. */
#include "quotalegacy_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

/*
 * "virt.example!user.joe" -> "domain/v/virt.example/quota/j" and "user.joe";
 * a domain's own root is the file "root" one up.
 */
static const char *place_of(const char *root, bool full,
			    struct qd_quotadir *dir)
{
	const char *bang = strchr(root, '!'), *name = bang ? bang + 1 : root;
	char domain[300] = "";

	dir->domain[0] = '\0';
	if (bang) {
		snprintf(dir->domain, sizeof(dir->domain), "%.*s",
			 (int)(bang - root), root);
		snprintf(domain, sizeof(domain), "domain/%c/%s/",
			 qd_quotalegacy_letter(dir->domain, false, full),
			 dir->domain);
	}
	dir->letter = *name ? qd_quotalegacy_letter(name, true, full) : '\0';
	snprintf(dir->path, sizeof(dir->path), "%squota%s%.1s", domain,
		 dir->letter ? "/" : "", dir->letter ? &dir->letter : "");
	return *name ? name : "root";
}

/* Below the first two, which may be the administrator's, follow no link. */
static int open_below(const char *base, const char *path)
{
	char copy[300], *rest, *name;
	int fd = open(base, O_RDONLY | O_DIRECTORY | O_CLOEXEC), next;
	int follow = 0;

	snprintf(copy, sizeof(copy), "%s", path);
	for (name = strtok_r(copy, "/", &rest); name && fd >= 0;
	     name = strtok_r(NULL, "/", &rest)) {
		next = openat(fd, name,
			      O_RDONLY | O_DIRECTORY | O_CLOEXEC | follow);
		close(fd);
		fd = next;
		follow = O_NOFOLLOW;
	}
	return fd;
}

static void read_one(struct qd_legacy_reader *reader, const char *base,
		     const char *root)
{
	bool full = reader->conf->fulldirhash;
	struct qd_quotadir dir;
	struct stat st;
	const char *file = place_of(root, full, &dir);

	dir.fd = open_below(base, dir.path);
	if (dir.fd < 0 && errno != ENOENT && errno != ENOTDIR && errno != ELOOP)
		qd_findings_unreadable(&reader->found, dir.domain,
				       dir.letter ? file : "", dir.path,
				       strerror(errno));
	if (dir.fd < 0)
		return;
	/* gone is not the same as hiding the roots above it */
	if (fstatat(dir.fd, file, &st, AT_SYMLINK_NOFOLLOW) == 0)
		qd_legacy_read(reader, &dir, file, S_ISREG(st.st_mode));
	close(dir.fd);
}

int qd_quotalegacy_read(const struct qd_imapdconf *conf,
			const struct qd_scan_options *options,
			const struct qd_rootset *names, struct qd_scan *scan,
			struct qd_error *err)
{
	pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	struct qd_legacy_reader *reader = calloc(1, sizeof(*reader));
	struct qd_rootset_entry entry;
	char base[1024];
	int rc = -1;

	if (!reader)
		return qd_error_set(err, EX_OSERR, "no memory");
	reader->conf = conf;
	reader->found.scan = scan;
	reader->found.options = options;
	reader->found.lock = &lock;
	if (qd_imapdconf_quota_base(conf, base, sizeof(base)) < 0) {
		qd_error_set(err, EX_CONFIG, "quota_db_path: too long");
		goto out;
	}
	for (size_t i = 0; i < names->count; i++) {
		qd_rootset_get(names, i, &entry);
		read_one(reader, base, entry.root);
	}
	rc = qd_findings_merge(&reader->found);
	if (rc < 0)
		qd_error_set(err, EX_OSERR, "no memory for what was found");
out:
	free(reader);
	return rc;
}
