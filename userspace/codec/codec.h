/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * codec: compression of an archive's byte stream.
 *
 * Owns the choice of the compressor, its state and its threads; knows nothing of
 * VMA or of files. Data goes in and out through functions of the caller's, which
 * are called in the caller's thread only. Return values and *err as in vma.h.
 *
 * What is written is a row of pieces that were compressed alone: zstd frames,
 * gzip members, lzop blocks. So threads can work on several at once, and a reader
 * can enter at any of zstd's, which are listed in a seek table (zstd-frame.h).
 */
#ifndef CODEC_H
#define CODEC_H

#include "libvma/vma.h"

enum codec_kind { CODEC_NONE, CODEC_ZSTD, CODEC_GZIP, CODEC_LZO };

/*
 * A piece holds at most so many bytes before compression: a full extent (58 clusters,
 * 3.6 MiB) is never cut in two. Each takes about twice as much memory while it is
 * worked on, and there are two more than threads.
 */
#define CODEC_PIECE_MAX	(4u << 20)

/*
 * A piece ends with the call of encoder_write() that made it this large. Smaller ones
 * would compress worse; larger ones would be slower to read a little of. The first call's
 * bytes are a piece alone: they are an archive's header, needed whatever else is damaged.
 */
#define CODEC_PIECE_MIN	(1u << 20)

/* Writes all of the bytes, or returns a negative errno with err filled in. */
typedef int (*codec_write_fn)(void *ctx, const struct iovec *iov, int iovcnt,
			      struct vma_error *err);

struct codec_options {
	enum codec_kind kind;
	int level;		/* 0: the usual one */
	unsigned int threads;	/* 0: compress in the caller's thread */
};

/* Parses "none", "zstd", "gzip", "lzo"; all but none with ":LEVEL" if wanted. -EINVAL. */
int codec_parse(const char *text, struct codec_options *o, struct vma_error *err);

/* By the end of the name: .zst, .zstd, .gz, .lzo; anything else is CODEC_NONE. */
enum codec_kind codec_of_path(const char *path);

/* "zstd" */
const char *codec_name(enum codec_kind kind);

/* How many threads this machine can use well; see parse.c. */
unsigned int codec_threads(const struct codec_options *o);

struct encoder;
int encoder_new(struct encoder **e, const struct codec_options *o, codec_write_fn write, void *ctx,
		struct vma_error *err);
/*
 * When it returns, the bytes of iov were written or copied. Bytes of one call stay
 * within one piece if they fit into one.
 */
int encoder_write(struct encoder *e, const struct iovec *iov, int iovcnt, struct vma_error *err);
/* Ends the stream. */
int encoder_finish(struct encoder *e, struct vma_error *err);
void encoder_free(struct encoder *e);

/* Recognises the kind by content. read: as in vma.h; decoder_read() is one too. */
struct decoder;
int decoder_new(struct decoder **d, vma_read_fn read, void *ctx, struct vma_error *err);
enum codec_kind decoder_kind(const struct decoder *d);
/*
 * Before the first read: decompress ahead in so many threads, where the stream can be
 * taken apart (frames of zstd that tell their size, up to ZSTD_WHOLE_MAX).
 */
int decoder_start_threads(struct decoder *d, unsigned int threads, struct vma_error *err);
ssize_t decoder_read(void *decoder, void *buf, size_t len, struct vma_error *err);
/*
 * Before the first read: go on behind damage, see vma_loss_fn, which decoder_loss() is. What
 * can't be gone behind ends the stream.
 */
void decoder_go_on(struct decoder *d);
int decoder_loss(void *decoder, struct vma_loss *loss);
/* A vma_unproven_fn. */
uint64_t decoder_unproven(void *decoder);
void decoder_free(struct decoder *d);

#endif /* CODEC_H */
