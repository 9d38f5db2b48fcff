/* SPDX-License-Identifier: GPL-2.0 */
/* plug: what workers that submit many bios have to know of a task's plug. */
#ifndef VMAB_PLUG_H
#define VMAB_PLUG_H

#include <linux/blkdev.h>
#include <linux/sched.h>

/*
 * cond_resched() for between two bios.  A task that makes room for another keeps what is in
 * its plug, and guests would wait for that without the disk having anything to do.  On a kernel
 * that takes the processor away without asking it can't be helped.
 */
static inline void vmab_plug_resched(struct blk_plug *plug)
{
	if (!need_resched())
		return;
	blk_finish_plug(plug);
	cond_resched();
	blk_start_plug(plug);
}

#endif /* VMAB_PLUG_H */
