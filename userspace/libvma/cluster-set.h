/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * cluster-set: the clusters of one device that an archive holds so far.
 *
 * The number of clusters comes from a header that may be hostile, so memory
 * grows with the clusters that were really added, never with the device's size:
 * a group of 65536 clusters is a short sorted list first and a bitmap once that
 * is smaller. A cluster costs an archive at least 8 bytes; far apart, it costs
 * about 64 here; close together, two bytes or less.
 */
#ifndef VMA_CLUSTER_SET_H
#define VMA_CLUSTER_SET_H

#include <stdint.h>

#include "libvma/vma.h"

struct cluster_set;

struct cluster_set *cluster_set_new(void);
void cluster_set_free(struct cluster_set *s);

/* -EEXIST if it was added before, -ENOMEM. */
int cluster_set_add(struct cluster_set *s, uint32_t cluster);

uint64_t cluster_set_count(const struct cluster_set *s);

/* The first of the clusters 0 .. nr - 1 that is missing; nr if none is. */
uint64_t cluster_set_first_missing(const struct cluster_set *s, uint64_t nr);

/*
 * The first cluster from `from` on, below nr, that is in the set, or (!there) is not; nr if
 * there is none. Takes no longer than what was added, or lies between.
 */
uint64_t cluster_set_next(const struct cluster_set *s, uint64_t from, uint64_t nr, bool there);

/* -ENODATA, naming a device and an offset, unless each device (sets by dev_id) has all. */
int cluster_sets_complete(struct cluster_set *const sets[256], const struct vma_header *h,
			  struct vma_error *err);

#endif /* VMA_CLUSTER_SET_H */
