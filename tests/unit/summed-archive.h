/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Archives with checksums of their data, for tests: summed from the description of the format
 * with the library's XXH3, not with libvma's data-sum.
 */
#ifndef SUMMED_ARCHIVE_H
#define SUMMED_ARCHIVE_H

#include <xxhash.h>

#include "archive-builder.h"

/* Sums the last extent, all of whose data is there, and seals it. */
static UNUSED void sum_extent(struct built *b)
{
	uint8_t *e = b->p + b->extent, sums[59 * 8];
	size_t at = 512;
	unsigned int nr = 0, blocks = 0;
	uint64_t sum;

	for (unsigned int i = 0; i < 58; i++) {
		uint8_t *info = e + 40 + 8 * i;
		unsigned int n = __builtin_popcount(get(info, 2));

		if (!info[3])
			continue;
		put(sums + (size_t)8 * nr, XXH3_64bits(e + at, (size_t)n * 4096), 8);
		info[2] = sums[8 * nr + 7];
		nr++;
		at += (size_t)n * 4096;
		blocks += n;
	}
	sum = XXH3_64bits(sums, (size_t)8 * nr);
	put(e + 40 + 8 * 58, (sum >> 32 & 0xffff) << 48 | 0x58ull << 40 | (sum & 0xffffffff), 8);
	seal_extent(b, blocks);
}

/* An extent of clusters first .. first + nr - 1, each with one block of its own byte. */
static UNUSED void build_clusters(struct built *b, unsigned int dev, uint32_t first,
				  unsigned int nr)
{
	build_extent(b);
	for (unsigned int i = 0; i < nr; i++)
		build_info(b, i, dev, first + i, 1);
	for (unsigned int i = 0; i < nr; i++)
		build_block(b, (int)(first + i + 1));
}

/*
 * A device "disk" of 9 clusters. The first extent: one block of cluster 0, cluster 1 zero, two
 * blocks of cluster 2; the second one: clusters 3 to 5, the third one: 6 to 8. *b->extent is the
 * first one's place.
 */
static UNUSED void build_summed(struct built *b)
{
	size_t first;

	build_header(b, 512);
	build_device(b, 1, "disk", 9 * 65536);
	seal_header(b);
	build_extent(b);
	first = b->extent;
	build_info(b, 0, 1, 0, 1);
	build_info(b, 1, 1, 1, 0);
	build_info(b, 2, 1, 2, 0x8001);
	build_block(b, 0x11);
	build_block(b, 0x22);
	build_block(b, 0x33);
	sum_extent(b);
	build_clusters(b, 1, 3, 3);
	sum_extent(b);
	build_clusters(b, 1, 6, 3);
	sum_extent(b);
	b->extent = first;
}

#endif /* SUMMED_ARCHIVE_H */
