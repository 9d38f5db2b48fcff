// SPDX-License-Identifier: GPL-2.0-or-later
/* What lzop writes, block by block; memory is twice the largest block, at most LZOP_BLOCK_MAX. */
#include <errno.h>
#include <lzo/lzo1x.h>
#include <lzo/lzoconf.h>
#include <stdlib.h>
#include <string.h>

#include "codec/decompressor.h"
#include "codec/lzop-file.h"
#include "libvma/text.h"

/* The header as far as it has one length: up to the name's. */
#define HEADER_FIXED	25u

/* An extra field larger than this is no lzop's. */
#define EXTRA_MAX	(1u << 20)

struct lzo {
	struct input *in;
	uint32_t flags;
	bool in_file;
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

/* All of want bytes, or an error. */
static int need(struct lzo *l, size_t want, struct vma_error *err)
{
	ssize_t have = input_peek(l->in, want, err);

	if (have < 0)
		return have;
	if ((size_t)have < want)
		return vma_fail(err, -EBADMSG, "truncated: the archive ends within its lzo stream");
	return 0;
}

static int damaged(const char *what, struct vma_error *err)
{
	return vma_fail(err, -EBADMSG, "damaged lzo stream: %s", what);
}

static bool sum_is(bool crc, const uint8_t *p, size_t len, uint32_t sum)
{
	return (crc ? lzo_crc32(0, p, len) : lzo_adler32(1, p, len)) == sum;
}

static int skip_extra(struct lzo *l, struct vma_error *err)
{
	uint32_t size;
	int ret;

	if (!(l->flags & LZOP_F_EXTRA))
		return 0;
	ret = need(l, 4, err);
	if (ret)
		return ret;
	size = lzop_be32(input_at(l->in));
	if (size > EXTRA_MAX)
		return damaged("an extra field that is too large", err);
	ret = need(l, 4 + size + 4, err);
	if (ret)
		return ret;
	if (!sum_is(l->flags & LZOP_F_CRC_HEADER, input_at(l->in), 4 + size,
		    lzop_be32(input_at(l->in) + 4 + size)))
		return damaged("wrong checksum of its extra field", err);
	input_skip(l->in, 4 + size + 4);
	return 0;
}

static unsigned int be16(const uint8_t *p)
{
	return (unsigned int)p[0] << 8 | p[1];
}

/* 1: a file begins, 0: the end. */
static int next_file(struct lzo *l, struct vma_error *err)
{
	ssize_t have = input_peek(l->in, LZOP_MAGIC_SIZE, err);
	const uint8_t *p;
	unsigned int name;
	int ret;

	if (have <= 0)
		return have;
	if (!is(input_at(l->in), have))
		return damaged("bytes after its end", err);
	input_skip(l->in, LZOP_MAGIC_SIZE);
	ret = need(l, HEADER_FIXED, err);
	if (ret)
		return ret;
	p = input_at(l->in);
	if (be16(p + 4) > LZOP_VERSION || be16(p) < LZOP_VERSION_NEEDED)
		return vma_fail(err, -EOPNOTSUPP,
				"written by an lzop that is too old or too new: pipe it through \"lzop -dc\" and give \"-\" as the archive");
	if (p[6] < LZOP_M_LZO1X_1 || p[6] > LZOP_M_LZO1X_999)
		return damaged("an unknown method", err);
	l->flags = lzop_be32(p + 8);
	if (l->flags & LZOP_F_FILTER)
		return vma_fail(err, -EOPNOTSUPP,
				"compressed with a filter of lzop's: pipe it through \"lzop -dc\" and give \"-\" as the archive");
	name = p[HEADER_FIXED - 1];
	ret = need(l, HEADER_FIXED + name + 4, err);
	if (ret)
		return ret;
	p = input_at(l->in);
	if (!sum_is(l->flags & LZOP_F_CRC_HEADER, p, HEADER_FIXED + name,
		    lzop_be32(p + HEADER_FIXED + name)))
		return damaged("wrong checksum of its header", err);
	input_skip(l->in, HEADER_FIXED + name + 4);
	ret = skip_extra(l, err);
	l->in_file = !ret;
	return ret ? ret : 1;
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

struct block {
	uint32_t size, packed;
	/* In this order: adler32 and crc32 of the data, of the packed bytes. */
	struct {
		bool there, crc;
		uint32_t sum;
	} sums[4];
};

/* 1, or 0 at the end of the file. */
static int block_header(struct lzo *l, struct block *b, struct vma_error *err)
{
	static const uint32_t flags[] = {
		LZOP_F_ADLER_DATA, LZOP_F_CRC_DATA, LZOP_F_ADLER_PACKED, LZOP_F_CRC_PACKED,
	};
	unsigned int at = 8;
	const uint8_t *p;
	int ret = need(l, 4, err);

	if (ret)
		return ret;
	b->size = lzop_be32(input_at(l->in));
	if (!b->size) {
		input_skip(l->in, 4);
		l->in_file = false;
		return 0;
	}
	ret = need(l, 8, err);
	if (ret)
		return ret;
	b->packed = lzop_be32(input_at(l->in) + 4);
	if (b->size > LZOP_BLOCK_MAX || b->packed > b->size || !b->packed)
		return damaged("a block of an impossible size", err);
	for (unsigned int i = 0; i < 4; i++) {
		/* What is stored has no checksum of what it was packed into. */
		b->sums[i].there = l->flags & flags[i] && (i < 2 || b->packed < b->size);
		b->sums[i].crc = i % 2;
		if (!b->sums[i].there)
			continue;
		ret = need(l, at + 4, err);
		if (ret)
			return ret;
		p = input_at(l->in);
		b->sums[i].sum = lzop_be32(p + at);
		at += 4;
	}
	input_skip(l->in, at);
	return 1;
}

static int next_block(struct lzo *l, struct vma_error *err)
{
	struct block b = { 0 };
	const uint8_t *p;
	lzo_uint size;
	int ret = block_header(l, &b, err);

	if (ret <= 0)
		return ret;
	ret = need(l, b.packed, err);
	if (!ret)
		ret = make_room(l, b.size, err);
	if (ret)
		return ret;
	p = input_at(l->in);
	for (unsigned int i = 2; i < 4; i++)
		if (b.sums[i].there && !sum_is(b.sums[i].crc, p, b.packed, b.sums[i].sum))
			return damaged("wrong checksum of a block", err);
	size = b.size;
	if (b.packed == b.size)
		memcpy(l->block, p, b.size);
	else if (lzo1x_decompress_safe(p, b.packed, l->block, &size, NULL) != LZO_E_OK ||
		 size != b.size)
		return damaged("a block that cannot be decompressed", err);
	input_skip(l->in, b.packed);
	for (unsigned int i = 0; i < 2; i++)
		if (b.sums[i].there && !sum_is(b.sums[i].crc, l->block, b.size, b.sums[i].sum))
			return damaged("wrong checksum of a block's data", err);
	l->pos = 0;
	l->used = b.size;
	return 0;
}

static ssize_t read_state(void *state, uint8_t *buf, size_t len, struct vma_error *err)
{
	struct lzo *l = state;
	size_t done = 0;

	while (done < len) {
		size_t n = l->used - l->pos;
		int ret;

		if (!n) {
			if (l->in_file) {
				ret = next_block(l, err);
			} else {
				ret = next_file(l, err);
				if (!ret)
					break;
			}
			if (ret < 0)
				return ret;
			continue;
		}
		if (n > len - done)
			n = len - done;
		memcpy(buf + done, l->block + l->pos, n);
		l->pos += n;
		done += n;
	}
	return done;
}

const struct decompressor decompressor_lzo = {
	.is = is,
	.open = open_state,
	.read = read_state,
	.close = close_state,
};
