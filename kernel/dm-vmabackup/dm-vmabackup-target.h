/* SPDX-License-Identifier: GPL-2.0 */
/* The device-mapper target "vmabackup": the disk that guests use. */
#ifndef VMAB_TARGET_H
#define VMAB_TARGET_H

int vmab_target_register(void);
void vmab_target_unregister(void);

#endif /* VMAB_TARGET_H */
