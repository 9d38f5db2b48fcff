/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How the devices layer reports: one sentence in a struct vma_error, and what
 * libdevmapper had to say on the way, which it would print otherwise.
 */
#ifndef DEVICES_FAIL_H
#define DEVICES_FAIL_H

#include "libvma/vma.h"

/* Fills *err and returns error. */
int dev_fail(struct vma_error *err, int error, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Makes libdevmapper keep its messages to itself; idempotent, for one thread at a time. */
void dev_quiet_libdevmapper(void);

/* The last error message of libdevmapper, or "" . */
const char *dev_libdevmapper_message(void);

#endif /* DEVICES_FAIL_H */
