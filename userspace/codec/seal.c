// SPDX-License-Identifier: GPL-2.0-or-later
#include "codec/seal.h"

#include <string.h>
#include <xxhash.h>

static void put_le64(uint8_t *p, uint64_t v)
{
	for (int i = 0; i < 8; i++)
		p[i] = v >> 8 * i;
}

static uint64_t le64(const uint8_t *p)
{
	uint64_t v = 0;

	for (int i = 0; i < 8; i++)
		v |= (uint64_t)p[i] << 8 * i;
	return v;
}

uint64_t seal_hash(const uint8_t *from, const uint8_t *p)
{
	return XXH3_64bits(from, p + SEAL_HASH_AT - from);
}

void seal_put_fixed(uint8_t *p, enum seal_kind kind)
{
	memcpy(p, SEAL_TAG, 4);
	p[4] = SEAL_VERSION;
	p[5] = kind;
	p[6] = 0;
	p[7] = 0;
}

void seal_put(uint8_t *p, enum seal_kind kind, uint64_t count, const uint8_t *from)
{
	seal_put_fixed(p, kind);
	put_le64(p + SEAL_FIXED, count);
	put_le64(p + SEAL_HASH_AT, seal_hash(from, p));
}

bool seal_get(const uint8_t *p, struct seal *s)
{
	uint8_t fixed[SEAL_FIXED];

	if (p[5] < SEAL_BEGIN || p[5] > SEAL_END)
		return false;
	seal_put_fixed(fixed, p[5]);
	if (memcmp(p, fixed, SEAL_FIXED) != 0)
		return false;
	s->kind = p[5];
	s->count = le64(p + SEAL_FIXED);
	s->hash = le64(p + SEAL_HASH_AT);
	return true;
}
