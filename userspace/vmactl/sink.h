/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sink: where the content of one device goes when it is extracted.
 *
 * A new file becomes sparse: what is all zero is never written. A block device
 * holds something already, so there zeroes are made too: by deallocating where that
 * gives zeroes, or by asking the kernel for them, or by writing them.
 *
 * Written past the page cache where that is possible: what is restored is not read
 * again soon. Any number of threads may write; the rest is for one.
 */
#ifndef SINK_H
#define SINK_H

#include "libvma/vma.h"

struct sink;

/* A new file that the caller has created at fd; the sink closes it. */
int sink_new_file(struct sink **s, int fd, const char *path, uint64_t size, struct vma_error *err);

/*
 * A block device that is large enough and not in use, or a new file that gets
 * its name in sink_commit().
 */
int sink_open(struct sink **s, const char *path, uint64_t size, struct vma_error *err);

/*
 * Refuses a path whose overwriting would overwrite the open file fd: that file, or a block
 * device that it is or lies on. What a pipe comes from cannot be seen.
 */
int sink_check_apart(const char *path, int fd, struct vma_error *err);

/* How much larger than the disk sink_open_existing() takes: storages round up. */
#define SINK_MAX_SURPLUS	(4u << 20)

/*
 * A block device as above, or a file that exists and is overwritten. One that holds another
 * format would not be an image any more: unless raw says that this is meant.
 */
int sink_open_existing(struct sink **s, const char *path, uint64_t size, bool raw,
		       struct vma_error *err);

/* It reads as zeroes already, as a new volume does: sink_zero() does nothing. */
void sink_assume_zero(struct sink *s);
bool sink_reads_zero(const struct sink *s);

/* Zeroes cost the target as much as data may: it was asked to deallocate, and can't. */
bool sink_writes_zeroes(const struct sink *s);

/* Through the page cache. */
void sink_use_cache(struct sink *s);

/* offset, and data in memory, are multiples of 4096; so is len but at the device's end. */
int sink_write(struct sink *s, const void *data, size_t len, uint64_t offset,
	       struct vma_error *err);
int sink_zero(struct sink *s, uint64_t offset, uint64_t len, struct vma_error *err);

/* All of it on disk, under its name; frees s unless it fails: then sink_abort() does. */
int sink_commit(struct sink *s, struct vma_error *err);

/*
 * Removes what sink_open() created; frees s. NULL is allowed. Returns whether
 * a block device, or a file that had existed, is left overwritten in part.
 */
bool sink_abort(struct sink *s);

const char *sink_path(const struct sink *s);

#endif /* SINK_H */
