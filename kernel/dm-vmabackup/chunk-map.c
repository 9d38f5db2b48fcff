// SPDX-License-Identifier: GPL-2.0
#include "chunk-map.h"

#include <linux/mm.h>
#include <linux/slab.h>

static unsigned long *alloc_bits(u64 nr)
{
	unsigned long *bits;

	bits = kvmalloc_array(BITS_TO_LONGS(nr), sizeof(long),
			      GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
	if (!bits)
		return NULL;
	/* By hand: bitmap_set() counts in 32 bits. */
	memset(bits, 0xff, BITS_TO_LONGS(nr) * sizeof(long));
	if (nr % BITS_PER_LONG)
		bits[nr / BITS_PER_LONG] = BITMAP_LAST_WORD_MASK(nr);
	return bits;
}

int vmab_map_init(struct vmab_chunk_map *map, u64 nr_chunks)
{
	/* The functions for bits count in long. */
	if (nr_chunks > ULONG_MAX - BITS_PER_LONG)
		return -EFBIG;
	map->needed = alloc_bits(nr_chunks);
	if (!map->needed)
		return -ENOMEM;
	map->unclaimed = alloc_bits(nr_chunks);
	if (!map->unclaimed) {
		kvfree(map->needed);
		map->needed = NULL;
		return -ENOMEM;
	}
	map->nr_chunks = nr_chunks;
	map->nr_left = nr_chunks;
	return 0;
}

void vmab_map_exit(struct vmab_chunk_map *map)
{
	kvfree(map->needed);
	kvfree(map->unclaimed);
}

u64 vmab_map_needed(const struct vmab_chunk_map *map, u64 first, u64 end)
{
	u64 chunk = first;

	/* The common case, one chunk, is one test. */
	if (!test_bit(first, map->needed))
		chunk = end - first == 1 ? end : find_next_bit(map->needed, end, first);

	/* Pairs with clear_bit_unlock(): a write that we let pass comes after. */
	smp_acquire__after_ctrl_dep();
	return chunk;
}

u64 vmab_map_unclaimed(const struct vmab_chunk_map *map, u64 first, u64 end)
{
	return find_next_bit(map->unclaimed, end, first);
}

u64 vmab_map_on_origin(const struct vmab_chunk_map *map, u64 first, u64 end)
{
	return find_next_and_bit(map->unclaimed, map->needed, end, first);
}

u64 vmab_map_on_fleece(const struct vmab_chunk_map *map, u64 first, u64 end)
{
	unsigned long bits;
	u64 word;

	for (word = first / BITS_PER_LONG; word * BITS_PER_LONG < end; word++) {
		bits = map->unclaimed[word] & ~map->needed[word];
		if (word == first / BITS_PER_LONG)
			bits &= BITMAP_FIRST_WORD_MASK(first);
		if (bits)
			return min(word * BITS_PER_LONG + __ffs(bits), end);
	}
	return end;
}

void vmab_map_claim(struct vmab_chunk_map *map, u64 chunk)
{
	WARN_ON_ONCE(!test_bit(chunk, map->unclaimed));
	__clear_bit(chunk, map->unclaimed);
}

void vmab_map_safe(struct vmab_chunk_map *map, u64 chunk)
{
	WARN_ON_ONCE(!test_bit(chunk, map->needed) || test_bit(chunk, map->unclaimed));
	clear_bit_unlock(chunk, map->needed);
}

void vmab_map_unclaim(struct vmab_chunk_map *map, u64 chunk)
{
	WARN_ON_ONCE(test_bit(chunk, map->unclaimed));
	__set_bit(chunk, map->unclaimed);
}

void vmab_map_done(struct vmab_chunk_map *map)
{
	map->nr_left--;
}

u64 vmab_map_forget(struct vmab_chunk_map *map, u64 first, u64 end)
{
	u64 chunk, n = 0;

	for (chunk = find_next_bit(map->unclaimed, end, first); chunk < end;
	     chunk = find_next_bit(map->unclaimed, end, chunk + 1)) {
		__clear_bit(chunk, map->unclaimed);
		clear_bit_unlock(chunk, map->needed);
		n++;
	}
	map->nr_left -= n;
	return n;
}
