// SPDX-License-Identifier: GPL-2.0-or-later
/* Pieces are frames with content size and checksum, sealed; a seek table ends the stream. */
#include <errno.h>
#include <stdlib.h>
#include <zstd.h>

#include "codec/compressor.h"
#include "codec/zstd-frame.h"
#include "libvma/text.h"

#define ENTRY_SIZE	12u

/* The table grows by so many frames at a time: 2 to 8 GiB of an archive. */
#define ENTRIES_STEP	4096u

static size_t bound(size_t len)
{
	return ZSTD_compressBound(len) + ZSTD_SEAL_SIZE;
}

static int open_state(void **state, int level, struct vma_error *err)
{
	ZSTD_CCtx *c = ZSTD_createCCtx();
	size_t ret;

	if (!c)
		return vma_fail(err, -ENOMEM, "out of memory");
	*state = c;
	ret = ZSTD_CCtx_setParameter(c, ZSTD_c_compressionLevel,
				     level ? level : ZSTD_CLEVEL_DEFAULT);
	if (!ZSTD_isError(ret))
		ret = ZSTD_CCtx_setParameter(c, ZSTD_c_checksumFlag, 1);
	if (ZSTD_isError(ret))
		return vma_fail(err, -EINVAL, "zstd level %d: %s", level, ZSTD_getErrorName(ret));
	return 0;
}

static void close_state(void *state)
{
	ZSTD_freeCCtx(state);
}

static ssize_t pack(void *state, const void *in, size_t len, void *out, size_t room,
		    struct vma_error *err)
{
	size_t n = ZSTD_compress2(state, out, room - ZSTD_SEAL_SIZE, in, len);

	if (ZSTD_isError(n))
		return vma_fail(err, -EIO, "zstd cannot compress: %s", ZSTD_getErrorName(n));
	zstd_seal_put((uint8_t *)out + n, SEAL_PIECE, len, out);
	return n + ZSTD_SEAL_SIZE;
}

/* ---- the seek table --------------------------------------------------- */

struct table {
	uint8_t *entries;	/* as they will be written */
	uint32_t nr, room;
	uint64_t pieces;
	bool too_many;		/* more frames than a table may have: there will be none */
};

static int add_entry(struct table *t, uint32_t packed, uint32_t content, uint32_t sum,
		     struct vma_error *err)
{
	uint8_t *entry;

	if (t->nr == ZSTD_SEEK_MAX_FRAMES)
		t->too_many = true;
	if (t->too_many)
		return 0;
	if (t->nr == t->room) {
		size_t size = (size_t)(t->room + ENTRIES_STEP) * ENTRY_SIZE;
		uint8_t *larger = realloc(t->entries, size);

		if (!larger)
			return vma_fail(err, -ENOMEM, "out of memory");
		t->entries = larger;
		t->room += ENTRIES_STEP;
	}
	entry = t->entries + (size_t)t->nr++ * ENTRY_SIZE;
	zstd_put_le32(entry, packed);
	zstd_put_le32(entry + 4, content);
	zstd_put_le32(entry + 8, sum);
	return 0;
}

static int begin(void **stream, int level, codec_write_fn write, void *ctx, struct vma_error *err)
{
	uint8_t seal[ZSTD_SEAL_SIZE] = { 0 };
	struct iovec iov = { seal, sizeof(seal) };
	int ret;

	(void)level;
	*stream = calloc(1, sizeof(struct table));
	if (!*stream)
		return vma_fail(err, -ENOMEM, "out of memory");
	zstd_seal_put(seal, SEAL_BEGIN, 0, seal);
	ret = add_entry(*stream, sizeof(seal), 0, ZSTD_SEEK_EMPTY_SUM, err);
	return ret ? ret : write(ctx, &iov, 1, err);
}

static int wrote(void *stream, const void *out, size_t out_len, size_t in_len,
		 struct vma_error *err)
{
	size_t frame = out_len - ZSTD_SEAL_SIZE;
	/* The frame's own checksum, its last four bytes, is the one that is wanted. */
	uint32_t sum = zstd_le32((const uint8_t *)out + frame - 4);
	struct table *t = stream;
	int ret = add_entry(t, frame, in_len, sum, err);

	t->pieces++;
	return ret ? ret : add_entry(t, ZSTD_SEAL_SIZE, 0, ZSTD_SEEK_EMPTY_SUM, err);
}

static int end(void *stream, codec_write_fn write, void *ctx, struct vma_error *err)
{
	struct table *t = stream;
	size_t size = (size_t)t->nr * ENTRY_SIZE;
	uint8_t head[ZSTD_SKIP_HEADER], foot[ZSTD_SEEK_FOOTER];
	uint8_t seal[ZSTD_SEAL_SIZE] = { 0 };
	struct iovec iov[] = {
		{ head, sizeof(head) }, { t->entries, size }, { foot, sizeof(foot) },
	};

	/* 64 TiB or more: it can't be entered in the middle, but its end is known. */
	if (t->too_many) {
		zstd_seal_put(seal, SEAL_END, t->pieces, seal);
		iov[0] = (struct iovec){ seal, sizeof(seal) };
		return write(ctx, iov, 1, err);
	}
	zstd_put_le32(head, ZSTD_SEEK_SKIP_MAGIC);
	zstd_put_le32(head + 4, size + sizeof(foot));
	zstd_put_le32(foot, t->nr);
	foot[4] = ZSTD_SEEK_CHECKSUMS;
	zstd_put_le32(foot + 5, ZSTD_SEEK_MAGIC);
	return write(ctx, iov, 3, err);
}

static void free_stream(void *stream)
{
	struct table *t = stream;

	if (t)
		free(t->entries);
	free(t);
}

const struct compressor compressor_zstd = {
	.bound = bound,
	.open = open_state,
	.close = close_state,
	.pack = pack,
	.begin = begin,
	.wrote = wrote,
	.end = end,
	.free = free_stream,
};
