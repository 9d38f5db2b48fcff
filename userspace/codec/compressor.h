/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * compressor: what the encoder needs of a compression.
 *
 * A state belongs to one thread and packs pieces alone. A stream belongs to the
 * encoder's thread and has what stands before and after the pieces.
 */
#ifndef CODEC_COMPRESSOR_H
#define CODEC_COMPRESSOR_H

#include "codec/codec.h"

struct compressor {
	/* Room that a piece of len bytes may need. */
	size_t (*bound)(size_t len);
	int (*open)(void **state, int level, struct vma_error *err);
	void (*close)(void *state);
	/* The size of the packed piece, or a negative errno. */
	ssize_t (*pack)(void *state, const void *in, size_t len, void *out, size_t room,
			struct vma_error *err);

	/* Any of these may be NULL. begin: the bytes before the first piece. */
	int (*begin)(void **stream, int level, codec_write_fn write, void *ctx,
		     struct vma_error *err);
	/* A piece was written. */
	int (*wrote)(void *stream, const void *out, size_t out_len, size_t in_len,
		     struct vma_error *err);
	/* The bytes after the last one. */
	int (*end)(void *stream, codec_write_fn write, void *ctx, struct vma_error *err);
	void (*free)(void *stream);
};

extern const struct compressor compressor_zstd, compressor_gzip, compressor_lzo;

#endif /* CODEC_COMPRESSOR_H */
