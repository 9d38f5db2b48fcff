/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vma-progress: how far reading an archive has come, on standard output as vma prints it. */
#ifndef VMA_PROGRESS_H
#define VMA_PROGRESS_H

#include "libvma/vma.h"

struct vma_progress {
	bool enabled;
	uint64_t total, done, data;	/* bytes of the disks; data: of blocks that are stored */
	uint64_t empty;			/* of clusters that hold nothing */
	int64_t started;
	unsigned int shown;		/* percent */
};

void vma_progress_start(struct vma_progress *p, bool enabled, const struct vma_header *h);
void vma_progress_add(struct vma_progress *p, const struct vma_cluster *c);
/* The sums, once all was read. */
void vma_progress_end(const struct vma_progress *p);

#endif /* VMA_PROGRESS_H */
