/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * extent: the 512 bytes before each group of clusters, checked.
 *
 * Shared by those who read an archive from its beginning and those who look
 * things up in it.
 */
#ifndef VMA_EXTENT_H
#define VMA_EXTENT_H

#include "libvma/vma.h"

/* What an extent says about one cluster; dev_id 0: nothing. */
struct vma_blockinfo {
	uint16_t mask;
	uint8_t dev_id;
	uint32_t cluster;
};

struct vma_blockinfo vma_extent_info(const uint8_t *extent, unsigned int i);

/*
 * Checks the extent header that was read at byte `at` of the archive, as far as that
 * can be done without its data; zeroes its checksum field. *blocks: how many 4 KiB
 * blocks follow. -EBADMSG.
 */
int vma_extent_check(const struct vma_header *h, uint8_t *extent, uint64_t at,
		     unsigned int *blocks, struct vma_error *err);

/* Whether the device exists and has that cluster. -EBADMSG. */
int vma_extent_check_info(const struct vma_header *h, struct vma_blockinfo info, uint64_t at,
			  struct vma_error *err);

/* The failures that only their readers can see, in the same words. */
int vma_extent_twice(const struct vma_header *h, struct vma_blockinfo info, uint64_t at,
		     struct vma_error *err);
int vma_extent_truncated(uint64_t at, struct vma_error *err);
int vma_extent_unsummed(uint64_t at, struct vma_error *err);

#endif /* VMA_EXTENT_H */
