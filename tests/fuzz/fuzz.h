/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What fuzz targets share. Each is linked with the real code; only MD5 sums of archives
 * count as right (Makefile), or nothing behind them would ever be reached.
 */
#ifndef FUZZ_H
#define FUZZ_H

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "libvma/vma.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Streams that decompress to more than this are not followed: time, not memory, is short. */
#define FUZZ_STREAM_MAX	(32u << 20)

/* The property does not hold: the fuzzer keeps the input. */
static inline void must(int true_or_not)
{
	if (!true_or_not)
		abort();
}

struct bytes {
	const uint8_t *p;
	size_t len;
};

static inline ssize_t bytes_read(void *ctx, void *buf, size_t len, struct vma_error *err)
{
	struct bytes *b = ctx;

	(void)err;
	if (len > b->len)
		len = b->len;
	if (len)
		memcpy(buf, b->p, len);
	b->p += len;
	b->len -= len;
	return len;
}

/* A file in memory that is opened by this path. */
static inline int memory_file(const uint8_t *data, size_t size, char path[32])
{
	int fd = memfd_create("fuzz", MFD_CLOEXEC);

	must(fd >= 0 && write(fd, data, size) == (ssize_t)size);
	snprintf(path, 32, "/proc/self/fd/%d", fd);
	return fd;
}

#endif /* FUZZ_H */
