/* SPDX-License-Identifier: GPL-2.0 */
/*
 * instant: a session without a reader, made and ended by messages to one disk,
 * for views.  What guests push goes to the disk's fleece device and stays there
 * until disarm.
 *
 * Messages run under the lock that a suspend waits for, so neither of these
 * waits for I/O.
 */
#ifndef VMAB_INSTANT_H
#define VMAB_INSTANT_H

#include "types.h"

void vmab_instant_init(struct vmab_disk *disk);

/* dtr: as disarm, and waits for its end. The disk has been unregistered. */
void vmab_instant_exit(struct vmab_disk *disk);

/*
 * Makes all that arm needs: arming a prepared disk allocates nothing and starts no
 * thread, so that it can be done while the disk is suspended that memory would be
 * reclaimed to.  0, -ENODEV, -EBUSY, -ENOMEM as below.
 */
int vmab_instant_prepare(struct vmab_disk *disk);

/*
 * 0, -EAGAIN (the disk is not suspended), -ENODEV (it has no fleece device, or is
 * not live), -EBUSY (it is in a session, but for one
 * that is only prepared), -ENOMEM.
 */
int vmab_instant_arm(struct vmab_disk *disk);

/*
 * Also of a disk that is only prepared.  What is left of the work is done in the
 * background.  0, -ENOENT (neither), -EBUSY (just being prepared or armed).
 */
int vmab_instant_disarm(struct vmab_disk *disk);

/*
 * The view shows the instant that its disk was armed with by message, from its
 * first resume on.  0, -ENODEV (no such disk, or another one by now), -ENOTCONN
 * (not armed by message).
 */
int vmab_instant_attach(struct vmab_view *view);
void vmab_instant_detach(struct vmab_view *view);

#endif /* VMAB_INSTANT_H */
