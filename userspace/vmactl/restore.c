// SPDX-License-Identifier: GPL-2.0-or-later
#include "vmactl/restore.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "codec/pipeline.h"
#include "libvma/text.h"

/*
 * Zeroes are gathered up to so much before the kernel is asked for them: one request
 * for many clusters, and yet none that can't be interrupted for long where the device
 * has no fast way to do it.
 */
#define ZERO_RUN_MAX	(64ull << 20)

#define BLOCKS_MAX	(RESTORE_WRITE_MAX / VMA_BLOCK_SIZE)

struct run {
	struct sink *sink;	/* NULL: nothing is in it */
	uint64_t offset, len;
	bool zero;		/* zeroes; buf holds nothing */
	uint8_t *buf;		/* RESTORE_WRITE_MAX bytes */
	uint16_t masks[BLOCKS_MAX / VMA_BLOCKS_PER_CLUSTER];	/* of the blocks stored */
};

struct restore {
	struct pipeline *pipeline;
	struct run runs[RESTORE_JOBS];		/* by job */
};

/* The stored blocks only, in as few writes as there are runs of them. */
static int write_stored(const struct run *r, struct vma_error *err)
{
	unsigned int blocks = (r->len + VMA_BLOCK_SIZE - 1) / VMA_BLOCK_SIZE, i = 0;
	int ret = 0;

	while (i < blocks && !ret) {
		uint64_t start = (uint64_t)i * VMA_BLOCK_SIZE, end;

		if (!(r->masks[i / VMA_BLOCKS_PER_CLUSTER] >> i % VMA_BLOCKS_PER_CLUSTER & 1)) {
			i++;
			continue;
		}
		while (i < blocks &&
		       r->masks[i / VMA_BLOCKS_PER_CLUSTER] >> i % VMA_BLOCKS_PER_CLUSTER & 1)
			i++;
		end = (uint64_t)i * VMA_BLOCK_SIZE;
		if (end > r->len)
			end = r->len;
		ret = sink_write(r->sink, r->buf + start, end - start, r->offset + start, err);
	}
	return ret;
}

/* In a thread of the pipeline's. */
static int write_run(void *ctx, unsigned int worker, unsigned int job, struct vma_error *err)
{
	struct restore *restore = ctx;
	const struct run *r = &restore->runs[job];

	(void)worker;
	if (r->zero)
		return sink_zero(r->sink, r->offset, r->len, err);
	if (sink_reads_zero(r->sink))
		return write_stored(r, err);
	return sink_write(r->sink, r->buf, r->len, r->offset, err);
}

int restore_new(struct restore **out, struct vma_error *err)
{
	struct restore *r = calloc(1, sizeof(*r));
	int ret = 0;

	if (!r)
		return vma_fail(err, -ENOMEM, "out of memory");
	for (unsigned int i = 0; i < RESTORE_JOBS && !ret; i++) {
		r->runs[i].buf = aligned_alloc(VMA_BLOCK_SIZE, RESTORE_WRITE_MAX);
		if (!r->runs[i].buf)
			ret = vma_fail(err, -ENOMEM, "out of memory");
	}
	if (!ret)
		ret = pipeline_new(&r->pipeline, RESTORE_WRITERS, RESTORE_JOBS, write_run, r, err);
	if (ret) {
		restore_free(r);
		return ret;
	}
	*out = r;
	return 0;
}

/* Retires what is done; with wait at least one, if there is any. */
static int retire(struct restore *r, bool wait, struct vma_error *err)
{
	int job, ret = 0;

	while (!ret && (job = pipeline_oldest(r->pipeline, wait)) >= 0) {
		ret = pipeline_result(r->pipeline, err);
		r->runs[job].sink = NULL;
		r->runs[job].len = 0;
		pipeline_retire(r->pipeline);
		wait = false;
	}
	return ret;
}

static int submit(struct restore *r, struct vma_error *err)
{
	pipeline_submit(r->pipeline);
	return retire(r, pipeline_next(r->pipeline) < 0, err);
}

static struct run *current(struct restore *r)
{
	return &r->runs[pipeline_next(r->pipeline)];
}

static bool continues(const struct run *run, const struct sink *s, const struct vma_cluster *c)
{
	uint64_t max = run->zero ? ZERO_RUN_MAX : RESTORE_WRITE_MAX;

	return run->sink == s && run->zero == !c->mask && run->offset + run->len == c->offset &&
	       run->len + VMA_CLUSTER_SIZE <= max;
}

int restore_put(struct restore *r, struct sink *s, const struct vma_cluster *c,
		struct vma_error *err)
{
	struct run *run = current(r);
	int ret;

	if (!c->mask && sink_reads_zero(s))
		return 0;
	if (run->sink && !continues(run, s, c)) {
		ret = submit(r, err);
		if (ret)
			return ret;
		run = current(r);
	}
	if (!run->sink) {
		run->sink = s;
		run->offset = c->offset;
		run->len = 0;
		run->zero = !c->mask;
	}
	if (!run->zero) {
		memcpy(run->buf + run->len, c->data, c->length);
		run->masks[run->len / VMA_CLUSTER_SIZE] = c->mask;
	}
	run->len += c->length;
	return 0;
}

int restore_finish(struct restore *r, struct vma_error *err)
{
	int ret = 0;

	if (current(r)->sink)
		pipeline_submit(r->pipeline);
	while (!ret && pipeline_pending(r->pipeline))
		ret = retire(r, true, err);
	return ret;
}

void restore_free(struct restore *r)
{
	if (!r)
		return;
	pipeline_free(r->pipeline);
	for (unsigned int i = 0; i < RESTORE_JOBS; i++)
		free(r->runs[i].buf);
	free(r);
}
