/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * zstd-queue: the frames of a zstd file that are decompressed as a whole, several at once if
 * there are threads, and given out in the order of the file.
 *
 * Damage is a job of its own, or goes with that of the frame, and so is told where it
 * stands between the frames.
 */
#ifndef CODEC_ZSTD_QUEUE_H
#define CODEC_ZSTD_QUEUE_H

#include <zstd.h>

#include "codec/pipeline.h"
#include "codec/zstd-frame.h"

/* All zero to begin with. */
struct zstd_queue {
	struct pipeline *pipeline;
	ZSTD_DCtx **workers;
	unsigned int nr_workers;
	struct zstd_job *jobs;
	unsigned int nr_jobs;
	/* Frames to have under way: grows as they are used, for some only want the first. */
	unsigned int depth;
	bool lossy;		/* something was lost */
};

/* Stops what runs. After a failure, zstd_queue_stop() has to come all the same. */
int zstd_queue_start(struct zstd_queue *q, unsigned int threads, struct vma_error *err);
void zstd_queue_stop(struct zstd_queue *q);

/* One more can be put in; may only be done if so. */
bool zstd_queue_has_room(const struct zstd_queue *q);
/* How many are not given out. */
unsigned int zstd_queue_pending(const struct zstd_queue *q);

/*
 * A frame of `packed` bytes at p, `at` in the file, with the seal behind it if there is one;
 * NULL: the file has no seals.
 */
int zstd_queue_frame(struct zstd_queue *q, const uint8_t *p, uint64_t at, size_t packed,
		     const struct zstd_header *h, const struct seal *seal, bool seal_broken,
		     struct vma_error *err);
/* Instead of a frame; code is a negative errno. */
void zstd_queue_loss(struct zstd_queue *q, int code, const struct vma_loss *loss);

/* From the oldest, for which is waited: as the read of a decompressor, but 0 is not the end. */
ssize_t zstd_queue_read(struct zstd_queue *q, uint8_t *buf, size_t len, struct vma_loss *loss,
			struct vma_error *err);

/* What an error of the zstd library's is to us. */
int zstd_refusal(size_t code, struct vma_error *err);

#endif /* CODEC_ZSTD_QUEUE_H */
