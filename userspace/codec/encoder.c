// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The compressing side: gathers bytes into pieces, has them packed by the
 * pipeline's threads, and writes them in order.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "codec/codec.h"
#include "codec/compressor.h"
#include "codec/pipeline.h"
#include "libvma/text.h"

/* Jobs beyond those that are being packed: one that is filled, one that is written. */
#define EXTRA_JOBS	2

struct piece {
	uint8_t *in;		/* CODEC_PIECE_MAX bytes */
	size_t in_used;
	uint8_t *out;		/* room bytes */
	size_t out_used;
};

struct encoder {
	struct codec_options options;
	codec_write_fn write;
	void *ctx;
	const struct compressor *compressor;	/* NULL: bytes pass through */
	void *stream;
	struct pipeline *pipeline;
	void **states;				/* by worker */
	unsigned int nr_states;
	struct piece *pieces;			/* by job */
	unsigned int nr_pieces;
	size_t room;
	bool any;				/* a piece was submitted */
	int failed;		/* the first failure; a broken stream stays broken */
};

static const struct compressor *const compressors[] = {
	[CODEC_ZSTD] = &compressor_zstd,
	[CODEC_GZIP] = &compressor_gzip,
	[CODEC_LZO] = &compressor_lzo,
};

/* In a thread of the pipeline's. */
static int pack(void *ctx, unsigned int worker, unsigned int job, struct vma_error *err)
{
	struct encoder *e = ctx;
	struct piece *p = &e->pieces[job];
	ssize_t n = e->compressor->pack(e->states[worker], p->in, p->in_used, p->out, e->room, err);

	if (n < 0)
		return n;
	p->out_used = n;
	return 0;
}

/* All memory is taken here: the caller may lock what it has, and go without more later. */
static int set_up(struct encoder *e, struct vma_error *err)
{
	unsigned int threads = e->options.threads;
	int ret = 0;

	e->nr_states = threads ? threads : 1;
	e->nr_pieces = threads ? threads + EXTRA_JOBS : 1;
	e->room = e->compressor->bound(CODEC_PIECE_MAX);
	e->states = calloc(e->nr_states, sizeof(*e->states));
	e->pieces = calloc(e->nr_pieces, sizeof(*e->pieces));
	if (!e->states || !e->pieces)
		return vma_fail(err, -ENOMEM, "out of memory");
	for (unsigned int i = 0; i < e->nr_states && !ret; i++)
		ret = e->compressor->open(&e->states[i], e->options.level, err);
	for (unsigned int i = 0; i < e->nr_pieces && !ret; i++) {
		e->pieces[i].in = malloc(CODEC_PIECE_MAX);
		e->pieces[i].out = malloc(e->room);
		if (!e->pieces[i].in || !e->pieces[i].out)
			ret = vma_fail(err, -ENOMEM, "out of memory");
	}
	if (!ret)
		ret = pipeline_new(&e->pipeline, threads, e->nr_pieces, pack, e, err);
	if (!ret && e->compressor->begin)
		ret = e->compressor->begin(&e->stream, e->options.level, e->write, e->ctx, err);
	return ret;
}

int encoder_new(struct encoder **out, const struct codec_options *o, codec_write_fn write,
		void *ctx, struct vma_error *err)
{
	struct encoder *e = calloc(1, sizeof(*e));
	int ret = 0;

	if (!e)
		return vma_fail(err, -ENOMEM, "out of memory");
	e->options = *o;
	e->write = write;
	e->ctx = ctx;
	e->compressor = compressors[o->kind];
	if (e->compressor)
		ret = set_up(e, err);
	if (ret) {
		encoder_free(e);
		return ret;
	}
	*out = e;
	return 0;
}

