// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What lzop writes, block by block; memory is twice the largest block, at most LZOP_BLOCK_MAX.
 *
 * A damaged block is passed over if what follows it can be a block; else the next bytes
 * are looked for that are one, with the size that lzop gives blocks.
 */
#include <errno.h>
#include <lzo/lzo1x.h>
#include <lzo/lzoconf.h>
#include <stdlib.h>
#include <string.h>

#include "codec/decompressor.h"
#include "codec/lzop-file.h"
#include "libvma/text.h"

/* The header as far as it has one length: up to the name's. A filter's number makes it longer. */
#define HEADER_FIXED	25u
#define FILTER_SIZE	4u
/* And what follows: a name, and a checksum. */
#define NAME_MAX_AND_SUM	(255u + 4)

/* An extra field larger than this is no lzop's. */
#define EXTRA_MAX	(1u << 20)

struct lzo {
	struct input *in;
	uint32_t flags;
	bool in_file, ended;
	uint8_t *block;		/* what is decompressed */
	size_t room, pos, used;
};

static bool is(const uint8_t *p, size_t len)
{
	return len >= LZOP_MAGIC_SIZE && memcmp(p, LZOP_MAGIC, LZOP_MAGIC_SIZE) == 0;
}

static int open_state(void **state, struct input *in, struct vma_error *err)
{
	struct lzo *l;

	if (lzo_init() != LZO_E_OK)
		return vma_fail(err, -EINVAL, "the lzo library does not fit this program");
	l = calloc(1, sizeof(*l));
	if (!l)
		return vma_fail(err, -ENOMEM, "out of memory");
	l->in = in;
	*state = l;
	return 0;
}

static void close_state(void *state)
{
	struct lzo *l = state;

	free(l->block);
	free(l);
}

/* ---- damage ----------------------------------------------------------- */

#define TRUNCATED	"truncated: the archive ends within its lzo stream"

/* What is lost begins at `begin` and ends where the input is now. */
static int lost(const struct lzo *l, uint64_t begin, uint64_t bytes, const char *what,
		struct vma_loss *loss)
{
	*loss = (struct vma_loss){ .begin = begin, .end = l->in->skipped, .bytes = bytes };
	return vma_fail(&loss->what, -EBADMSG, "%s", what);
}

static int lost_rest(struct lzo *l, uint64_t begin, const char *what, struct vma_loss *loss,
		     struct vma_error *err)
{
	int ret = input_drop_rest(l->in, err);

	l->ended = true;
	return ret ? ret : lost(l, begin, VMA_LOSS_UNKNOWN, what, loss);
}

static bool sum_is(bool crc, const uint8_t *p, size_t len, uint32_t sum)
{
	return (crc ? lzo_crc32(0, p, len) : lzo_adler32(1, p, len)) == sum;
}

/* ---- blocks ----------------------------------------------------------- */

struct block {
	uint32_t size, packed;
	unsigned int header;	/* bytes before the packed ones */
	/* In this order: adler32 and crc32 of the data, of the packed bytes. */
	struct {
		bool there, crc;
		uint32_t sum;
	} sums[4];
};

#define BLOCK_SIZES	8u	/* the beginning of a header */
#define BLOCK_HEADER	(BLOCK_SIZES + 4 * 4)	/* with all sums that there can be */

static bool block_sizes(const uint8_t *p, struct block *b)
{
	b->size = lzop_be32(p);
	b->packed = lzop_be32(p + 4);
	return b->size && b->size <= LZOP_BLOCK_MAX && b->packed && b->packed <= b->size;
}

/* Of BLOCK_HEADER bytes, or less at the end of the input: false, too, if they are too few. */
static bool block_header(const struct lzo *l, const uint8_t *p, size_t len, struct block *b)
{
	static const uint32_t flags[] = {
		LZOP_F_ADLER_DATA, LZOP_F_CRC_DATA, LZOP_F_ADLER_PACKED, LZOP_F_CRC_PACKED,
	};

	if (len < BLOCK_SIZES || !block_sizes(p, b))
		return false;
	b->header = BLOCK_SIZES;
	for (unsigned int i = 0; i < 4; i++) {
		/* What is stored has no checksum of what it was packed into. */
		b->sums[i].there = l->flags & flags[i] && (i < 2 || b->packed < b->size);
		b->sums[i].crc = i % 2;
		if (!b->sums[i].there)
			continue;
		if (len < b->header + 4)
			return false;
		b->sums[i].sum = lzop_be32(p + b->header);
		b->header += 4;
	}
	return true;
}

