// SPDX-License-Identifier: GPL-2.0-or-later
#include "codec/zstd-table.h"

#define HASH_START	0xcbf29ce484222325u
#define HASH_FACTOR	0x100000001b3u

#define ENTRY		8u
#define ENTRY_SUM	12u

/* FNV-1a: tells one damaged table from a good one; nobody gains from forging it. */
static uint64_t hash(uint64_t h, uint32_t v)
{
	for (int i = 0; i < 4; i++)
		h = (h ^ (v >> 8 * i & 0xff)) * HASH_FACTOR;
	return h;
}

void zstd_seen_init(struct zstd_seen *s)
{
	*s = (struct zstd_seen){ .sizes_hash = HASH_START, .sums_hash = HASH_START };
}

void zstd_seen_add(struct zstd_seen *s, uint64_t packed, uint64_t content, const uint8_t *sum)
{
	s->nr++;
	if (packed > UINT32_MAX || content > UINT32_MAX)
		s->too_large = true;
	s->sizes_hash = hash(hash(s->sizes_hash, packed), content);
	if (sum)
		s->sums_hash = hash(s->sums_hash, zstd_le32(sum));
	else
		s->no_sums = true;
}

void zstd_seen_skippable(struct zstd_seen *s, uint64_t size)
{
	uint8_t sum[4];

	zstd_put_le32(sum, ZSTD_SEEK_EMPTY_SUM);
	/* Others may write any. */
	zstd_seen_add(s, size, 0, s->sealed ? sum : NULL);
}

unsigned int zstd_table_entry(const struct zstd_seen *s, uint32_t size)
{
	if (s->too_large || size < ZSTD_SEEK_FOOTER)
		return 0;
	if (size - ZSTD_SEEK_FOOTER == s->nr * ENTRY_SUM)
		return ENTRY_SUM;
	return size - ZSTD_SEEK_FOOTER == s->nr * ENTRY ? ENTRY : 0;
}

int zstd_table_check(const struct zstd_seen *s, struct input *in, unsigned int entry,
		     struct vma_error *err)
{
	uint64_t sizes = HASH_START, sums = HASH_START;
	uint8_t flags = s->sealed ? 0xff : ZSTD_SEEK_CHECKSUMS | ZSTD_SEEK_RESERVED;
	const uint8_t *p;
	ssize_t have;
	bool fits;

	for (uint64_t i = 0; i < s->nr; i++) {
		have = input_peek(in, entry, err);
		if (have < 0)
			return have;
		if (have < (ssize_t)entry)
			return ZSTD_TABLE_CUT;
		p = input_at(in);
		sizes = hash(hash(sizes, zstd_le32(p)), zstd_le32(p + 4));
		if (entry == ENTRY_SUM)
			sums = hash(sums, zstd_le32(p + 8));
		input_skip(in, entry);
	}
	have = input_peek(in, ZSTD_SEEK_FOOTER, err);
	if (have < 0)
		return have;
	if (have < (ssize_t)ZSTD_SEEK_FOOTER)
		return ZSTD_TABLE_CUT;
	p = input_at(in);
	fits = sizes == s->sizes_hash &&
	       (entry == ENTRY || s->no_sums || sums == s->sums_hash) &&
	       zstd_le32(p) == s->nr &&
	       (p[4] & flags) == (entry == ENTRY_SUM ? ZSTD_SEEK_CHECKSUMS : 0) &&
	       zstd_le32(p + 5) == ZSTD_SEEK_MAGIC;
	input_skip(in, ZSTD_SEEK_FOOTER);
	return fits ? ZSTD_TABLE_FITS : ZSTD_TABLE_DIFFERS;
}
