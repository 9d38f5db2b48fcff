/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * below: on which block devices a file, or a block device, lies.
 *
 * Owns the walk down: mount table, partitions, slaves (device-mapper, md,
 * bcache), the files behind loop devices, the members of btrfs, the upper layer
 * of overlayfs. Network and memory file systems lie on nothing. What a pipe or
 * a network block device leads to cannot be seen from here.
 */
#ifndef DEVICES_BELOW_H
#define DEVICES_BELOW_H

#include <sys/types.h>

#include "libvma/vma.h"

/*
 * Enough for any sane host (a volume group on 100 disks has some 200), and a
 * bound for a walk over data that this program does not own.
 */
#define BELOW_MAX_DEVICES	2048
#define BELOW_MAX_DEPTH		32

struct below {
	dev_t devices[BELOW_MAX_DEVICES];
	unsigned int n;
	const char *sys;	/* "/sys" */
	const char *mountinfo;	/* "/proc/self/mountinfo" */
};

void below_init(struct below *b);

/*
 * Adds what the open file lies on, or is: a regular file or directory's file
 * system, a block device itself. Adds nothing for pipes and the like.
 */
int below_add_file(struct below *b, int fd, struct vma_error *err);

/* Adds a block device and all that it lies on. */
int below_add_device(struct below *b, dev_t dev, struct vma_error *err);

bool below_has(const struct below *b, dev_t dev);

/*
 * Whether writing to the open file can change the device, or the reverse: it lies on the device,
 * or is a block device that the device lies on, as a whole disk below its partition.
 */
int below_touches(int fd, dev_t dev, bool *touches, struct vma_error *err);

#endif /* DEVICES_BELOW_H */
