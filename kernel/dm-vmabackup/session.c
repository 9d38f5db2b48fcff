// SPDX-License-Identifier: GPL-2.0
#include "session.h"

#include <linux/blkdev.h>
#include <linux/log2.h>
#include <linux/module.h>
#include <linux/slab.h>

#include "chunk-map.h"
#include "copy.h"
#include "held.h"
#include "slots.h"

/* 1 GiB: sixteen times what vmactl asks for, and still small on a VM host. */
static unsigned int max_slot_memory_mb = 1024;
module_param(max_slot_memory_mb, uint, 0644);
MODULE_PARM_DESC(max_slot_memory_mb, "Bound of the slot memory of one session, MiB");

/* See types.h: no allocation and no waiting for I/O under it. */
static DEFINE_MUTEX(vmab_registry);
static LIST_HEAD(vmab_disks);

u64 vmab_session_max_memory(void)
{
	return (u64)max_slot_memory_mb << 20;
}

static u64 chunk_size(const struct vmab_member *member)
{
	return 1ULL << (member->chunk_shift + SECTOR_SHIFT);
}

/* ---- the life of a session --------------------------------------------- */

struct vmab_session *vmab_session_open(void)
{
	struct vmab_session *session;
	int r;
	u32 i;

	session = kzalloc(sizeof(*session), GFP_KERNEL_ACCOUNT);
	if (!session)
		return ERR_PTR(-ENOMEM);
	session->range_pool = kcalloc(VMABACKUP_MAX_RANGES, sizeof(*session->range_pool),
				      GFP_KERNEL_ACCOUNT);
	if (!session->range_pool) {
		kfree(session);
		return ERR_PTR(-ENOMEM);
	}

	mutex_init(&session->mutex);
	spin_lock_init(&session->lock);
	session->state = VMABACKUP_STATE_NEW;
	session->fault.disk = U32_MAX;
	session->fault.offset = U64_MAX;
	r = vmab_held_init_session(session);
	if (r)
		goto free_session;
	r = vmab_copy_init_session(session);
	if (r)
		goto exit_held;
	for (i = 0; i < VMABACKUP_MAX_RANGES; i++)
		list_add_tail(&session->range_pool[i].list, &session->free_ranges);
	return session;

exit_held:
	vmab_held_exit_session(session);
free_session:
	kfree(session->range_pool);
	kfree(session);
	return ERR_PTR(r);
}

/* The disk is its own again; its counters stay to be seen. Locked by both. */
static void detach(struct vmab_member *member)
{
	struct vmab_disk *disk = member->disk;

	lockdep_assert_held(&vmab_registry);
	lockdep_assert_held(&member->session->lock);

	if (!disk)
		return;
	RCU_INIT_POINTER(disk->member, NULL);
	disk->last_stats = member->stats;
	disk->last_fault = member->session->fault;
	disk->last_left = member->map.nr_needed;
	disk->last_total = member->map.nr_chunks;
	disk->owner = NULL;
	member->disk = NULL;
}

static void free_member(struct vmab_member *member)
{
	vmab_map_exit(&member->map);
	kfree(member);
}

void vmab_session_close(struct vmab_session *session)
{
	u32 i;

	mutex_lock(&vmab_registry);
	spin_lock_irq(&session->lock);
	vmab_close(session);
	for (i = 0; i < session->nr_members; i++)
		detach(session->members[i]);
	spin_unlock_irq(&session->lock);
	mutex_unlock(&vmab_registry);

	vmab_copy_quiesce(session);
	vmab_held_flush(session);
	/* Map functions and ends of reads that still look at the session. */
	synchronize_rcu();

	for (i = 0; i < session->nr_members; i++)
		free_member(session->members[i]);
	vmab_copy_exit_session(session);
	vmab_held_exit_session(session);
	vmab_slots_destroy(session->slots);
	kfree(session->range_pool);
	mutex_destroy(&session->mutex);
	kfree(session);
}

/* ---- setting up -------------------------------------------------------- */

static struct vmab_disk *find_disk(struct gendisk *gd)
{
	struct vmab_disk *disk;

