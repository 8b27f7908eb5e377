/* SPDX-License-Identifier: BSD-2-Clause */
/* What was written for a setting, before it is read. */
#include "settings_impl.h"

#include <stdlib.h>
#include <string.h>

void qd_raw_clear(struct qd_raw *raw)
{
	for (size_t i = 0; i < raw->count; i++)
		free(raw->values[i]);
	free(raw->values);
	raw->values = NULL;
	raw->count = 0;
	raw->where[0] = '\0';
}

int qd_raw_add(struct qd_raw *raw, const char *value)
{
	char **values =
		realloc(raw->values, (raw->count + 1) * sizeof(*values));

	if (!values)
		return -1;
	raw->values = values;
	values[raw->count] = strdup(value);
	if (!values[raw->count])
		return -1;
	raw->count++;
	return 0;
}
