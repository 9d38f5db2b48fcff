/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * direct: a file that is written past the page cache, from its beginning to its end.
 *
 * Owns memory that O_DIRECT takes and the threads that write it, so that whoever writes
 * has the disk work meanwhile. Functions return 0 or -errno; once one has failed, all do.
 */
#ifndef OUTPUT_DIRECT_H
#define OUTPUT_DIRECT_H

#include "libvma/vma.h"

struct direct;

/* The file that fd is, once more, to be written with O_DIRECT; -1: not on this file system. */
int direct_open(int fd);

/*
 * fd is an empty file; it is kept for what O_DIRECT can't write, the end of the file as a rule,
 * and stays the caller's. -EOPNOTSUPP: not on this file system.
 */
int direct_new(struct direct **d, int fd);

/* Drops what was not written yet, waits for what is being written. NULL is allowed. */
void direct_free(struct direct *d);

/* Copies it; waits for the disk when all memory is full. An error may be that of bytes before. */
int direct_write(struct direct *d, const struct iovec *iov, int iovcnt);

/* All has been written to fd. Nothing is flushed. No direct_write() after it. */
int direct_finish(struct direct *d);

#endif /* OUTPUT_DIRECT_H */
