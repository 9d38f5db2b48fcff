/* SPDX-License-Identifier: GPL-2.0 */
/*
 * disk: what happens to a disk, as device-mapper tells the target: it comes and
 * goes, is suspended and resumed, is asked for its status.
 *
 * All functions may sleep on locks; those that wait for I/O say so.
 */
#ifndef VMAB_DISK_H
#define VMAB_DISK_H

#include "types.h"

/*
 * ctr: what can be known of a collision (-EBUSY) before the table is resumed: when it is refused
 * then, device-mapper has taken the old one away, and a guest stands still.
 */
int vmab_disk_check(const struct vmab_disk *disk, const struct gendisk *gd);

/*
 * preresume: the disk can be found, in place of an older instance.  0, or -EBUSY
 * if it shares a fleece device with another disk.
 */
int vmab_disk_register(struct vmab_disk *disk, struct gendisk *gd);

/* dtr: its session breaks.  Waits for our own I/O under way. */
void vmab_disk_unregister(struct vmab_disk *disk);

void vmab_disk_presuspend(struct vmab_disk *disk, bool noflush);
/* Waits for the reads of the origin under way. */
void vmab_disk_postsuspend(struct vmab_disk *disk);
void vmab_disk_resume(struct vmab_disk *disk);

enum vmab_disk_state { VMAB_DISK_IDLE, VMAB_DISK_MEMBER, VMAB_DISK_ARMED, VMAB_DISK_BROKEN };

struct vmab_disk_status {
	enum vmab_disk_state state;
	enum vmabackup_policy policy;
	bool has_policy;		/* policy is that of a session */
	u64 left, total;		/* chunks */
	struct vmab_stats stats;
	struct vmab_fault fault;
};

/* Of its session, or of the last one. */
void vmab_disk_status(struct vmab_disk *disk, struct vmab_disk_status *status);

#endif /* VMAB_DISK_H */
