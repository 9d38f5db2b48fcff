/* SPDX-License-Identifier: GPL-2.0 */
/*
 * copy: the life of a copy from its claim on: the read of the old content into
 * its slot, the write to the fleece device if it is bound for there, and what
 * follows: the bios that waited leave, the chunk goes to the reader.
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

/* No view read of the chunk from the origin is left: its writes may go. Locked. */
void vmab_copy_drained(struct vmab_member *member, u64 chunk);

/* Waits until no I/O of ours is under way; the session is broken or closed. May sleep. */
void vmab_copy_quiesce(struct vmab_session *session);

#endif /* VMAB_COPY_H */
