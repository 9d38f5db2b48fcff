/* SPDX-License-Identifier: GPL-2.0 */
/*
 * view-read: reads of the instant.  Owns where each one goes: to the origin if
 * its chunk has not been overwritten, to the fleece device if it is there, and
 * until it is, it waits.  One that goes to the origin keeps writes of its chunk
 * from going (is_viewed() in copy.c), or it could see what they write.
 *
 * Not locked; may be called from interrupts.
 */
#ifndef VMAB_VIEW_READ_H
#define VMAB_VIEW_READ_H

#include "types.h"

void vmab_view_read_init_session(struct vmab_session *session);
void vmab_view_read_init_member(struct vmab_member *member);

/* No work is queued any more.  May sleep. */
void vmab_view_read_flush(struct vmab_session *session);

enum vmab_view_verdict {
	VMAB_VIEW_SUBMIT,	/* its device is set */
	VMAB_VIEW_HELD,		/* ours now; is submitted or ended later */
	VMAB_VIEW_OVER,		/* the instant is over: an error */
	VMAB_VIEW_AGAIN,	/* it would wait and must not */
	VMAB_VIEW_REQUEUE,	/* it would wait too long for a suspend: back to dm */
};

/* A read inside of one chunk, from map; bio's per-bio data is a vmab_view_read. */
enum vmab_view_verdict vmab_view_read_map(struct vmab_view *view, struct vmab_member *member,
					  struct bio *bio);

/* It has ended.  False: the instant had ended before, so its data is worthless. */
bool vmab_view_read_end(struct vmab_view_read *read);

/* The disk is in use again. Locked by the session's lock. */
void vmab_view_read_resume(struct vmab_member *member);

/*
 * The view is being suspended without flush: its reads that wait go back to dm, but for
 * those that were cut.  Under rcu_read_lock().
 */
void vmab_view_read_requeue(struct vmab_view *view, struct vmab_member *member);

#endif /* VMAB_VIEW_READ_H */