static bool packed_sums(const struct block *b, const uint8_t *p)
{
	for (unsigned int i = 2; i < 4; i++)
		if (b->sums[i].there && !sum_is(b->sums[i].crc, p, b->packed, b->sums[i].sum))
			return false;
	return true;
}

static bool data_sums(const struct block *b, const uint8_t *p)
{
	for (unsigned int i = 0; i < 2; i++)
		if (b->sums[i].there && !sum_is(b->sums[i].crc, p, b->size, b->sums[i].sum))
			return false;
	return true;
}

static int make_room(struct lzo *l, size_t size, struct vma_error *err)
{
	uint8_t *larger;

	if (l->room >= size)
		return 0;
	larger = realloc(l->block, size);
	if (!larger)
		return vma_fail(err, -ENOMEM, "out of memory");
	l->block = larger;
	l->room = size;
	return 0;
}

/* Into l->block; NULL if that is what was packed, or what is wrong with it. */
static const char *unpack(struct lzo *l, const struct block *b, const uint8_t *p)
{
	lzo_uint size = b->size;

	if (b->packed == b->size)
		memcpy(l->block, p, b->size);
	else if (lzo1x_decompress_safe(p, b->packed, l->block, &size, NULL) != LZO_E_OK ||
		 size != b->size)
		return "damaged lzo stream: a block that cannot be decompressed";
	return data_sums(b, l->block) ? NULL :
					"damaged lzo stream: wrong checksum of a block's data";
}

/* Whether a block stands so far on that is right in every respect; none larger than usual is. */
static int right_block(struct lzo *l, size_t at, struct vma_error *err)
{
	ssize_t have = input_peek(l->in, at + BLOCK_HEADER, err);
	struct block b;
	int ret;

	if (have < 0)
		return have;
	if ((size_t)have < at || !block_header(l, input_at(l->in) + at, have - at, &b) ||
	    b.size > LZOP_BLOCK)
		return 0;
	at += b.header;
	have = input_peek(l->in, at + b.packed, err);
	if (have < 0)
		return have;
	ret = make_room(l, LZOP_BLOCK, err);
	if (ret)
		return ret;
	if ((size_t)have >= at + b.packed && packed_sums(&b, input_at(l->in) + at) &&
	    !unpack(l, &b, input_at(l->in) + at))
		return 1;
	input_tried(l->in, (uint64_t)b.packed + b.size);
	return 0;
}

/*
 * The next place where a block of the usual size stands that is right in every respect. The
 * last block is smaller: it is not found.
 */
static int find_block(struct lzo *l, uint64_t begin, const char *what, struct vma_loss *loss,
		      struct vma_error *err)
{
	uint8_t size[4];
	int ret;

	lzop_put_be32(size, LZOP_BLOCK);
	do {
		input_skip(l->in, 1);
		ret = input_find(l->in, size, sizeof(size), err);
		if (ret < 0)
			return ret;
		if (!ret) {
			l->ended = true;
			break;
		}
		ret = input_may_try(l->in) ? right_block(l, 0, err) : 0;
		if (ret < 0)
			return ret;
	} while (!ret);
	return lost(l, begin, VMA_LOSS_UNKNOWN, what, loss);
}

/* Whether a block, or the end of all blocks, can stand there. */
static bool plausible(const uint8_t *p, size_t len)
{
	struct block b;

	return (len >= 4 && !lzop_be32(p)) || (len >= BLOCK_SIZES && block_sizes(p, &b));
}

