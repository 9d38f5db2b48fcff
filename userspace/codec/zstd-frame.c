// SPDX-License-Identifier: GPL-2.0-or-later
#include "codec/zstd-frame.h"

#include <string.h>
#include <zstd.h>

/* Block types that store less than they are long. */
#define BLOCK_RLE	1u

bool zstd_is_frame(const uint8_t *p)
{
	return zstd_le32(p) == ZSTD_MAGICNUMBER;
}

bool zstd_is_skippable(const uint8_t *p)
{
	return (zstd_le32(p) & ZSTD_MAGIC_SKIPPABLE_MASK) == ZSTD_MAGIC_SKIPPABLE_START;
}

bool zstd_header_parse(const uint8_t *p, size_t len, struct zstd_header *h)
{
	static const uint8_t id_sizes[] = { 0, 1, 2, 4 };
	unsigned int descriptor, size_flag, at, bytes;
	bool single;

	if (len < 5)
		return false;
	descriptor = p[4];
	size_flag = descriptor >> 6;
	single = descriptor & 0x20;
	bytes = size_flag ? 1u << size_flag : single;
	at = 5 + !single + id_sizes[descriptor & 3];
	h->size = at + bytes;
	h->checksum = descriptor & 4;
	if (len < h->size)
		return false;
	h->content = bytes ? 0 : ZSTD_UNKNOWN;
	for (unsigned int i = 0; i < bytes; i++)
		h->content |= (uint64_t)p[at + i] << 8 * i;
	if (bytes == 2)
		h->content += 256;
	h->window = single ? h->content : (8 + (p[5] & 7ull)) << (7 + (p[5] >> 3));
	return true;
}

uint32_t zstd_block_size(const uint8_t *p, bool *last)
{
	uint32_t v = p[0] | p[1] << 8 | (uint32_t)p[2] << 16;

	*last = v & 1;
	return (v >> 1 & 3) == BLOCK_RLE ? 1 : v >> 3;
}

void zstd_seal_put_fixed(uint8_t *p, enum seal_kind kind)
{
	zstd_put_le32(p, ZSTD_SEAL_SKIP_MAGIC);
	zstd_put_le32(p + 4, SEAL_SIZE);
	seal_put_fixed(p + ZSTD_SKIP_HEADER, kind);
}

void zstd_seal_put(uint8_t *p, enum seal_kind kind, uint64_t count, const uint8_t *from)
{
	zstd_seal_put_fixed(p, kind);
	seal_put(p + ZSTD_SKIP_HEADER, kind, count, from);
}

bool zstd_seal_like_first(const uint8_t *p)
{
	uint8_t fixed[ZSTD_SEAL_FIXED];

	zstd_seal_put_fixed(fixed, SEAL_BEGIN);
	return (memcmp(p, fixed, 4) == 0) + (memcmp(p + 4, fixed + 4, 4) == 0) +
	       (memcmp(p + ZSTD_SKIP_HEADER, fixed + ZSTD_SKIP_HEADER, SEAL_FIXED) == 0) >= 2;
}

bool zstd_seal_get(const uint8_t *p, struct seal *s)
{
	return zstd_le32(p) == ZSTD_SEAL_SKIP_MAGIC && zstd_le32(p + 4) == SEAL_SIZE &&
	       seal_get(p + ZSTD_SKIP_HEADER, s);
}

uint64_t zstd_seal_hash(const uint8_t *from, const uint8_t *p)
{
	return seal_hash(from, p + ZSTD_SKIP_HEADER);
}
