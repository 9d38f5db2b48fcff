// SPDX-License-Identifier: GPL-2.0-or-later
#include "vmactl/throttle.h"

#include <errno.h>
#include <poll.h>
#include <time.h>

#include "libvma/text.h"

#define NS_PER_MS	1000000u

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

int throttle_wait(struct throttle *t, uint64_t bytes, int stop_fd, struct vma_error *err)
{
	struct pollfd stop = { .fd = stop_fd, .events = POLLIN };
	uint64_t now, credit = THROTTLE_CREDIT_MS * (uint64_t)NS_PER_MS;

	if (!t->bps)
		return 0;
	if (!t->until_ns)
		t->until_ns = now_ns();
	while ((now = now_ns()) < t->until_ns) {
		int n = poll(&stop, 1, (t->until_ns - now) / NS_PER_MS + 1);

		if (n > 0)
			return vma_fail(err, -EINTR, "interrupted by a signal");
		if (n < 0 && errno != EINTR)
			return vma_fail(err, -errno, "cannot wait");
	}
	if (t->until_ns + credit < now)
		t->until_ns = now - credit;
	t->until_ns += bytes * 1000000000 / t->bps;
	return 0;
}
