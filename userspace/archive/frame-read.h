/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * frame-read: the content of a zstd file's frames, through a cache.
 *
 * Owns the decompressors. A frame that has a seal is held against it. For any number of
 * threads.
 */
#ifndef ARCHIVE_FRAME_READ_H
#define ARCHIVE_FRAME_READ_H

#include "archive/frames.h"

struct frame_reader;

/* fd and frames outlive it. cache: bytes, see frame-cache.h. */
int frame_reader_new(struct frame_reader **r, int fd, const struct frames *frames, size_t cache,
		     struct vma_error *err);
void frame_reader_free(struct frame_reader *r);

/* Copies len bytes at `offset` of the content of a frame, which has that many. */
int frame_reader_read(struct frame_reader *r, uint32_t number, uint32_t offset, void *buf,
		      size_t len, struct vma_error *err);

#endif /* ARCHIVE_FRAME_READ_H */
