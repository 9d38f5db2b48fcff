/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * stop: SIGINT, SIGTERM and SIGHUP as something that can be looked at; those that
 * are ignored at the start (nohup, jobs in the background) stay ignored.
 *
 * They stay blocked from stop_open() on and are read from a file descriptor, so
 * none can arrive between a look and a read that blocks. Opened before threads
 * are made, which inherit what is blocked. Other signals (SIGQUIT, SIGALRM, SIGXCPU ...) stay
 * what they are, a way out at once with nothing tidied up, unless that would let somebody else
 * go on with half of something: then all are meant.
 */
#ifndef STOP_H
#define STOP_H

#include "libvma/vma.h"

/* Returns a file descriptor for poll(), or a negative errno. */
int stop_open(bool all, struct vma_error *err);

/* Whether one of the signals came; they stay pending. fd -1: never. */
bool stop_requested(int fd);

/* Waits until fd can be read: -EINTR, with err filled in, if a signal came first. */
int stop_wait_readable(int stop_fd, int fd, struct vma_error *err);

#endif /* STOP_H */
