// SPDX-License-Identifier: GPL-2.0-or-later
#include "libvma/extent-private.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "libvma/data-sum.h"
#include "libvma/extent.h"
#include "libvma/header.h"
#include "libvma/text.h"
#include "libvma/wire.h"

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
	found = extent_in_find(in, p + VMA_HEADER_MIN, len);
	vma_header_free(in->header);
	in->header = NULL;
	*at = found && found < len ? VMA_HEADER_MIN + found : 0;
	return 0;
}

int extent_in_mend_header(struct extent_in *in, bool *mended, uint32_t *said,
			  struct vma_error *err)
{
	ssize_t have = extent_in_peek(in, VMA_HEADER_MIN, err);
	bool wrong;
	uint32_t size, at;
	uint8_t *p;
	int ret;

	*mended = false;
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
		have = extent_in_peek(in, size, err);
		if (have < 0)
			return have;
		if (have >= size && header_right(in->again + in->again_at, size))
			return 0;
		wrong = true;
	}
	have = extent_in_peek(in, HEADER_SEARCH, err);
	if (have < 0)
		return have;
	ret = first_extent(in, have, &at, err);
	if (ret || !at || at == size)
		return ret;
	/* It was not looked at that far, but an extent stands in it. */
	wrong = wrong || size > AGAIN_ROOM;
	p = in->again + in->again_at;
	wire_put_be32(p + WIRE_H_HEADER_SIZE, at);
	*mended = header_right(p, at);
	*said = size;
	/* Else something else is wrong, too; or it is the first extents that are lost. */
	if (!*mended && (!wrong || (size > VMA_HEADER_MIN && size < at)))
		wire_put_be32(p + WIRE_H_HEADER_SIZE, size);
	return 0;
}

/* ---- an extent -------------------------------------------------------- */

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
			extent_in_take_loss(in);
			gaps->behind = done + missing;
		} else {
			in->why = "the archive ends before it";
			gaps->ended = true;
			gaps->end = done;
		}
		memset(in->data + done, 0, missing);
		gaps_add(gaps, done, done + missing);
		done += missing;
	}
	return 0;
}

/* Which clusters of the extent can be believed. */
static void judge(struct extent_in *in, const struct data_check *check, const struct gaps *gaps)
{
	size_t block = 0;
	uint64_t used = 0;
	bool unknown;

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
	unknown = in->likely == used;
	if (unknown)
		in->likely = 0;
	if (in->why)
		return;
	if (!check->there && in->summed && !gaps->any)
		in->why = "the checksum of its data is missing";
	else if (check->there && unknown && !gaps->any)
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
		ret = extent_in_check_shift(in, size, check.there, &gaps, err);
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
			extent_in_unread(in, copy, sizeof(copy));
			ret = extent_in_search(in, &why, err);
			if (ret)
				return ret;
		} else {
			ret = vma_extent_truncated(in->at, &why);
			if (!in->tolerance)
				return vma_fail(err, ret, "%s", why.text);
			if (in->lost)
				vma_error_set(&why, "damaged: the header of the extent at byte %" PRIu64
					      " is lost in part", in->at);
			if (got)
				extent_in_unusable(in, in->at, &why);
			if (in->lost)
				extent_in_take_loss(in);
			else
				return 0;
		}
	}
}
