/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * source: a disk that is put into an archive: an image file or a block device that
 * nobody writes to meanwhile.
 *
 * Any number of threads may read from it at once.
 */
#ifndef SOURCE_H
#define SOURCE_H

#include "libvma/vma.h"

/* Clusters that are read at once: what fits into one extent. */
#define SOURCE_RANGE	(VMA_EXTENT_FILL * VMA_CLUSTER_SIZE)

/* Buffers: a multiple of this, and a multiple of it long. */
#define SOURCE_ALIGN	4096u

struct source;

/* raw: as it is, even if it looks like another image format. */
int source_open(struct source **s, const char *path, bool raw, struct vma_error *err);
void source_close(struct source *s);

/* In the archive: a multiple of 512, zeroes beyond the end of a file that is not. */
uint64_t source_size(const struct source *s);

/* Refuses a source that fd, a file being written, is or lies on. */
int source_check_apart(const struct source *s, int fd, struct vma_error *err);

/* Whether all of it lies in a hole. */
bool source_is_hole(const struct source *s, uint64_t offset, size_t len);

/*
 * Reads len bytes (up to SOURCE_RANGE) at a multiple of the cluster size. there[i]: whether
 * cluster i of them is in buf; if not it lies in a hole, and reads as zeroes.
 */
int source_read(const struct source *s, uint64_t offset, size_t len, uint8_t *buf, bool *there,
		struct vma_error *err);

#endif /* SOURCE_H */
