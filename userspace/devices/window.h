/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * window: the short time in which several disks are suspended together.
 *
 * Owns suspending and resuming, and the promise that nothing stays suspended:
 * a watchdog child resumes the disks if this process dies in the window or
 * stays in it for longer than WINDOW_LIMIT_MS.
 *
 * window_new() forks, so call it before there are threads and before anything
 * is open that a child must not hold. Nothing between window_enter() and the
 * end of window_leave() asks the system for memory, as far as this layer goes:
 * window_prepare() has made all that will be used.
 */
#ifndef DEVICES_WINDOW_H
#define DEVICES_WINDOW_H

#include <sys/types.h>

#include "libvma/vma.h"

/*
 * Windows guests reset their disks after 60 s without an answer; a window is
 * a matter of milliseconds unless storage is stuck.
 */
#define WINDOW_LIMIT_MS	20000

#define WINDOW_MAX_DISKS	254

struct window;

/*
 * With suspended, whoever called us has suspended the disks already: from here on
 * the watchdog sees to it that they are resumed, whatever happens.
 */
int window_new(struct window **w, const dev_t *disks, unsigned int n, bool suspended,
	       struct vma_error *err);

/* Joins the watchdog; whatever is still suspended is resumed by it. */
void window_free(struct window *w);

/*
 * Makes ready what the window needs and checks the disks: -EBUSY if one is
 * suspended by somebody else or has a table loaded, which a resume would
 * bring to life. fds are open files of the disks: file systems are frozen only on
 * disks that somebody holds exclusively, as a mount does. -ENOTCONN: a disk that
 * should be suspended already is not.
 */
int window_prepare(struct window *w, const int *fds, struct vma_error *err);

/* Suspends all in order, if they are not. A failure resumes those done and names *bad. */
int window_enter(struct window *w, unsigned int *bad);

/* Resumes all in reverse order; a failure names *bad, the rest are resumed. */
int window_leave(struct window *w, unsigned int *bad);

/* The watchdog has resumed the disks: they were suspended for longer than WINDOW_LIMIT_MS. */
bool window_ran_out(const struct window *w);

/*
 * How long the first disk stayed suspended, as far as this process knows: since window_new() if
 * the caller had suspended it. And page faults since window_enter().
 */
uint64_t window_duration_us(const struct window *w);
uint64_t window_page_faults(const struct window *w);

#endif /* DEVICES_WINDOW_H */