	lockdep_assert_held(&vmab_registry);

	list_for_each_entry(disk, &vmab_disks, list)
		if (disk->gd == gd)
			return disk;
	return NULL;
}

static int check_free(struct vmab_session *session, struct vmab_disk *disk)
{
	if (!disk)
		return -ENODEV;
	if (disk->owner)
		return disk->owner->session == session ? -EEXIST : -EBUSY;
	return 0;
}

static int attach(struct vmab_session *session, struct vmab_disk *disk,
		  struct vmab_member *member)
{
	int r = 0;

	lockdep_assert_held(&vmab_registry);

	spin_lock_irq(&session->lock);
	if (session->state != VMABACKUP_STATE_NEW) {
		r = session->state == VMABACKUP_STATE_BROKEN ? -ESTALE : -EBUSY;
	} else {
		member->disk = disk;
		member->index = session->nr_members;
		disk->owner = member;
		session->members[session->nr_members++] = member;
		session->nr_left += member->map.nr_needed;
	}
	spin_unlock_irq(&session->lock);
	return r;
}

static int add(struct vmab_session *session, struct gendisk *gd, struct vmab_member *member)
{
	struct vmab_disk *disk;
	u64 size;
	int r;

	/* What the map needs is known under the lock and allocated outside. */
	mutex_lock(&vmab_registry);
	disk = find_disk(gd);
	r = check_free(session, disk);
	if (!r) {
		member->size = (u64)disk->ti->len << SECTOR_SHIFT;
		member->chunk_shift = disk->chunk_shift;
	}
	mutex_unlock(&vmab_registry);
	if (r)
		return r;

	size = member->size;
	r = vmab_map_init(&member->map, DIV_ROUND_UP_ULL(size, chunk_size(member)));
	if (r)
		return r;

	mutex_lock(&vmab_registry);
	disk = find_disk(gd);
	r = check_free(session, disk);
	/* Replaced by another instance meanwhile? */
	if (!r && ((u64)disk->ti->len << SECTOR_SHIFT != size ||
		   disk->chunk_shift != member->chunk_shift))
		r = -ENODEV;
	if (!r) {
		member->cbw_timeout_ms = disk->cbw_timeout_ms;
		r = attach(session, disk, member);
	}
	mutex_unlock(&vmab_registry);
	return r;
}

int vmab_session_add(struct vmab_session *session, struct gendisk *gd,
		     struct vmabackup_add_disk *arg)
{
	struct vmab_member *member;
	int r;

	member = kzalloc(sizeof(*member), GFP_KERNEL_ACCOUNT);
	if (!member)
		return -ENOMEM;
	member->session = session;
	vmab_held_init_member(member);
	vmab_copy_init_member(member);

	mutex_lock(&session->mutex);
	if (READ_ONCE(session->state) == VMABACKUP_STATE_BROKEN)
		r = -ESTALE;
	else if (READ_ONCE(session->state) != VMABACKUP_STATE_NEW)
		r = -EBUSY;
	else if (session->nr_members == VMABACKUP_MAX_DISKS)
		r = -ENOSPC;
	else
		r = add(session, gd, member);
	if (!r) {
		arg->disk = member->index;
		arg->chunk_size = chunk_size(member);
		arg->size = member->size;
		arg->nr_chunks = member->map.nr_chunks;
	}
	mutex_unlock(&session->mutex);

	if (r)
		free_member(member);
	return r;
}

static int setup(struct vmab_session *session, struct vmabackup_setup_slots *arg)
{
	struct vmab_slots *slots;
	int r = 0;
	u32 i;

	if (READ_ONCE(session->state) == VMABACKUP_STATE_BROKEN)
		return -ESTALE;
	if (session->slots)
		return -EBUSY;
	if (!session->nr_members)
		return -ENOENT;
	for (i = 0; i < session->nr_members; i++)
		if (arg->slot_size < chunk_size(session->members[i]))
			return -EINVAL;
	if ((u64)arg->nr_slots * arg->slot_size > vmab_session_max_memory())
		return -E2BIG;

	slots = vmab_slots_create(arg->nr_slots, arg->slot_size, arg->reserve);
	if (IS_ERR(slots))
		return PTR_ERR(slots);

	/* Pairs with the load in chardev_mmap(). */
	smp_store_release(&session->slots, slots);
	spin_lock_irq(&session->lock);
	if (session->state == VMABACKUP_STATE_NEW)
		session->state = VMABACKUP_STATE_READY;
	else
		r = -ESTALE;
	spin_unlock_irq(&session->lock);
	return r;
}

