// SPDX-License-Identifier: GPL-2.0-or-later
/* The bytes of the stream, some of which come more than once; and what is searched for in them. */
#include "libvma/extent-private.h"

#include <string.h>

#include "libvma/extent.h"
#include "libvma/header.h"
#include "libvma/wire.h"

/* ---- faults ----------------------------------------------------------- */

void extent_in_fault(struct extent_in *in, const struct vma_fault *f)
{
	in->faults++;
	in->tolerance->fault(in->tolerance->ctx, f);
}

void extent_in_unusable(struct extent_in *in, uint64_t begin, const struct vma_error *what)
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

void extent_in_take_loss(struct extent_in *in)
{
	struct vma_fault f = extent_in_loss(in);

	in->lost = false;
	if (in->loss.unproven) {
		uint64_t from = in->loss.unproven < in->position ?
				in->position - in->loss.unproven : 0;

		if (!in->doubt || from < in->doubt_from)
			in->doubt_from = from;
		in->doubt = true;
	}
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
		in->pulled += got;
		if (done == len || !loss || !loss(in->ctx, &in->loss))
			break;
		in->lost = true;
		/* Nothing is missing: what it says is told, and that is all. */
		if (!in->loss.bytes)
			extent_in_take_loss(in);
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

ssize_t extent_in_peek(struct extent_in *in, size_t want, struct vma_error *err)
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

void extent_in_skip(struct extent_in *in, size_t len)
{
	in->again_at += len;
	in->again_len -= len;
	in->position += len;
}

/* Mostly there is room where they came from. */
void extent_in_unread(struct extent_in *in, const uint8_t *p, size_t len)
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

bool extent_in_is_extent(const struct extent_in *in, const uint8_t *p, struct vma_error *why)
{
	uint8_t copy[VMA_EXTENT_HEADER];
	unsigned int blocks;

	memcpy(copy, p, sizeof(copy));
	return vma_extent_check(in->header, copy, in->position, &blocks, why) == 0;
}

/*
 * What has the magic number and the uuid is summed to see whether it is a header. A forged archive
 * may have both at every fourth byte, a real one only in its headers, and copies of it.
 */
#define SUM_FACTOR	8u
#define SUM_FREE	(64u << 20)

static bool is_found(struct extent_in *in, const uint8_t *p)
{
	if (memcmp(p + WIRE_E_UUID, in->header->uuid, WIRE_UUID_SIZE) != 0 ||
	    in->summed_in_vain / SUM_FACTOR > SUM_FREE / SUM_FACTOR + in->pulled)
		return false;
	if (extent_in_is_extent(in, p, NULL))
		return true;
	in->summed_in_vain += VMA_EXTENT_HEADER;
	return false;
}

size_t extent_in_find(struct extent_in *in, const uint8_t *p, size_t len)
{
	size_t at = 0;

	while (len - at >= VMA_EXTENT_HEADER) {
		const uint8_t *found = memmem(p + at, len - at, WIRE_EXTENT_MAGIC,
					      WIRE_MAGIC_SIZE);

		if (!found || len - (found - p) < VMA_EXTENT_HEADER)
			break;
		if (is_found(in, found))
			return found - p;
		at = found - p + 1;
	}
	return len;
}

int extent_in_search(struct extent_in *in, const struct vma_error *why, struct vma_error *err)
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

		found = extent_in_find(in, in->again + in->again_at, have);
		if (found < (size_t)have) {
			extent_in_skip(in, found);
			break;
		}
		/* One may begin in what is left. */
		if (have >= (ssize_t)VMA_EXTENT_HEADER)
			extent_in_skip(in, have - (VMA_EXTENT_HEADER - 1));
		have = extent_in_peek(in, SEARCH_STEP, err);
		if (have < 0)
			return have;
		if (have < (ssize_t)VMA_EXTENT_HEADER) {
			extent_in_skip(in, have);
			break;
		}
	}
	extent_in_unusable(in, begin, why);
	return 0;
}
