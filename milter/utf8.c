/* SPDX-License-Identifier: BSD-2-Clause */
#include "quotadefer/utf8.h"

/* The length a lead byte promises, its own bits, and the least value. */
struct lead {
	unsigned char mask, bits;
	uint32_t least;
};

static const struct lead leads[] = {
	{ 0x80, 0x00, 0 },
	{ 0xe0, 0xc0, 0x80 },
	{ 0xf0, 0xe0, 0x800 },
	{ 0xf8, 0xf0, 0x10000 },
};

size_t qd_utf8_next(const char *text, uint32_t *out)
{
	const unsigned char *p = (const unsigned char *)text;
	size_t extra = 0;
	uint32_t c;

	while ((p[0] & leads[extra].mask) != leads[extra].bits)
		if (++extra == sizeof(leads) / sizeof(leads[0]))
			return 0;
	c = p[0] & (unsigned char)~leads[extra].mask;
	for (size_t i = 1; i <= extra; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (p[i] & 0x3f);
	}
	if (c < leads[extra].least || c > 0x10ffff || c >> 11 == 0x1b)
		return 0;
	*out = c;
	return extra + 1;
}

bool qd_utf8_is_valid(const char *text)
{
	size_t length;
	uint32_t c;

	for (; *text; text += length) {
		length = qd_utf8_next(text, &c);
		if (!length)
			return false;
	}
	return true;
}

struct writer {
	char *out;
	size_t size, used;
	uint32_t bits;
	int held; /* how many of bits wait to be written; -1: not in base64 */
};

static void put(struct writer *w, char c)
{
	if (w->used < w->size)
		w->out[w->used] = c;
	w->used++;
}

static void put_sextets(struct writer *w)
{
	static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				       "abcdefghijklmnopqrstuvwxyz"
				       "0123456789+,";

	for (; w->held >= 6; w->held -= 6)
		put(w, alphabet[w->bits >> (w->held - 6) & 0x3f]);
}

static void put_unit(struct writer *w, uint32_t unit)
{
	w->bits = w->bits << 16 | unit;
	w->held += 16;
	put_sextets(w);
}

static void put_encoded(struct writer *w, uint32_t c)
{
	if (w->held < 0) {
		put(w, '&');
		w->held = 0;
	}
	if (c < 0x10000) {
		put_unit(w, c);
		return;
	}
	put_unit(w, 0xd800 | (c - 0x10000) >> 10);
	put_unit(w, 0xdc00 | (c & 0x3ff));
}

static void end_encoded(struct writer *w)
{
	if (w->held < 0)
		return;
	if (w->held > 0) { /* fill the last sextet with zero bits */
		w->bits <<= 6 - w->held;
		w->held = 6;
		put_sextets(w);
	}
	put(w, '-');
	w->held = -1;
}

int qd_utf8_to_utf7(const char *text, char *out, size_t size)
{
	struct writer w = { .out = out, .size = size, .held = -1 };
	uint32_t c;
	size_t length;

	for (; *text; text += length) {
		length = qd_utf8_next(text, &c);
		if (!length)
			return -1;
		if (c < 0x20 || c > 0x7e) {
			put_encoded(&w, c);
			continue;
		}
		end_encoded(&w);
		put(&w, (char)c);
		if (c == '&')
			put(&w, '-');
	}
	end_encoded(&w);
	if (w.used >= size)
		return -1;
	out[w.used] = '\0';
	return (int)w.used;
}
