/* SPDX-License-Identifier: GPL-2.0-or-later */
/* decompressor: what the decoder needs of a compression. */
#ifndef CODEC_DECOMPRESSOR_H
#define CODEC_DECOMPRESSOR_H

#include "codec/codec.h"
#include "codec/input.h"

/* The first bytes that tell the formats apart. */
#define DECOMPRESSOR_MAGIC	9u

struct decompressor {
	bool (*is)(const uint8_t *p, size_t len);
	/* in stays the caller's, and is nobody else's to read. */
	int (*open)(void **state, struct input *in, struct vma_error *err);
	/* NULL: it can't. */
	int (*start_threads)(void *state, unsigned int threads, struct vma_error *err);
	/*
	 * Whoever reads goes on behind damage, and may be given what is not proven for want of
	 * better. NULL: it makes no difference.
	 */
	void (*go_on)(void *state);
	/*
	 * Some bytes, 0 at the end. Damage: a negative errno with *loss filled in, and not *err;
	 * the next call goes on behind it. *loss is not touched by any other failure.
	 */
	ssize_t (*read)(void *state, uint8_t *buf, size_t len, struct vma_loss *loss,
			struct vma_error *err);
	/* As vma_unproven_fn, 0 once a loss told it; NULL: pieces are proven before they come. */
	uint64_t (*unproven)(void *state);
	void (*close)(void *state);
};

extern const struct decompressor decompressor_zstd, decompressor_gzip, decompressor_lzo;

#endif /* CODEC_DECOMPRESSOR_H */
