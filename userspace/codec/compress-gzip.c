// SPDX-License-Identifier: GPL-2.0-or-later
/* Pieces are members, which gzip joins when it decompresses; after each its seal. */
#include <errno.h>
#include <stdlib.h>
#include <zlib.h>

#include "codec/compressor.h"
#include "codec/gzip-file.h"
#include "libvma/text.h"

#define MEMORY_LEVEL	8		/* zlib's default: 256 KiB */

/* compressBound() is for zlib's own header and trailer; gzip's are 12 bytes longer. */
#define GZIP_EXTRA	12u

static size_t bound(size_t len)
{
	return compressBound(len) + GZIP_EXTRA + GZIP_SEAL_SIZE;
}

static int open_state(void **state, int level, struct vma_error *err)
{
	z_stream *z = calloc(1, sizeof(*z));

	if (!z || deflateInit2(z, level ? level : Z_DEFAULT_COMPRESSION, Z_DEFLATED, GZIP_WINDOW,
			       MEMORY_LEVEL, Z_DEFAULT_STRATEGY) != Z_OK) {
		free(z);
		return vma_fail(err, -ENOMEM, "out of memory");
	}
	*state = z;
	return 0;
}

static void close_state(void *state)
{
	if (state)
		deflateEnd(state);
	free(state);
}

static ssize_t pack(void *state, const void *in, size_t len, void *out, size_t room,
		    struct vma_error *err)
{
	z_stream *z = state;
	uint8_t *end = (uint8_t *)out + room - GZIP_SEAL_SIZE;
	int ret = deflateReset(z);

	z->next_in = (void *)in;
	z->avail_in = len;
	z->next_out = out;
	z->avail_out = room - GZIP_SEAL_SIZE;
	if (ret == Z_OK)
		ret = deflate(z, Z_FINISH);
	if (ret != Z_STREAM_END)
		return vma_fail(err, -EIO, "gzip cannot compress: error %d", ret);
	end -= z->avail_out;
	gzip_seal_put(end, SEAL_PIECE, len, out);
	return end + GZIP_SEAL_SIZE - (uint8_t *)out;
}

/* ---- the first seal and the last -------------------------------------- */

struct gzip_stream {
	uint64_t pieces;
};

static int put_seal(enum seal_kind kind, uint64_t count, codec_write_fn write, void *ctx,
		    struct vma_error *err)
{
	uint8_t seal[GZIP_SEAL_SIZE] = { 0 };
	struct iovec iov = { seal, sizeof(seal) };

	gzip_seal_put(seal, kind, count, seal);
	return write(ctx, &iov, 1, err);
}

static int begin(void **stream, int level, codec_write_fn write, void *ctx, struct vma_error *err)
{
	(void)level;
	*stream = calloc(1, sizeof(struct gzip_stream));
	if (!*stream)
		return vma_fail(err, -ENOMEM, "out of memory");
	return put_seal(SEAL_BEGIN, 0, write, ctx, err);
}

static int wrote(void *stream, const void *out, size_t out_len, size_t in_len,
		 struct vma_error *err)
{
	struct gzip_stream *s = stream;

	(void)out;
	(void)out_len;
	(void)in_len;
	(void)err;
	s->pieces++;
	return 0;
}

static int end_stream(void *stream, codec_write_fn write, void *ctx, struct vma_error *err)
{
	const struct gzip_stream *s = stream;

	return put_seal(SEAL_END, s->pieces, write, ctx, err);
}

const struct compressor compressor_gzip = {
	.bound = bound,
	.open = open_state,
	.close = close_state,
	.pack = pack,
	.begin = begin,
	.wrote = wrote,
	.end = end_stream,
	.free = free,
};
