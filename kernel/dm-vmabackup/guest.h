/* SPDX-License-Identifier: GPL-2.0 */
/*
 * guest: what becomes of a guest's write: it passes, or it is held until the old
 * chunks that it touches are safe.  Owns whose turn it is when slots come free.
 *
 * All but vmab_guest_write() with the session's lock; all may be called from
 * interrupts.
 */
#ifndef VMAB_GUEST_H
#define VMAB_GUEST_H

#include "types.h"

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
enum vmab_verdict vmab_guest_write(struct vmab_member *member, struct bio *bio);

/*
 * Those who starve get what slots there are, disk by disk and in turn.  If time
 * runs out, the worker goes on, and false is returned.
 */
bool vmab_guest_serve(struct vmab_session *session);

/* A chunk has become SAFE: those who waited for it leave. */
void vmab_guest_release(struct vmab_copy *copy);

/* The copy failed: those who waited for it get an error. */
void vmab_guest_fail(struct vmab_copy *copy);

/* Chunks of the member were forgotten: those who waited for them leave. */
void vmab_guest_recheck(struct vmab_member *member);

#endif /* VMAB_GUEST_H */