static int next_block(struct lzo *l, struct vma_loss *loss, struct vma_error *err)
{
	ssize_t have = input_peek(l->in, BLOCK_HEADER, err);
	uint64_t begin = l->in->skipped;
	bool as_written, proven;
	const char *what;
	const uint8_t *p;
	struct block b;
	int ret;

	if (have < 0)
		return have;
	p = input_at(l->in);
	if (have >= 4 && !lzop_be32(p)) {
		/* A file's end has nothing behind it, or another file. */
		if (have > 4 && !is(p + 4, have - 4))
			return find_block(l, begin, "damaged lzo stream: an end, and bytes behind it",
					  loss, err);
		input_skip(l->in, 4);
		l->in_file = false;
		return 0;
	}
	if (have >= (ssize_t)BLOCK_SIZES && !block_sizes(p, &b))
		return find_block(l, begin, "damaged lzo stream: a block of an impossible size",
				  loss, err);
	if (!block_header(l, p, have, &b))
		return lost_rest(l, begin, TRUNCATED, loss, err);
	have = input_peek(l->in, b.header + b.packed + BLOCK_SIZES, err);
	if (have < 0)
		return have;
	if ((size_t)have < b.header + b.packed)
		return find_block(l, begin, TRUNCATED, loss, err);
	ret = make_room(l, b.size, err);
	if (ret)
		return ret;
	p = input_at(l->in) + b.header;
	as_written = packed_sums(&b, p);
	what = unpack(l, &b, p);
	if (what && !plausible(p + b.packed, have - b.header - b.packed))
		return find_block(l, begin, what, loss, err);
	input_skip(l->in, b.header + b.packed);
	if (what)
		return lost(l, begin, b.size, what, loss);
	/* Its own checksum was right, or there is none and what came out may be anything. */
	proven = l->flags & (LZOP_F_ADLER_DATA | LZOP_F_CRC_DATA);
	l->pos = 0;
	l->used = as_written || proven ? b.size : 0;
	if (as_written)
		return 0;
	return lost(l, begin, proven ? 0 : b.size, "damaged lzo stream: wrong checksum of a block",
		    loss);
}

/* ---- headers ---------------------------------------------------------- */

static int skip_extra(struct lzo *l, struct vma_loss *loss, struct vma_error *err)
{
	uint64_t begin = l->in->skipped;
	ssize_t have;
	uint32_t size;
	bool good;

	if (!(l->flags & LZOP_F_EXTRA))
		return 0;
	have = input_peek(l->in, 4, err);
	if (have < 0)
		return have;
	if (have < 4)
		return lost_rest(l, begin, TRUNCATED, loss, err);
	size = lzop_be32(input_at(l->in));
	if (size > EXTRA_MAX)
		return find_block(l, begin, "damaged lzo stream: an extra field that is too large",
				  loss, err);
	have = input_peek(l->in, 4 + size + 4, err);
	if (have < 0)
		return have;
	if ((size_t)have < 4 + size + 4)
		return lost_rest(l, begin, TRUNCATED, loss, err);
	good = sum_is(l->flags & LZOP_F_CRC_HEADER, input_at(l->in), 4 + size,
		      lzop_be32(input_at(l->in) + 4 + size));
	input_skip(l->in, 4 + size + 4);
	return good ? 0 : lost(l, begin, 0, "damaged lzo stream: wrong checksum of its extra field",
			       loss);
}

static unsigned int be16(const uint8_t *p)
{
	return (unsigned int)p[0] << 8 | p[1];
}

static int refused(struct lzo *l, const char *what, struct vma_loss *loss, struct vma_error *err)
{
	int ret;

	/* Nobody goes on. */
	input_give_up(l->in);
	ret = lost_rest(l, l->in->skipped, what, loss, err);
	return ret == -EBADMSG ? -EOPNOTSUPP : ret;
}

/*
 * A header with a wrong checksum, so long: to go on, it is taken as it is, with another flag
 * about checksums, or as one of ours, as the first block shows. Its size, or a negative errno.
 */
