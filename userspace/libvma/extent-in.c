// SPDX-License-Identifier: GPL-2.0-or-later
#include "libvma/extent-in.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "libvma/data-sum.h"
#include "libvma/extent.h"
#include "libvma/header.h"
#include "libvma/text.h"
#include "libvma/wire.h"

#define EXTENT_DATA	(VMA_EXTENT_CLUSTERS * VMA_CLUSTER_SIZE)
#define EXTENT_BLOCKS	(EXTENT_DATA / VMA_BLOCK_SIZE)

/* Searched at a time. Together with an extent's data, which may have to be read again: */
#define SEARCH_STEP	(1u << 20)
#define AGAIN_ROOM	(VMA_EXTENT_HEADER + EXTENT_DATA + SEARCH_STEP)

/*
 * A shift has what was read of an extent come once more, so a forged archive of nothing but
 * headers would be read, and summed, thousands of times over. In a real one the bytes that come
 * again are those that the extent would have lost: eight times what is there means that eight
 * ninths of it are gone, throughout. The first few extents may do so whatever came before.
 */
#define REPEAT_FACTOR	8u
#define REPEAT_FREE	(8u * EXTENT_DATA)

/* Where the first extent is searched for: writers' headers are no longer than half of it. */
#define HEADER_SEARCH	(2 * VMA_HEADER_MAX_WRITE)

int extent_in_init(struct extent_in *in, vma_read_fn read, void *ctx,
		   const struct vma_tolerance *t, struct vma_error *err)
{
	*in = (struct extent_in){ .read = read, .ctx = ctx, .tolerance = t };
	in->data = aligned_alloc(VMA_BLOCK_SIZE, EXTENT_DATA);
	if (t)
		in->again = malloc(AGAIN_ROOM);
	if (!in->data || (t && !in->again)) {
		extent_in_destroy(in);
		return vma_fail(err, -ENOMEM, "out of memory");
	}
	return 0;
}

void extent_in_destroy(struct extent_in *in)
{
	free(in->data);
	free(in->again);
	in->data = NULL;
	in->again = NULL;
}

/* ---- faults ----------------------------------------------------------- */

void extent_in_fault(struct extent_in *in, const struct vma_fault *f)
{
	in->faults++;
	in->tolerance->fault(in->tolerance->ctx, f);
}

/* Bytes of the stream, from begin to where it is now, of which nothing more is known. */
static void unusable(struct extent_in *in, uint64_t begin, const struct vma_error *what)
{
	struct vma_fault f = { .begin = begin, .end = in->position, .what = *what };

	extent_in_fault(in, &f);
}

struct vma_fault extent_in_loss(const struct extent_in *in)
{
	return (struct vma_fault){
		.begin = in->position,
		.end = in->position,
		.stored = in->loss.begin || in->loss.end != UINT64_MAX,
		.stored_begin = in->loss.begin,
		.stored_end = in->loss.end,
		.harmless = !in->loss.bytes,
		.what = in->loss.what,
	};
}

/* Goes over the loss, which is told. */
static void take_loss(struct extent_in *in)
{
	struct vma_fault f = extent_in_loss(in);

	in->lost = false;
	in->doubt = in->doubt || in->loss.unproven;
	/* A decoder may take what it likes for a size. */
	if (in->loss.bytes != VMA_LOSS_UNKNOWN && in->loss.bytes <= INT64_MAX - in->position) {
		in->position += in->loss.bytes;
		f.end = in->position;
	}
	extent_in_fault(in, &f);
}

/* ---- bytes ------------------------------------------------------------ */

/* From the stream itself. Fewer than len at the end, and where something is lost (in->lost). */
static ssize_t pull(struct extent_in *in, uint8_t *buf, size_t len, struct vma_error *err)
{
	vma_loss_fn loss = in->tolerance ? in->tolerance->loss : NULL;
	size_t done = 0;

	while (done < len && !in->lost) {
		ssize_t got = in->read(in->ctx, buf + done, len - done, err);

		if (got < 0)
			return got;
		done += got;
		if (done == len || !loss || !loss(in->ctx, &in->loss))
			break;
		in->lost = true;
		/* Nothing is missing: what it says is told, and that is all. */
		if (!in->loss.bytes)
			take_loss(in);
	}
	return done;
}

ssize_t extent_in_read(void *ctx, void *buf, size_t len, struct vma_error *err)
{
	struct extent_in *in = ctx;
	size_t n = in->again_len < len ? in->again_len : len;
	ssize_t got = 0;

	if (n) {
		memcpy(buf, in->again + in->again_at, n);
		in->again_at += n;
		in->again_len -= n;
	}
	if (n < len) {
		got = pull(in, (uint8_t *)buf + n, len - n, err);
		if (got < 0)
			return got;
	}
	in->position += n + got;
	return n + got;
}

