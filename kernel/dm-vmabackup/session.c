// SPDX-License-Identifier: GPL-2.0
#include "session.h"

#include <linux/blkdev.h>
#include <linux/log2.h>
#include <linux/module.h>
#include <linux/slab.h>

#include "chunk-map.h"
#include "copy.h"
#include "fleece.h"
#include "held.h"
#include "registry.h"
#include "slots.h"
#include "view-read.h"

/* 1 GiB: sixteen times what vmactl asks for, and still small on a VM host. */
static unsigned int max_slot_memory_mb = 1024;
module_param(max_slot_memory_mb, uint, 0644);
MODULE_PARM_DESC(max_slot_memory_mb, "Bound of the slot memory of one session, MiB");

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
	r = vmab_fleece_init_session(session);
	if (r)
		goto exit_held;
	r = vmab_copy_init_session(session);
	if (r)
		goto exit_fleece;
	vmab_view_read_init_session(session);
	for (i = 0; i < VMABACKUP_MAX_RANGES; i++)
		list_add_tail(&session->range_pool[i].list, &session->free_ranges);
	return session;

exit_fleece:
	vmab_fleece_exit_session(session);
exit_held:
	vmab_held_exit_session(session);
free_session:
	kfree(session->range_pool);
	kfree(session);
	return ERR_PTR(r);
}

static void free_member(struct vmab_member *member)
{
	vmab_fleece_exit_member(member);
	vmab_map_exit(&member->map);
	kfree(member);
}

/* All of them, or those whose fleece devices have nothing on them. */
static void detach(struct vmab_session *session, bool all)
{
	u32 i;

	mutex_lock(&vmab_registry);
	spin_lock_irq(&session->lock);
	for (i = 0; i < session->nr_members; i++) {
		struct vmab_member *member = session->members[i];

		if (all || !member->fleece || !member->fleece->nr_used)
			vmab_registry_detach(member);
	}
	spin_unlock_irq(&session->lock);
	mutex_unlock(&vmab_registry);
}

void vmab_session_close(struct vmab_session *session)
{
	u32 i;

	spin_lock_irq(&session->lock);
	vmab_close(session);
	spin_unlock_irq(&session->lock);
	detach(session, false);
	vmab_copy_quiesce(session);
	/* The others are ours until those are clean for the next session. */
	for (i = 0; i < session->nr_members; i++)
		vmab_fleece_empty(session->members[i]);
	detach(session, true);
	for (i = 0; i < session->nr_members; i++)
		vmab_fleece_flush(session->members[i]);

	vmab_held_flush(session);
	vmab_view_read_flush(session);
	/* Map functions and ends of I/O that still look at the session. */
	synchronize_rcu();

	for (i = 0; i < session->nr_members; i++)
		free_member(session->members[i]);
	vmab_copy_exit_session(session);
	vmab_fleece_exit_session(session);
	vmab_held_exit_session(session);
	vmab_slots_destroy(session->slots);
	kfree(session->range_pool);
	mutex_destroy(&session->mutex);
	kfree(session);
}

/* ---- setting up -------------------------------------------------------- */

static int check_free(struct vmab_session *session, struct vmab_disk *disk)
{
	if (!disk)
		return -ENODEV;
	if (disk->owner)
		return disk->owner->session == session ? -EEXIST : -EBUSY;
	/* What an older instance writes there late would take the place of our chunks. */
	return vmab_registry_fleece_busy(disk) ? -EBUSY : 0;
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
		session->nr_left += member->map.nr_left;
		vmab_member_event(member);
	}
	spin_unlock_irq(&session->lock);
	return r;
}

static int add(struct vmab_session *session, struct gendisk *gd, struct vmab_member *member)
{
	struct vmab_disk *disk, *seen;
	u64 discard_bytes = 0;
	bool has_fleece = false;
	int r;

	/* What is needed is known under the lock and allocated outside. */
	mutex_lock(&vmab_registry);
	disk = vmab_registry_find(gd);
	r = check_free(session, disk);
	if (!r) {
		member->dev = disk_devt(gd);
		member->size = (u64)disk->ti->len << SECTOR_SHIFT;
		member->chunk_shift = disk->chunk_shift;
		has_fleece = disk->fleece;
		if (has_fleece)
			discard_bytes = vmab_fleece_discard_bytes(disk->fleece->bdev);
	}
	mutex_unlock(&vmab_registry);
	if (r)
		return r;

	seen = disk;
	r = vmab_map_init(&member->map, DIV_ROUND_UP_ULL(member->size, chunk_size(member)));
	if (r)
		return r;
	r = vmab_fleece_init_member(member, has_fleece, discard_bytes);
	if (r)
		return r;

	mutex_lock(&vmab_registry);
	disk = vmab_registry_find(gd);
	r = check_free(session, disk);
	/* Replaced by another instance meanwhile? */
	if (!r && (disk != seen || (u64)disk->ti->len << SECTOR_SHIFT != member->size ||
		   disk->chunk_shift != member->chunk_shift ||
		   !disk->fleece != !member->fleece))
		r = -ENODEV;
	if (!r) {
		member->cbw_timeout_ms = disk->cbw_timeout_ms;
		member->break_guest_write = disk->break_guest_write;
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
	vmab_view_read_init_member(member);

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
		arg->disk_flags = member->fleece ? VMABACKUP_DISK_FLEECE : 0;
		arg->reserved = 0;
	}
	mutex_unlock(&session->mutex);

	if (r)
		free_member(member);
	return r;
}

