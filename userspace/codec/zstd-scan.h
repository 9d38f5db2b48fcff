/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * zstd-scan: what comes next in a zstd file, be it a frame, a seal, a seek table or damage.
 *
 * A frame that says how large its content is, and is not too large, goes into the queue as a
 * whole, as does what is damaged or lost. Any other is left to the caller, to be
 * decompressed as a stream.
 *
 * Behind damage the next frame is looked for: in a file with seals the next seal, which
 * tells what it sealed, else the next magic number.
 */
#ifndef CODEC_ZSTD_SCAN_H
#define CODEC_ZSTD_SCAN_H

#include "codec/input.h"
#include "codec/zstd-queue.h"
#include "codec/zstd-table.h"

#define ZSTD_TRUNCATED	"truncated: the archive ends within a zstd frame"

struct zstd_scan {
	struct input *in;
	struct zstd_queue *queue;
	struct zstd_seen seen;		/* sealed: the file has seals */
	bool go_on;			/* as the decoder does */
	bool ended;
	bool hold;			/* a seek table is next: first all frames before it */
	bool closed;			/* a file with seals had its end */
	uint64_t judged;		/* up to here a seek table was compared, or damage told */
	bool stream;			/* at a frame for the caller, who resets it */
};

/* Takes the next frame up, of whatever kind, or notes the end. The queue must have room. */
int zstd_scan_next(struct zstd_scan *s, struct vma_error *err);

/* On to the next magic number, wherever that is; what came since `begin` is lost. */
int zstd_scan_damaged(struct zstd_scan *s, uint64_t begin, uint64_t unproven, int code,
		      const char *what, struct vma_error *err);

#endif /* CODEC_ZSTD_SCAN_H */
