// SPDX-License-Identifier: GPL-2.0
#include "instant.h"

#include <linux/sched/mm.h>

#include "registry.h"
#include "session.h"

static void let_go(struct vmab_disk *disk)
{
	lockdep_assert_held(&vmab_registry);

	disk->instant = NULL;
	disk->disarming = false;
	disk->closing = false;
}

static void disarm_work_fn(struct work_struct *work)
{
	struct vmab_disk *disk = container_of(work, struct vmab_disk, disarm_work);
	struct vmab_session *session;

	mutex_lock(&vmab_registry);
	session = disk->instant;
	disk->closing = true;
	mutex_unlock(&vmab_registry);
	vmab_session_close(session);
	mutex_lock(&vmab_registry);
	/* Else somebody did, and it may have another. */
	if (disk->closing)
		let_go(disk);
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
	int r;

	session->standalone = true;
	r = vmab_session_add(session, gd, &add);
	if (r)
		return r;
	setup.slot_size = max_t(u32, add.chunk_size, PAGE_SIZE);
	return vmab_session_setup(session, &setup);
}

static int arm(struct vmab_session *session)
{
	struct vmabackup_arm arg = {};
	int r = vmab_session_arm(session, &arg);

	return r == -ENOTCONN ? -EAGAIN : r;
}

/* *session: the prepared one, which is the caller's until finish(); or NULL. */
static int begin(struct vmab_disk *disk, bool arming, struct vmab_session **session)
{
	lockdep_assert_held(&vmab_registry);

	/* Idle, as everybody can see: how long the worker takes to free it is its affair. */
	if (disk->closing && !disk->owner)
		let_go(disk);
	*session = disk->instant;
	if (!disk->fleece || list_empty(&disk->list))
		return -ENODEV;
	if (*session) {
		if (!arming || disk->busy || disk->disarming ||
		    READ_ONCE((*session)->state) != VMABACKUP_STATE_READY)
			return -EBUSY;
	} else if (disk->owner) {
		return -EBUSY;
	}
	if (arming && !disk->suspended)
		return -EAGAIN;
	if (*session)
		disk->busy = true;
	return 0;
}

/* It is the caller's until finish(). */
static struct vmab_session *create(struct vmab_disk *disk)
{
	struct vmab_session *session = vmab_session_open();
	bool taken;

	if (IS_ERR(session))
		return session;

	mutex_lock(&vmab_registry);
	taken = disk->instant;
	if (!taken) {
		disk->instant = session;
		disk->busy = true;
	}
	mutex_unlock(&vmab_registry);
	if (!taken)
		return session;
	vmab_session_close(session);
	return ERR_PTR(-EBUSY);
}

static void finish(struct vmab_disk *disk, int error, bool keep)
{
	mutex_lock(&vmab_registry);
	disk->busy = false;
	if (error && !keep)
		disarm(disk);
	mutex_unlock(&vmab_registry);
}

static int make_instant(struct vmab_disk *disk, bool arming)
{
	struct vmab_session *session;
	struct gendisk *gd;
	unsigned int noio;
	bool prepared;
	int r;

	mutex_lock(&vmab_registry);
	r = begin(disk, arming, &session);
	prepared = session;
	gd = disk->gd;
	mutex_unlock(&vmab_registry);
	if (r)
		return r;

	/*
	 * The disk may be suspended: reclaim must not wait for writes to it.  This does
	 * not cover kthreadd, which is why there is prepare.
	 */
	noio = memalloc_noio_save();
	if (!session) {
		session = create(disk);
		r = PTR_ERR_OR_ZERO(session);
		if (r)
			goto restore_noio;
		r = set_up(session, gd);
	}
	if (!r && arming)
		r = arm(session);
	/* Resumed in between: what was prepared is as good as before. */
	finish(disk, r, r == -EAGAIN && prepared);
restore_noio:
	memalloc_noio_restore(noio);
	return r;
}

int vmab_instant_prepare(struct vmab_disk *disk)
{
	return make_instant(disk, false);
}

int vmab_instant_arm(struct vmab_disk *disk)
{
	return make_instant(disk, true);
}

int vmab_instant_disarm(struct vmab_disk *disk)
{
	int r = 0;

	mutex_lock(&vmab_registry);
	if (!disk->instant)
		r = -ENOENT;
	else if (disk->busy)
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
