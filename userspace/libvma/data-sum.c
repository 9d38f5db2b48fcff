// SPDX-License-Identifier: GPL-2.0-or-later
#include "libvma/data-sum.h"

#include <stdlib.h>
#include <xxhash.h>
/* The same functions, by what the processor can: the library's own are those of any x86. */
#if defined(__x86_64__) && __has_include(<xxh_x86dispatch.h>)
#include <xxh_x86dispatch.h>
#endif

#include "libvma/extent.h"
#include "libvma/wire.h"

#define SUM_BITS	48

struct data_sum {
	XXH3_state_t *state;
};

struct data_sum *data_sum_new(void)
{
	struct data_sum *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	/* Aligned as it wants to be. */
	s->state = XXH3_createState();
	if (!s->state) {
		free(s);
		return NULL;
	}
	return s;
}

void data_sum_free(struct data_sum *s)
{
	if (!s)
		return;
	XXH3_freeState(s->state);
	free(s);
}

void data_sum_begin(struct data_sum *s)
{
	XXH3_64bits_reset(s->state);
}

void data_sum_add(struct data_sum *s, const void *data, size_t len)
{
	XXH3_64bits_update(s->state, data, len);
}

uint64_t data_sum_end(const struct data_sum *s)
{
	return XXH3_64bits_digest(s->state);
}

static uint64_t sum_of_sums(const uint64_t *sums, unsigned int nr)
{
	uint8_t bytes[VMA_EXTENT_CLUSTERS * 8];

	for (unsigned int i = 0; i < nr; i++)
		wire_put_be64(bytes + (size_t)i * 8, sums[i]);
	return XXH3_64bits(bytes, (size_t)nr * 8) & ((1ull << SUM_BITS) - 1);
}

static uint8_t *info_at(uint8_t *extent, unsigned int i)
{
	return extent + WIRE_E_BLOCKINFO + (size_t)i * 8;
}

void data_sum_put(uint8_t *extent, const uint64_t *sums, unsigned int nr)
{
	uint64_t sum = sum_of_sums(sums, nr);

	for (unsigned int i = 0; i < nr; i++)
		info_at(extent, i)[WIRE_I_RESERVED] = sums[i] & 0xff;
	wire_put_be64(info_at(extent, WIRE_E_SUM_INFO),
		      (sum >> 32) << 48 | (uint64_t)WIRE_I_SUM_TAG << 40 | (sum & UINT32_MAX));
}

bool data_sum_there(const uint8_t *extent)
{
	return !vma_extent_info(extent, WIRE_E_SUM_INFO).dev_id &&
	       info_at((uint8_t *)extent, WIRE_E_SUM_INFO)[WIRE_I_RESERVED] == WIRE_I_SUM_TAG;
}

struct data_check data_sum_check(const uint8_t *extent, const uint8_t *data)
{
	struct vma_blockinfo kept = vma_extent_info(extent, WIRE_E_SUM_INFO);
	struct data_check check = { .there = data_sum_there(extent) };
	uint64_t sums[VMA_EXTENT_CLUSTERS];
	unsigned int nr = 0;

	if (!check.there)
		return check;
	for (unsigned int i = 0; i < VMA_EXTENT_CLUSTERS; i++) {
		struct vma_blockinfo info = vma_extent_info(extent, i);
		size_t len = (size_t)__builtin_popcount(info.mask) * VMA_BLOCK_SIZE;

		if (!info.dev_id)
			continue;
		sums[nr] = XXH3_64bits(data, len);
		if ((sums[nr] & 0xff) != info_at((uint8_t *)extent, i)[WIRE_I_RESERVED])
			check.differs |= 1ull << i;
		nr++;
		data += len;
	}
	/* The sum alone would do, but no writer makes such bits. */
	check.right = !check.differs &&
		      sum_of_sums(sums, nr) == ((uint64_t)kept.mask << 32 | kept.cluster);
	return check;
}
