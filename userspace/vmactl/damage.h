/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * damage: what was found to be wrong with an archive, and its two forms.
 *
 * Each fault is a line on stderr when it is found, up to DAMAGE_LINES; what is lost of
 * each disk follows at the end. All of it is kept for the JSON, up to DAMAGE_KEPT.
 */
#ifndef DAMAGE_H
#define DAMAGE_H

#include <json.h>

#include "libvma/vma.h"

/* More would only scroll away what the first ones say; the last line tells how many. */
#define DAMAGE_LINES	100

/* Faults, and runs of lost clusters of each disk, in the JSON. At 0.6 KiB a fault, 3 MiB. */
#define DAMAGE_KEPT	5000

struct damage;

/* archive: the path, which outlives it. */
int damage_new(struct damage **d, const char *archive, struct vma_error *err);
void damage_free(struct damage *d);

/* A vma_fault_fn, with the damage as ctx. */
void damage_fault(void *ctx, const struct vma_fault *f);
/* Once it is read. */
void damage_set_header(struct damage *d, const struct vma_header *h);

/*
 * At the end: the clusters that are in no extent (verify), or that were not written (extract):
 * a line for each run of them, of the disks that are wanted (by dev_id).
 */
void damage_missing(struct damage *d, const struct vma_reader *r, const bool wanted[256],
		    bool extracted);

/* Whether anything is lost, or not as it should be. */
bool damage_any(const struct damage *d);

/* Whether the faults leave all content as it is. */
bool damage_harmless(const struct damage *d);

/* The caller puts it; NULL: no memory. summed: all extents carry checksums of their data. */
struct json_object *damage_json(const struct damage *d, const struct vma_reader *r, bool summed);

/* The last line of a verification, if anything is wrong. */
void damage_verdict(const struct damage *d);

/* The last line of a salvage that ends with this exit code. */
void damage_close(const struct damage *d, int code);

#endif /* DAMAGE_H */
