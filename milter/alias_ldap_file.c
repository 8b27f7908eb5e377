/* SPDX-License-Identifier: BSD-2-Clause */
/* The form of a parameter file, and of lists in it, is that of postconf(5). */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "alias_ldap_impl.h"

/* isspace() would ask the locale */
#define SPACES " \t\n\v\f\r"

static bool is_space(char c)
{
	return c && strchr(SPACES, c);
}

static int read_fd(struct qd_ldap_file *file, int fd, struct qd_error *err)
{
	size_t used = 0;
	ssize_t n;

	while ((n = read(fd, file->text + used, QD_LDAP_FILE_MAX - used)) > 0)
		used += (size_t)n;
	if (n < 0)
		return qd_error_set(err, EX_CONFIG, "%s: %m", file->path);
	if (used == QD_LDAP_FILE_MAX)
		return qd_error_set(err, EX_CONFIG,
				    "%s: too large, %d bytes are allowed",
				    file->path, QD_LDAP_FILE_MAX - 1);
	file->text[used] = '\0';
	if (strlen(file->text) != used)
		return qd_error_set(err, EX_CONFIG,
				    "%s: a NUL in it, so it is not a text",
				    file->path);
	return 0;
}

int qd_ldap_file_open(struct qd_ldap_file *file, const char *path,
		      struct qd_error *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	int rc;

	*file = (struct qd_ldap_file){ .path = path };
	if (fd < 0)
		return qd_error_set(
			err, errno == EACCES ? EX_NOPERM : EX_CONFIG,
			"%s: %m%s", path,
			errno == EACCES ? "; let a group read it that the "
					  "filter's user is in" :
					  "");
	file->text = malloc(QD_LDAP_FILE_MAX);
	if (file->text)
		rc = read_fd(file, fd, err);
	else
		rc = qd_error_set(err, EX_OSERR, "%s: no memory", path);
	close(fd);
	if (rc == 0) {
		file->next = file->text;
		file->logical = malloc(strlen(file->text) + 1);
		if (!file->logical)
			rc = qd_error_set(err, EX_OSERR, "%s: no memory", path);
	}
	if (rc < 0)
		qd_ldap_file_close(file);
	return rc;
}

void qd_ldap_file_close(struct qd_ldap_file *file)
{
	free(file->text);
	free(file->logical);
	*file = (struct qd_ldap_file){ 0 };
}

/*
 * Lines that start with white space continue the one before; comments and
 * empty lines may stand between. Returns where the logical line starts.
 */
static int read_logical(struct qd_ldap_file *file)
{
	size_t used = 0;
	int line = 0;

	while (*file->next) {
		const char *text = file->next + strspn(file->next, " \t\v\f\r");
		size_t length = strcspn(file->next, "\n");

		/* of the next line, if this one is over */
		if (used && !is_space(*file->next) && *file->next != '#')
			break;
		file->physical++;
		if (*text && *text != '\n' && *text != '#') {
			if (!used)
				line = file->physical;
			memcpy(file->logical + used, file->next, length);
			used += length;
		}
		file->next += length;
		file->next += *file->next == '\n';
	}
	file->logical[used] = '\0';
	return line;
}

int qd_ldap_file_next(struct qd_ldap_file *file, const char **name,
		      const char **value, int *line, struct qd_error *err)
{
	char *text = file->logical, *end, *equals;

	*line = read_logical(file);
	if (!*text)
		return 0;
	if (is_space(*text))
		return qd_error_set(err, EX_CONFIG,
				    "%s, line %d: white space at its start "
				    "makes Postfix ignore this line; remove "
				    "it",
				    file->path, *line);
	end = text + strcspn(text, SPACES "=");
	equals = end + strspn(end, SPACES);
	if (end == text || *equals != '=')
		return qd_error_set(err, EX_CONFIG,
				    "%s, line %d: expected \"name = value\"",
				    file->path, *line);
	*end = '\0';
	*name = text;
	*value = equals + 1 + strspn(equals + 1, SPACES);
	for (end = equals + 1 + strlen(equals + 1);
	     end > *value && is_space(end[-1]);)
		*--end = '\0';
	return 1;
}

int qd_ldap_list_add(struct qd_list *list, const char *text, size_t length)
{
	char **items =
		realloc(list->items, (list->count + 2) * sizeof(*list->items));

	if (!items)
		return -1;
	list->items = items;
	items[list->count] = strndup(text, length);
	if (!items[list->count])
		return -1;
	items[++list->count] = NULL;
	return 0;
}

int qd_ldap_list_split(struct qd_list *list, const char *text)
{
	static const char separators[] = ", \t\r\n";

	for (;;) {
		size_t length;

		text += strspn(text, separators);
		length = strcspn(text, separators);
		if (!length)
			return 0;
		if (qd_ldap_list_add(list, text, length) < 0)
			return -1;
		text += length;
	}
}

void qd_ldap_list_free(struct qd_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		free(list->items[i]);
	free(list->items);
	*list = (struct qd_list){ 0 };
}
