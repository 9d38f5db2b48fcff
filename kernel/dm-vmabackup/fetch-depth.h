/* SPDX-License-Identifier: GPL-2.0 */
/*
 * fetch-depth: how many chunks FETCH may have a device read at a time, and has.  Reads
 * that wait in its queue are what a guest's I/O waits behind.
 *
 * Origin and fleece device are by themselves: one that is slow does not make the
 * other's share small.
 *
 * All with the session's lock; may be called from interrupts.
 */
#ifndef VMAB_FETCH_DEPTH_H
#define VMAB_FETCH_DEPTH_H

#include "types.h"

void vmab_depth_init(struct vmab_member *member);

/* Others' I/O is looked at again; once for several claims.  The disk is there. */
void vmab_depth_look(struct vmab_member *member);

/* One more may be read. Always true when none is. */
bool vmab_depth_may(const struct vmab_member *member, enum vmab_source source);

/* No more than half of what may be read is. Always true when none is. */
bool vmab_depth_low(const struct vmab_member *member, enum vmab_source source);

/* FETCH has claimed a chunk. */
void vmab_depth_began(struct vmab_member *member, enum vmab_source source);

/* A chunk is not READING any more; it took so many ns. */
void vmab_depth_ended(struct vmab_member *member, enum vmab_source source, u64 ns);

#endif /* VMAB_FETCH_DEPTH_H */
