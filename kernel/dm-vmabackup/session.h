/* SPDX-License-Identifier: GPL-2.0 */
/*
 * session: one open file's backup, its states (types.h), and the registry of
 * disks that sessions find their members in.
 *
 * Two sides call in: chardev with what userspace asks, and the target with what
 * happens to a disk.  All functions may sleep, for memory or on locks; those
 * that wait for reads of the origin say so.
 */
#ifndef VMAB_SESSION_H
#define VMAB_SESSION_H

#include "types.h"

/* ---- chardev's side; errors as documented in <linux/dm-vmabackup.h> ---- */

struct vmab_session *vmab_session_open(void);

/* Waits for the reads under way. */
void vmab_session_close(struct vmab_session *session);

/* gd: the disk behind the caller's file descriptor. */
int vmab_session_add(struct vmab_session *session, struct gendisk *gd,
		     struct vmabackup_add_disk *arg);
int vmab_session_setup(struct vmab_session *session, struct vmabackup_setup_slots *arg);
int vmab_session_arm(struct vmab_session *session, struct vmabackup_arm *arg);
u64 vmab_session_max_memory(void);

/* ---- the target's side ------------------------------------------------- */

/* preresume: the disk can be found, in place of an older instance. */
void vmab_disk_register(struct vmab_disk *disk, struct gendisk *gd);

/* dtr: its session breaks.  Waits for the reads under way. */
void vmab_disk_unregister(struct vmab_disk *disk);

void vmab_disk_presuspend(struct vmab_disk *disk, bool noflush);
/* Waits for the reads under way. */
void vmab_disk_postsuspend(struct vmab_disk *disk);
void vmab_disk_resume(struct vmab_disk *disk);

enum vmab_disk_state { VMAB_DISK_IDLE, VMAB_DISK_MEMBER, VMAB_DISK_ARMED, VMAB_DISK_BROKEN };

struct vmab_disk_status {
	enum vmab_disk_state state;
	u64 left, total;		/* chunks */
	struct vmab_stats stats;
	struct vmab_fault fault;
};

/* Of its session, or of the last one. */
void vmab_disk_status(struct vmab_disk *disk, struct vmab_disk_status *status);

#endif /* VMAB_SESSION_H */
