/* SPDX-License-Identifier: GPL-2.0 */
/* dm-vmabackup-view: the device-mapper target "vmabackup-view". */
#ifndef DM_VMABACKUP_VIEW_H
#define DM_VMABACKUP_VIEW_H

int vmab_view_target_register(void);
void vmab_view_target_unregister(void);

#endif /* DM_VMABACKUP_VIEW_H */
