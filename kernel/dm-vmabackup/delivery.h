/* SPDX-License-Identifier: GPL-2.0 */
/*
 * delivery: what passes between an armed session and its reader: ranges asked
 * for and forgotten, chunks taken, slots given back, how things stand.
 *
 * Errors are documented in <linux/dm-vmabackup.h>.  Nothing here waits for
 * I/O; only vmab_delivery_take() waits at all, for a chunk.
 */
#ifndef VMAB_DELIVERY_H
#define VMAB_DELIVERY_H

#include "types.h"

int vmab_delivery_fetch(struct vmab_session *session, const struct vmabackup_range *arg);
int vmab_delivery_forget(struct vmab_session *session, struct vmabackup_range *arg);

/* Gives back slots[0..nr); 0, -EBADSLT, -ESTALE or -EBUSY, and in *done how many. */
int vmab_delivery_put(struct vmab_session *session, const u32 *slots, u32 nr, u32 *done);

/*
 * Takes up to max completions.  Returns how many; 0 when nothing is left to
 * come; -EAGAIN (nonblock), -EINTR, -ESTALE, -EBUSY.
 */
int vmab_delivery_take(struct vmab_session *session, struct vmabackup_completion *to, u32 max,
		       bool nonblock);

/* What was taken did not reach the reader. */
void vmab_delivery_lost(struct vmab_session *session);

void vmab_delivery_status(struct vmab_session *session, struct vmabackup_status *status);
__poll_t vmab_delivery_poll(struct vmab_session *session);

#endif /* VMAB_DELIVERY_H */
