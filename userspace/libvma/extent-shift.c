// SPDX-License-Identifier: GPL-2.0-or-later
/* Data that is not where its extent says, for want of a sum told by what stands behind it. */
#include "libvma/extent-private.h"

#include <string.h>

#include "libvma/header.h"
#include "libvma/wire.h"

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

/* Whether the next extent stands here, or what is left of it: it may be damaged, or cut off. */
static bool in_place(const struct extent_in *in, const uint8_t *p, size_t len)
{
	size_t magic = len < WIRE_MAGIC_SIZE ? len : WIRE_MAGIC_SIZE;

	return memcmp(p, WIRE_EXTENT_MAGIC, magic) == 0 ||
	       (len >= WIRE_E_UUID + WIRE_UUID_SIZE &&
		memcmp(p + WIRE_E_UUID, in->header->uuid, WIRE_UUID_SIZE) == 0);
}

/*
 * Where the next extent begins among this one's data, from a place in it on: size if it does not.
 * Its header may go on in the bytes that follow, of which so many were peeked at.
 */
static size_t find_within(struct extent_in *in, size_t from, size_t size, size_t follow)
{
	uint8_t edge[2 * (VMA_EXTENT_HEADER - 1)];
	size_t found = from + extent_in_find(in, in->data + from, size - from);
	size_t tail = size - from;

	if (found < size)
		return found;
	if (tail > VMA_EXTENT_HEADER - 1)
		tail = VMA_EXTENT_HEADER - 1;
	if (follow > VMA_EXTENT_HEADER - 1)
		follow = VMA_EXTENT_HEADER - 1;
	memcpy(edge, in->data + size - tail, tail);
	memcpy(edge + tail, in->again + in->again_at, follow);
	found = extent_in_find(in, edge, tail + follow);
	return found < tail ? size - tail + found : size;
}

/* Another extent, whose header is damaged, and the header behind it. There is room for it. */
#define BEHIND_MAX	(VMA_EXTENT_HEADER + EXTENT_DATA + VMA_EXTENT_HEADER)

/* How far from here, where it should be, the next extent stands; 0: nowhere near. */
static int find_behind(struct extent_in *in, size_t *at, struct vma_error *err)
{
	size_t have = in->again_len, from = 0, want;
	ssize_t got;

	for (;;) {
		*at = from + extent_in_find(in, in->again + in->again_at + from, have - from);
		if (*at < have)
			return 0;
		*at = 0;
		if (have >= BEHIND_MAX)
			return 0;
		if (have >= VMA_EXTENT_HEADER)
			from = have - (VMA_EXTENT_HEADER - 1);
		want = have + SEARCH_STEP < BEHIND_MAX ? have + SEARCH_STEP : BEHIND_MAX;
		got = extent_in_peek(in, want, err);
		if (got < 0 || (size_t)got == have)
			return got < 0 ? (int)got : 0;
		have = got;
	}
}

/* The next extent is not in its place, nor among the data, and nothing is known to be lost. */
static int judge_behind(struct extent_in *in, size_t size, struct gaps *gaps, struct vma_error *err)
{
	size_t at;
	int ret = find_behind(in, &at, err);

	if (ret)
		return ret;
	/*
	 * Headers that are damaged, or gone, and blocks of other extents are multiples of 512
	 * bytes. Else there are bytes that nobody wrote, and it may be here that they are.
	 */
	if (at % VMA_EXTENT_HEADER) {
		in->why = "bytes were put into it";
		gaps_add(gaps, 0, size);
	} else {
		in->unproven = true;
	}
	return 0;
}

/*
 * Bytes that are gone without a trace, as from a disk that was copied around its bad
 * sectors, shift what follows: then the next extent is among what seemed to be this one's data.
 */
int extent_in_check_shift(struct extent_in *in, size_t size, bool summed, struct gaps *gaps,
			  struct vma_error *err)
{
	size_t found, gap_at = first_gap(gaps), whole = size;
	ssize_t have = 0;

	if (!size)
		return 0;
	if (gaps->ended) {
		size = gaps->end;
	} else {
		have = extent_in_peek(in, VMA_EXTENT_HEADER, err);
		if (have < 0)
			return have;
		if (in_place(in, in->again + in->again_at, have))
			return 0;
	}
	found = find_within(in, gaps->behind < size ? gaps->behind : size, size, have);
	if (found < size) {
		in->why = "bytes within it are gone";
		/* Else what it says is its data is taken to be so, if lost. */
		if (in->repeated + (size - found) <= REPEAT_FREE + REPEAT_FACTOR * in->pulled) {
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
	} else if (gaps->ended) {
		/* Its last bytes may be missing, or others. */
		in->unproven = true;
	} else if (!summed) {
		return judge_behind(in, size, gaps, err);
	}
	return 0;
}