uint64_t extent_in_proven(const struct extent_in *in)
{
	uint64_t read = in->position + in->again_len, unproven = 0;

	if (in->lost)
		unproven = in->loss.unproven;
	else if (in->tolerance->unproven)
		unproven = in->tolerance->unproven(in->ctx);
	return unproven < read ? read - unproven : 0;
}

/* As many bytes as there are, up to want, to look at before they are read. */
static ssize_t peek(struct extent_in *in, size_t want, struct vma_error *err)
{
	ssize_t got;

	if (in->again_len >= want)
		return in->again_len;
	if (in->again_at) {
		memmove(in->again, in->again + in->again_at, in->again_len);
		in->again_at = 0;
	}
	got = pull(in, in->again + in->again_len, want - in->again_len, err);
	if (got < 0)
		return got;
	in->again_len += got;
	return in->again_len;
}

static void skip(struct extent_in *in, size_t len)
{
	in->again_at += len;
	in->again_len -= len;
	in->position += len;
}

/*
 * These were read just now, and are to come again. There is room: see AGAIN_ROOM. Mostly it is
 * where they came from.
 */
static void unread(struct extent_in *in, const uint8_t *p, size_t len)
{
	if (in->again_at < len) {
		memmove(in->again + len, in->again + in->again_at, in->again_len);
		in->again_at = len;
	}
	in->again_at -= len;
	memcpy(in->again + in->again_at, p, len);
	in->again_len += len;
	in->position -= len;
}

/* ---- searching -------------------------------------------------------- */

/* Of 512 bytes, which stay as they are. */
static bool is_extent(const struct extent_in *in, const uint8_t *p, struct vma_error *why)
{
	uint8_t copy[VMA_EXTENT_HEADER];
	unsigned int blocks;

	memcpy(copy, p, sizeof(copy));
	return vma_extent_check(in->header, copy, in->position, &blocks, why) == 0;
}

/* Where the first extent among these bytes begins; len if none does. */
static size_t find_extent(const struct extent_in *in, const uint8_t *p, size_t len)
{
	size_t at = 0;

	while (len - at >= VMA_EXTENT_HEADER) {
		const uint8_t *found = memmem(p + at, len - at, WIRE_EXTENT_MAGIC,
					      WIRE_MAGIC_SIZE);

		if (!found || len - (found - p) < VMA_EXTENT_HEADER)
			break;
		if (memcmp(found + WIRE_E_UUID, in->header->uuid, WIRE_UUID_SIZE) == 0 &&
		    is_extent(in, found, NULL))
			return found - p;
		at = found - p + 1;
	}
	return len;
}

/*
 * What comes next is no extent, for that reason: goes on to the next one, the end, or the
 * next loss. Any byte may be its first: bytes before it may have been lost unnoticed.
 */
static int search(struct extent_in *in, const struct vma_error *why, struct vma_error *err)
{
	uint64_t begin = in->position;
	ssize_t have;

	/*
	 * First in what is here already: to fill that up moves all of it, which is too much for
	 * a few bytes between each extent and the next.
	 */
	have = in->again_len;
	for (;;) {
		size_t found;

		found = find_extent(in, in->again + in->again_at, have);
		if (found < (size_t)have) {
			skip(in, found);
			break;
		}
		/* One may begin in what is left. */
		if (have >= (ssize_t)VMA_EXTENT_HEADER)
			skip(in, have - (VMA_EXTENT_HEADER - 1));
		have = peek(in, SEARCH_STEP, err);
		if (have < 0)
			return have;
		if (have < (ssize_t)VMA_EXTENT_HEADER) {
			skip(in, have);
			break;
		}
	}
	unusable(in, begin, why);
	return 0;
}

/* ---- the header before them ------------------------------------------- */

/* Of so many bytes, which stay as they are. */
static bool header_right(uint8_t *p, uint32_t size)
{
	uint8_t md5[WIRE_MD5_SIZE];
	bool right;

	memcpy(md5, p + WIRE_H_MD5, sizeof(md5));
	right = wire_md5_check(p, size, WIRE_H_MD5);
	memcpy(p + WIRE_H_MD5, md5, sizeof(md5));
	return right;
}

