// SPDX-License-Identifier: GPL-2.0
#include "registry.h"

#include <linux/blkdev.h>

#include "held.h"

/* Guards the list and what types.h says is under it; nobody waits for I/O under it. */
DEFINE_MUTEX(vmab_registry);
static LIST_HEAD(vmab_disks);
static LIST_HEAD(vmab_lost);

struct vmab_disk *vmab_registry_find(const struct gendisk *gd)
{
	struct vmab_disk *disk;

	lockdep_assert_held(&vmab_registry);

	list_for_each_entry(disk, &vmab_disks, list)
		if (disk->gd == gd)
			return disk;
	return NULL;
}

struct vmab_disk *vmab_registry_find_dev(dev_t dev)
{
	struct vmab_disk *disk;

	lockdep_assert_held(&vmab_registry);

	list_for_each_entry(disk, &vmab_disks, list)
		if (disk_devt(disk->gd) == dev)
			return disk;
	return NULL;
}

static bool is_fleece_of(const struct vmab_disk *disk, const struct block_device *bdev)
{
	return disk->fleece && disk->fleece->bdev == bdev;
}

/* A fleece device takes old chunks at any place: nobody else may have it, as what it may be. */
static bool collide(const struct vmab_disk *disk, const struct gendisk *gd,
		    const struct vmab_disk *other)
{
	const struct gendisk *others = other->fleece ? other->fleece->bdev->bd_disk : NULL;

	if (gd == others || is_fleece_of(other, disk->origin->bdev))
		return true;
	return disk->fleece && (disk->fleece->bdev->bd_disk == other->gd ||
				is_fleece_of(other, disk->fleece->bdev) ||
				other->origin->bdev == disk->fleece->bdev);
}

int vmab_registry_check(const struct vmab_disk *disk, const struct gendisk *gd)
{
	const struct vmab_disk *other;

	lockdep_assert_held(&vmab_registry);

	/* An older instance of the same device is about to go. */
	list_for_each_entry(other, &vmab_disks, list)
		if (other->gd != gd && collide(disk, gd, other))
			return -EBUSY;
	return 0;
}

int vmab_registry_check_rest(const struct vmab_disk *disk, const struct gendisk *gd)
{
	const struct vmab_disk *other;

	lockdep_assert_held(&vmab_registry);

	list_for_each_entry(other, &vmab_disks, list)
		if (other->gd == gd && is_fleece_of(other, disk->origin->bdev) &&
		    (other->owner || atomic_read(&other->fleece_ios)))
			return -EBUSY;
	list_for_each_entry(other, &vmab_lost, lost)
		if (is_fleece_of(other, disk->origin->bdev) && atomic_read(&other->fleece_ios))
			return -EBUSY;
	return 0;
}

void vmab_registry_add(struct vmab_disk *disk, struct gendisk *gd)
{
	lockdep_assert_held(&vmab_registry);

	disk->gd = gd;
	list_add_tail(&disk->list, &vmab_disks);
}

void vmab_registry_del(struct vmab_disk *disk)
{
	lockdep_assert_held(&vmab_registry);
	list_del_init(&disk->list);
	list_add_tail(&disk->lost, &vmab_lost);
}

void vmab_registry_forget(struct vmab_disk *disk)
{
	lockdep_assert_held(&vmab_registry);
	list_del_init(&disk->lost);
}

bool vmab_registry_fleece_busy(const struct vmab_disk *disk)
{
	const struct vmab_disk *other;

	lockdep_assert_held(&vmab_registry);

	if (!disk->fleece)
		return false;
	/* Its session is over: there is less and less of it. */
	list_for_each_entry(other, &vmab_lost, lost)
		if (is_fleece_of(other, disk->fleece->bdev) && atomic_read(&other->fleece_ios))
			return true;
	return false;
}

void vmab_registry_detach(struct vmab_member *member)
{
	struct vmab_disk *disk = member->disk;
	struct vmab_view *view, *tmp;

	lockdep_assert_held(&vmab_registry);
	lockdep_assert_held(&member->session->lock);

	list_for_each_entry_safe(view, tmp, &member->views, list) {
		RCU_INIT_POINTER(view->member, NULL);
		list_del_init(&view->list);
	}
	if (!disk)
		return;
	RCU_INIT_POINTER(disk->member, NULL);
	disk->owner = NULL;
	vmab_member_event(member);
	member->disk = NULL;
	/* Also of one that broke before it was armed. */
	if (member->was_armed || member->session->fault.reason)
		disk->last_fault = member->session->fault;
	if (!member->was_armed)
		return;
	disk->was_armed = true;
	disk->last_stats = member->stats;
	disk->last_stats.copying = 0;
	disk->last_left = member->map.nr_left;
	if (member->session->standalone)
		disk->last_left -= member->stats.spilled;
	disk->last_total = member->map.nr_chunks;
	disk->last_policy = member->session->policy;
}

int vmab_registry_geometry(dev_t dev, struct vmab_geometry *geometry)
{
	struct vmab_disk *disk;
	int r = -ENODEV;

	mutex_lock(&vmab_registry);
	disk = vmab_registry_find_dev(dev);
	if (disk && disk->fleece) {
		geometry->sectors = disk->ti->len;
		geometry->chunk_shift = disk->chunk_shift;
		geometry->origin = disk->origin->bdev->bd_dev;
		geometry->fleece = disk->fleece->bdev->bd_dev;
		r = 0;
	}
	mutex_unlock(&vmab_registry);
	return r;
}
