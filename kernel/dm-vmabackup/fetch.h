/* SPDX-License-Identifier: GPL-2.0 */
/*
 * fetch: what the reader asks for: ranges of chunks, read as slots come free
 * that no guest wants, and chunks that it does not want at all.
 *
 * "locked" below means with the session's lock held.
 */
#ifndef VMAB_FETCH_H
#define VMAB_FETCH_H

#include "types.h"

/* Queues a FETCH of [first, end). Not locked. 0, -ENOBUFS or -ESTALE. */
int vmab_fetch_add(struct vmab_member *member, u64 first, u64 end);

/* Drops what is NEEDED or FLEECED in [first, end). Not locked; may sleep. How many. */
u64 vmab_fetch_forget(struct vmab_member *member, u64 first, u64 end);

/* The chunk is NEEDED again, and FETCH had passed it: it comes to it again. Locked. */
void vmab_fetch_retry(struct vmab_member *member, u64 chunk);

/* Slots came free, or a disk is in use again: guests go on, then FETCH. Locked. */
void vmab_fetch_kick(struct vmab_session *session);

/* After half of what FETCH may have read there at a time, for reads that merge. Locked. */
bool vmab_fetch_wants_more(const struct vmab_member *member, enum vmab_source source);

#endif /* VMAB_FETCH_H */
