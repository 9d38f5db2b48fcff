// SPDX-License-Identifier: GPL-2.0
#include "chardev.h"

#include <linux/blkdev.h>
#include <linux/compat.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/poll.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "delivery.h"
#include "session.h"
#include "slots.h"

/* The layout is the same for 32- and 64-bit callers only while this holds. */
static_assert(sizeof(struct vmabackup_info) == 24);
static_assert(sizeof(struct vmabackup_add_disk) == 40);
static_assert(sizeof(struct vmabackup_setup_slots) == 40);
static_assert(sizeof(struct vmabackup_arm) == 8);
static_assert(sizeof(struct vmabackup_range) == 32);
static_assert(sizeof(struct vmabackup_completion) == 24);
static_assert(sizeof(struct vmabackup_reap) == 40);
static_assert(sizeof(struct vmabackup_status) == 160);

static int chardev_open(struct inode *inode, struct file *file)
{
	struct vmab_session *session = vmab_session_open();

	if (IS_ERR(session))
		return PTR_ERR(session);
	file->private_data = session;
	return nonseekable_open(inode, file);
}

static int chardev_release(struct inode *inode, struct file *file)
{
	vmab_session_close(file->private_data);
	return 0;
}

static int chardev_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct vmab_session *session = file->private_data;
	/* mmap_lock is held, so session->mutex may not be taken. */
	struct vmab_slots *slots = smp_load_acquire(&session->slots);

	return slots ? vmab_slots_mmap(slots, vma) : -EBUSY;
}

static __poll_t chardev_poll(struct file *file, struct poll_table_struct *wait)
{
	struct vmab_session *session = file->private_data;

	poll_wait(file, &session->reader, wait);
	return vmab_delivery_poll(session);
}

static long do_info(void __user *argp)
{
	struct vmabackup_info info = {
		.abi_version = VMABACKUP_ABI_VERSION,
		.max_disks = VMABACKUP_MAX_DISKS,
		.max_slot_memory = vmab_session_max_memory(),
		.features = VMABACKUP_FEATURE_FLEECE | VMABACKUP_FEATURE_VIEW,
	};

	return copy_to_user(argp, &info, sizeof(info)) ? -EFAULT : 0;
}

static int add_file(struct vmab_session *session, struct file *disk,
		    struct vmabackup_add_disk *arg)
{
	struct block_device *bdev;

	/* Who can't read the disk can't have it copied either. */
	if (!(disk->f_mode & FMODE_READ))
		return -EBADF;
	if (!S_ISBLK(file_inode(disk)->i_mode))
		return -ENOTBLK;
	bdev = I_BDEV(disk->f_mapping->host);
	if (bdev_is_partition(bdev))
		return -ENODEV;
	return vmab_session_add(session, bdev->bd_disk, arg);
}

static long do_add_disk(struct vmab_session *session, void __user *argp)
{
	struct vmabackup_add_disk arg;
	struct file *disk;
	int r;

	if (copy_from_user(&arg, argp, sizeof(arg)))
		return -EFAULT;
	if (arg.flags)
		return -EINVAL;
	disk = fget(arg.fd);
	if (!disk)
		return -EBADF;
	r = add_file(session, disk, &arg);
	fput(disk);
	if (!r && copy_to_user(argp, &arg, sizeof(arg)))
		r = -EFAULT;
	return r;
}

static long do_setup_slots(struct vmab_session *session, void __user *argp)
{
	struct vmabackup_setup_slots arg;
	int r;

	if (copy_from_user(&arg, argp, sizeof(arg)))
		return -EFAULT;
	if (arg.flags & ~VMABACKUP_SETUP_DROP_DISCARDS || arg.reserved)
		return -EINVAL;
	r = vmab_session_setup(session, &arg);
	if (!r && copy_to_user(argp, &arg, sizeof(arg)))
		r = -EFAULT;
	return r;
}

static long do_arm(struct vmab_session *session, void __user *argp)
{
	struct vmabackup_arm arg;
	int r;

	if (copy_from_user(&arg, argp, sizeof(arg)))
		return -EFAULT;
	if (arg.flags)
		return -EINVAL;
	arg.bad_disk = U32_MAX;
	r = vmab_session_arm(session, &arg);
	if (r == -ENOTCONN && copy_to_user(argp, &arg, sizeof(arg)))
		r = -EFAULT;
	return r;
}

