// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The instant: all disks suspended, the session armed, all resumed.
 *
 * While they are suspended this process must not need a disk, for it may be
 * the one that is suspended. So memory is locked, what libdevmapper allocates
 * was reserved (window_prepare()), signals wait, and messages are made after.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>

#include "libvma/text.h"
#include "vmactl/backup.h"

static int lock_memory(struct vma_error *err)
{
	int error;

	if (mlockall(MCL_CURRENT | MCL_FUTURE) == 0)
		return 0;
	error = -errno;
	if (error == -ENOMEM || error == -EPERM || error == -EAGAIN)
		return vma_fail(err, error,
				"cannot lock memory (%s): a swapped-out vmactl could wait for the very disk it holds; run it as root, or raise RLIMIT_MEMLOCK (ulimit -l unlimited, or LimitMEMLOCK=infinity in the unit)",
				strerror(-error));
	return vma_fail(err, error, "cannot lock memory: %s", strerror(-error));
}

static int explain_arm(const struct backup *b, int error, unsigned int bad, struct vma_error *err)
{
	const char *name = bad < b->nr_disks ? b->disks[bad].name : NULL;

	if (error == -ENOTCONN && window_ran_out(b->window))
		return vma_fail(err, error,
				"disk %s was suspended for longer than %u s, and resumed for that; try again",
				name ? name : "?", WINDOW_LIMIT_MS / 1000);
	if (error == -ENOTCONN)
		return vma_fail(err, error,
				"disk %s was resumed by somebody else while the backup was being started; nothing else may change it meanwhile, try again",
				name ? name : "?");
	return vma_fail(err, error, "cannot start the session: %s", strerror(-error));
}

int backup_instant(struct backup *b, struct vma_error *err)
{
	unsigned int bad_suspend = 0, bad_arm = ~0u, bad_resume = 0;
	int fds[VMABACKUP_MAX_DISKS];
	int entered, armed = 0, left = 0, r;
	sigset_t all, old;
	unsigned int i;

	for (i = 0; i < b->nr_disks; i++)
		fds[i] = b->disks[b->order[i]].fd;
	r = window_prepare(b->window, fds, err);
	if (r)
		return r;
	r = lock_memory(err);
	if (r)
		return r;

	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &old);
	entered = window_enter(b->window, &bad_suspend);
	if (!entered) {
		armed = session_arm(b->session, &bad_arm);
		left = window_leave(b->window, &bad_resume);
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);

	b->result.window_us = window_duration_us(b->window);
	b->result.window_page_faults = window_page_faults(b->window);
	if (entered)
		return vma_fail(err, entered, "disk %s (%s) cannot be suspended: %s",
				b->disks[b->order[bad_suspend]].name,
				b->disks[b->order[bad_suspend]].path,
				strerror(-entered));
	if (left)
		return vma_fail(err, left,
				"disk %s cannot be resumed: %s; the watchdog tried once more; if it is still suspended: dmsetup resume %s",
				b->disks[b->order[bad_resume]].name, strerror(-left),
				b->disks[b->order[bad_resume]].target.name);
	if (armed)
		return explain_arm(b, armed, bad_arm, err);
	return 0;
}
