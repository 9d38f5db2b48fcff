// SPDX-License-Identifier: GPL-2.0-or-later
#include "output/direct.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "codec/pipeline.h"
#include "libvma/text.h"

/* What O_DIRECT wants offsets, lengths and memory to be multiples of, at most. */
#define ALIGN		4096u

/* Large enough for any disk, and four of them are little memory. */
#define PIECE		(2u << 20)
#define PIECES		4

/* One has its request under way while the other's ends and begins. */
#define WRITERS		2

struct piece {
	uint8_t *buf;
	size_t len;
	uint64_t offset;
};

struct direct {
	int fd;
	int direct;		/* the same file with O_DIRECT */
	struct pipeline *pipeline;
	struct piece pieces[PIECES];	/* by job; that which is next is being filled */
	uint64_t offset;	/* of the next piece */
	int error;		/* the first */
};

static int put(const struct direct *d, int fd, const uint8_t *buf, size_t len, uint64_t offset)
{
	while (len) {
		ssize_t n = pwrite(fd, buf, len, offset);

		if (n < 0 && errno == EINTR)
			continue;
		/* A larger block, the rest of one, or a file system that changed its mind. */
		if (n < 0 && errno == EINVAL && fd == d->direct) {
			fd = d->fd;
			continue;
		}
		if (n <= 0)
			return n ? -errno : -EIO;
		buf += n;
		len -= n;
		offset += n;
	}
	return 0;
}

/* In a thread of the pipeline's. */
static int write_piece(void *ctx, unsigned int worker, unsigned int job, struct vma_error *err)
{
	const struct direct *d = ctx;
	const struct piece *p = &d->pieces[job];
	size_t whole = p->len / ALIGN * ALIGN;
	int ret = put(d, d->direct, p->buf, whole, p->offset);

	(void)worker;
	if (!ret)
		ret = put(d, d->fd, p->buf + whole, p->len - whole, p->offset + whole);
	return ret ? vma_fail(err, ret, "%s", strerror(-ret)) : 0;
}

int direct_open(int fd)
{
	char path[sizeof("/proc/self/fd/-2147483648")];

	/* By its descriptor: the path may lead elsewhere by now. */
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return open(path, O_WRONLY | O_DIRECT | O_CLOEXEC);
}

int direct_new(struct direct **out, int fd)
{
	struct direct *d = calloc(1, sizeof(*d));
	int ret;

	if (!d)
		return -ENOMEM;
	d->fd = fd;
	d->direct = direct_open(fd);
	ret = d->direct < 0 ? -EOPNOTSUPP : 0;
	for (unsigned int i = 0; i < PIECES && !ret; i++) {
		d->pieces[i].buf = aligned_alloc(ALIGN, PIECE);
		if (!d->pieces[i].buf)
			ret = -ENOMEM;
	}
	if (!ret)
		ret = pipeline_new(&d->pipeline, WRITERS, PIECES, write_piece, d, NULL);
	if (ret) {
		direct_free(d);
		return ret;
	}
	*out = d;
	return 0;
}

void direct_free(struct direct *d)
{
	if (!d)
		return;
	pipeline_free(d->pipeline);
	for (unsigned int i = 0; i < PIECES; i++)
		free(d->pieces[i].buf);
	if (d->direct >= 0)
		close(d->direct);
	free(d);
}

static void retire(struct direct *d)
{
	int ret = pipeline_result(d->pipeline, NULL);

	if (!d->error)
		d->error = ret;
	pipeline_retire(d->pipeline);
}

/* The piece to fill; NULL: an error. */
static struct piece *filling(struct direct *d)
{
	while (pipeline_oldest(d->pipeline, false) >= 0)
		retire(d);
	while (pipeline_next(d->pipeline) < 0 && pipeline_oldest(d->pipeline, true) >= 0)
		retire(d);
	return d->error ? NULL : &d->pieces[pipeline_next(d->pipeline)];
}

static void submit(struct direct *d, struct piece *p)
{
	d->offset += p->len;
	pipeline_submit(d->pipeline);
}

static int add(struct direct *d, const uint8_t *data, size_t len)
{
	while (len) {
		struct piece *p = filling(d);
		size_t n;

		if (!p)
			return d->error;
		/* What is left of its last use was written. */
		if (p->offset != d->offset)
			*p = (struct piece){ .buf = p->buf, .offset = d->offset };
		n = PIECE - p->len < len ? PIECE - p->len : len;
		memcpy(p->buf + p->len, data, n);
		p->len += n;
		data += n;
		len -= n;
		if (p->len == PIECE)
			submit(d, p);
	}
	return 0;
}

int direct_write(struct direct *d, const struct iovec *iov, int iovcnt)
{
	int ret = d->error;

	for (int i = 0; i < iovcnt && !ret; i++)
		ret = add(d, iov[i].iov_base, iov[i].iov_len);
	return ret;
}

int direct_finish(struct direct *d)
{
	struct piece *p = filling(d);

	if (p && p->offset == d->offset && p->len)
		submit(d, p);
	while (pipeline_oldest(d->pipeline, true) >= 0)
		retire(d);
	return d->error;
}