/* Writes the oldest piece that is packed; 1 if there was one. */
static int write_oldest(struct encoder *e, bool wait, struct vma_error *err)
{
	int job = pipeline_oldest(e->pipeline, wait), ret;
	struct piece *p;
	struct iovec iov;

	if (job < 0)
		return 0;
	p = &e->pieces[job];
	ret = pipeline_result(e->pipeline, err);
	if (ret)
		return ret;
	iov.iov_base = p->out;
	iov.iov_len = p->out_used;
	ret = iov.iov_len ? e->write(e->ctx, &iov, 1, err) : 0;
	if (!ret && e->compressor->wrote)
		ret = e->compressor->wrote(e->stream, p->out, p->out_used, p->in_used, err);
	if (ret)
		return ret;
	p->in_used = 0;
	pipeline_retire(e->pipeline);
	return 1;
}

/* Packs what is in the piece being filled, and writes what is ready. */
static int submit(struct encoder *e, struct vma_error *err)
{
	int ret;

	pipeline_submit(e->pipeline);
	e->any = true;
	do
		ret = write_oldest(e, pipeline_next(e->pipeline) < 0, err);
	while (ret > 0);
	return ret;
}

static struct piece *current(struct encoder *e)
{
	return &e->pieces[pipeline_next(e->pipeline)];
}

static int gather(struct encoder *e, const struct iovec *iov, int iovcnt, struct vma_error *err)
{
	struct piece *p = current(e);
	size_t total = 0;
	int ret;

	for (int i = 0; i < iovcnt; i++)
		total += iov[i].iov_len;
	if (p->in_used && p->in_used + total > CODEC_PIECE_MAX) {
		ret = submit(e, err);
		if (ret)
			return ret;
	}
	for (int i = 0; i < iovcnt; i++) {
		const uint8_t *from = iov[i].iov_base;
		size_t left = iov[i].iov_len;

		while (left) {
			size_t n;

			p = current(e);
			n = CODEC_PIECE_MAX - p->in_used;
			if (n > left)
				n = left;
			memcpy(p->in + p->in_used, from, n);
			p->in_used += n;
			from += n;
			left -= n;
			if (p->in_used < CODEC_PIECE_MAX)
				continue;
			ret = submit(e, err);
			if (ret)
				return ret;
		}
	}
	/* The archive's header, without which nothing can be read, is not to go with a cluster. */
	if (!e->any && current(e)->in_used)
		return submit(e, err);
	return current(e)->in_used >= CODEC_PIECE_MIN ? submit(e, err) : 0;
}

static int broken(const struct encoder *e, struct vma_error *err)
{
	return vma_fail(err, e->failed, "an earlier failure broke the compressed stream");
}

int encoder_write(struct encoder *e, const struct iovec *iov, int iovcnt, struct vma_error *err)
{
	if (e->failed)
		return broken(e, err);
	if (e->compressor)
		e->failed = gather(e, iov, iovcnt, err);
	else
		e->failed = e->write(e->ctx, iov, iovcnt, err);
	return e->failed;
}

static int finish(struct encoder *e, struct vma_error *err)
{
	int ret = 0;

	/* Even of nothing there is a piece, so that it is a stream at all. */
	if (current(e)->in_used || !e->any)
		ret = submit(e, err);
	while (!ret && pipeline_pending(e->pipeline)) {
		ret = write_oldest(e, true, err);
		if (ret > 0)
			ret = 0;
	}
	if (!ret && e->compressor->end)
		ret = e->compressor->end(e->stream, e->write, e->ctx, err);
	return ret;
}

int encoder_finish(struct encoder *e, struct vma_error *err)
{
	if (e->failed)
		return broken(e, err);
	if (e->compressor)
		e->failed = finish(e, err);
	return e->failed;
}

void encoder_free(struct encoder *e)
{
	if (!e)
		return;
	pipeline_free(e->pipeline);
	for (unsigned int i = 0; e->pieces && i < e->nr_pieces; i++) {
		free(e->pieces[i].in);
		free(e->pieces[i].out);
	}
	for (unsigned int i = 0; e->states && i < e->nr_states; i++)
		e->compressor->close(e->states[i]);
	if (e->compressor && e->compressor->free)
		e->compressor->free(e->stream);
	free(e->pieces);
	free(e->states);
	free(e);
}
