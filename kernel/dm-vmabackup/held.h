/* SPDX-License-Identifier: GPL-2.0 */
/*
 * held: guest bios that wait, and the end of waiting.
 *
 * Owns how long a bio may wait (cbw_timeout, suspend), the way out for all of
 * them, and the latch that breaks a session when waiting is over.  Why a bio
 * waits and where it queues meanwhile is copy's affair.
 *
 * Everything here but the init and exit functions wants the session's lock and
 * may be called from interrupts.
 */
#ifndef VMAB_HELD_H
#define VMAB_HELD_H

#include "types.h"

int vmab_held_init_queue(void);
void vmab_held_exit_queue(void);

/* 0 or -ENOMEM. May sleep. */
int vmab_held_init_session(struct vmab_session *session);
void vmab_held_exit_session(struct vmab_session *session);
void vmab_held_init_member(struct vmab_member *member);

/* No bio is held and none can come: waits until all have left. May sleep. */
void vmab_held_flush(struct vmab_session *session);

/* The bio is held from now on, for chunks [first, end). */
void vmab_held_add(struct vmab_member *member, struct vmab_held *held, u64 first, u64 end);

/* The bio leaves for the origin, wherever it waits.  A worker submits it. */
void vmab_held_leave(struct vmab_held *held);

/* The bio ends with an I/O error, a discard with success, wherever it waits.  A worker ends it. */
void vmab_held_fail(struct vmab_held *held);

/* The bio is not held any more and nothing else happens to it. */
void vmab_held_cancel(struct vmab_held *held);

/* A bio that wants many chunks: next, which it waits for first, has changed. */
void vmab_held_moved(struct vmab_held *held);

/* The bio waits for a slot, behind those of its kind and disk who do already. */
void vmab_held_starve(struct vmab_held *held);

/* It does not any more; held->wait is on no list. */
void vmab_held_feed(struct vmab_held *held);

/*
 * Noflush suspend: all of the member's bios that starve are no longer held and
 * are moved to list, by held->wait.  vmab_held_requeue() gives them back to dm.
 * But for those that are polled: dm looks at such a bio only when it is polled, and
 * if the suspend was given up by then, it would fail.
 */
void vmab_held_take_starved(struct vmab_member *member, struct list_head *list);

/* Not locked; while dm_noflush_suspending(). */
void vmab_held_requeue(struct list_head *list);

/* The member's disk is being suspended: those who starve, and stay, get less time. */
void vmab_held_suspending(struct vmab_member *member);

/*
 * break-snapshot: the session is BROKEN for this reason unless something else
 * ended it first, every held bio leaves, and guest writes are not looked at
 * any more.  member: whom it is about; offset: bytes, or U64_MAX.
 */
void vmab_break(struct vmab_session *session, enum vmabackup_reason reason, int error,
		const struct vmab_member *member, u64 offset);

/* The end of the session by its owner: as vmab_break(), but nobody's fault. */
void vmab_close(struct vmab_session *session);

/* Tell those who wait for events of the member's disk. */
static inline void vmab_member_event(const struct vmab_member *member)
{
	if (member->disk)
		schedule_work(&member->disk->event_work);
}

#endif /* VMAB_HELD_H */
