// SPDX-License-Identifier: GPL-2.0-or-later
/* The compressing side. */
#include "codec/codec.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "libvma/text.h"

/* Compressed bytes go out in pieces of this size: few system calls, little memory. */
#define OUT_SIZE	(512u << 10)

struct encoder {
	struct codec_options options;
	codec_write_fn write;
	void *ctx;
	ZSTD_CCtx *zstd;	/* NULL: bytes pass through */
	uint8_t *out;		/* OUT_SIZE bytes */
	size_t used;
	int failed;		/* the first failure; a broken stream stays broken */
};

int codec_parse(const char *text, struct codec_options *o, struct vma_error *err)
{
	const char *level;
	long value;
	char *end;

	if (strcmp(text, "none") == 0) {
		o->kind = CODEC_NONE;
		o->level = 0;
		return 0;
	}
	if (strcmp(text, "zstd") == 0) {
		o->kind = CODEC_ZSTD;
		o->level = 0;
		return 0;
	}
	if (strncmp(text, "zstd:", 5) != 0)
		return vma_fail(err, -EINVAL,
				"unknown compression \"%s\": use none, zstd or zstd:LEVEL",
				vma_quote(text));
	level = text + 5;
	errno = 0;
	value = strtol(level, &end, 10);
	if (*level < '0' || *level > '9' || *end || errno || value < 1 || value > ZSTD_maxCLevel())
		return vma_fail(err, -EINVAL, "zstd level \"%s\" is not a number from 1 to %d",
				vma_quote(level), ZSTD_maxCLevel());
	o->kind = CODEC_ZSTD;
	o->level = value;
	return 0;
}

static int zstd_setup(struct encoder *e, struct vma_error *err)
{
	int level = e->options.level ? e->options.level : ZSTD_CLEVEL_DEFAULT;
	size_t ret;

	e->zstd = ZSTD_createCCtx();
	e->out = malloc(OUT_SIZE);
	if (!e->zstd || !e->out)
		return vma_fail(err, -ENOMEM, "out of memory");
	ret = ZSTD_CCtx_setParameter(e->zstd, ZSTD_c_compressionLevel, level);
	if (!ZSTD_isError(ret))
		ret = ZSTD_CCtx_setParameter(e->zstd, ZSTD_c_checksumFlag, 1);
	if (ZSTD_isError(ret))
		return vma_fail(err, -EINVAL, "zstd level %d: %s", level, ZSTD_getErrorName(ret));
	/* A library that was built without threads refuses this: then it is the caller's thread. */
	if (e->options.threads)
		ZSTD_CCtx_setParameter(e->zstd, ZSTD_c_nbWorkers, e->options.threads);
	return 0;
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
	if (o->kind == CODEC_ZSTD)
		ret = zstd_setup(e, err);
	if (ret) {
		encoder_free(e);
		return ret;
	}
	*out = e;
	return 0;
}

static int flush_out(struct encoder *e, struct vma_error *err)
{
	struct iovec iov = { .iov_base = e->out, .iov_len = e->used };

	e->used = 0;
	return iov.iov_len ? e->write(e->ctx, &iov, 1, err) : 0;
}

static int zstd_feed(struct encoder *e, const void *data, size_t len, ZSTD_EndDirective directive,
		     struct vma_error *err)
{
	ZSTD_inBuffer in = { .src = data, .size = len };
	size_t left;
	int ret;

	do {
		ZSTD_outBuffer out = { .dst = e->out, .size = OUT_SIZE, .pos = e->used };

		left = ZSTD_compressStream2(e->zstd, &out, &in, directive);
		if (ZSTD_isError(left))
			return vma_fail(err, -EIO, "zstd cannot compress: %s",
					ZSTD_getErrorName(left));
		e->used = out.pos;
		if (e->used == OUT_SIZE) {
			ret = flush_out(e, err);
			if (ret)
				return ret;
		}
	} while (directive == ZSTD_e_end ? left != 0 : in.pos < in.size);
	return 0;
}

static int write_all(struct encoder *e, const struct iovec *iov, int iovcnt, struct vma_error *err)
{
	int ret;

	if (!e->zstd)
		return e->write(e->ctx, iov, iovcnt, err);
	for (int i = 0; i < iovcnt; i++) {
		ret = zstd_feed(e, iov[i].iov_base, iov[i].iov_len, ZSTD_e_continue, err);
		if (ret)
			return ret;
	}
	return 0;
}

static int broken(const struct encoder *e, struct vma_error *err)
{
	return vma_fail(err, e->failed, "an earlier failure broke the compressed stream");
}

int encoder_write(struct encoder *e, const struct iovec *iov, int iovcnt, struct vma_error *err)
{
	if (e->failed)
		return broken(e, err);
	e->failed = write_all(e, iov, iovcnt, err);
	return e->failed;
}

int encoder_finish(struct encoder *e, struct vma_error *err)
{
	if (e->failed)
		return broken(e, err);
	if (!e->zstd)
		return 0;
	e->failed = zstd_feed(e, NULL, 0, ZSTD_e_end, err);
	if (!e->failed)
		e->failed = flush_out(e, err);
	return e->failed;
}

void encoder_free(struct encoder *e)
{
	if (!e)
		return;
	ZSTD_freeCCtx(e->zstd);
	free(e->out);
	free(e);
}
