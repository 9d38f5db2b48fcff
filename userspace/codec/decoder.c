// SPDX-License-Identifier: GPL-2.0-or-later
/* The decompressing side. */
#include "codec/codec.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "libvma/text.h"

#define IN_SIZE		(512u << 10)	/* compressed bytes read at a time */
#define MAGIC_SIZE	4u		/* enough to tell the formats apart */

/*
 * A frame says how much memory its decoder needs. 128 MiB is what zstd itself
 * allows unless asked, so archives beyond it could not be restored elsewhere.
 */
#define WINDOW_LOG_MAX	27

struct decoder {
	enum codec_kind kind;
	vma_read_fn read;
	void *ctx;
	ZSTD_DCtx *zstd;
	uint8_t *in;		/* zstd: IN_SIZE bytes; none: the first MAGIC_SIZE bytes */
	size_t in_pos, in_used;
	bool in_ended;
	bool in_frame;		/* zstd: within a frame */
	int failed;		/* the first failure stays */
	struct vma_error failure;
};

struct foreign {
	uint8_t magic[MAGIC_SIZE];
	unsigned int size;
	const char *name;
	const char *filter;
};

static const struct foreign foreigns[] = {
	{ { 0x1f, 0x8b }, 2, "gzip", "zcat" },
	{ { 0x89, 'L', 'Z', 'O' }, 4, "lzo", "lzop -dc" },
};

static bool is_zstd(const uint8_t *magic, size_t len)
{
	uint32_t v;

	if (len < MAGIC_SIZE)
		return false;
	v = magic[0] | magic[1] << 8 | magic[2] << 16 | (uint32_t)magic[3] << 24;
	return v == ZSTD_MAGICNUMBER ||
	       (v & ZSTD_MAGIC_SKIPPABLE_MASK) == ZSTD_MAGIC_SKIPPABLE_START;
}

static int recognise(struct decoder *d, struct vma_error *err)
{
	ssize_t got = d->read(d->ctx, d->in, MAGIC_SIZE, err);
	size_t ret;

	if (got < 0)
		return got;
	d->in_used = got;
	for (size_t i = 0; i < sizeof(foreigns) / sizeof(foreigns[0]); i++) {
		const struct foreign *f = &foreigns[i];

		if (d->in_used >= f->size && memcmp(d->in, f->magic, f->size) == 0)
			return vma_fail(err, -EOPNOTSUPP,
					"compressed with %s, which is not read directly: pipe it through \"%s\" and give \"-\" as the archive",
					f->name, f->filter);
	}
	if (!is_zstd(d->in, d->in_used))
		return 0;
	d->kind = CODEC_ZSTD;
	d->zstd = ZSTD_createDCtx();
	if (!d->zstd)
		return vma_fail(err, -ENOMEM, "out of memory");
	ret = ZSTD_DCtx_setParameter(d->zstd, ZSTD_d_windowLogMax, WINDOW_LOG_MAX);
	if (ZSTD_isError(ret))
		return vma_fail(err, -EINVAL, "zstd: %s", ZSTD_getErrorName(ret));
	return 0;
}

int decoder_new(struct decoder **out, vma_read_fn read, void *ctx, struct vma_error *err)
{
	struct decoder *d = calloc(1, sizeof(*d));
	int ret;

	if (!d)
		return vma_fail(err, -ENOMEM, "out of memory");
	d->kind = CODEC_NONE;
	d->read = read;
	d->ctx = ctx;
	d->in = malloc(IN_SIZE);
	ret = d->in ? recognise(d, err) : vma_fail(err, -ENOMEM, "out of memory");
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

void decoder_free(struct decoder *d)
{
	if (!d)
		return;
	ZSTD_freeDCtx(d->zstd);
	free(d->in);
	free(d);
}

static ssize_t read_plain(struct decoder *d, uint8_t *buf, size_t len, struct vma_error *err)
{
	size_t kept = d->in_used - d->in_pos;
	ssize_t got;

	if (kept > len)
		kept = len;
	memcpy(buf, d->in + d->in_pos, kept);
	d->in_pos += kept;
	if (kept == len)
		return len;
	got = d->read(d->ctx, buf + kept, len - kept, err);
	return got < 0 ? got : (ssize_t)kept + got;
}

static int refill(struct decoder *d, struct vma_error *err)
{
	ssize_t got = d->read(d->ctx, d->in, IN_SIZE, err);

	if (got < 0)
		return got;
	d->in_pos = 0;
	d->in_used = got;
	d->in_ended = got == 0;
	return 0;
}

static int zstd_refusal(size_t code, struct vma_error *err)
{
	switch (ZSTD_getErrorCode(code)) {
	case ZSTD_error_memory_allocation:
		return vma_fail(err, -ENOMEM, "out of memory");
	case ZSTD_error_frameParameter_windowTooLarge:
		return vma_fail(err, -EFBIG,
				"the zstd stream needs a window above 128 MiB: compress it again without --long");
	case ZSTD_error_prefix_unknown:
		return vma_fail(err, -EBADMSG,
				"damaged: what follows a zstd frame is not a zstd frame");
	case ZSTD_error_checksum_wrong:
		return vma_fail(err, -EBADMSG, "damaged: a zstd frame has a wrong checksum");
	default:
		return vma_fail(err, -EBADMSG, "damaged zstd stream: %s", ZSTD_getErrorName(code));
	}
}

static ssize_t read_zstd(struct decoder *d, uint8_t *buf, size_t len, struct vma_error *err)
{
	ZSTD_outBuffer out = { .dst = buf, .size = len };
	int ret;

	while (out.pos < len) {
		ZSTD_inBuffer in = { .src = d->in, .size = d->in_used, .pos = d->in_pos };
		size_t before = out.pos, hint;

		if (in.pos == in.size && !d->in_ended) {
			ret = refill(d, err);
			if (ret)
				return ret;
			continue;
		}
		if (in.pos == in.size && !d->in_frame)
			break;
		hint = ZSTD_decompressStream(d->zstd, &out, &in);
		if (ZSTD_isError(hint))
			return zstd_refusal(hint, err);
		d->in_frame = hint != 0;
		/* Without input, only what the decoder still holds can come out. */
		if (in.pos == d->in_pos && d->in_ended && out.pos == before)
			return vma_fail(err, -EBADMSG,
					"truncated: the archive ends within a zstd frame");
		d->in_pos = in.pos;
	}
	return out.pos;
}

ssize_t decoder_read(void *decoder, void *buf, size_t len, struct vma_error *err)
{
	struct decoder *d = decoder;
	ssize_t ret;

	if (d->failed)
		return vma_fail(err, d->failed, "%s", d->failure.text);
	if (d->kind == CODEC_NONE)
		ret = read_plain(d, buf, len, &d->failure);
	else
		ret = read_zstd(d, buf, len, &d->failure);
	if (ret < 0) {
		d->failed = ret;
		return vma_fail(err, d->failed, "%s", d->failure.text);
	}
	return ret;
}
