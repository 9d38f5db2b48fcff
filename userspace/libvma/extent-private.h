/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the parts of extent-in share. */
#ifndef VMA_EXTENT_PRIVATE_H
#define VMA_EXTENT_PRIVATE_H

#include "libvma/extent-in.h"

#define EXTENT_DATA	(VMA_EXTENT_CLUSTERS * VMA_CLUSTER_SIZE)
#define EXTENT_BLOCKS	(EXTENT_DATA / VMA_BLOCK_SIZE)

/* Searched at a time. Together with an extent's data, which may have to be read again: */
#define SEARCH_STEP	(1u << 20)
#define AGAIN_ROOM	(VMA_EXTENT_HEADER + EXTENT_DATA + SEARCH_STEP)

/* ---- extent-bytes.c ---------------------------------------------------- */

/* Bytes of the stream, from begin to where it is now, of which nothing more is known. */
void extent_in_unusable(struct extent_in *in, uint64_t begin, const struct vma_error *what);

/* Goes over the loss, which is told. */
void extent_in_take_loss(struct extent_in *in);

/*
 * As many bytes as there are, up to want, to look at before they are read: those at again_at.
 * How many, which may be more.
 */
ssize_t extent_in_peek(struct extent_in *in, size_t want, struct vma_error *err);
void extent_in_skip(struct extent_in *in, size_t len);

/* These were read just now, and are to come again. There is room: see AGAIN_ROOM. */
void extent_in_unread(struct extent_in *in, const uint8_t *p, size_t len);

/* Of 512 bytes, which stay as they are. */
bool extent_in_is_extent(const struct extent_in *in, const uint8_t *p, struct vma_error *why);

/* Where the first extent among these bytes begins; len if none does. */
size_t extent_in_find(struct extent_in *in, const uint8_t *p, size_t len);

/*
 * What comes next is no extent, for that reason: goes on to the next one, the end, or the
 * next loss. Any byte may be its first: bytes before it may have been lost unnoticed.
 */
int extent_in_search(struct extent_in *in, const struct vma_error *why, struct vma_error *err);

/* ---- extent-shift.c ---------------------------------------------------- */

/* Which blocks of the extent's data are not there. */
struct gaps {
	bool any;
	size_t behind;		/* what was lost last ends there */
	bool ended;		/* the stream ended after so many bytes of data */
	size_t end;
	bool blocks[EXTENT_BLOCKS];
};

void gaps_add(struct gaps *g, size_t begin, size_t end);

/*
 * Of an extent of so many bytes, whose sum is not there (!summed) or wrong: more gaps where the
 * data is not what it should be, as what follows tells.
 */
int extent_in_check_shift(struct extent_in *in, size_t size, bool summed, struct gaps *gaps,
			  struct vma_error *err);

#endif /* VMA_EXTENT_PRIVATE_H */
