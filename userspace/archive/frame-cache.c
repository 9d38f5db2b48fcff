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
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/queue.h>

#include "libvma/text.h"

/*
 * A bucket, 8 bytes, for each 4 KiB of the limit, 512 KiB of them at most: up to 256 MiB there
 * are 30 entries in a bucket if they are as small as they can be, 140 bytes.
 */
#define BUCKET_SHARE	4096u
#define BUCKETS_MAX	65536u

/* What malloc() adds to two blocks at most: 8 bytes, rounded up to 16, of at least 32. */
#define MALLOC_ROOM	64u

struct cached {
	LIST_ENTRY(cached) same_bucket;
	TAILQ_ENTRY(cached) by_use;	/* the least recently used one first */
	uint64_t number;
	uint32_t size;
	unsigned int users;
	bool ready;
	uint8_t *data;
};

struct frame_cache {
	size_t limit;

	pthread_mutex_t lock;
	pthread_cond_t changed;		/* a frame is ready, gone or unused */
	size_t used;			/* bytes of all entries, see room_of() */
	TAILQ_HEAD(, cached) by_use;
	size_t nr_buckets;
	LIST_HEAD(bucket, cached) buckets[];
};

/* The memory of an entry: frames of a few bytes must not be kept without bound. */
static size_t room_of(uint32_t size)
{
	return size + sizeof(struct cached) + MALLOC_ROOM;
}

int frame_cache_new(struct frame_cache **out, size_t limit, struct vma_error *err)
{
	size_t nr = limit / BUCKET_SHARE < BUCKETS_MAX ? limit / BUCKET_SHARE + 1 : BUCKETS_MAX;
	struct frame_cache *c = calloc(1, sizeof(*c) + nr * sizeof(c->buckets[0]));

	if (!c)
		return vma_fail(err, -ENOMEM, "out of memory");
	c->limit = limit;
	pthread_mutex_init(&c->lock, NULL);
	pthread_cond_init(&c->changed, NULL);
	c->nr_buckets = nr;
	for (size_t i = 0; i < nr; i++)
		LIST_INIT(&c->buckets[i]);
	TAILQ_INIT(&c->by_use);
	*out = c;
	return 0;
}

static void drop(struct frame_cache *c, struct cached *e)
{
	LIST_REMOVE(e, same_bucket);
	TAILQ_REMOVE(&c->by_use, e, by_use);
	c->used -= room_of(e->size);
	free(e->data);
	free(e);
}

void frame_cache_free(struct frame_cache *c)
{
	struct cached *e;

	if (!c)
		return;
	while ((e = TAILQ_FIRST(&c->by_use)))
		drop(c, e);
	pthread_mutex_destroy(&c->lock);
	pthread_cond_destroy(&c->changed);
	free(c);
}

/* ---- entries, with the lock ------------------------------------------- */

static struct cached *find(struct frame_cache *c, uint64_t number)
{
	struct cached *e;

	LIST_FOREACH(e, &c->buckets[number % c->nr_buckets], same_bucket)
		if (e->number == number)
			return e;
	return NULL;
}

/* Whether there is room for so many bytes of memory now. */
static bool make_room(struct frame_cache *c, size_t size)
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
static struct cached *insert(struct frame_cache *c, uint64_t number, uint32_t size)
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
	c->used += room_of(size);
	LIST_INSERT_HEAD(&c->buckets[number % c->nr_buckets], e, same_bucket);
	TAILQ_INSERT_TAIL(&c->by_use, e, by_use);
	return e;
}

/* Fills the entry; the lock is let go meanwhile. If it fails, the entry is gone. */
static int fill_entry(struct frame_cache *c, struct cached *e, frame_fill_fn fill, void *ctx,
		      struct vma_error *err)
{
	int ret;

	pthread_mutex_unlock(&c->lock);
	ret = fill(ctx, e->data, err);
	pthread_mutex_lock(&c->lock);
	if (ret)
		drop(c, e);
	else
		e->ready = true;
	pthread_cond_broadcast(&c->changed);
	return ret;
}

/* An entry that is ready, with the caller one of its users. */
static int get(struct frame_cache *c, uint64_t number, uint32_t size, frame_fill_fn fill,
	       void *ctx, struct cached **out, struct vma_error *err)
{
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
		if (!e && make_room(c, room_of(size)))
			break;
		pthread_cond_wait(&c->changed, &c->lock);
	}
	e = insert(c, number, size);
	if (!e)
		return vma_fail(err, -ENOMEM, "out of memory");
	*out = e;
	return fill_entry(c, e, fill, ctx, err);
}

int frame_cache_hold(struct frame_cache *c, uint64_t number, uint32_t size, frame_fill_fn fill,
		     void *ctx, struct cached **out, struct vma_error *err)
{
	int ret;

	pthread_mutex_lock(&c->lock);
	ret = get(c, number, size, fill, ctx, out, err);
	pthread_mutex_unlock(&c->lock);
	return ret;
}

const uint8_t *frame_cache_data(const struct cached *held)
{
	return held->data;
}

void frame_cache_release(struct frame_cache *c, struct cached *held)
{
	pthread_mutex_lock(&c->lock);
	if (!--held->users)
		pthread_cond_broadcast(&c->changed);
	pthread_mutex_unlock(&c->lock);
}
