// SPDX-License-Identifier: GPL-2.0-or-later
#include "codec/zstd-table.h"

#include <string.h>

#define ENTRY		8u
#define ENTRY_SUM	12u

static void hash(SHA2_CTX *h, uint32_t v)
{
	uint8_t p[4];

	zstd_put_le32(p, v);
	SHA256Update(h, p, sizeof(p));
}

/* Ends a; b can go on. */
static bool same(SHA2_CTX *a, const SHA2_CTX *b)
{
	uint8_t one[SHA256_DIGEST_LENGTH], other[SHA256_DIGEST_LENGTH];
	SHA2_CTX copy = *b;

	SHA256Final(one, a);
	SHA256Final(other, &copy);
	return memcmp(one, other, sizeof(one)) == 0;
}

void zstd_seen_init(struct zstd_seen *s)
{
	*s = (struct zstd_seen){ 0 };
	SHA256Init(&s->sizes);
	SHA256Init(&s->sums);
}

void zstd_seen_add(struct zstd_seen *s, uint64_t packed, uint64_t content, const uint8_t *sum)
{
	s->nr++;
	if (packed > UINT32_MAX || content > UINT32_MAX)
		s->too_large = true;
	hash(&s->sizes, packed);
	hash(&s->sizes, content);
	if (sum)
		hash(&s->sums, zstd_le32(sum));
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
	SHA2_CTX sizes, sums;
	uint8_t flags = s->sealed ? 0xff : ZSTD_SEEK_CHECKSUMS | ZSTD_SEEK_RESERVED;
	const uint8_t *p;
	ssize_t have;
	bool fits;

	SHA256Init(&sizes);
	SHA256Init(&sums);
	for (uint64_t i = 0; i < s->nr; i++) {
		have = input_peek(in, entry, err);
		if (have < 0)
			return have;
		if (have < (ssize_t)entry)
			return ZSTD_TABLE_CUT;
		p = input_at(in);
		SHA256Update(&sizes, p, ENTRY);
		if (entry == ENTRY_SUM)
			SHA256Update(&sums, p + ENTRY, ENTRY_SUM - ENTRY);
		input_skip(in, entry);
	}
	have = input_peek(in, ZSTD_SEEK_FOOTER, err);
	if (have < 0)
		return have;
	if (have < (ssize_t)ZSTD_SEEK_FOOTER)
		return ZSTD_TABLE_CUT;
	p = input_at(in);
	fits = same(&sizes, &s->sizes) &&
	       (entry == ENTRY || s->no_sums || same(&sums, &s->sums)) &&
	       zstd_le32(p) == s->nr &&
	       (p[4] & flags) == (entry == ENTRY_SUM ? ZSTD_SEEK_CHECKSUMS : 0) &&
	       zstd_le32(p + 5) == ZSTD_SEEK_MAGIC;
	input_skip(in, ZSTD_SEEK_FOOTER);
	return fits ? ZSTD_TABLE_FITS : ZSTD_TABLE_DIFFERS;
}
