/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * mounts: lines of /proc/self/mountinfo, as proc(5) has them.
 */
#ifndef DEVICES_MOUNTS_H
#define DEVICES_MOUNTS_H

#include <sys/types.h>

#include "libvma/vma.h"

struct mount {
	long long id;
	dev_t dev;
	const char *type;
	const char *source;
	const char *options;	/* of the file system, separated by commas */
	char text[];
};

/*
 * Finds the mount by its id or, if id is -1, the first by device number. *m is
 * the caller's to free(), NULL if there is none.
 */
int mount_find(const char *mountinfo, long long id, dev_t dev, struct mount **m,
	       struct vma_error *err);

/* Copies the value of an option "name=value"; false if it is not there or too long. */
bool mount_option(const struct mount *m, const char *name, char *value, size_t size);

#endif /* DEVICES_MOUNTS_H */
