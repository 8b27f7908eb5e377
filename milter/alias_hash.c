/* SPDX-License-Identifier: BSD-2-Clause */
#include "aliases_impl.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include <uthash.h>

struct qd_alias_member {
	UT_hash_handle hh;
	char text[];
};

static pthread_once_t once = PTHREAD_ONCE_INIT;
static uint64_t seed[2];

static void make_seed(void)
{
	struct timespec now;

	if (getrandom(seed, sizeof(seed), 0) == (ssize_t)sizeof(seed))
		return;
	/* a seed that is hard to guess is better than none */
	clock_gettime(CLOCK_REALTIME, &now);
	seed[0] = (uint64_t)now.tv_nsec << 32 | (uint64_t)getpid();
	seed[1] = (uint64_t)now.tv_sec ^ (uint64_t)(uintptr_t)&now;
}

static uint64_t rotate(uint64_t word, int bits)
{
	return word << bits | word >> (64 - bits);
}

/* SipHash by Aumasson and Bernstein; v is its state */
static void mix(uint64_t v[4], int rounds)
{
	while (rounds-- > 0) {
		v[0] += v[1];
		v[2] += v[3];
		v[1] = rotate(v[1], 13) ^ v[0];
		v[3] = rotate(v[3], 16) ^ v[2];
		v[0] = rotate(v[0], 32);
		v[2] += v[1];
		v[0] += v[3];
		v[1] = rotate(v[1], 17) ^ v[2];
		v[3] = rotate(v[3], 21) ^ v[0];
		v[2] = rotate(v[2], 32);
	}
}

static void absorb(uint64_t v[4], uint64_t word)
{
	v[3] ^= word;
	mix(v, 2);
	v[0] ^= word;
}

uint32_t qd_alias_hash(const void *bytes, size_t length)
{
	const unsigned char *at = bytes;
	uint64_t word, v[4];

	pthread_once(&once, make_seed);
	v[0] = seed[0] ^ UINT64_C(0x736f6d6570736575);
	v[1] = seed[1] ^ UINT64_C(0x646f72616e646f6d);
	v[2] = seed[0] ^ UINT64_C(0x6c7967656e657261);
	v[3] = seed[1] ^ UINT64_C(0x7465646279746573);
	for (size_t left = length; left >= sizeof(word); left -= sizeof(word)) {
		memcpy(&word, at, sizeof(word));
		absorb(v, word);
		at += sizeof(word);
	}
	word = 0;
	memcpy(&word, at, length % sizeof(word));
	absorb(v, word ^ (uint64_t)length << 56);
	v[2] ^= 0xff;
	mix(v, 4);
	word = v[0] ^ v[1] ^ v[2] ^ v[3];
	return (uint32_t)(word ^ word >> 32);
}

int qd_alias_set_add(struct qd_alias_set *set, const char *text)
{
	size_t length = strlen(text);
	struct qd_alias_member *member;

	HASH_FIND(hh, set->members, text, length, member);
	if (member)
		return 0;
	member = malloc(sizeof(*member) + length + 1);
	if (!member)
		return -1;
	memcpy(member->text, text, length + 1);
	HASH_ADD_KEYPTR(hh, set->members, member->text, length, member);
	if (!member->hh.tbl) {
		free(member);
		return -1;
	}
	return 1;
}

void qd_alias_set_free(struct qd_alias_set *set)
{
	struct qd_alias_member *member, *next;

	HASH_ITER(hh, set->members, member, next)
	{
		HASH_DEL(set->members, member);
		free(member);
	}
}