int vmab_session_setup(struct vmab_session *session, struct vmabackup_setup_slots *arg)
{
	int r;

	if (arg->nr_slots < VMABACKUP_MIN_SLOTS || arg->nr_slots > VMABACKUP_MAX_SLOTS ||
	    !is_power_of_2(arg->slot_size) || arg->slot_size < VMABACKUP_MIN_CHUNK ||
	    arg->slot_size < PAGE_SIZE || arg->slot_size > VMABACKUP_MAX_CHUNK ||
	    arg->reserve >= arg->nr_slots)
		return -EINVAL;

	mutex_lock(&session->mutex);
	r = setup(session, arg);
	mutex_unlock(&session->mutex);
	if (!r)
		arg->length = (u64)arg->nr_slots * arg->slot_size;
	return r;
}

static int arm(struct vmab_session *session, struct vmabackup_arm *arg)
{
	u32 i;

	lockdep_assert_held(&vmab_registry);
	lockdep_assert_held(&session->lock);

	switch (session->state) {
	case VMABACKUP_STATE_READY:
		break;
	case VMABACKUP_STATE_NEW:
		return -ENOENT;
	case VMABACKUP_STATE_ARMED:
		return -EBUSY;
	default:
		return -ESTALE;
	}

	for (i = 0; i < session->nr_members; i++) {
		if (!session->members[i]->disk->suspended) {
			arg->bad_disk = i;
			return -ENOTCONN;
		}
	}

	session->state = VMABACKUP_STATE_ARMED;
	for (i = 0; i < session->nr_members; i++) {
		struct vmab_member *member = session->members[i];

		rcu_assign_pointer(member->disk->member, member);
		vmab_member_event(member);
	}
	return 0;
}

int vmab_session_arm(struct vmab_session *session, struct vmabackup_arm *arg)
{
	int r;

	/* The registry keeps disks from being resumed meanwhile. */
	mutex_lock(&vmab_registry);
	spin_lock_irq(&session->lock);
	r = arm(session, arg);
	spin_unlock_irq(&session->lock);
	mutex_unlock(&vmab_registry);
	return r;
}

/* ---- what happens to a disk -------------------------------------------- */

/* The target instance is going, or another one has taken its place. */
static void lose_disk(struct vmab_disk *disk, enum vmabackup_reason reason)
{
	struct vmab_member *member = disk->owner;

	lockdep_assert_held(&vmab_registry);

	list_del_init(&disk->list);
	if (!member)
		return;
	spin_lock_irq(&member->session->lock);
	/* A disk that has been copied in full is not needed any more. */
	if (member->session->state != VMABACKUP_STATE_ARMED || member->map.nr_needed)
		vmab_break(member->session, reason, ENODEV, member, U64_MAX);
	detach(member);
	spin_unlock_irq(&member->session->lock);
}

void vmab_disk_register(struct vmab_disk *disk, struct gendisk *gd)
{
	struct vmab_disk *old;

	mutex_lock(&vmab_registry);
	disk->suspended = false;
	if (list_empty(&disk->list)) {
		old = find_disk(gd);
		if (old) {
			lose_disk(old, VMABACKUP_REASON_REPLACED);
			/* Whoever looks at the disk shall find out what happened. */
			disk->last_stats = old->last_stats;
			disk->last_fault = old->last_fault;
			disk->last_left = old->last_left;
			if (old->last_total)
				disk->last_total = old->last_total;
		}
		disk->gd = gd;
		list_add_tail(&disk->list, &vmab_disks);
	}
	mutex_unlock(&vmab_registry);
}

