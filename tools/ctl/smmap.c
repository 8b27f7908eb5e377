/* SPDX-License-Identifier: BSD-2-Clause */
/* smmapd: sendmail's socket map, whose protocol is netstrings. */
#include "asker.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

enum {
	REQUEST_MAX = 900, /* smmapd has a buffer of 1024 */
	DIGITS_MAX = 5
};

int smmap_request(const char *address, char *out, size_t size)
{
	int length = (int)strlen("cyrus ") + (int)strlen(address);
	int n;

	if (length > REQUEST_MAX)
		return -1;
	n = snprintf(out, size, "%d:cyrus %s,", length, address);
	return n < (int)size ? n : -1;
}

/* "LENGTH:" at the front: how much room it takes; 0 and -1 as a framer. */
static ssize_t read_length(const char *data, size_t length, size_t *out)
{
	size_t value = 0, i;

	for (i = 0; i < length && isdigit((unsigned char)data[i]); i++) {
		value = value * 10 + (size_t)(data[i] - '0');
		if (i == DIGITS_MAX || (i > 0 && data[0] == '0'))
			return -1;
	}
	if (i == length)
		return 0;
	if (i == 0 || data[i] != ':')
		return -1;
	*out = value;
	return (ssize_t)i + 1;
}

ssize_t smmap_frame(const char *data, size_t length)
{
	size_t payload, whole;
	ssize_t head = read_length(data, length, &payload);

	if (head <= 0)
		return head;
	whole = (size_t)head + payload + 1;
	if (whole > LINK_FRAME_MAX)
		return -1;
	if (length < whole)
		return 0;
	return data[whole - 1] == ',' ? (ssize_t)whole : -1;
}

static bool is_word(const char *text, size_t length, const char *word)
{
	size_t n = strlen(word);

	return length >= n && strncmp(text, word, n) == 0 &&
	       (length == n || text[n] == ' ');
}

/* "OK joe@example.org", "NOTFOUND", "TEMP Over quota", "PERM Over quota" */
void smmap_judge(const char *frame, size_t length, struct said *said)
{
	const char *text = (const char *)memchr(frame, ':', length) + 1;
	size_t left = (size_t)(frame + length - 1 - text);
	bool failed =
		is_word(text, left, "TEMP") || is_word(text, left, "PERM");

	said_text(said, text, left);
	said->cyrus = CYRUS_UNSURE;
	if (is_word(text, left, "OK"))
		said->cyrus = CYRUS_ACCEPTS;
	else if (is_word(text, left, "NOTFOUND"))
		said->cyrus = CYRUS_NO_MAILBOX;
	else if (failed && left > 5 &&
		 strncasecmp(said->text + 5, "Over quota", 10) == 0)
		said->cyrus = CYRUS_REFUSES;
}

static int ask(struct asker *asker, const struct recipient *recipient,
	       struct said *said, struct qd_error *err)
{
	char request[1024];
	const char *frame;
	int n = smmap_request(recipient->address, request, sizeof(request));
	ssize_t length;

	if (n < 0) {
		said->cyrus = CYRUS_UNSURE;
		snprintf(said->text, sizeof(said->text), "too long for smmapd");
		return 0;
	}
	if (link_send(&asker->link, request, (size_t)n, err) < 0)
		return -1;
	length = link_read(&asker->link, smmap_frame, &frame, err);
	if (length < 0)
		return -1;
	smmap_judge(frame, (size_t)length, said);
	return 0;
}

int asker_open_smmap(struct asker *asker, const char *where,
		     struct qd_error *err)
{
	asker->ask = ask;
	return link_open(&asker->link, "smmapd", where, err);
}
