/* SPDX-License-Identifier: GPL-2.0 */
/*
 * chardev: /dev/vmabackup.  Takes what userspace hands in, believes none of
 * it, and calls session.  The manual is <linux/dm-vmabackup.h>.
 */
#ifndef VMAB_CHARDEV_H
#define VMAB_CHARDEV_H

int vmab_chardev_register(void);
void vmab_chardev_unregister(void);

#endif /* VMAB_CHARDEV_H */
