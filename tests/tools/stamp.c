// SPDX-License-Identifier: GPL-2.0-or-later
#include "stamp.h"

#include <string.h>

static uint32_t crc_table[8][256];

/* Slicing by 8: a load under an emulated CPU spends most of its time here. */
__attribute__((constructor)) static void crc_init(void)
{
	for (unsigned int i = 0; i < 256; i++) {
		uint32_t c = i;

		for (int bit = 0; bit < 8; bit++)
			c = c & 1 ? c >> 1 ^ 0xedb88320u : c >> 1;
		crc_table[0][i] = c;
	}
	for (unsigned int i = 0; i < 256; i++)
		for (int t = 1; t < 8; t++)
			crc_table[t][i] = crc_table[t - 1][i] >> 8 ^
					  crc_table[0][crc_table[t - 1][i] & 0xff];
}

uint32_t crc32_ieee(const void *data, size_t len)
{
	const uint8_t *p = data;
	uint32_t c = ~0u;

	for (; len >= 8; len -= 8, p += 8) {
		uint32_t a, b;

		memcpy(&a, p, 4);
		memcpy(&b, p + 4, 4);
		a ^= c;
		c = crc_table[7][a & 0xff] ^ crc_table[6][a >> 8 & 0xff] ^
		    crc_table[5][a >> 16 & 0xff] ^ crc_table[4][a >> 24] ^
		    crc_table[3][b & 0xff] ^ crc_table[2][b >> 8 & 0xff] ^
		    crc_table[1][b >> 16 & 0xff] ^ crc_table[0][b >> 24];
	}
	for (; len; len--, p++)
		c = c >> 8 ^ crc_table[0][(c ^ *p) & 0xff];
	return ~c;
}

void stamp_fill(void *buf, size_t len, uint64_t seed, uint32_t thread, uint32_t disk, uint64_t seq,
		uint64_t offset)
{
	struct stamp *s = buf;

	for (; len >= SECTOR; len -= SECTOR, s++, offset += SECTOR) {
		uint32_t x = (uint32_t)((seed ^ seq * 0x9e3779b97f4a7c15ull ^ offset) >> 9);

		s->magic = STAMP_MAGIC;
		s->seed = seed;
		s->thread = thread;
		s->disk = disk;
		s->seq = seq;
		s->offset = offset;
		for (size_t i = 0; i < sizeof(s->filler) / sizeof(s->filler[0]); i++) {
			x = x * 1664525u + 1013904223u;
			s->filler[i] = x;
		}
		s->crc = crc32_ieee(s, offsetof(struct stamp, crc));
	}
}

static bool is_zero(const void *sector)
{
	const uint64_t *p = sector;
	uint64_t any = 0;

	for (size_t i = 0; i < SECTOR / sizeof(*p); i++)
		any |= p[i];
	return !any;
}

enum sector_kind sector_classify(const void *sector, uint64_t seed)
{
	const struct stamp *s = sector;

	if (s->magic != STAMP_MAGIC)
		return is_zero(sector) ? SECTOR_ZERO : SECTOR_FOREIGN;
	if (s->crc != crc32_ieee(s, offsetof(struct stamp, crc)))
		return SECTOR_TORN;
	return seed && s->seed != seed ? SECTOR_FOREIGN : SECTOR_STAMP;
}
