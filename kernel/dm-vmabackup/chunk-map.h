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
 * The first chunk in [first, end) that is not SAFE, or end.  Needs no lock:
 * when a chunk is found SAFE, the read of its old content has ended.
 */
u64 vmab_map_needed(const struct vmab_chunk_map *map, u64 first, u64 end);

/* The first NEEDED chunk in [first, end), or end. */
u64 vmab_map_unclaimed(const struct vmab_chunk_map *map, u64 first, u64 end);

/* NEEDED -> COPYING */
void vmab_map_claim(struct vmab_chunk_map *map, u64 chunk);

/* COPYING -> SAFE */
void vmab_map_safe(struct vmab_chunk_map *map, u64 chunk);

/* NEEDED -> SAFE for what is NEEDED in [first, end); returns how many. */
u64 vmab_map_forget(struct vmab_chunk_map *map, u64 first, u64 end);

#endif /* VMAB_CHUNK_MAP_H */
