/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * frame-cache: decompressed frames, least recently used ones dropped first.
 *
 * For any number of threads: different frames are decompressed side by side, the same
 * one only once. Memory stays within the limit, whatever the number of threads, or
 * within that of one frame if that is more.
 */
#ifndef ARCHIVE_FRAME_CACHE_H
#define ARCHIVE_FRAME_CACHE_H

#include "archive/frames.h"

struct frame_cache;

/* fd and frames outlive the cache. limit: bytes of decompressed data. */
int frame_cache_new(struct frame_cache **c, int fd, const struct frames *frames, size_t limit,
		    struct vma_error *err);
/* No thread is reading any more. */
void frame_cache_free(struct frame_cache *c);

/* Copies len bytes at `offset` of the content of a frame, which has that many. */
int frame_cache_read(struct frame_cache *c, uint32_t number, uint32_t offset, void *buf,
		     size_t len, struct vma_error *err);

#endif /* ARCHIVE_FRAME_CACHE_H */
