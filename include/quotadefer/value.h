/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef QUOTADEFER_VALUE_H
#define QUOTADEFER_VALUE_H

#include <stdbool.h>
#include <stdint.h>

/*
 * The values that settings are written in. Each function reads the whole
 * text, returns 0 and sets *out, or returns -1 and leaves *out alone.
 */

/* A decimal number from min to max; "010" is ten. */
int qd_value_integer(const char *text, int64_t min, int64_t max, int64_t *out);

/* "500ms", "90s", "15m", "3h", "7d" to milliseconds. The unit is required. */
int qd_value_duration(const char *text, int64_t *out_ms);

/* "64M", "4G", "512K" or plain bytes to bytes; K is 1024. */
int qd_value_size(const char *text, int64_t *out_bytes);

/* "25%" to 25; 0 to 100. */
int qd_value_percent(const char *text, int64_t *out);

/* An octal file mode of three or four digits: "0660". */
int qd_value_mode(const char *text, int64_t *out);

/* "yes", "no" and their usual synonyms. */
int qd_value_bool(const char *text, bool *out);

/* A name in a NULL-terminated list; *out is its place. */
int qd_value_choice(const char *text, const char *const *names, int *out);

#endif
