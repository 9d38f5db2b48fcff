// SPDX-License-Identifier: GPL-2.0
/* Loading and unloading. The target comes last: with it, use can begin. */
#include <linux/module.h>

#include "chardev.h"
#include "dm-vmabackup-target.h"
#include "dm-vmabackup-view.h"
#include "held.h"

static int __init vmab_init(void)
{
	int r;

	r = vmab_held_init_queue();
	if (r)
		return r;
	r = vmab_chardev_register();
	if (r)
		goto exit_held_queue;
	r = vmab_view_target_register();
	if (r)
		goto unregister_chardev;
	r = vmab_target_register();
	if (r)
		goto unregister_view;
	return 0;

unregister_view:
	vmab_view_target_unregister();
unregister_chardev:
	vmab_chardev_unregister();
exit_held_queue:
	vmab_held_exit_queue();
	return r;
}

static void __exit vmab_exit(void)
{
	vmab_target_unregister();
	vmab_view_target_unregister();
	vmab_chardev_unregister();
	vmab_held_exit_queue();
}

module_init(vmab_init);
module_exit(vmab_exit);

MODULE_DESCRIPTION("Device-mapper target for consistent backups of running VM disks");
MODULE_AUTHOR("The dm-vmabackup maintainers");
MODULE_LICENSE("GPL");
MODULE_ALIAS("dm-vmabackup");
MODULE_ALIAS("dm-vmabackup-view");