static ssize_t wrong_header(struct lzo *l, size_t size, struct vma_error *err)
{
	static const uint32_t flips[] = {
		0, LZOP_F_ADLER_DATA, LZOP_F_CRC_DATA, LZOP_F_ADLER_PACKED, LZOP_F_CRC_PACKED,
	};
	uint32_t flags = l->flags;
	int ret;

	for (unsigned int i = 0; i < sizeof(flips) / sizeof(flips[0]); i++) {
		l->flags = flags ^ flips[i];
		ret = right_block(l, size, err);
		if (ret)
			return ret < 0 ? ret : (ssize_t)size;
	}
	l->flags = LZOP_F_OURS;
	ret = right_block(l, LZOP_MAGIC_SIZE + HEADER_FIXED + 4, err);
	if (ret)
		return ret < 0 ? ret : (ssize_t)(LZOP_MAGIC_SIZE + HEADER_FIXED + 4);
	l->flags = flags;
	return size;
}

static int next_file(struct lzo *l, struct vma_loss *loss, struct vma_error *err)
{
	ssize_t have = input_peek(l->in, LZOP_MAGIC_SIZE + HEADER_FIXED + FILTER_SIZE +
				  NAME_MAX_AND_SUM, err);
	uint64_t begin = l->in->skipped;
	unsigned int fixed, size;
	const uint8_t *p;
	bool good;

	if (have < 0)
		return have;
	if (!have) {
		l->ended = true;
		return 0;
	}
	if (!is(input_at(l->in), have))
		return lost_rest(l, begin, "damaged lzo stream: bytes after its end", loss, err);
	if (have < (ssize_t)(LZOP_MAGIC_SIZE + HEADER_FIXED))
		return lost_rest(l, begin, TRUNCATED, loss, err);
	p = input_at(l->in) + LZOP_MAGIC_SIZE;
	l->flags = lzop_be32(p + 8);
	fixed = HEADER_FIXED + (l->flags & LZOP_F_FILTER ? FILTER_SIZE : 0);
	if (have < (ssize_t)(LZOP_MAGIC_SIZE + fixed))
		return lost_rest(l, begin, TRUNCATED, loss, err);
	size = fixed + p[fixed - 1];
	if (have < (ssize_t)(LZOP_MAGIC_SIZE + size + 4))
		return lost_rest(l, begin, TRUNCATED, loss, err);
	good = sum_is(l->flags & LZOP_F_CRC_HEADER, p, size, lzop_be32(p + size));
	if (good && (be16(p + 4) > LZOP_VERSION || be16(p) < LZOP_VERSION_NEEDED))
		return refused(l, "written by an lzop that is too old or too new: pipe it through \"lzop -dc\" and give \"-\" as the archive",
			       loss, err);
	if (good && l->flags & LZOP_F_FILTER)
		return refused(l, "compressed with a filter of lzop's: pipe it through \"lzop -dc\" and give \"-\" as the archive",
			       loss, err);
	if (good && (p[6] < LZOP_M_LZO1X_1 || p[6] > LZOP_M_LZO1X_999))
		return lost_rest(l, begin, "damaged lzo stream: an unknown method", loss, err);
	l->in_file = true;
	if (!good) {
		have = wrong_header(l, LZOP_MAGIC_SIZE + size + 4, err);
		if (have < 0)
			return have;
		input_skip(l->in, have);
		return lost(l, begin, 0, "damaged lzo stream: wrong checksum of its header", loss);
	}
	input_skip(l->in, LZOP_MAGIC_SIZE + size + 4);
	return skip_extra(l, loss, err);
}

static ssize_t read_state(void *state, uint8_t *buf, size_t len, struct vma_loss *loss,
			  struct vma_error *err)
{
	struct lzo *l = state;

	for (;;) {
		size_t n = l->used - l->pos;
		int ret;

		if (n) {
			n = n < len ? n : len;
			memcpy(buf, l->block + l->pos, n);
			l->pos += n;
			return n;
		}
		if (l->ended)
			return 0;
		ret = l->in_file ? next_block(l, loss, err) : next_file(l, loss, err);
		if (ret)
			return ret;
	}
}

const struct decompressor decompressor_lzo = {
	.is = is,
	.open = open_state,
	.read = read_state,
	.close = close_state,
};
