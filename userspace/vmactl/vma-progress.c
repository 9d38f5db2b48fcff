// SPDX-License-Identifier: GPL-2.0-or-later
#include "vmactl/vma-progress.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static int64_t seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec;
}

void vma_progress_start(struct vma_progress *p, bool enabled, const struct vma_header *h)
{
	memset(p, 0, sizeof(*p));
	p->enabled = enabled;
	p->started = seconds();
	for (unsigned int i = 1; i <= VMA_MAX_DEVICES; i++)
		p->total += h->devices[i].size;
}

void vma_progress_add(struct vma_progress *p, const struct vma_cluster *c)
{
	unsigned int percent;

	p->done += c->length;
	p->data += (uint64_t)__builtin_popcount(c->mask) * VMA_BLOCK_SIZE;
	if (!c->mask)
		p->empty += c->length;
	if (!p->enabled)
		return;
	percent = (double)p->done * 100 / (double)p->total;
	if (percent == p->shown)
		return;
	p->shown = percent;
	printf("progress %u%% (read %" PRIu64 " bytes, duration %" PRId64 " sec)\n", percent,
	       p->done, seconds() - p->started);
	fflush(stdout);
}

void vma_progress_end(const struct vma_progress *p)
{
	uint64_t full = p->done - p->empty, stored = p->data < full ? p->data : full;

	if (!p->enabled || !p->done)
		return;
	printf("total bytes read %" PRIu64 ", sparse bytes %" PRIu64 " (%.3g%%)\n", p->done,
	       p->done - stored, (double)(p->done - stored) * 100 / (double)p->done);
	if (full)
		printf("space reduction due to 4K zero blocks %.3g%%\n",
		       (double)(full - stored) * 100 / (double)full);
}
