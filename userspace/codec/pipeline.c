// SPDX-License-Identifier: GPL-2.0-or-later
#include "codec/pipeline.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "libvma/text.h"

struct outcome {
	bool done;		/* under the lock */
	int result;
	struct vma_error error;
};

struct worker {
	struct pipeline *pipeline;
	unsigned int number;
	pthread_t thread;
};

struct pipeline {
	pipeline_work_fn work;
	void *ctx;
	unsigned int jobs;
	unsigned int workers;
	struct worker *threads;
	struct outcome *outcomes;	/* by job */

	/* Counted since the beginning; the job is the remainder. */
	uint64_t submitted;		/* written by the caller's thread, under the lock */
	uint64_t retired;		/* the caller's thread only */

	pthread_mutex_t lock;		/* guards what follows, and "done" */
	pthread_cond_t to_do, done;
	uint64_t begun;
	bool quit;
};

static void *run(void *arg)
{
	struct worker *w = arg;
	struct pipeline *p = w->pipeline;

	pthread_mutex_lock(&p->lock);
	for (;;) {
		unsigned int job;

		while (p->begun == p->submitted && !p->quit)
			pthread_cond_wait(&p->to_do, &p->lock);
		if (p->quit)
			break;
		job = p->begun++ % p->jobs;
		pthread_mutex_unlock(&p->lock);
		p->outcomes[job].result = p->work(p->ctx, w->number, job,
						  &p->outcomes[job].error);
		pthread_mutex_lock(&p->lock);
		p->outcomes[job].done = true;
		pthread_cond_signal(&p->done);
	}
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

/* Signals are for the caller's thread: it is the one that waits and looks. */
static int start(struct pipeline *p, unsigned int workers, struct vma_error *err)
{
	sigset_t all, before;
	int ret = 0;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	while (p->workers < workers && !ret) {
		struct worker *w = &p->threads[p->workers];

		w->pipeline = p;
		w->number = p->workers;
		ret = pthread_create(&w->thread, NULL, run, w);
		if (!ret)
			p->workers++;
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return ret ? vma_fail(err, -ret, "cannot start a thread: %s", strerror(ret)) : 0;
}

int pipeline_new(struct pipeline **out, unsigned int workers, unsigned int jobs,
		 pipeline_work_fn work, void *ctx, struct vma_error *err)
{
	struct pipeline *p = calloc(1, sizeof(*p));
	int ret;

	if (!p)
		return vma_fail(err, -ENOMEM, "out of memory");
	p->work = work;
	p->ctx = ctx;
	p->jobs = jobs;
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->to_do, NULL);
	pthread_cond_init(&p->done, NULL);
	p->threads = calloc(workers ? workers : 1, sizeof(*p->threads));
	p->outcomes = calloc(jobs, sizeof(*p->outcomes));
	if (p->threads && p->outcomes)
		ret = start(p, workers, err);
	else
		ret = vma_fail(err, -ENOMEM, "out of memory");
	if (ret) {
		pipeline_free(p);
		return ret;
	}
	*out = p;
	return 0;
}

void pipeline_free(struct pipeline *p)
{
	if (!p)
		return;
	pthread_mutex_lock(&p->lock);
	p->quit = true;
	pthread_cond_broadcast(&p->to_do);
	pthread_mutex_unlock(&p->lock);
	for (unsigned int i = 0; i < p->workers; i++)
		pthread_join(p->threads[i].thread, NULL);
	pthread_mutex_destroy(&p->lock);
	pthread_cond_destroy(&p->to_do);
	pthread_cond_destroy(&p->done);
	free(p->threads);
	free(p->outcomes);
	free(p);
}

int pipeline_next(const struct pipeline *p)
{
	return p->submitted - p->retired < p->jobs ? (int)(p->submitted % p->jobs) : -1;
}

unsigned int pipeline_pending(const struct pipeline *p)
{
	return p->submitted - p->retired;
}

void pipeline_submit(struct pipeline *p)
{
	struct outcome *o = &p->outcomes[p->submitted % p->jobs];

	o->done = false;
	if (!p->workers) {
		o->result = p->work(p->ctx, 0, p->submitted % p->jobs, &o->error);
		o->done = true;
		p->submitted++;
		return;
	}
	pthread_mutex_lock(&p->lock);
	p->submitted++;
	pthread_cond_signal(&p->to_do);
	pthread_mutex_unlock(&p->lock);
}

int pipeline_oldest(struct pipeline *p, bool wait)
{
	unsigned int job = p->retired % p->jobs;
	bool done;

	if (!pipeline_pending(p))
		return -1;
	pthread_mutex_lock(&p->lock);
	while (wait && !p->outcomes[job].done)
		pthread_cond_wait(&p->done, &p->lock);
	done = p->outcomes[job].done;
	pthread_mutex_unlock(&p->lock);
	return done ? (int)job : -1;
}

int pipeline_result(struct pipeline *p, struct vma_error *err)
{
	const struct outcome *o = &p->outcomes[p->retired % p->jobs];

	return o->result ? vma_fail(err, o->result, "%s", o->error.text) : 0;
}

void pipeline_retire(struct pipeline *p)
{
	p->retired++;
}
