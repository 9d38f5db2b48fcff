// SPDX-License-Identifier: GPL-2.0
#include "disk.h"

#include <linux/blkdev.h>

#include "fetch.h"
#include "held.h"
#include "registry.h"
#include "view-read.h"

/* The target instance is going, or another one has taken its place. */
static void lose_disk(struct vmab_disk *disk, enum vmabackup_reason reason)
{
	struct vmab_member *member = disk->owner;

	lockdep_assert_held(&vmab_registry);

	vmab_registry_del(disk);
	if (!member)
		return;
	spin_lock_irq(&member->session->lock);
	/* A disk that has been copied in full is not needed any more. */
	if (member->session->state != VMABACKUP_STATE_ARMED || member->map.nr_left)
		vmab_break(member->session, reason, ENODEV, member, U64_MAX);
	vmab_registry_detach(member);
	spin_unlock_irq(&member->session->lock);
}

/* A size that the origin does not have any more can't be read. */
static void check_size(struct vmab_disk *disk)
{
	struct vmab_member *member = disk->owner;

	if (!member || bdev_nr_sectors(disk->origin->bdev) >= disk->ti->len)
		return;
	spin_lock_irq(&member->session->lock);
	vmab_break(member->session, VMABACKUP_REASON_RESIZED, ENOSPC, member,
		   bdev_nr_bytes(disk->origin->bdev));
	spin_unlock_irq(&member->session->lock);
}

/* Takes the place of an older instance, if there is one. */
static int take_place(struct vmab_disk *disk, struct gendisk *gd)
{
	struct vmab_disk *old;
	int r;

	r = vmab_registry_check(disk, gd);
	if (!r)
		r = vmab_registry_check_rest(disk, gd);
	if (r)
		return r;
	old = vmab_registry_find(gd);
	if (old) {
		lose_disk(old, VMABACKUP_REASON_REPLACED);
		/* Whoever looks at the disk shall find out what happened. */
		disk->last_stats = old->last_stats;
		disk->last_fault = old->last_fault;
		disk->last_left = old->last_left;
		disk->last_policy = old->last_policy;
		disk->was_armed = old->was_armed;
		if (old->last_total)
			disk->last_total = old->last_total;
	}
	vmab_registry_add(disk, gd);
	return 0;
}

int vmab_disk_check(const struct vmab_disk *disk, const struct gendisk *gd)
{
	int r;

	mutex_lock(&vmab_registry);
	r = vmab_registry_check(disk, gd);
	mutex_unlock(&vmab_registry);
	return r;
}

int vmab_disk_register(struct vmab_disk *disk, struct gendisk *gd)
{
	int r = 0;

	mutex_lock(&vmab_registry);
	if (list_empty(&disk->list))
		r = take_place(disk, gd);
	else
		check_size(disk);
	if (!r)
		disk->suspended = false;
	mutex_unlock(&vmab_registry);
	return r;
}

void vmab_disk_unregister(struct vmab_disk *disk)
{
	mutex_lock(&vmab_registry);
	if (!list_empty(&disk->list))
		lose_disk(disk, test_bit(GD_DEAD, &disk->gd->state) ? VMABACKUP_REASON_REMOVED :
			  VMABACKUP_REASON_REPLACED);
	mutex_unlock(&vmab_registry);

	wait_event(disk->idle, !atomic_read(&disk->origin_reads) &&
		   !atomic_read(&disk->fleece_ios));
	mutex_lock(&vmab_registry);
	vmab_registry_forget(disk);
	mutex_unlock(&vmab_registry);
	/* Ends of I/O that have yet to wake us. */
	synchronize_rcu();
}

/*
 * FETCH rests, or goes on, and so do view reads of the origin.  These not before the disk is
 * suspended: until then dm may be freezing a file system, and that may wait for somebody who
 * reads the view.
 */
static void set_rest(struct vmab_disk *disk, bool paused, bool stopped)
{
	lockdep_assert_held(&vmab_registry);
	if (disk->owner)
		lockdep_assert_held(&disk->owner->session->lock);
	disk->paused = paused;
	disk->stopped = stopped;
}

