/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * restore: clusters into sinks, by several threads.
 *
 * Owns the memory between the archive's reader and the disks, RESTORE_MEMORY in all:
 * neighbours are gathered into large writes. A failure is told by a later call.
 */
#ifndef RESTORE_H
#define RESTORE_H

#include "vmactl/sink.h"

/* Writes at once: as many as keep a fast disk busy, few enough for one with heads. */
#define RESTORE_WRITERS		4

/* Neighbouring clusters are written together up to so much. */
#define RESTORE_WRITE_MAX	(1u << 20)

#define RESTORE_JOBS		(2 * RESTORE_WRITERS)
#define RESTORE_MEMORY		(RESTORE_JOBS * RESTORE_WRITE_MAX)

struct restore;

int restore_new(struct restore **r, struct vma_error *err);
/* Copies what is in the cluster; the sink lives until restore_free() or restore_finish(). */
int restore_put(struct restore *r, struct sink *s, const struct vma_cluster *c,
		struct vma_error *err);
/* Waits until all of it is written, if not yet on stable storage. */
int restore_finish(struct restore *r, struct vma_error *err);
void restore_free(struct restore *r);

#endif /* RESTORE_H */
