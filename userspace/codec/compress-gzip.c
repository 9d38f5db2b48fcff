// SPDX-License-Identifier: GPL-2.0-or-later
/* Pieces are members, which gzip joins when it decompresses. */
#include <errno.h>
#include <stdlib.h>
#include <zlib.h>

#include "codec/compressor.h"
#include "libvma/text.h"

/* zlib's name for "the largest window, in a gzip member". */
#define GZIP_WINDOW	(15 + 16)
#define MEMORY_LEVEL	8		/* zlib's default: 256 KiB */

/* compressBound() is for zlib's own header and trailer; gzip's are 12 bytes longer. */
#define GZIP_EXTRA	12u

static size_t bound(size_t len)
{
	return compressBound(len) + GZIP_EXTRA;
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
	int ret = deflateReset(z);

	z->next_in = (void *)in;
	z->avail_in = len;
	z->next_out = out;
	z->avail_out = room;
	if (ret == Z_OK)
		ret = deflate(z, Z_FINISH);
	if (ret != Z_STREAM_END)
		return vma_fail(err, -EIO, "gzip cannot compress: error %d", ret);
	return room - z->avail_out;
}

const struct compressor compressor_gzip = {
	.bound = bound,
	.open = open_state,
	.close = close_state,
	.pack = pack,
};
