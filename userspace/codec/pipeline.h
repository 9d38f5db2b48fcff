/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pipeline: threads that work on numbered jobs, whose results come out in order.
 *
 * There is a fixed number of jobs, 0 .. jobs - 1, used in turn. One thread, the
 * caller's, fills jobs in, submits them and takes the oldest one's result; what is in
 * a job belongs to it but between pipeline_submit() and the result. So memory is
 * what the caller's jobs take, and whoever is too slow is waited for.
 */
#ifndef CODEC_PIPELINE_H
#define CODEC_PIPELINE_H

#include "libvma/vma.h"

struct pipeline;

/* worker: 0 .. workers - 1, so that each can have a state of its own. */
typedef int (*pipeline_work_fn)(void *ctx, unsigned int worker, unsigned int job,
				struct vma_error *err);

/* workers 0: the work is done in pipeline_submit(), as worker 0. */
int pipeline_new(struct pipeline **p, unsigned int workers, unsigned int jobs,
		 pipeline_work_fn work, void *ctx, struct vma_error *err);
/* Waits for what is being worked on; what was not begun is dropped. NULL is allowed. */
void pipeline_free(struct pipeline *p);

/* The job to fill in, which stays the same until it is submitted; -1: all are under way. */
int pipeline_next(const struct pipeline *p);
void pipeline_submit(struct pipeline *p);

/* How many were submitted and not retired. */
unsigned int pipeline_pending(const struct pipeline *p);

/* The oldest one that is pending, once it is done; -1: there is none, or (!wait) not yet. */
int pipeline_oldest(struct pipeline *p, bool wait);
/* What the work function gave for it. */
int pipeline_result(struct pipeline *p, struct vma_error *err);
/* Its memory may be used again. */
void pipeline_retire(struct pipeline *p);

#endif /* CODEC_PIPELINE_H */
