/* SPDX-License-Identifier: GPL-2.0 */
/*
 * copy: the copy engine.  Owns the claim on a chunk, the read of its old
 * content into a slot, the decision where it goes from there (a slot of the
 * ring or the fleece device), and what follows: the bios that waited leave, the
 * chunk goes to the reader.  FETCH and guest writes use the same claim; guest
 * writes come first.
 *
 * "locked" below means with the session's lock held.
 */
#ifndef VMAB_COPY_H
#define VMAB_COPY_H

#include "types.h"

/* 0 or -ENOMEM. May sleep. */
int vmab_copy_init_session(struct vmab_session *session);
void vmab_copy_exit_session(struct vmab_session *session);
void vmab_copy_init_member(struct vmab_member *member);

/* What becomes of a guest's bio. */
enum vmab_verdict {
	VMAB_PASS,	/* nothing that it touches is needed: on to the origin */
	VMAB_HELD,	/* ours now; goes to the origin by itself later */
	VMAB_AGAIN,	/* it would be held and must not wait */
	VMAB_REQUEUE,	/* it would be held too long for a suspend: back to dm */
	VMAB_DROPPED,	/* a discard: ends with success */
};

/*
 * A write-like bio with data or a range, from map: never sleeps.  Under
 * rcu_read_lock(), not locked.
 */
enum vmab_verdict vmab_copy_guest_write(struct vmab_member *member, struct bio *bio);

/* Queues a FETCH of [first, end). Not locked. 0, -ENOBUFS or -ESTALE. */
int vmab_copy_fetch(struct vmab_member *member, u64 first, u64 end);

/* Drops what is NEEDED or FLEECED in [first, end). Not locked; may sleep. How many. */
u64 vmab_copy_forget(struct vmab_member *member, u64 first, u64 end);

/* Slots came free, or a disk is in use again: go on. Locked. */
void vmab_copy_kick(struct vmab_session *session);

/* No view read of the chunk from the origin is left: its writes may go. Locked. */
void vmab_copy_drained(struct vmab_member *member, u64 chunk);

/* Waits until no I/O of ours is under way; the session is broken or closed. May sleep. */
void vmab_copy_quiesce(struct vmab_session *session);

#endif /* VMAB_COPY_H */
