/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * frames: where the frames of a zstd file lie, from the seek table at its end.
 *
 * The table is that of zstd's published seekable format: a skippable frame, the last
 * of the file, that lists the sizes of all frames before it. The seals of a file that
 * has them (codec/seal.h) are frames of the table, and go with the frame before them here.
 * Constant once opened.
 */
#ifndef ARCHIVE_FRAMES_H
#define ARCHIVE_FRAMES_H

#include "libvma/vma.h"

/*
 * A frame is decompressed as a whole to get at any byte of it, so its size bounds both
 * memory and the time of one small read.
 */
#define FRAME_MAX	(64u << 20)

/* 16 bytes of memory for each, seals not counted; as extents come to 3.7 MiB, enough for 60 TiB. */
#define FRAMES_MAX	(1u << 24)

struct frames;

/* -EOPNOTSUPP: a zstd file that cannot be entered anywhere; -EBADMSG, -EFBIG, -ENOMEM. */
int frames_open(struct frames **f, int fd, uint64_t file_size, struct vma_error *err);
void frames_free(struct frames *f);

uint32_t frames_count(const struct frames *f);
uint64_t frames_total(const struct frames *f);		/* bytes, decompressed */
uint32_t frames_largest(const struct frames *f);	/* likewise */

struct frame {
	uint64_t at;		/* in the file */
	uint64_t size;		/* compressed, without its seal */
	uint64_t content_at;	/* in the stream */
	uint32_t content_size;
	bool sealed;		/* its seal follows it at once */
};

/* at < frames_total(): the number of the frame that holds this byte of the stream. */
uint32_t frames_find(const struct frames *f, uint64_t at);
struct frame frames_get(const struct frames *f, uint32_t number);

#endif /* ARCHIVE_FRAMES_H */
