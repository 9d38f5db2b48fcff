/* SPDX-License-Identifier: GPL-2.0 */
/*
 * session: one instant's states (types.h), from nothing to armed, and its end.
 *
 * All functions may sleep, for memory or on locks; those that wait for I/O say
 * so.  Errors are as documented in <linux/dm-vmabackup.h>.
 */
#ifndef VMAB_SESSION_H
#define VMAB_SESSION_H

#include "types.h"

struct vmab_session *vmab_session_open(void);

/*
 * Held writes go on at once; waits for our own I/O under way, and for the
 * discards that empty fleece devices.
 */
void vmab_session_close(struct vmab_session *session);

/* gd: the disk behind the caller's file descriptor. */
int vmab_session_add(struct vmab_session *session, struct gendisk *gd,
		     struct vmabackup_add_disk *arg);
int vmab_session_setup(struct vmab_session *session, struct vmabackup_setup_slots *arg);
int vmab_session_arm(struct vmab_session *session, struct vmabackup_arm *arg);
u64 vmab_session_max_memory(void);

#endif /* VMAB_SESSION_H */
