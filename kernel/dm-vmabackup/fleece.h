/* SPDX-License-Identifier: GPL-2.0 */
/*
 * fleece: what of a member stands on its disk's fleece device.  Owns which
 * chunks occupy space there, the discards that give it back, and the order of
 * those and of writes to the same place.  Knows no guest bio.
 *
 * Old data stands at the same offset as on the origin, so there is no map to
 * store.  Nothing on it outlives the session.
 *
 * The functions from vmab_fleece_write() on want the session's lock, and may be
 * called from interrupts.
 */
#ifndef VMAB_FLEECE_H
#define VMAB_FLEECE_H

#include "types.h"

/* 0 or -ENOMEM. May sleep. */
int vmab_fleece_init_session(struct vmab_session *session);
void vmab_fleece_exit_session(struct vmab_session *session);

/* What the device can discard at once, bytes; 0: nothing. */
u32 vmab_fleece_discard_bytes(struct block_device *bdev);

/*
 * After the member's map: 1 bit per chunk, if the disk has a fleece device.  0 or
 * -ENOMEM.  May sleep.
 */
int vmab_fleece_init_member(struct vmab_member *member, bool has_fleece, u32 discard_bytes);
void vmab_fleece_exit_member(struct vmab_member *member);

/* The session is over and no copy is under way: gives all space back.  May sleep. */
void vmab_fleece_empty(struct vmab_member *member);

/* No work is queued any more.  May sleep. */
void vmab_fleece_flush(struct vmab_member *member);

/* Is there a fleece device to copy to, and does the policy want it? */
static inline bool vmab_fleece_usable(const struct vmab_member *member)
{
	return member->fleece && !member->fleece_off &&
	       member->session->policy != VMABACKUP_POLICY_RING;
}

/*
 * Queues the write of a copy that is WRITING; at its end copy->bio.bi_end_io, as
 * it is now, is called.  The caller has pinned the disk by fleece_ios.
 */
void vmab_fleece_write(struct vmab_copy *copy);

/* Nobody wants the chunk from there any more; it need not be there. */
void vmab_fleece_stale(struct vmab_member *member, u64 chunk);

/* Likewise, for those in [first, end) that were forgotten. */
void vmab_fleece_forgot(struct vmab_member *member, u64 first, u64 end);

/* An I/O on the disk's fleece device, or a read of its origin, has ended. */
static inline void vmab_disk_unpin(struct vmab_disk *disk, atomic_t *ios)
{
	if (atomic_dec_and_test(ios))
		wake_up_all(&disk->idle);
}

/* One of session->inflight has ended. */
static inline void vmab_session_unpin(struct vmab_session *session)
{
	lockdep_assert_held(&session->lock);
	if (!--session->inflight)
		wake_up_all(&session->quiet);
}

#endif /* VMAB_FLEECE_H */
