/* SPDX-License-Identifier: GPL-2.0 */
/*
 * slots: the ring.  Owns the memory that old chunks are read into and that
 * userspace maps, one vmab_copy per slot, and who has which (enum
 * vmab_slot_owner).  Knows no guest bio and no chunk's state.
 *
 * The functions from vmab_slots_get() on want the session's lock.
 */
#ifndef VMAB_SLOTS_H
#define VMAB_SLOTS_H

#include "types.h"

struct vm_area_struct;

/*
 * nr slots of size bytes (a power of two, a multiple of the page size).
 * Everything that the I/O path needs later is allocated here.  May sleep.
 * An ERR_PTR(-ENOMEM) on failure.
 */
struct vmab_slots *vmab_slots_create(u32 nr, u32 size, u32 reserve);

/* All slots FREE or USER.  Pages that userspace still has pinned stay alive. */
void vmab_slots_destroy(struct vmab_slots *slots);

/* mmap: read-only, shared, not inherited by fork.  mmap_lock held for writing. */
int vmab_slots_mmap(struct vmab_slots *slots, struct vm_area_struct *vma);

/*
 * How many free slots only copies to a fleece device may have: those of their share that they do
 * not have yet.  Where chunks may stay in slots (auto) all others are the reader's, as it gives
 * them back, however many writes wait.
 */
static inline u32 vmab_slots_kept(const struct vmab_slots *slots)
{
	return slots->spill - min(slots->spill, slots->nr_spilling);
}

/*
 * May FETCH have a slot?  The reserve is for chunks that stay where they are, so it
 * does not count what only copies to a fleece device may take.
 */
static inline bool vmab_slots_for_fetch(const struct vmab_slots *slots)
{
	return slots->nr_free > min(slots->reserve + vmab_slots_kept(slots), slots->nr - 1);
}

/* Is one free for a guest's chunk to stay in? */
static inline bool vmab_slots_for_ring(const struct vmab_slots *slots)
{
	return slots->nr_free > vmab_slots_kept(slots);
}

/* FREE -> READING for this chunk; there must be a free slot. */
struct vmab_copy *vmab_slots_get(struct vmab_slots *slots, struct vmab_member *member, u64 chunk);

/* READING: it goes to a fleece device afterwards. */
void vmab_slots_spill(struct vmab_slots *slots, struct vmab_copy *copy);

/* The copy that is READING or WRITING this chunk now, or NULL. */
struct vmab_copy *vmab_slots_find(struct vmab_slots *slots, const struct vmab_member *member,
				  u64 chunk);

/* READING, WRITING -> DONE */
void vmab_slots_done(struct vmab_slots *slots, struct vmab_copy *copy);

/* READING, WRITING -> FREE */
void vmab_slots_drop(struct vmab_slots *slots, struct vmab_copy *copy);

/* DONE -> USER */
void vmab_slots_deliver(struct vmab_slots *slots, struct vmab_copy *copy);

/* USER -> FREE, or -EBADSLT if userspace does not have it. */
int vmab_slots_put(struct vmab_slots *slots, u32 slot);

/*
 * Readies copy->bio to read or write copy->length bytes, rounded up to blocks of
 * that many bytes (a power of two, at most the slot's size).  No lock.
 */
void vmab_slots_init_bio(struct vmab_slots *slots, struct vmab_copy *copy, blk_opf_t opf,
			 unsigned int block);

#endif /* VMAB_SLOTS_H */
