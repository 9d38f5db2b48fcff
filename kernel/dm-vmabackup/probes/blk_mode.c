// SPDX-License-Identifier: GPL-2.0
/* blk_mode_t: how a block device is opened got a type of its own. */
#include <linux/blkdev.h>

blk_mode_t probe(void);
blk_mode_t probe(void)
{
	return BLK_OPEN_WRITE;
}