static long do_range(struct vmab_session *session, void __user *argp, bool fetch)
{
	struct vmabackup_range arg;
	int r;

	if (copy_from_user(&arg, argp, sizeof(arg)))
		return -EFAULT;
	if (arg.flags)
		return -EINVAL;
	if (fetch)
		return vmab_delivery_fetch(session, &arg);
	arg.forgotten = 0;
	r = vmab_delivery_forget(session, &arg);
	if (!r && copy_to_user(argp, &arg, sizeof(arg)))
		r = -EFAULT;
	return r;
}

static int put_slots(struct vmab_session *session, struct vmabackup_reap *arg)
{
	u32 slots[VMABACKUP_MAX_BATCH];

	if (copy_from_user(slots, u64_to_user_ptr(arg->releases), arg->nr_releases * sizeof(u32)))
		return -EFAULT;
	return vmab_delivery_put(session, slots, arg->nr_releases, &arg->nr_released);
}

static int take_chunks(struct vmab_session *session, struct vmabackup_reap *arg, bool nonblock)
{
	struct vmabackup_completion *completions;
	int r;

	if (!arg->max_completions)
		return 0;
	completions = kmalloc_array(arg->max_completions, sizeof(*completions), GFP_KERNEL);
	if (!completions)
		return -ENOMEM;

	r = vmab_delivery_take(session, completions, arg->max_completions, nonblock);
	if (r > 0) {
		arg->nr_completions = r;
		if (copy_to_user(u64_to_user_ptr(arg->completions), completions,
				 r * sizeof(*completions))) {
			vmab_delivery_lost(session);
			r = -EFAULT;
		}
	}
	kfree(completions);
	return min(r, 0);
}

static long do_reap(struct file *file, struct vmab_session *session, void __user *argp)
{
	struct vmabackup_reap arg;
	int r;

	if (copy_from_user(&arg, argp, sizeof(arg)))
		return -EFAULT;
	if (arg.flags & ~VMABACKUP_REAP_NONBLOCK || arg.reserved ||
	    arg.nr_releases > VMABACKUP_MAX_BATCH || arg.max_completions > VMABACKUP_MAX_BATCH)
		return -EINVAL;
	arg.nr_released = 0;
	arg.nr_completions = 0;

	r = put_slots(session, &arg);
	if (!r)
		r = take_chunks(session, &arg, arg.flags & VMABACKUP_REAP_NONBLOCK ||
				file->f_flags & O_NONBLOCK);
	if (copy_to_user(argp, &arg, sizeof(arg))) {
		if (arg.nr_completions)
			vmab_delivery_lost(session);
		r = -EFAULT;
	}
	return r;
}

static long do_status(struct vmab_session *session, void __user *argp)
{
	struct vmabackup_status status = {};

	vmab_delivery_status(session, &status);
	return copy_to_user(argp, &status, sizeof(status)) ? -EFAULT : 0;
}

static long chardev_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct vmab_session *session = file->private_data;
	void __user *argp = (void __user *)arg;

	switch (cmd) {
	case VMABACKUP_IOC_INFO:
		return do_info(argp);
	case VMABACKUP_IOC_ADD_DISK:
		return do_add_disk(session, argp);
	case VMABACKUP_IOC_SETUP_SLOTS:
		return do_setup_slots(session, argp);
	case VMABACKUP_IOC_ARM:
		return do_arm(session, argp);
	case VMABACKUP_IOC_FETCH:
		return do_range(session, argp, true);
	case VMABACKUP_IOC_FORGET:
		return do_range(session, argp, false);
	case VMABACKUP_IOC_REAP:
		return do_reap(file, session, argp);
	case VMABACKUP_IOC_STATUS:
		return do_status(session, argp);
	default:
		return -ENOTTY;
	}
}

static const struct file_operations vmab_fops = {
	.owner = THIS_MODULE,
	.open = chardev_open,
	.release = chardev_release,
	.mmap = chardev_mmap,
	.poll = chardev_poll,
	.unlocked_ioctl = chardev_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
};

static struct miscdevice vmab_misc = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = VMABACKUP_DEVICE_NAME,
	.fops = &vmab_fops,
	.mode = 0600,
};

int vmab_chardev_register(void)
{
	return misc_register(&vmab_misc);
}

void vmab_chardev_unregister(void)
{
	misc_deregister(&vmab_misc);
}
