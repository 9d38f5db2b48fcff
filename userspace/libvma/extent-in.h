/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * extent-in: the extents of a stream, one after the other, with their data.
 *
 * Owns the place in the stream and what was read too far: behind damage the next extent
 * is searched for. Without tolerance the first damage is an error. What an extent says of its
 * clusters is not looked at here.
 */
#ifndef VMA_EXTENT_IN_H
#define VMA_EXTENT_IN_H

#include "libvma/vma.h"

struct extent_in {
	vma_read_fn read;
	void *ctx;
	const struct vma_tolerance *tolerance;	/* NULL: none */
	struct vma_header *header;		/* NULL: not read yet */
	bool header_wrong;			/* its checksum was */

	uint64_t position;		/* of the byte that comes next */
	uint64_t extents, summed;	/* so far; of them, with sums */
	uint64_t faults;		/* so far */
	uint64_t pulled;		/* bytes that the stream gave: without what it lost */
	uint64_t repeated;		/* bytes given back so far because of shifts */
	uint64_t summed_in_vain;	/* bytes of what looked like headers and was none */

	/* Bytes that come next, before those of the stream: tolerance only. */
	uint8_t *again;
	size_t again_at, again_len;
	/* The stream lost something behind them. */
	bool lost;
	struct vma_loss loss;
	bool doubt;			/* one was told that made bytes before it unproven, */
	uint64_t doubt_from;		/* from here on */

	/* The extent. */
	uint64_t at;			/* where it begins */
	uint8_t extent[VMA_EXTENT_HEADER];
	uint8_t *data;			/* page aligned: O_DIRECT */
	uint64_t damaged;		/* by number of blockinfo: clusters whose data is */
	uint64_t likely;		/* of these, whose own sums are right */
	const char *why;		/* something is; NULL: nothing */
	bool proven;			/* its sum is right */
	bool unproven;			/* without a sum it may be wrong; is given out */
};

/* The rest is zero. */
int extent_in_init(struct extent_in *in, vma_read_fn read, void *ctx,
		   const struct vma_tolerance *t, struct vma_error *err);
void extent_in_destroy(struct extent_in *in);

/*
 * With tolerance, before anything is read: a header whose checksum is wrong may be so only
 * about its own size, which is where the first extent begins. Then it is set right in what
 * comes next, *mended is set, and *said is what it said. A header that is wrong about other
 * things, too, is cut where the first extent begins.
 */
int extent_in_mend_header(struct extent_in *in, bool *mended, uint32_t *said,
			  struct vma_error *err);

/* A vma_read_fn, for what stands before the extents. */
ssize_t extent_in_read(void *in, void *buf, size_t len, struct vma_error *err);

/* 1: the next one, 0: the end. */
int extent_in_next(struct extent_in *in, struct vma_error *err);

/* Up to where the stream can't be said to be unproven any more. */
uint64_t extent_in_proven(const struct extent_in *in);

/* The loss that the stream has come to, as a fault of no bytes. */
struct vma_fault extent_in_loss(const struct extent_in *in);

/* Counts a fault and tells it. */
void extent_in_fault(struct extent_in *in, const struct vma_fault *f);

#endif /* VMA_EXTENT_IN_H */
