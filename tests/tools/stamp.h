/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The stamp: what guestload writes into each sector of 512 bytes, so that a sector
 * found anywhere tells who wrote it, when, and where it belongs.
 */
#ifndef STAMP_H
#define STAMP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SECTOR		512u
#define STAMP_MAGIC	0x31504d5453424d56ull	/* "VMBSTMP1" */

struct stamp {
	uint64_t magic;
	uint64_t seed;
	uint32_t thread;
	uint32_t disk;
	uint64_t seq;
	uint64_t offset;	/* on its disk, bytes */
	uint32_t filler[117];	/* differs from sector to sector; under the checksum */
	uint32_t crc;		/* CRC-32 (IEEE) of all before it */
};

_Static_assert(sizeof(struct stamp) == SECTOR, "a stamp is one sector");

enum sector_kind {
	SECTOR_ZERO,
	SECTOR_STAMP,	/* intact, and of the seed that was asked for */
	SECTOR_FOREIGN,	/* neither zero nor a stamp, or a stamp of another seed */
	SECTOR_TORN,	/* begins as a stamp, checksum wrong */
};

uint32_t crc32_ieee(const void *data, size_t len);

void stamp_fill(void *buf, size_t len, uint64_t seed, uint32_t thread, uint32_t disk, uint64_t seq,
		uint64_t offset);

/* seed 0: any seed will do */
enum sector_kind sector_classify(const void *sector, uint64_t seed);

#endif
