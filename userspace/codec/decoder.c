// SPDX-License-Identifier: GPL-2.0-or-later
/* The decompressing side: tells the formats apart, and keeps the first failure. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "codec/codec.h"
#include "codec/decompressor.h"
#include "libvma/text.h"

struct decoder {
	enum codec_kind kind;
	const struct decompressor *decompressor;	/* NULL: bytes pass through */
	void *state;
	struct input in;
	bool go_on;
	bool lost;		/* the end is one of damage, which is to be told */
	int failed;		/* the first failure stays */
	struct vma_error failure;
};

static const struct decompressor *const decompressors[] = {
	[CODEC_ZSTD] = &decompressor_zstd,
	[CODEC_GZIP] = &decompressor_gzip,
	[CODEC_LZO] = &decompressor_lzo,
};

static int recognise(struct decoder *d, struct vma_error *err)
{
	ssize_t have = input_peek(&d->in, DECOMPRESSOR_MAGIC, err);

	if (have < 0)
		return have;
	for (size_t i = 0; i < sizeof(decompressors) / sizeof(decompressors[0]); i++) {
		if (!decompressors[i] || !decompressors[i]->is(input_at(&d->in), have))
			continue;
		d->kind = i;
		d->decompressor = decompressors[i];
		d->in.ahead = INPUT_AHEAD;
		return d->decompressor->open(&d->state, &d->in, err);
	}
	return 0;
}

int decoder_new(struct decoder **out, vma_read_fn read, void *ctx, struct vma_error *err)
{
	struct decoder *d = calloc(1, sizeof(*d));
	int ret;

	if (!d)
		return vma_fail(err, -ENOMEM, "out of memory");
	d->kind = CODEC_NONE;
	d->in.read = read;
	d->in.ctx = ctx;
	ret = recognise(d, err);
	if (ret) {
		decoder_free(d);
		return ret;
	}
	*out = d;
	return 0;
}

enum codec_kind decoder_kind(const struct decoder *d)
{
	return d->kind;
}

int decoder_start_threads(struct decoder *d, unsigned int threads, struct vma_error *err)
{
	if (!threads || !d->decompressor || !d->decompressor->start_threads)
		return 0;
	return d->decompressor->start_threads(d->state, threads, err);
}

void decoder_free(struct decoder *d)
{
	if (!d)
		return;
	if (d->state)
		d->decompressor->close(d->state);
	input_free(&d->in);
	free(d);
}

/* Only what recognise() looked at was buffered. */
static ssize_t read_plain(struct decoder *d, uint8_t *buf, size_t len, struct vma_error *err)
{
	size_t kept = d->in.used - d->in.pos;
	ssize_t got;

	if (kept > len)
		kept = len;
	if (kept)
		memcpy(buf, input_at(&d->in), kept);
	input_skip(&d->in, kept);
	if (kept == len)
		return len;
	got = d->in.read(d->in.ctx, buf + kept, len - kept, err);
	return got < 0 ? got : (ssize_t)kept + got;
}

ssize_t decoder_read(void *decoder, void *buf, size_t len, struct vma_error *err)
{
	struct decoder *d = decoder;
	ssize_t ret;

	if (d->failed == -EBADMSG && d->go_on)
		return 0;
	if (d->failed)
		return vma_fail(err, d->failed, "%s", d->failure.text);
	if (d->decompressor)
		ret = d->decompressor->read(d->state, buf, len, &d->failure);
	else
		ret = read_plain(d, buf, len, &d->failure);
	if (ret < 0) {
		d->failed = ret;
		d->lost = ret == -EBADMSG && d->go_on;
		return d->lost ? 0 : vma_fail(err, d->failed, "%s", d->failure.text);
	}
	return ret;
}

void decoder_go_on(struct decoder *d)
{
	d->go_on = true;
	if (d->decompressor && d->decompressor->go_on)
		d->decompressor->go_on(d->state);
}

int decoder_loss(void *decoder, struct vma_loss *loss)
{
	struct decoder *d = decoder;

	if (!d->lost)
		return d->decompressor && d->decompressor->loss ?
			       d->decompressor->loss(d->state, loss) : 0;
	/* All from there on, wherever that is. */
	d->lost = false;
	*loss = (struct vma_loss){ .end = UINT64_MAX, .bytes = VMA_LOSS_UNKNOWN,
				   .what = d->failure };
	return 1;
}
