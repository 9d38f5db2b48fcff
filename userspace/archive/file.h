/* SPDX-License-Identifier: GPL-2.0-or-later */
/* file: reading a file at any place; which errno values mean what. */
#ifndef ARCHIVE_FILE_H
#define ARCHIVE_FILE_H

#include "libvma/vma.h"

/* The size of a regular file or block device; -ESPIPE for what has no places. */
int file_size(int fd, uint64_t *size, struct vma_error *err);

/* Reads all of it: -EBADMSG if the file ends before, -EIO if the system fails. */
int file_read(int fd, uint64_t at, void *buf, size_t len, struct vma_error *err);

/* Writes all of it to the file *ctx (an int) is; a codec_write_fn. */
int file_write(void *fd, const struct iovec *iov, int iovcnt, struct vma_error *err);

#endif /* ARCHIVE_FILE_H */
