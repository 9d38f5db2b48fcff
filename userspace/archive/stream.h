/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * stream: the bytes of an archive, before compression, at any place.
 *
 * A file that is not compressed, or a zstd file with a seek table. For any number of
 * threads.
 */
#ifndef ARCHIVE_STREAM_H
#define ARCHIVE_STREAM_H

#include "libvma/vma.h"

struct frames;
struct stream;

/* fd stays the caller's and outlives the stream. cache: see frame-cache.h. */
int stream_open(struct stream **s, int fd, size_t cache, struct vma_error *err);
void stream_close(struct stream *s);

uint64_t stream_size(const struct stream *s);
uint64_t stream_file_size(const struct stream *s);
const struct frames *stream_frames(const struct stream *s);	/* NULL: not compressed */

/* All of it, or -EBADMSG, -EIO, -ENOMEM. */
int stream_read(struct stream *s, uint64_t at, void *buf, size_t len, struct vma_error *err);

#endif /* ARCHIVE_STREAM_H */