/* Where the first extent begins, as far as peeked at; 0: not there. */
static int first_extent(struct extent_in *in, size_t have, uint32_t *at, struct vma_error *err)
{
	const uint8_t *p = in->again + in->again_at;
	size_t len = have - VMA_HEADER_MIN, found;

	in->header = vma_header_new(p + WIRE_H_UUID, 0);
	if (!in->header)
		return vma_fail(err, -ENOMEM, "out of memory");
	found = find_extent(in, p + VMA_HEADER_MIN, len);
	vma_header_free(in->header);
	in->header = NULL;
	*at = found && found < len ? VMA_HEADER_MIN + found : 0;
	return 0;
}

int extent_in_mend_header(struct extent_in *in, uint32_t *said, struct vma_error *err)
{
	ssize_t have = peek(in, VMA_HEADER_MIN, err);
	bool wrong, mended;
	uint32_t size, at;
	uint8_t *p;
	int ret;

	*said = 0;
	if (have < (ssize_t)VMA_HEADER_MIN)
		return have < 0 ? (int)have : 0;
	p = in->again + in->again_at;
	if (memcmp(p, WIRE_MAGIC, WIRE_MAGIC_SIZE) != 0 ||
	    wire_get_be32(p + WIRE_H_VERSION) != WIRE_VERSION)
		return 0;
	size = wire_get_be32(p + WIRE_H_HEADER_SIZE);
	wrong = size <= VMA_HEADER_MIN || size > VMA_HEADER_MAX;
	if (!wrong && size <= AGAIN_ROOM) {
		have = peek(in, size, err);
		if (have < 0)
			return have;
		if (have >= size && header_right(in->again + in->again_at, size))
			return 0;
		wrong = true;
	}
	have = peek(in, HEADER_SEARCH, err);
	if (have < 0)
		return have;
	ret = first_extent(in, have, &at, err);
	if (ret || !at || at == size)
		return ret;
	p = in->again + in->again_at;
	wire_put_be32(p + WIRE_H_HEADER_SIZE, at);
	mended = header_right(p, at);
	if (mended)
		*said = size;
	/* Something else is wrong, too; or it is the first extents that are lost. */
	else if (!wrong || (size > VMA_HEADER_MIN && size < at))
		wire_put_be32(p + WIRE_H_HEADER_SIZE, size);
	return 0;
}

/* ---- an extent -------------------------------------------------------- */

/* Which blocks of the extent's data are not there. */
struct gaps {
	bool any;
	size_t behind;		/* what was lost last ends there */
	bool ended;		/* the stream ended after so many bytes of data */
	size_t end;
	bool blocks[EXTENT_BLOCKS];
};

static void gap(struct gaps *g, size_t begin, size_t end)
{
	for (size_t i = begin / VMA_BLOCK_SIZE; i * VMA_BLOCK_SIZE < end; i++)
		g->blocks[i] = true;
	g->any = g->any || begin < end;
}

