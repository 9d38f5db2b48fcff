/* SPDX-License-Identifier: GPL-2.0 */
/*
 * claim: who gets a slot for which chunk, and where the chunk is bound for: a
 * slot of the ring or the fleece device.  FETCH and guest writes use the same
 * claim, so that a chunk can't be copied twice.
 *
 * All with the session's lock; may be called from interrupts.
 */
#ifndef VMAB_CLAIM_H
#define VMAB_CLAIM_H

#include "types.h"

/* Is there a slot for a chunk that a guest's bio pushes? Discards leave the reserve. */
bool vmab_claim_may(const struct vmab_member *member, bool discard);

/*
 * NEEDED -> COPYING, for a guest; vmab_claim_may() has said yes, and the disk is
 * there.  The read is queued.
 */
struct vmab_copy *vmab_claim_for_guest(struct vmab_member *member, u64 chunk, bool discard);

/* NEEDED -> COPYING or FLEECED -> SAFE, for FETCH; likewise. */
void vmab_claim_for_fetch(struct vmab_member *member, u64 chunk);

/* Bytes of a chunk: the last one may be short. */
u32 vmab_chunk_length(const struct vmab_member *member, u64 chunk);

/* There is more to claim than one may with interrupts off: a worker goes on. */
static inline void vmab_go_on(struct vmab_session *session)
{
	queue_work(session->read_wq, &session->kick_work);
}

#endif /* VMAB_CLAIM_H */
