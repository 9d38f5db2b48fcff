/* SPDX-License-Identifier: GPL-2.0 */
/*
 * registry: which disks exist, and which member has each.  Every change of that
 * goes through its mutex, which dm's suspend path takes, too: nobody allocates
 * or waits for I/O under it.
 */
#ifndef VMAB_REGISTRY_H
#define VMAB_REGISTRY_H

#include "types.h"

extern struct mutex vmab_registry;

/* All with vmab_registry held. */
struct vmab_disk *vmab_registry_find(const struct gendisk *gd);
struct vmab_disk *vmab_registry_find_dev(dev_t dev);

/* -EBUSY if another disk has this one, or a device of it, for a fleece device, or the reverse. */
int vmab_registry_check(const struct vmab_disk *disk, const struct gendisk *gd);
/*
 * -EBUSY if the origin was the fleece device of an older instance, or of a disk that is gone,
 * and is not at rest yet: the same may be well a little later.
 */
int vmab_registry_check_rest(const struct vmab_disk *disk, const struct gendisk *gd);
void vmab_registry_add(struct vmab_disk *disk, struct gendisk *gd);

/*
 * The disk can't be found any more.  It is remembered for as long as I/O of its
 * last session may be under way: vmab_registry_forget().
 */
void vmab_registry_del(struct vmab_disk *disk);
void vmab_registry_forget(struct vmab_disk *disk);

/* Is a disk that is not there any more still writing to the fleece device of this one? */
bool vmab_registry_fleece_busy(const struct vmab_disk *disk);

/*
 * The disk is its own again, and what is to be seen of its session stays to be
 * seen; the views of the member have nothing to show any more.  With the
 * session's lock, too.
 */
void vmab_registry_detach(struct vmab_member *member);

/* What a view has to know of a disk. */
struct vmab_geometry {
	sector_t sectors;
	unsigned int chunk_shift;
	dev_t origin;
	dev_t fleece;
};

/* Not locked. -ENODEV if there is no such disk, or it has no fleece device. */
int vmab_registry_geometry(dev_t dev, struct vmab_geometry *geometry);

#endif /* VMAB_REGISTRY_H */