static bool any_fleece(const struct vmab_session *session)
{
	u32 i;

	for (i = 0; i < session->nr_members; i++)
		if (session->members[i]->fleece)
			return true;
	return false;
}

static bool all_fleece(const struct vmab_session *session)
{
	u32 i;

	for (i = 0; i < session->nr_members; i++)
		if (!session->members[i]->fleece)
			return false;
	return true;
}

/* Slots that only carry chunks to fleece devices; without a reader, all. */
static u32 spill_slots(const struct vmab_session *session, u32 nr_slots)
{
	if (session->standalone)
		return nr_slots;
	if (session->policy == VMABACKUP_POLICY_RING || !any_fleece(session))
		return 0;
	return clamp(nr_slots / 4, 1u, (u32)VMABACKUP_SPILL_SLOTS);
}

static void set_policy(struct vmab_session *session, const struct vmabackup_setup_slots *arg)
{
	u32 i;

	session->policy = arg->policy;
	session->drop_discards = arg->flags & VMABACKUP_SETUP_DROP_DISCARDS;
	for (i = 0; i < session->nr_members; i++) {
		struct vmab_member *member = session->members[i];

		if (arg->cbw_timeout_ms)
			member->cbw_timeout_ms = arg->cbw_timeout_ms;
		if (arg->on_cbw_error)
			member->break_guest_write = arg->on_cbw_error ==
						    VMABACKUP_BREAK_GUEST_WRITE;
	}
}

/* With several disks all but a quarter: one that hangs leaves that to the others. */
static u32 share_slots(const struct vmab_session *session, u32 nr_slots)
{
	return session->nr_members > 1 ? nr_slots - DIV_ROUND_UP(nr_slots, 4) : nr_slots;
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
	if (arg->policy == VMABACKUP_POLICY_FLEECE && !all_fleece(session))
		return -ENODEV;
	for (i = 0; i < session->nr_members; i++)
		if (arg->slot_size < chunk_size(session->members[i]))
			return -EINVAL;
	if ((u64)arg->nr_slots * arg->slot_size > vmab_session_max_memory())
		return -E2BIG;

	slots = vmab_slots_create(arg->nr_slots, arg->slot_size, arg->reserve);
	if (IS_ERR(slots))
		return PTR_ERR(slots);

	spin_lock_irq(&session->lock);
	if (session->state == VMABACKUP_STATE_NEW) {
		set_policy(session, arg);
		slots->share = share_slots(session, arg->nr_slots);
		slots->spill = spill_slots(session, arg->nr_slots);
		/* Pairs with the load in chardev_mmap(). */
		smp_store_release(&session->slots, slots);
		session->state = VMABACKUP_STATE_READY;
	} else {
		r = -ESTALE;
	}
	spin_unlock_irq(&session->lock);
	if (r)
		vmab_slots_destroy(slots);
	return r;
}

int vmab_session_setup(struct vmab_session *session, struct vmabackup_setup_slots *arg)
{
	int r;

	if (arg->nr_slots < VMABACKUP_MIN_SLOTS || arg->nr_slots > VMABACKUP_MAX_SLOTS ||
	    !is_power_of_2(arg->slot_size) || arg->slot_size < VMABACKUP_MIN_CHUNK ||
	    arg->slot_size < PAGE_SIZE || arg->slot_size > VMABACKUP_MAX_CHUNK ||
	    arg->reserve >= arg->nr_slots || arg->policy > VMABACKUP_POLICY_FLEECE ||
	    arg->on_cbw_error > VMABACKUP_BREAK_GUEST_WRITE ||
	    arg->cbw_timeout_ms > VMABACKUP_MAX_TIMEOUT_MS)
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

		member->was_armed = true;
		rcu_assign_pointer(member->disk->member, member);
		vmab_member_event(member);
	}
	/* Who polls already: all may have been forgotten by now. */
	wake_up_all(&session->reader);
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
