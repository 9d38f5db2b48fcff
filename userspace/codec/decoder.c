// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The decompressing side: tells the formats apart, keeps the first failure, and makes
 * what a decompressor finds damaged an error, or a loss that is gone behind.
 */
#include <errno.h>
#include <inttypes.h>
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
	bool lost;		/* the stream stands at this loss, which is to be told */
	struct vma_loss loss;
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

	if (!kept)
		return d->in.read(d->in.ctx, buf, len, err);
	if (kept > len)
		kept = len;
	memcpy(buf, input_at(&d->in), kept);
	input_skip(&d->in, kept);
	return kept;
}

static int damaged(const struct vma_loss *loss, int code, struct vma_error *err)
{
	if (loss->begin >= loss->end)
		return vma_fail(err, code, "%s (at byte %" PRIu64 " of the file)", loss->what.text,
				loss->begin);
	if (!loss->bytes)
		return vma_fail(err, code,
				"damaged: bytes %" PRIu64 "-%" PRIu64 " of the file are not as written; the data is intact (%s)",
				loss->begin, loss->end - 1, loss->what.text);
	return vma_fail(err, code, "%s (bytes %" PRIu64 "-%" PRIu64 " of the file)",
			loss->what.text, loss->begin, loss->end - 1);
}

/*
 * What is only not understood is not damaged; nor is a file whose first byte begins what is
 * beyond a limit.  One that went well until then was not made so.
 */
static bool may_be_good(const struct decoder *d, ssize_t code)
{
	return code == -EOPNOTSUPP || (code == -EFBIG && !d->loss.begin);
}

/* Some bytes; 0 at the end, and before a loss that is to be told. */
static ssize_t read_some(struct decoder *d, uint8_t *buf, size_t len, struct vma_error *err)
{
	ssize_t n;

	if (!d->decompressor)
		return read_plain(d, buf, len, err);
	d->loss.what.text[0] = '\0';
	n = d->decompressor->read(d->state, buf, len, &d->loss, err);
	if (n >= 0 || !d->loss.what.text[0])
		return n;
	if (!d->go_on || may_be_good(d, n))
		return damaged(&d->loss, n, err);
	d->lost = true;
	return 0;
}

ssize_t decoder_read(void *decoder, void *buf, size_t len, struct vma_error *err)
{
	struct decoder *d = decoder;
	size_t done = 0;

	if (d->failed)
		return vma_fail(err, d->failed, "%s", d->failure.text);
	while (done < len && !d->lost) {
		ssize_t n = read_some(d, (uint8_t *)buf + done, len - done, &d->failure);

		if (n < 0) {
			d->failed = n;
			return vma_fail(err, d->failed, "%s", d->failure.text);
		}
		if (!n)
			break;
		done += n;
	}
	return done;
}

void decoder_go_on(struct decoder *d)
{
	d->go_on = true;
	d->in.go_on = true;
	if (d->decompressor && d->decompressor->go_on)
		d->decompressor->go_on(d->state);
}

int decoder_loss(void *decoder, struct vma_loss *loss)
{
	struct decoder *d = decoder;

	if (!d->lost)
		return 0;
	d->lost = false;
	*loss = d->loss;
	return 1;
}

uint64_t decoder_unproven(void *decoder)
{
	struct decoder *d = decoder;

	if (!d->decompressor || !d->decompressor->unproven)
		return 0;
	return d->decompressor->unproven(d->state);
}
