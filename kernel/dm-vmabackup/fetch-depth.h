/* SPDX-License-Identifier: GPL-2.0 */
/*
 * fetch-depth: how many chunks FETCH may have a disk read at a time.  Reads that
 * wait in the disk's queue are what a guest's I/O waits behind.
 *
 * All with the session's lock; may be called from interrupts.
 */
#ifndef VMAB_FETCH_DEPTH_H
#define VMAB_FETCH_DEPTH_H

#include "types.h"

void vmab_depth_init(struct vmab_member *member);

/* The guest's I/O is looked at again; once for several claims.  The disk is there. */
void vmab_depth_look(struct vmab_member *member);

/* Chunks; at least 1. */
u32 vmab_depth(const struct vmab_member *member);

/* A read for FETCH has ended after so many ns; member->fetching is without it. */
void vmab_depth_ended(struct vmab_member *member, u64 ns);

#endif /* VMAB_FETCH_DEPTH_H */
