/* SPDX-License-Identifier: BSD-2-Clause */
#include "quotadefer/address.h"

#include <stdbool.h>
#include <string.h>

#include "quotadefer/utf8.h"

/* A path being read: a cursor that never passes end. */
struct reader {
	const char *at, *end;
};

/* One character into out, whole; false if it is not text or has no room. */
static bool take(struct reader *r, char *out, size_t size, size_t *used)
{
	uint32_t c;
	size_t length = qd_utf8_next(r->at, &c);

	/* C0, DEL and C1 controls have no place in an address */
	if (!length || c < 0x20 || (c >= 0x7f && c < 0xa0))
		return false;
	if (*used + length >= size)
		return false;
	memcpy(out + *used, r->at, length);
	*used += length;
	out[*used] = '\0';
	r->at += length;
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
	size_t used = 0;

	while (r->at < r->end && *r->at != '@') {
		if (strchr(" ()<>[]:;\\,\"", *r->at))
			return false;
		if (!take(r, out, size, &used))
			return false;
	}
	return used > 0;
}

static bool is_domain_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_' ||
	       (c & 0x80);
}

static bool read_domain(struct reader *r, char *out, size_t size)
{
	size_t used = 0;

	while (r->at < r->end) {
		if (!is_domain_char(*r->at) || !take(r, out, size, &used))
			return false;
	}
	if (used > 1 && out[used - 1] == '.')
		out[--used] = '\0';
	return used > 0 && out[0] != '.' && out[used - 1] != '.' &&
	       !strstr(out, "..");
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
