/* SPDX-License-Identifier: BSD-2-Clause */
#include "asker.h"

void said_text(struct said *said, const char *text, size_t length)
{
	size_t n = 0;

	for (size_t i = 0; i < length && n + 1 < sizeof(said->text); i++) {
		if (text[i] == '\r' || text[i] == '\n')
			break;
		said->text[n++] =
			text[i] >= 0x20 && text[i] < 0x7f ? text[i] : '?';
	}
	said->text[n] = '\0';
}
