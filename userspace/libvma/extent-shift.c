// SPDX-License-Identifier: GPL-2.0-or-later
/* Data that is not where its extent says, for want of a sum told by what stands behind it. */
#include "libvma/extent-private.h"

/*
 * A shift has what was read of an extent come once more, so a forged archive of nothing but
 * headers would be read, and summed, thousands of times over. In a real one the bytes that come
 * again are those that the extent would have lost: eight times what is there means that eight
 * ninths of it are gone, throughout. The first few extents may do so whatever came before.
 */
#define REPEAT_FACTOR	8u
#define REPEAT_FREE	(8u * EXTENT_DATA)

void gaps_add(struct gaps *g, size_t begin, size_t end)
{
	for (size_t i = begin / VMA_BLOCK_SIZE; i * VMA_BLOCK_SIZE < end; i++)
		g->blocks[i] = true;
	g->any = g->any || begin < end;
}

/* Where the first one begins; behind all data if there is none. */
static size_t first_gap(const struct gaps *g)
{
	size_t i = 0;

	while (i < EXTENT_BLOCKS && !g->blocks[i])
		i++;
	return i * VMA_BLOCK_SIZE;
}

/*
 * Bytes that are gone without a trace, as from a disk that was copied around its bad
 * sectors, shift what follows: then the next extent is among what seemed to be this one's data.
 */
int extent_in_check_shift(struct extent_in *in, size_t size, bool summed, struct gaps *gaps,
			  struct vma_error *err)
{
	size_t found, gap_at, whole = size;
	ssize_t have;

	if (gaps->ended) {
		size = gaps->end;
	} else {
		have = extent_in_peek(in, VMA_EXTENT_HEADER, err);
		if (have < 0)
			return have;
		/* What follows is in its place. */
		if ((!have && !in->lost) ||
		    (have >= (ssize_t)VMA_EXTENT_HEADER &&
		     extent_in_is_extent(in, in->again + in->again_at, NULL)))
			return 0;
	}
	found = gaps->behind < size ? gaps->behind : size;
	found += extent_in_find(in, in->data + found, size - found);
	gap_at = first_gap(gaps);
	if (found < size) {
		in->why = "bytes within it are gone";
		/* Else what it says is its data is taken to be so, if lost. */
		if (in->repeated + (size - found) <= REPEAT_FREE + REPEAT_FACTOR * in->position) {
			in->repeated += size - found;
			extent_in_unread(in, in->data + found, size - found);
		}
	}
	/*
	 * The size of a loss comes from what is damaged, and here it is wrong: what came behind it
	 * is shifted. Sums show that themselves.
	 */
	if (gap_at + VMA_BLOCK_SIZE <= size) {
		if (!summed || found < size)
			gaps_add(gaps, gap_at, whole);
	} else if (found < size) {
		/* From where on it is shifted is not known. */
		gaps_add(gaps, 0, size);
	}
	return 0;
}