static void presuspend_member(struct vmab_member *member, bool noflush, struct list_head *requeue)
{
	spin_lock_irq(&member->session->lock);
	set_rest(member->disk, true, false);
	if (member->session->state == VMABACKUP_STATE_ARMED) {
		if (noflush)
			vmab_held_take_starved(member, requeue);
		vmab_held_suspending(member);
	}
	spin_unlock_irq(&member->session->lock);
}

/*
 * dm waits for the bios that we hold.  They must not depend on the reader:
 * without flush they can go back to dm, if they are not polled; else they have a short
 * grace, then the session breaks.
 */
void vmab_disk_presuspend(struct vmab_disk *disk, bool noflush)
{
	LIST_HEAD(requeue);

	mutex_lock(&vmab_registry);
	if (disk->owner)
		presuspend_member(disk->owner, noflush, &requeue);
	else
		set_rest(disk, true, false);
	mutex_unlock(&vmab_registry);
	vmab_held_requeue(&requeue);
}

static void stop_member(struct vmab_member *member)
{
	spin_lock_irq(&member->session->lock);
	set_rest(member->disk, true, true);
	spin_unlock_irq(&member->session->lock);
}

void vmab_disk_postsuspend(struct vmab_disk *disk)
{
	mutex_lock(&vmab_registry);
	disk->suspended = true;
	if (disk->owner)
		stop_member(disk->owner);
	else
		set_rest(disk, true, true);
	mutex_unlock(&vmab_registry);

	/*
	 * Nothing of ours may read the origin while it is suspended: the table
	 * that comes next may change it behind our back.
	 */
	wait_event(disk->idle, !atomic_read(&disk->origin_reads));
}

static void resume_member(struct vmab_member *member)
{
	spin_lock_irq(&member->session->lock);
	set_rest(member->disk, false, false);
	member->suspend_since = 0;
	vmab_fetch_kick(member->session);
	vmab_view_read_resume(member);
	spin_unlock_irq(&member->session->lock);
}

void vmab_disk_resume(struct vmab_disk *disk)
{
	mutex_lock(&vmab_registry);
	if (disk->owner)
		resume_member(disk->owner);
	else
		set_rest(disk, false, false);
	mutex_unlock(&vmab_registry);
}

static void member_status(const struct vmab_member *member, struct vmab_disk_status *status)
{
	static const enum vmab_disk_state states[] = {
		[VMABACKUP_STATE_NEW] = VMAB_DISK_MEMBER,
		[VMABACKUP_STATE_READY] = VMAB_DISK_MEMBER,
		[VMABACKUP_STATE_ARMED] = VMAB_DISK_ARMED,
		[VMABACKUP_STATE_BROKEN] = VMAB_DISK_BROKEN,
		/* Its fleece device is being emptied. */
		[VMAB_STATE_CLOSED] = VMAB_DISK_MEMBER,
	};

	spin_lock_irq(&member->session->lock);
	status->state = states[member->session->state];
	if (member->session->fault.reason)
		status->fault = member->session->fault;
	if (member->was_armed) {
		status->stats = member->stats;
		status->stats.fleece_used = member->fleece ? member->fleece->nr_used <<
					    (member->chunk_shift + SECTOR_SHIFT) : 0;
		status->fault = member->session->fault;
		status->left = member->map.nr_left;
		if (member->session->standalone)
			status->left -= member->stats.spilled;
		status->total = member->map.nr_chunks;
	}
	if (member->session->slots) {
		status->policy = member->session->policy;
		status->has_policy = true;
	}
	spin_unlock_irq(&member->session->lock);
}

void vmab_disk_status(struct vmab_disk *disk, struct vmab_disk_status *status)
{
	mutex_lock(&vmab_registry);
	status->state = VMAB_DISK_IDLE;
	status->policy = disk->last_policy;
	status->has_policy = disk->was_armed;
	status->stats = disk->last_stats;
	status->fault = disk->last_fault;
	status->left = disk->last_left;
	status->total = disk->last_total;
	if (disk->owner)
		member_status(disk->owner, status);
	mutex_unlock(&vmab_registry);
}
