// SPDX-License-Identifier: GPL-2.0-or-later
#include "codec/zstd-queue.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zstd_errors.h>

#include "libvma/text.h"

/* As the encoder: frames that are waited for beside those that are worked on. */
#define EXTRA_JOBS	2

struct zstd_job {
	uint8_t *in, *out;
	size_t in_room, in_len;
	size_t out_room, out_len, out_pos;
	bool checksum;		/* the frame has one of its own */
	bool sealed;
	bool seal_broken;	/* there is something else in its place */
	struct seal seal;
	int damage;		/* a negative errno if loss is filled in and not told yet */
	struct vma_loss loss;
};

int zstd_refusal(size_t code, struct vma_error *err)
{
	switch (ZSTD_getErrorCode(code)) {
	case ZSTD_error_memory_allocation:
		return vma_fail(err, -ENOMEM, "out of memory");
	case ZSTD_error_frameParameter_windowTooLarge:
		return vma_fail(err, -EFBIG,
				"the zstd stream needs a window above 128 MiB: compress it again without --long");
	case ZSTD_error_checksum_wrong:
		return vma_fail(err, -EBADMSG, "damaged: a zstd frame has a wrong checksum");
	default:
		return vma_fail(err, -EBADMSG, "damaged zstd stream: %s", ZSTD_getErrorName(code));
	}
}

static bool intact(const struct zstd_job *f)
{
	return !f->sealed || (!f->seal_broken &&
			      zstd_seal_hash(f->in, f->in + f->in_len) == f->seal.hash);
}

/* In a thread of the pipeline's. */
static int decompress_frame(void *ctx, unsigned int worker, unsigned int job,
			    struct vma_error *err)
{
	struct zstd_queue *q = ctx;
	struct zstd_job *f = &q->jobs[job];
	bool as_written;
	size_t n;

	if (f->damage)
		return 0;
	as_written = intact(f);
	n = ZSTD_decompressDCtx(q->workers[worker], f->out, f->out_len, f->in, f->in_len);
	if (ZSTD_isError(n))
		f->damage = zstd_refusal(n, &f->loss.what);
	else if (n != f->out_len)
		f->damage = vma_fail(&f->loss.what, -EBADMSG,
				     "damaged: a zstd frame has another size than it says");
	else if (!as_written)
		f->damage = vma_fail(&f->loss.what, -EBADMSG,
				     "damaged: a zstd frame differs from its seal");
	if (f->damage == -ENOMEM)
		return vma_fail(err, -ENOMEM, "out of memory");
	if (!f->damage)
		return 0;
	/* Without the frame's checksum nothing says that the content is what it was. */
	if (!ZSTD_isError(n) && n == f->out_len && f->checksum) {
		f->loss.bytes = 0;
		return 0;
	}
	/* 0 would say that nothing is lost, and is the damage itself. */
	if (!f->loss.bytes)
		f->loss.bytes = VMA_LOSS_UNKNOWN;
	f->out_len = 0;
	return 0;
}

void zstd_queue_stop(struct zstd_queue *q)
{
	pipeline_free(q->pipeline);
	for (unsigned int i = 0; q->jobs && i < q->nr_jobs; i++) {
		free(q->jobs[i].in);
		free(q->jobs[i].out);
	}
	for (unsigned int i = 0; q->workers && i < q->nr_workers; i++)
		ZSTD_freeDCtx(q->workers[i]);
	free(q->jobs);
	free(q->workers);
	q->pipeline = NULL;
	q->jobs = NULL;
	q->workers = NULL;
}

int zstd_queue_start(struct zstd_queue *q, unsigned int threads, struct vma_error *err)
{
	bool room = true;

	zstd_queue_stop(q);
	if (!q->depth)
		q->depth = 1;
	q->nr_workers = threads ? threads : 1;
	q->nr_jobs = threads ? threads + EXTRA_JOBS : 1;
	q->workers = calloc(q->nr_workers, sizeof(*q->workers));
	q->jobs = calloc(q->nr_jobs, sizeof(*q->jobs));
	if (!q->workers || !q->jobs)
		return vma_fail(err, -ENOMEM, "out of memory");
	for (unsigned int i = 0; i < q->nr_workers && room; i++) {
		q->workers[i] = ZSTD_createDCtx();
		room = q->workers[i];
	}
	if (!room)
		return vma_fail(err, -ENOMEM, "out of memory");
	return pipeline_new(&q->pipeline, threads, q->nr_jobs, decompress_frame, q, err);
}

/* The old content is not wanted, so no realloc(). */
static bool make_room(uint8_t **p, size_t *room, size_t size)
{
	if (*room >= size && *p)
		return true;
	free(*p);
	*p = malloc(size ? size : 1);
	*room = *p ? size : 0;
	return *p;
}

int zstd_queue_frame(struct zstd_queue *q, const uint8_t *p, uint64_t at, size_t packed,
		     const struct zstd_header *h, const struct seal *seal, bool seal_broken,
		     struct vma_error *err)
{
	struct zstd_job *f = &q->jobs[pipeline_next(q->pipeline)];
	size_t all = packed + (seal ? ZSTD_SEAL_SIZE : 0);

	if (!make_room(&f->in, &f->in_room, all) ||
	    !make_room(&f->out, &f->out_room, h->content))
		return vma_fail(err, -ENOMEM, "out of memory");
	memcpy(f->in, p, all);
	f->in_len = packed;
	f->out_len = h->content;
	f->out_pos = 0;
	f->checksum = h->checksum;
	f->sealed = seal;
	f->seal_broken = seal_broken;
	if (seal)
		f->seal = *seal;
	f->damage = 0;
	f->loss = (struct vma_loss){
		.begin = at, .end = at + all, .bytes = h->content,
	};
	pipeline_submit(q->pipeline);
	return 0;
}

void zstd_queue_loss(struct zstd_queue *q, int code, const struct vma_loss *loss)
{
	struct zstd_job *f = &q->jobs[pipeline_next(q->pipeline)];

	f->loss = *loss;
	f->damage = code;
	f->out_len = 0;
	f->out_pos = 0;
	q->lossy = q->lossy || loss->bytes;
	pipeline_submit(q->pipeline);
}

bool zstd_queue_has_room(const struct zstd_queue *q)
{
	return pipeline_next(q->pipeline) >= 0 && pipeline_pending(q->pipeline) < q->depth;
}

unsigned int zstd_queue_pending(const struct zstd_queue *q)
{
	return pipeline_pending(q->pipeline);
}

ssize_t zstd_queue_read(struct zstd_queue *q, uint8_t *buf, size_t len, struct vma_loss *loss,
			struct vma_error *err)
{
	struct zstd_job *f = &q->jobs[pipeline_oldest(q->pipeline, true)];
	int ret = pipeline_result(q->pipeline, err), damage = f->damage;

	if (ret)
		return ret;
	if (damage) {
		*loss = f->loss;
		q->lossy = q->lossy || loss->bytes;
		f->damage = 0;
		len = 0;
	}
	if (len > f->out_len - f->out_pos)
		len = f->out_len - f->out_pos;
	if (len)
		memcpy(buf, f->out + f->out_pos, len);
	f->out_pos += len;
	if (f->out_pos == f->out_len) {
		pipeline_retire(q->pipeline);
		if (q->depth < q->nr_jobs)
			q->depth++;
	}
	return damage ? damage : (ssize_t)len;
}
