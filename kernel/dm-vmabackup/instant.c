// SPDX-License-Identifier: GPL-2.0
#include "instant.h"

#include <linux/sched/mm.h>

#include "registry.h"
#include "session.h"

static void disarm_work_fn(struct work_struct *work)
{
	struct vmab_disk *disk = container_of(work, struct vmab_disk, disarm_work);
	struct vmab_session *session;

	mutex_lock(&vmab_registry);
	session = disk->instant;
	mutex_unlock(&vmab_registry);
	vmab_session_close(session);
	mutex_lock(&vmab_registry);
	disk->instant = NULL;
	disk->disarming = false;
	mutex_unlock(&vmab_registry);
}

/* From now on the session is the worker's. */
static void disarm(struct vmab_disk *disk)
{
	lockdep_assert_held(&vmab_registry);

	if (disk->disarming)
		return;
	disk->disarming = true;
	schedule_work(&disk->disarm_work);
}

void vmab_instant_init(struct vmab_disk *disk)
{
	INIT_WORK(&disk->disarm_work, disarm_work_fn);
}

void vmab_instant_exit(struct vmab_disk *disk)
{
	mutex_lock(&vmab_registry);
	if (disk->instant)
		disarm(disk);
	mutex_unlock(&vmab_registry);
	flush_work(&disk->disarm_work);
}

/* Only one at a time gets here with a session: disk->instant is taken by it. */
static int set_up(struct vmab_session *session, struct gendisk *gd)
{
	struct vmabackup_add_disk add = {};
	struct vmabackup_setup_slots setup = {
		.nr_slots = VMABACKUP_SPILL_SLOTS,
		.reserve = VMABACKUP_SPILL_SLOTS - 1,
		.policy = VMABACKUP_POLICY_FLEECE,
	};
	struct vmabackup_arm arm = {};
	int r;

	session->standalone = true;
	r = vmab_session_add(session, gd, &add);
	if (r)
		return r;
	setup.slot_size = max_t(u32, add.chunk_size, PAGE_SIZE);
	r = vmab_session_setup(session, &setup);
	if (r)
		return r;
	r = vmab_session_arm(session, &arm);
	return r == -ENOTCONN ? -EAGAIN : r;
}

static int check(const struct vmab_disk *disk)
{
	if (!disk->fleece || list_empty(&disk->list))
		return -ENODEV;
	if (disk->owner || disk->instant)
		return -EBUSY;
	return disk->suspended ? 0 : -EAGAIN;
}

int vmab_instant_arm(struct vmab_disk *disk)
{
	struct vmab_session *session;
	struct gendisk *gd = NULL;
	unsigned int noio;
	int r;

	mutex_lock(&vmab_registry);
	r = check(disk);
	if (!r)
		gd = disk->gd;
	mutex_unlock(&vmab_registry);
	if (r)
		return r;

	/* The disk is suspended: reclaim must not wait for writes to it. */
	noio = memalloc_noio_save();
	session = vmab_session_open();
	if (IS_ERR(session)) {
		r = PTR_ERR(session);
		goto restore_noio;
	}

	mutex_lock(&vmab_registry);
	if (disk->instant) {
		r = -EBUSY;
	} else {
		disk->instant = session;
		disk->arming = true;
	}
	mutex_unlock(&vmab_registry);
	if (r) {
		vmab_session_close(session);
		goto restore_noio;
	}

	r = set_up(session, gd);
	mutex_lock(&vmab_registry);
	disk->arming = false;
	if (r)
		disarm(disk);
	mutex_unlock(&vmab_registry);
restore_noio:
	memalloc_noio_restore(noio);
	return r;
}

int vmab_instant_disarm(struct vmab_disk *disk)
{
	int r = 0;

	mutex_lock(&vmab_registry);
	if (!disk->instant)
		r = -ENOENT;
	else if (disk->arming)
		r = -EBUSY;
	else
		disarm(disk);
	mutex_unlock(&vmab_registry);
	return r;
}

static bool is_disk_of(const struct vmab_disk *disk, const struct vmab_view *view)
{
	return disk && disk->fleece && view->ti->len <= disk->ti->len &&
	       view->chunk_shift == disk->chunk_shift &&
	       view->origin->bdev == disk->origin->bdev &&
	       view->fleece->bdev == disk->fleece->bdev;
}

static int attach(struct vmab_view *view)
{
	struct vmab_disk *disk = vmab_registry_find_dev(view->dev);
	struct vmab_member *member;

	/* It shows one instant; when that is over, none. */
	if (view->attached)
		return 0;
	if (!is_disk_of(disk, view))
		return -ENODEV;
	member = disk->owner;
	if (!member || !member->session->standalone ||
	    READ_ONCE(member->session->state) != VMABACKUP_STATE_ARMED)
		return -ENOTCONN;
	rcu_assign_pointer(view->member, member);
	list_add(&view->list, &member->views);
	view->attached = true;
	return 0;
}

int vmab_instant_attach(struct vmab_view *view)
{
	int r;

	mutex_lock(&vmab_registry);
	r = attach(view);
	mutex_unlock(&vmab_registry);
	return r;
}

void vmab_instant_detach(struct vmab_view *view)
{
	mutex_lock(&vmab_registry);
	RCU_INIT_POINTER(view->member, NULL);
	list_del_init(&view->list);
	mutex_unlock(&vmab_registry);
}
