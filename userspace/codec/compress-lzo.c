// SPDX-License-Identifier: GPL-2.0-or-later
/* Pieces are some of lzop's blocks. */
#include <errno.h>
#include <lzo/lzo1x.h>
#include <lzo/lzoconf.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "codec/compressor.h"
#include "codec/lzop-file.h"
#include "libvma/text.h"

#define BLOCK_HEADER	16u	/* two sizes and two checksums */

/* As in lzop: up to here the fast method, above it the slow ones of that level. */
#define FAST_LEVEL_MAX	6
#define USUAL_LEVEL	3

/* What a block of noise may become before it is known that storing it is better. */
#define PACKED_MAX	(LZOP_BLOCK + LZOP_BLOCK / 16 + 64 + 3)

struct state {
	int level;
	void *memory;		/* what the library works with */
	uint8_t *packed;	/* PACKED_MAX bytes */
};

static size_t bound(size_t len)
{
	return len + (len / LZOP_BLOCK + 1) * BLOCK_HEADER;
}

static void close_state(void *state)
{
	struct state *s = state;

	if (!s)
		return;
	free(s->memory);
	free(s->packed);
	free(s);
}

static int open_state(void **state, int level, struct vma_error *err)
{
	struct state *s;

	if (lzo_init() != LZO_E_OK)
		return vma_fail(err, -EINVAL, "the lzo library does not fit this program");
	s = calloc(1, sizeof(*s));
	if (!s)
		return vma_fail(err, -ENOMEM, "out of memory");
	s->level = level ? level : USUAL_LEVEL;
	s->memory = malloc(s->level > FAST_LEVEL_MAX ? LZO1X_999_MEM_COMPRESS :
			   LZO1X_1_MEM_COMPRESS);
	s->packed = malloc(PACKED_MAX);
	if (!s->memory || !s->packed) {
		close_state(s);
		return vma_fail(err, -ENOMEM, "out of memory");
	}
	*state = s;
	return 0;
}

static ssize_t pack(void *state, const void *in, size_t len, void *out, size_t room,
		    struct vma_error *err)
{
	const uint8_t *from = in;
	struct state *s = state;
	uint8_t *to = out;

	(void)room;
	while (len) {
		size_t n = len < LZOP_BLOCK ? len : LZOP_BLOCK;
		lzo_uint packed = PACKED_MAX;
		int ret;

		if (s->level > FAST_LEVEL_MAX)
			ret = lzo1x_999_compress_level(from, n, s->packed, &packed, s->memory,
						       NULL, 0, NULL, s->level);
		else
			ret = lzo1x_1_compress(from, n, s->packed, &packed, s->memory);
		if (ret != LZO_E_OK)
			return vma_fail(err, -EIO, "lzo cannot compress: error %d", ret);
		lzop_put_be32(to, n);
		lzop_put_be32(to + 4, packed < n ? packed : n);
		lzop_put_be32(to + 8, lzo_adler32(1, from, n));
		to += 12;
		/* What is stored has no second checksum. */
		if (packed < n) {
			lzop_put_be32(to, lzo_adler32(1, s->packed, packed));
			memcpy(to + 4, s->packed, packed);
			to += 4 + packed;
		} else {
			memcpy(to, from, n);
			to += n;
		}
		from += n;
		len -= n;
	}
	return to - (uint8_t *)out;
}

static int begin(void **stream, int level, codec_write_fn write, void *ctx, struct vma_error *err)
{
	uint8_t h[LZOP_MAGIC_SIZE + 29] = LZOP_MAGIC, *p = h + LZOP_MAGIC_SIZE;
	struct iovec iov = { h, sizeof(h) };
	int64_t now = time(NULL);
	unsigned int lib = lzo_version();

	(void)stream;
	level = level ? level : USUAL_LEVEL;
	p[0] = LZOP_VERSION >> 8;
	p[1] = LZOP_VERSION & 0xff;
	p[2] = lib >> 8;
	p[3] = lib;
	p[4] = LZOP_VERSION_NEEDED >> 8;
	p[5] = LZOP_VERSION_NEEDED & 0xff;
	p[6] = level > FAST_LEVEL_MAX ? LZOP_M_LZO1X_999 : LZOP_M_LZO1X_1;
	p[7] = level;
	lzop_put_be32(p + 8, LZOP_F_OURS);
	lzop_put_be32(p + 12, 0);		/* mode: of no file */
	lzop_put_be32(p + 16, now);
	lzop_put_be32(p + 20, now >> 32);
	p[24] = 0;				/* name: none */
	lzop_put_be32(p + 25, lzo_adler32(1, p, 25));
	return write(ctx, &iov, 1, err);
}

static int end(void *stream, codec_write_fn write, void *ctx, struct vma_error *err)
{
	uint8_t none[4] = { 0 };
	struct iovec iov = { none, sizeof(none) };

	(void)stream;
	return write(ctx, &iov, 1, err);
}

const struct compressor compressor_lzo = {
	.bound = bound,
	.open = open_state,
	.close = close_state,
	.pack = pack,
	.begin = begin,
	.end = end,
};
