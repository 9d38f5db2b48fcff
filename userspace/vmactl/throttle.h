/* SPDX-License-Identifier: GPL-2.0-or-later */
/* throttle: no more than so many bytes per second, together for all who share it. */
#ifndef THROTTLE_H
#define THROTTLE_H

#include "libvma/vma.h"

/* Who was slower than allowed catches up on so much of it at most. */
#define THROTTLE_CREDIT_MS	1000

struct throttle {
	uint64_t bps;		/* 0: no limit */
	uint64_t until_ns;	/* when what was let through is paid for */
};

/* Waits until it is time for more: -EINTR if a signal came first. */
int throttle_wait(struct throttle *t, uint64_t bytes, int stop_fd, struct vma_error *err);

#endif /* THROTTLE_H */
