/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * codec: compression of an archive's byte stream.
 *
 * Owns the choice of the compressor and its state; knows nothing of VMA or of
 * files. Data goes in and out through functions of the caller's. Return values
 * and *err as in vma.h.
 */
#ifndef CODEC_H
#define CODEC_H

#include "libvma/vma.h"

enum codec_kind { CODEC_NONE, CODEC_ZSTD };

/* Writes all of the bytes, or returns a negative errno with err filled in. */
typedef int (*codec_write_fn)(void *ctx, const struct iovec *iov, int iovcnt,
			      struct vma_error *err);

struct codec_options {
	enum codec_kind kind;
	int level;		/* zstd level; 0: the library's default */
	unsigned int threads;	/* zstd workers; 0: compress in the caller's thread */
};

/* Parses "none", "zstd", "zstd:LEVEL". -EINVAL. */
int codec_parse(const char *text, struct codec_options *o, struct vma_error *err);

struct encoder;
int encoder_new(struct encoder **e, const struct codec_options *o, codec_write_fn write, void *ctx,
		struct vma_error *err);
/* When it returns, the bytes of iov were written or copied. */
int encoder_write(struct encoder *e, const struct iovec *iov, int iovcnt, struct vma_error *err);
/* Ends the stream. */
int encoder_finish(struct encoder *e, struct vma_error *err);
void encoder_free(struct encoder *e);

/* Recognises the kind by content. read: as in vma.h; decoder_read() is one too. */
struct decoder;
int decoder_new(struct decoder **d, vma_read_fn read, void *ctx, struct vma_error *err);
enum codec_kind decoder_kind(const struct decoder *d);
ssize_t decoder_read(void *decoder, void *buf, size_t len, struct vma_error *err);
void decoder_free(struct decoder *d);

#endif /* CODEC_H */
