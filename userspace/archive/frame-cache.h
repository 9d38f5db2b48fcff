/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * frame-cache: what can only be read as a whole, kept for whoever needs parts of it: a
 * zstd file's frames, decompressed, or the extents of an archive that is not compressed.
 *
 * For any number of threads: different ones are read side by side, the same one only
 * once; least recently used ones are dropped first. Memory stays within the limit,
 * whatever the number of threads, or within that of one frame if that is more.
 */
#ifndef ARCHIVE_FRAME_CACHE_H
#define ARCHIVE_FRAME_CACHE_H

#include "libvma/vma.h"

struct frame_cache;
struct cached;

/* limit: bytes of content, and of what it takes to keep that. */
int frame_cache_new(struct frame_cache **c, size_t limit, struct vma_error *err);
/* No thread holds anything any more. */
void frame_cache_free(struct frame_cache *c);

/* Reads a frame's content, of the size it was asked for, without any lock held. */
typedef int (*frame_fill_fn)(void *ctx, uint8_t *data, struct vma_error *err);

/*
 * The frame of this number, which fill reads if it is not there. Whoever holds one holds
 * no other: he would wait for memory that he has himself. One that can't be read is not
 * kept: each who asks for it gets an error of his own.
 */
int frame_cache_hold(struct frame_cache *c, uint64_t number, uint32_t size, frame_fill_fn fill,
		     void *ctx, struct cached **out, struct vma_error *err);
const uint8_t *frame_cache_data(const struct cached *held);
void frame_cache_release(struct frame_cache *c, struct cached *held);

#endif /* ARCHIVE_FRAME_CACHE_H */