void vmab_disk_unregister(struct vmab_disk *disk)
{
	mutex_lock(&vmab_registry);
	if (!list_empty(&disk->list))
		lose_disk(disk, test_bit(GD_DEAD, &disk->gd->state) ? VMABACKUP_REASON_REMOVED :
			  VMABACKUP_REASON_REPLACED);
	mutex_unlock(&vmab_registry);

	wait_event(disk->idle, !atomic_read(&disk->inflight));
	/* Ends of reads that have yet to wake us. */
	synchronize_rcu();
}

/* FETCH rests, or goes on. */
static void set_paused(struct vmab_disk *disk, bool paused)
{
	lockdep_assert_held(&vmab_registry);
	if (disk->owner)
		lockdep_assert_held(&disk->owner->session->lock);
	disk->paused = paused;
}

static void presuspend_member(struct vmab_member *member, bool noflush, struct list_head *requeue)
{
	spin_lock_irq(&member->session->lock);
	set_paused(member->disk, true);
	if (member->session->state == VMABACKUP_STATE_ARMED) {
		if (noflush)
			vmab_held_take_starved(member, requeue);
		else
			vmab_held_suspending(member);
	}
	spin_unlock_irq(&member->session->lock);
}

/*
 * dm waits for the bios that we hold.  They must not depend on the reader:
 * without flush they can go back to dm; with flush they have a short grace, then
 * the session breaks.
 */
void vmab_disk_presuspend(struct vmab_disk *disk, bool noflush)
{
	LIST_HEAD(requeue);

	mutex_lock(&vmab_registry);
	if (disk->owner)
		presuspend_member(disk->owner, noflush, &requeue);
	else
		set_paused(disk, true);
	mutex_unlock(&vmab_registry);
	vmab_held_requeue(&requeue);
}

void vmab_disk_postsuspend(struct vmab_disk *disk)
{
	mutex_lock(&vmab_registry);
	disk->suspended = true;
	mutex_unlock(&vmab_registry);

	/*
	 * Nothing of ours may read the origin while it is suspended: the table
	 * that comes next may change it behind our back.
	 */
	wait_event(disk->idle, !atomic_read(&disk->inflight));
}

static void resume_member(struct vmab_member *member)
{
	spin_lock_irq(&member->session->lock);
	set_paused(member->disk, false);
	member->suspend_since = 0;
	vmab_copy_kick(member->session);
	spin_unlock_irq(&member->session->lock);
}

void vmab_disk_resume(struct vmab_disk *disk)
{
	mutex_lock(&vmab_registry);
	if (disk->owner)
		resume_member(disk->owner);
	else
		set_paused(disk, false);
	mutex_unlock(&vmab_registry);
}

static void member_status(const struct vmab_member *member, struct vmab_disk_status *status)
{
	static const enum vmab_disk_state states[] = {
		[VMABACKUP_STATE_NEW] = VMAB_DISK_MEMBER,
		[VMABACKUP_STATE_READY] = VMAB_DISK_MEMBER,
		[VMABACKUP_STATE_ARMED] = VMAB_DISK_ARMED,
		[VMABACKUP_STATE_BROKEN] = VMAB_DISK_BROKEN,
	};

	spin_lock_irq(&member->session->lock);
	status->state = states[member->session->state];
	if (member->session->state >= VMABACKUP_STATE_ARMED) {
		status->stats = member->stats;
		status->fault = member->session->fault;
		status->left = member->map.nr_needed;
		status->total = member->map.nr_chunks;
	}
	spin_unlock_irq(&member->session->lock);
}

void vmab_disk_status(struct vmab_disk *disk, struct vmab_disk_status *status)
{
	mutex_lock(&vmab_registry);
	status->state = VMAB_DISK_IDLE;
	status->stats = disk->last_stats;
	status->fault = disk->last_fault;
	status->left = disk->last_left;
	status->total = disk->last_total;
	if (disk->owner)
		member_status(disk->owner, status);
	mutex_unlock(&vmab_registry);
}
