/* SPDX-License-Identifier: GPL-2.0 */
/*
 * chunk-map: which chunks a session still needs (states: struct
 * vmab_chunk_map).  Submits nothing and knows no bios.
 *
 * Everything but vmab_map_needed() wants the lock that guards the map, the
 * session's, or a map that nobody else can see.
 */
#ifndef VMAB_CHUNK_MAP_H
#define VMAB_CHUNK_MAP_H

#include "types.h"

/* All chunks NEEDED. May sleep. 0, -ENOMEM or -EFBIG. */
int vmab_map_init(struct vmab_chunk_map *map, u64 nr_chunks);
void vmab_map_exit(struct vmab_chunk_map *map);

/*
 * The first chunk in [first, end) that a write has to wait for (NEEDED or
 * COPYING), or end.  Needs no lock: when there is none, the reads of the old
 * content have ended.
 */
u64 vmab_map_needed(const struct vmab_chunk_map *map, u64 first, u64 end);

/* The first chunk in [first, end) that can be claimed (NEEDED or FLEECED), or end. */
u64 vmab_map_unclaimed(const struct vmab_chunk_map *map, u64 first, u64 end);

/* The first NEEDED chunk in [first, end), or end. */
u64 vmab_map_on_origin(const struct vmab_chunk_map *map, u64 first, u64 end);

/* The first FLEECED chunk in [first, end), or end. */
u64 vmab_map_on_fleece(const struct vmab_chunk_map *map, u64 first, u64 end);

static inline bool vmab_map_is_needed(const struct vmab_chunk_map *map, u64 chunk)
{
	return test_bit(chunk, map->needed);
}

static inline bool vmab_map_is_unclaimed(const struct vmab_chunk_map *map, u64 chunk)
{
	return test_bit(chunk, map->unclaimed);
}

/* NEEDED -> COPYING, or FLEECED -> SAFE */
void vmab_map_claim(struct vmab_chunk_map *map, u64 chunk);

/* COPYING -> SAFE */
void vmab_map_safe(struct vmab_chunk_map *map, u64 chunk);

/* COPYING -> NEEDED, or SAFE -> FLEECED */
void vmab_map_unclaim(struct vmab_chunk_map *map, u64 chunk);

/* A SAFE chunk is in its slot for good. */
void vmab_map_done(struct vmab_chunk_map *map);

/* -> SAFE for what is NEEDED or FLEECED in [first, end); returns how many. */
u64 vmab_map_forget(struct vmab_chunk_map *map, u64 first, u64 end);

#endif /* VMAB_CHUNK_MAP_H */
