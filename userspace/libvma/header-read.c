// SPDX-License-Identifier: GPL-2.0-or-later
/* A header out of a stream: never more memory or bytes than its checked size. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "libvma/header.h"
#include "libvma/text.h"
#include "libvma/wire.h"

static int read_fixed(uint8_t *buf, vma_read_fn read, void *ctx, struct vma_error *err)
{
	ssize_t got = read(ctx, buf, VMA_HEADER_MIN, err);

	if (got < 0)
		return got;
	if (!got)
		return vma_fail(err, -EBADMSG, "not a VMA archive: it is empty");
	if (got < (ssize_t)WIRE_MAGIC_SIZE || memcmp(buf, WIRE_MAGIC, WIRE_MAGIC_SIZE) != 0)
		return vma_fail(err, -EBADMSG, "not a VMA archive: wrong magic number");
	if (got < (ssize_t)VMA_HEADER_MIN)
		return vma_fail(err, -EBADMSG, "truncated: the archive ends within its header");
	return 0;
}

static int read_rest(uint8_t *buf, uint32_t size, vma_read_fn read, void *ctx,
		     struct vma_error *err)
{
	ssize_t got = read(ctx, buf + VMA_HEADER_MIN, size - VMA_HEADER_MIN, err);

	if (got < 0)
		return got;
	if (got < (ssize_t)(size - VMA_HEADER_MIN))
		return vma_fail(err, -EBADMSG, "truncated: the archive ends within its header");
	return 0;
}

int vma_header_read(struct vma_header **h, vma_read_fn read, void *ctx, bool *right,
		    struct vma_error *err)
{
	uint8_t *buf = malloc(VMA_HEADER_MIN), *whole;
	uint32_t size = 0;
	int ret;

	if (!buf)
		return vma_fail(err, -ENOMEM, "out of memory");
	ret = read_fixed(buf, read, ctx, err);
	if (!ret)
		ret = vma_header_peek(buf, &size, err);
	if (!ret) {
		whole = realloc(buf, size);
		if (whole)
			buf = whole;
		ret = whole ? read_rest(buf, size, read, ctx, err) :
			      vma_fail(err, -ENOMEM, "out of memory");
	}
	if (!ret)
		ret = right ? vma_header_decode_damaged(h, buf, size, right, err) :
			      vma_header_decode(h, buf, size, err);
	free(buf);
	return ret;
}
