/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * archive-in: an archive that a command reads.
 *
 * Owns the file or standard input, the decoder with its threads, and the reader on top.
 */
#ifndef ARCHIVE_IN_H
#define ARCHIVE_IN_H

#include "codec/codec.h"
#include "libvma/vma.h"

struct archive_in;

/*
 * Opens the archive and reads its header; "-" is standard input. stop_fd: see
 * stop.h; reading then ends with -EINTR when a signal came. -1: no such thing.
 */
int archive_in_open(struct archive_in **in, const char *path, int stop_fd, struct vma_error *err);
/* The same for one that may be damaged; t's loss is filled in here. */
int archive_in_open_damaged(struct archive_in **in, const char *path, int stop_fd,
			    const struct vma_tolerance *t, struct vma_error *err);
void archive_in_close(struct archive_in *in);

struct vma_reader *archive_in_reader(struct archive_in *in);
const struct vma_header *archive_in_header(const struct archive_in *in);
enum codec_kind archive_in_codec(const struct archive_in *in);

/* The file that it is read from, to look at. */
int archive_in_fd(const struct archive_in *in);

/* The name for messages. */
const char *archive_in_name(const char *path);

/* The exit code for a failure of archive_in_open() or of the reader. */
int archive_in_exit_code(int error);

#endif /* ARCHIVE_IN_H */
