// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * One lock guards everything but the bytes of the frames. A frame's bytes are written
 * by the thread that made the entry, before it is READY, and read by those that hold
 * one of its users; it can be dropped when it has none.
 *
 * Nobody waits for memory while he uses a frame, so the wait always ends.
 */
#include "archive/frame-cache.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <zstd.h>

#include "archive/file.h"
#include "codec/zstd-frame.h"
#include "libvma/text.h"

#define BUCKETS		1024u

/* As in codec: what zstd itself allows unless asked. */
#define WINDOW_LOG_MAX	27

struct cached {
	LIST_ENTRY(cached) same_bucket;
	TAILQ_ENTRY(cached) by_use;	/* the least recently used one first */
	uint32_t number;
	uint32_t size;
	unsigned int users;
	bool ready;
	uint8_t *data;
};

/* Decompressors, kept: making one costs more than a small frame. */
struct worker {
	SLIST_ENTRY(worker) next;
	ZSTD_DCtx *zstd;
};

struct frame_cache {
	int fd;
	const struct frames *frames;
	size_t limit;

	pthread_mutex_t lock;
	pthread_cond_t changed;		/* a frame is ready, gone or unused */
	size_t used;			/* bytes of all entries */
	LIST_HEAD(bucket, cached) buckets[BUCKETS];
	TAILQ_HEAD(, cached) by_use;
	SLIST_HEAD(, worker) idle;
};

int frame_cache_new(struct frame_cache **out, int fd, const struct frames *frames, size_t limit,
		    struct vma_error *err)
{
	struct frame_cache *c = calloc(1, sizeof(*c));

	if (!c)
		return vma_fail(err, -ENOMEM, "out of memory");
	c->fd = fd;
	c->frames = frames;
	c->limit = limit;
	pthread_mutex_init(&c->lock, NULL);
	pthread_cond_init(&c->changed, NULL);
	for (unsigned int i = 0; i < BUCKETS; i++)
		LIST_INIT(&c->buckets[i]);
	TAILQ_INIT(&c->by_use);
	SLIST_INIT(&c->idle);
	*out = c;
	return 0;
}

static void drop(struct frame_cache *c, struct cached *e)
{
	LIST_REMOVE(e, same_bucket);
	TAILQ_REMOVE(&c->by_use, e, by_use);
	c->used -= e->size;
	free(e->data);
	free(e);
}

void frame_cache_free(struct frame_cache *c)
{
	struct cached *e;
	struct worker *w;

	if (!c)
		return;
	while ((e = TAILQ_FIRST(&c->by_use)))
		drop(c, e);
	while ((w = SLIST_FIRST(&c->idle))) {
		SLIST_REMOVE_HEAD(&c->idle, next);
		ZSTD_freeDCtx(w->zstd);
		free(w);
	}
	pthread_mutex_destroy(&c->lock);
	pthread_cond_destroy(&c->changed);
	free(c);
}

/* ---- decompressing, without the lock ---------------------------------- */

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

static int decompress(struct frame_cache *c, struct worker *w, const struct frame *frame,
		      uint8_t *data, uint32_t number, struct vma_error *err)
{
	size_t size = frame->size + (frame->sealed ? ZSTD_SEAL_SIZE : 0), got;
	uint8_t *packed = malloc(size);
	int ret;

	if (!packed)
		return vma_fail(err, -ENOMEM, "out of memory");
	ret = file_read(c->fd, frame->at, packed, size, err);
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

/* ---- entries, with the lock ------------------------------------------- */

static struct cached *find(struct frame_cache *c, uint32_t number)
{
	struct cached *e;

	LIST_FOREACH(e, &c->buckets[number % BUCKETS], same_bucket)
		if (e->number == number)
			return e;
	return NULL;
}

/* Whether there is room for so many bytes now. */
static bool make_room(struct frame_cache *c, uint32_t size)
{
	struct cached *e, *next;

	for (e = TAILQ_FIRST(&c->by_use); e && c->used && c->used + size > c->limit; e = next) {
		next = TAILQ_NEXT(e, by_use);
		if (!e->users)
			drop(c, e);
	}
	return !c->used || c->used + size <= c->limit;
}

/* A new entry with one user, or NULL: no memory. */
static struct cached *insert(struct frame_cache *c, uint32_t number, uint32_t size)
{
	struct cached *e = calloc(1, sizeof(*e));

	if (!e)
		return NULL;
	e->data = malloc(size ? size : 1);
	if (!e->data) {
		free(e);
		return NULL;
	}
	e->number = number;
	e->size = size;
	e->users = 1;
	c->used += size;
	LIST_INSERT_HEAD(&c->buckets[number % BUCKETS], e, same_bucket);
	TAILQ_INSERT_TAIL(&c->by_use, e, by_use);
	return e;
}

/* Fills the entry; the lock is let go meanwhile. If it fails, the entry is gone. */
static int fill(struct frame_cache *c, struct cached *e, const struct frame *frame,
		struct vma_error *err)
{
	struct worker *w = SLIST_FIRST(&c->idle);
	int ret;

	if (w)
		SLIST_REMOVE_HEAD(&c->idle, next);
	pthread_mutex_unlock(&c->lock);
	if (!w)
		w = worker_new();
	ret = w ? decompress(c, w, frame, e->data, e->number, err) :
		  vma_fail(err, -ENOMEM, "out of memory");
	pthread_mutex_lock(&c->lock);
	if (w)
		SLIST_INSERT_HEAD(&c->idle, w, next);
	if (ret)
		drop(c, e);
	else
		e->ready = true;
	pthread_cond_broadcast(&c->changed);
	return ret;
}

/* An entry that is ready, with the caller one of its users. */
static int get(struct frame_cache *c, uint32_t number, struct cached **out, struct vma_error *err)
{
	struct frame frame = frames_get(c->frames, number);
	struct cached *e;

	for (;;) {
		e = find(c, number);
		if (e && e->ready) {
			e->users++;
			TAILQ_REMOVE(&c->by_use, e, by_use);
			TAILQ_INSERT_TAIL(&c->by_use, e, by_use);
			*out = e;
			return 0;
		}
		if (!e && make_room(c, frame.content_size))
			break;
		pthread_cond_wait(&c->changed, &c->lock);
	}
	e = insert(c, number, frame.content_size);
	if (!e)
		return vma_fail(err, -ENOMEM, "out of memory");
	*out = e;
	return fill(c, e, &frame, err);
}

int frame_cache_read(struct frame_cache *c, uint32_t number, uint32_t offset, void *buf,
		     size_t len, struct vma_error *err)
{
	struct cached *e;
	int ret;

	pthread_mutex_lock(&c->lock);
	ret = get(c, number, &e, err);
	pthread_mutex_unlock(&c->lock);
	if (ret)
		return ret;
	memcpy(buf, e->data + offset, len);
	pthread_mutex_lock(&c->lock);
	if (!--e->users)
		pthread_cond_broadcast(&c->changed);
	pthread_mutex_unlock(&c->lock);
	return 0;
}
