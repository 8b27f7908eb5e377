/* SPDX-License-Identifier: BSD-2-Clause */
#include "quotadefer/address.h"

#include <stdbool.h>
#include <string.h>

#include "quotadefer/utf8.h"

/* A path being read: a cursor that never passes end. */
struct reader {
	const char *at, *end;
};

/* How long the character is, if it is text; else 0. */
static size_t text_length(const char *at)
{
	uint32_t c;
	size_t length;

	/* nearly every character of nearly every address */
	if (*at >= 0x20 && *at < 0x7f)
		return 1;
	length = qd_utf8_next(at, &c);
	/* C0, DEL and C1 controls have no place in an address */
	return length && c >= 0xa0 ? length : 0;
}

/* One character into out, whole; false if it is not text or has no room. */
static bool take(struct reader *r, char *out, size_t size, size_t *used)
{
	size_t length = text_length(r->at);

	if (!length || *used + length >= size)
		return false;
	memcpy(out + *used, r->at, length);
	*used += length;
	out[*used] = '\0';
	r->at += length;
	return true;
}

/* All up to end into out; false if it is not text, nothing, or has no room. */
static bool take_until(struct reader *r, const char *end, char *out,
		       size_t size)
{
	size_t length = (size_t)(end - r->at), step;

	if (length == 0 || length >= size)
		return false;
	for (const char *at = r->at; at < end; at += step) {
		step = text_length(at);
		if (!step)
			return false;
	}
	memcpy(out, r->at, length);
	out[length] = '\0';
	r->at = end;
	return true;
}

/* RFC 5321 4.1.2 Quoted-string, the cursor behind the first quote */
static bool read_quoted(struct reader *r, char *out, size_t size)
{
	size_t used = 0;

	while (r->at < r->end && *r->at != '"') {
		if (*r->at == '\\' && ++r->at == r->end)
			return false;
		if (!take(r, out, size, &used))
			return false;
	}
	if (r->at == r->end)
		return false;
	r->at++;
	return used > 0;
}

/* A dot-string; dots where RFC 5321 has none are let through, as MTAs do. */
static bool read_dot_string(struct reader *r, char *out, size_t size)
{
	const char *end = r->at + strcspn(r->at, "@ ()<>[]:;\\,\"");

	if (end != r->end && *end != '@')
		return false;
	return take_until(r, end, out, size);
}

static bool is_domain_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_' ||
	       (c & 0x80);
}

static bool read_domain(struct reader *r, char *out, size_t size)
{
	size_t length = (size_t)(r->end - r->at);

	for (const char *at = r->at; at < r->end; at++)
		if (!is_domain_char(*at))
			return false;
	if (!take_until(r, r->end, out, size))
		return false;
	if (length > 1 && out[length - 1] == '.')
		out[--length] = '\0';
	return out[0] != '.' && out[length - 1] != '.' && !strstr(out, "..");
}

/* "@one,@two:" in front of the mailbox, obsolete and to be ignored */
static bool skip_route(struct reader *r)
{
	if (r->at == r->end || *r->at != '@')
		return true;
	while (r->at < r->end && *r->at != ':') {
		if (!is_domain_char(*r->at) && *r->at != '@' && *r->at != ',')
			return false;
		r->at++;
	}
	return r->at++ < r->end;
}

static enum qd_address_kind read_mailbox(struct reader *r,
					 struct qd_address *out)
{
	bool good;

	if (!skip_route(r) || r->at >= r->end)
		return QD_ADDRESS_ODD;
	if (*r->at == '"') {
		r->at++;
		good = read_quoted(r, out->local, sizeof(out->local));
	} else {
		good = read_dot_string(r, out->local, sizeof(out->local));
	}
	if (!good)
		return QD_ADDRESS_ODD;
	if (r->at == r->end)
		return QD_ADDRESS_LOCAL;
	if (*r->at++ != '@')
		return QD_ADDRESS_ODD;
	if (!read_domain(r, out->domain, sizeof(out->domain)))
		return QD_ADDRESS_ODD;
	return QD_ADDRESS_MAILBOX;
}

enum qd_address_kind qd_address_parse(const char *path, struct qd_address *out)
{
	struct reader r = { .at = path, .end = path + strlen(path) };
	enum qd_address_kind kind;

	memset(out, 0, sizeof(*out));
	if (*r.at == '<') {
		if (r.end[-1] != '>')
			return QD_ADDRESS_ODD;
		r.at++;
		r.end--;
		if (r.at == r.end)
			return QD_ADDRESS_NULL;
	}
	if (r.at == r.end) /* an MTA's macro for the null sender */
		return QD_ADDRESS_NULL;
	kind = read_mailbox(&r, out);
	if (kind == QD_ADDRESS_ODD)
		memset(out, 0, sizeof(*out));
	return kind;
}