/* With tolerance: gaps are filled with zeroes. */
static int read_data(struct extent_in *in, size_t size, struct gaps *gaps, struct vma_error *err)
{
	size_t done = 0;

	while (done < size) {
		ssize_t got = extent_in_read(in, in->data + done, size - done, err);
		size_t missing = size - done;

		if (got < 0)
			return got;
		done += got;
		missing -= got;
		if (!missing)
			break;
		if (in->lost) {
			if (in->loss.bytes < missing)
				missing = in->loss.bytes;
			in->unproven = in->unproven || in->loss.unproven;
			take_loss(in);
			gaps->behind = done + missing;
		} else {
			in->why = "the archive ends before it";
			gaps->ended = true;
			gaps->end = done;
		}
		memset(in->data + done, 0, missing);
		gap(gaps, done, done + missing);
		done += missing;
	}
	return 0;
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
static int check_shift(struct extent_in *in, size_t size, bool summed, struct gaps *gaps,
		       struct vma_error *err)
{
	size_t found, gap_at, whole = size;
	ssize_t have;

	if (gaps->ended) {
		size = gaps->end;
	} else {
		have = peek(in, VMA_EXTENT_HEADER, err);
		if (have < 0)
			return have;
		/* What follows is in its place. */
		if ((!have && !in->lost) ||
		    (have >= (ssize_t)VMA_EXTENT_HEADER &&
		     is_extent(in, in->again + in->again_at, NULL)))
			return 0;
	}
	found = gaps->behind < size ? gaps->behind : size;
	found += find_extent(in, in->data + found, size - found);
	gap_at = first_gap(gaps);
	if (found < size) {
		in->why = "bytes within it are gone";
		/* Else what it says is its data is taken to be so, if lost. */
		if (in->repeated + (size - found) <= REPEAT_FREE + REPEAT_FACTOR * in->position) {
			in->repeated += size - found;
			unread(in, in->data + found, size - found);
		}
	}
	/*
	 * The size of a loss comes from what is damaged, and here it is wrong: what came behind it
	 * is shifted. Sums show that themselves.
	 */
	if (gap_at + VMA_BLOCK_SIZE <= size) {
		if (!summed || found < size)
			gap(gaps, gap_at, whole);
	} else if (found < size) {
		/* From where on it is shifted is not known. */
		gap(gaps, 0, size);
	}
	return 0;
}

/* Which clusters of the extent can be believed. */
static void judge(struct extent_in *in, const struct data_check *check, const struct gaps *gaps)
{
	size_t block = 0;
	uint64_t used = 0;

	for (unsigned int i = 0; i < VMA_EXTENT_CLUSTERS; i++) {
		struct vma_blockinfo info = vma_extent_info(in->extent, i);
		unsigned int blocks = info.dev_id ? __builtin_popcount(info.mask) : 0;
		bool there = true;

		if (!blocks)
			continue;
		for (unsigned int k = 0; k < blocks; k++)
			there = there && !gaps->blocks[block + k];
		block += blocks;
		used |= 1ull << i;
		if (!there || check->there || in->summed)
			in->damaged |= 1ull << i;
		if (there && check->there && !(check->differs & 1ull << i))
			in->likely |= 1ull << i;
	}
	/* One of them is damaged after all. */
	if (in->likely == used)
		in->likely = 0;
	if (in->why)
		return;
	if (!check->there && in->summed && !gaps->any)
		in->why = "the checksum of its data is missing";
	else if (check->there && !in->likely)
		in->why = "it is not known which of an extent's data differs from its checksum";
	else
		in->why = gaps->any ? "it is lost" : "its data differs from its checksum";
}

/* The header is good. */
static int take_extent(struct extent_in *in, unsigned int blocks, struct vma_error *err)
{
	size_t size = (size_t)blocks * VMA_BLOCK_SIZE;
	struct data_check check;
	struct gaps gaps = { 0 };
	ssize_t got;
	int ret = 0;

	in->damaged = 0;
	in->likely = 0;
	in->why = NULL;
	in->unproven = false;
	if (in->tolerance) {
		ret = read_data(in, size, &gaps, err);
	} else if (size) {
		got = extent_in_read(in, in->data, size, err);
		if (got < 0 || (size_t)got < size)
			ret = got < 0 ? (int)got : vma_extent_truncated(in->at, err);
	}
	if (ret)
		return ret;
	check = data_sum_check(in->extent, in->data);
	in->proven = check.there && check.right;
	if (in->tolerance && !check.right) {
		ret = check_shift(in, size, check.there, &gaps, err);
		if (ret)
			return ret;
	}
	if (check.there ? !check.right : in->summed || gaps.any)
		judge(in, &check, &gaps);
	in->summed += check.there;
	in->extents++;
	return 1;
}

/*
 * The archive's own header may be wrong about the uuid, of all things: then that of the
 * first extent is right.
 */
static void adopt_uuid(struct extent_in *in)
{
	uint8_t copy[VMA_EXTENT_HEADER];

	memcpy(copy, in->extent, sizeof(copy));
	if (memcmp(copy, WIRE_EXTENT_MAGIC, WIRE_MAGIC_SIZE) == 0 &&
	    wire_md5_check(copy, sizeof(copy), WIRE_E_MD5))
		memcpy(in->header->uuid, copy + WIRE_E_UUID, WIRE_UUID_SIZE);
	in->header_wrong = false;
}

int extent_in_next(struct extent_in *in, struct vma_error *err)
{
	for (;;) {
		struct vma_error why;
		unsigned int blocks;
		ssize_t got;
		int ret;

		in->at = in->position;
		got = extent_in_read(in, in->extent, sizeof(in->extent), err);
		if (got < 0 || (!got && !in->lost))
			return got;
		if (got == (ssize_t)sizeof(in->extent)) {
			uint8_t copy[VMA_EXTENT_HEADER];

			if (in->header_wrong)
				adopt_uuid(in);
			memcpy(copy, in->extent, sizeof(copy));
			ret = vma_extent_check(in->header, in->extent, in->at, &blocks, &why);
			if (!ret)
				return take_extent(in, blocks, err);
			if (!in->tolerance)
				return vma_fail(err, ret, "%s", why.text);
			unread(in, copy, sizeof(copy));
			ret = search(in, &why, err);
			if (ret)
				return ret;
		} else {
			ret = vma_extent_truncated(in->at, &why);
			if (!in->tolerance)
				return vma_fail(err, ret, "%s", why.text);
			if (got)
				unusable(in, in->at, &why);
			if (in->lost)
				take_loss(in);
			else
				return 0;
		}
	}
}
