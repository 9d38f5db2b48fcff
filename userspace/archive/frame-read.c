// SPDX-License-Identifier: GPL-2.0-or-later
#include "archive/frame-read.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <zstd.h>

#include "archive/file.h"
#include "archive/frame-cache.h"
#include "codec/zstd-frame.h"
#include "libvma/text.h"

/* As in codec: what zstd itself allows unless asked. */
#define WINDOW_LOG_MAX	27

/* Decompressors, kept: making one costs more than a small frame. */
struct worker {
	SLIST_ENTRY(worker) next;
	ZSTD_DCtx *zstd;
};

struct frame_reader {
	int fd;
	const struct frames *frames;
	struct frame_cache *cache;

	pthread_mutex_t lock;		/* of what follows */
	SLIST_HEAD(, worker) idle;
};

static struct worker *worker_new(void)
{
	struct worker *w = calloc(1, sizeof(*w));

	if (!w)
		return NULL;
	w->zstd = ZSTD_createDCtx();
	if (!w->zstd ||
	    ZSTD_isError(ZSTD_DCtx_setParameter(w->zstd, ZSTD_d_windowLogMax, WINDOW_LOG_MAX))) {
		ZSTD_freeDCtx(w->zstd);
		free(w);
		return NULL;
	}
	return w;
}

static int check_seal(const struct frame *frame, const uint8_t *packed, uint32_t number,
		      struct vma_error *err)
{
	const uint8_t *p = packed + frame->size;
	struct seal seal;

	if (zstd_seal_get(p, &seal) && seal.kind == SEAL_PIECE &&
	    seal.count == frame->content_size && seal.hash == zstd_seal_hash(packed, p))
		return 0;
	return vma_fail(err, -EBADMSG, "damaged: zstd frame %" PRIu32 ", bytes %" PRIu64 "-%" PRIu64
			" of the file, differs from its seal", number, frame->at,
			frame->at + frame->size + ZSTD_SEAL_SIZE - 1);
}

static int decompress(int fd, struct worker *w, const struct frame *frame, uint8_t *data,
		      uint32_t number, struct vma_error *err)
{
	size_t size = frame->size + (frame->sealed ? ZSTD_SEAL_SIZE : 0), got;
	uint8_t *packed = malloc(size);
	int ret;

	if (!packed)
		return vma_fail(err, -ENOMEM, "out of memory");
	ret = file_read(fd, frame->at, packed, size, err);
	if (!ret && frame->sealed)
		ret = check_seal(frame, packed, number, err);
	if (!ret) {
		got = ZSTD_decompressDCtx(w->zstd, data, frame->content_size, packed, frame->size);
		if (ZSTD_isError(got))
			ret = vma_fail(err, -EBADMSG,
				       "damaged: zstd frame %" PRIu32 " at byte %" PRIu64
				       " of the file: %s", number, frame->at, ZSTD_getErrorName(got));
		else if (got != frame->content_size)
			ret = vma_fail(err, -EBADMSG,
				       "damaged: zstd frame %" PRIu32 " at byte %" PRIu64
				       " of the file has %zu bytes, the seek table says %" PRIu32,
				       number, frame->at, got, frame->content_size);
	}
	free(packed);
	return ret;
}

static struct worker *worker_get(struct frame_reader *r)
{
	struct worker *w;

	pthread_mutex_lock(&r->lock);
	w = SLIST_FIRST(&r->idle);
	if (w)
		SLIST_REMOVE_HEAD(&r->idle, next);
	pthread_mutex_unlock(&r->lock);
	return w ? w : worker_new();
}

static void worker_put(struct frame_reader *r, struct worker *w)
{
	pthread_mutex_lock(&r->lock);
	SLIST_INSERT_HEAD(&r->idle, w, next);
	pthread_mutex_unlock(&r->lock);
}

struct wanted {
	struct frame_reader *reader;
	uint32_t number;
	struct frame frame;
};

static int fill(void *ctx, uint8_t *data, struct vma_error *err)
{
	const struct wanted *want = ctx;
	struct worker *w = worker_get(want->reader);
	int ret;

	if (!w)
		return vma_fail(err, -ENOMEM, "out of memory");
	ret = decompress(want->reader->fd, w, &want->frame, data, want->number, err);
	worker_put(want->reader, w);
	return ret;
}

int frame_reader_new(struct frame_reader **out, int fd, const struct frames *frames, size_t cache,
		     struct vma_error *err)
{
	struct frame_reader *r = calloc(1, sizeof(*r));
	int ret;

	if (!r)
		return vma_fail(err, -ENOMEM, "out of memory");
	r->fd = fd;
	r->frames = frames;
	pthread_mutex_init(&r->lock, NULL);
	SLIST_INIT(&r->idle);
	ret = frame_cache_new(&r->cache, cache, err);
	if (ret) {
		frame_reader_free(r);
		return ret;
	}
	*out = r;
	return 0;
}

void frame_reader_free(struct frame_reader *r)
{
	struct worker *w;

	if (!r)
		return;
	frame_cache_free(r->cache);
	while ((w = SLIST_FIRST(&r->idle))) {
		SLIST_REMOVE_HEAD(&r->idle, next);
		ZSTD_freeDCtx(w->zstd);
		free(w);
	}
	pthread_mutex_destroy(&r->lock);
	free(r);
}

int frame_reader_read(struct frame_reader *r, uint32_t number, uint32_t offset, void *buf,
		      size_t len, struct vma_error *err)
{
	struct wanted want = {
		.reader = r,
		.number = number,
		.frame = frames_get(r->frames, number),
	};
	struct cached *held;
	int ret;

	ret = frame_cache_hold(r->cache, number, want.frame.content_size, fill, &want, &held, err);
	if (ret)
		return ret;
	memcpy(buf, frame_cache_data(held) + offset, len);
	frame_cache_release(r->cache, held);
	return 0;
}
