/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * output: where an archive's bytes go.
 *
 * Owns the file or pipe: short writes, the temporary name in the same
 * directory, fsync, and the rename to the final name. Return values and *err as
 * in vma.h.
 */
#ifndef OUTPUT_H
#define OUTPUT_H

#include "libvma/vma.h"

struct output;

/*
 * path "-" is standard output (-EINVAL if that is a terminal). A path that
 * exists is refused with -EEXIST. The temporary file is
 * "<path>.tmp-<host>-<pid>", mode 0600, opened with O_EXCL and locked. A path in
 * /dev that is no device is refused (-EINVAL).
 */
int output_open(struct output **o, const char *path, struct vma_error *err);

/*
 * The same, and two kinds of path that are written to as they are, like standard output:
 * "exec:COMMAND" (a pipe to the shell command, whose failure is the output's) and a FIFO
 * that exists (which waits for its reader).
 */
int output_open_stream(struct output **o, const char *path, struct vma_error *err);

/* Whether output_open_stream() would make no file; whether it would start a command. */
bool output_is_stream(const char *path);
bool output_is_command(const char *path);

/*
 * A command is not waited for any longer, for it to take more or to end, once stop_fd can be
 * read: -EINTR.
 */
void output_stop_at(struct output *o, int stop_fd);

/*
 * Removes temporary files of archives in the directory of path whose writers, on
 * this host, were killed; returns how many.
 */
unsigned int output_sweep(const char *path);

/* File descriptor, for checks on where it lies. */
int output_fd(const struct output *o);

/* Writes all of it; fits codec_write_fn. */
int output_write(void *output, const struct iovec *iov, int iovcnt, struct vma_error *err);

/*
 * Before the first write: has a file written to disk as it grows, past the page cache where the
 * file system lets one. Left to itself the kernel begins when a tenth of memory is dirty, and
 * the disk has nothing to do before; and an archive leaves no room for what others have in the
 * cache. A write may then wait for the disk sooner: not for a writer whom guests wait for.
 */
int output_keep_disk_busy(struct output *o, struct vma_error *err);

/* Bytes written so far. */
uint64_t output_bytes(const struct output *o);

/*
 * fsync, rename without replacing, fsync of the directory; the command's end; frees o. If it
 * can't get its name (-EEXIST: someone has it by now), what is complete stays beside it, as
 * "<path>.unnamed-<pid>", which *err tells.
 */
int output_commit(struct output *o, struct vma_error *err);

/* Removes the temporary file; frees o. NULL is allowed. */
void output_abort(struct output *o);

#endif /* OUTPUT_H */
