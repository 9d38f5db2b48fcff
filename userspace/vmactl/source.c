// SPDX-License-Identifier: GPL-2.0-or-later
#include "vmactl/source.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "devices/below.h"
#include "libvma/text.h"
#include "vmactl/image-format.h"

#define SECTOR		512u	/* sizes in an archive are multiples of it */

struct source {
	const char *path;
	int fd;
	int direct;		/* the same with O_DIRECT; -1: it can't */
	uint64_t bytes;		/* that can be read */
	bool holes;		/* it may have some, and tells */
};

static int look_at(struct source *s, struct stat *st, struct vma_error *err)
{
	if (fstat(s->fd, st) != 0)
		return vma_fail(err, -errno, "cannot look at %s: %s", s->path, strerror(errno));
	if (S_ISBLK(st->st_mode)) {
		if (ioctl(s->fd, BLKGETSIZE64, &s->bytes) != 0)
			return vma_fail(err, -errno, "cannot tell the size of %s: %s", s->path,
					strerror(errno));
	} else if (S_ISREG(st->st_mode)) {
		s->bytes = st->st_size;
		s->holes = true;
	} else {
		return vma_fail(err, -EINVAL, "%s is neither a file nor a block device", s->path);
	}
	if (!s->bytes)
		return vma_fail(err, -EINVAL, "%s is empty", s->path);
	return 0;
}

/* Images that need QEMU to be understood would be archived as what they are not. */
static int check_raw(const struct source *s, struct vma_error *err)
{
	char head[IMAGE_HEAD] = "";
	const char *format;

	if (pread(s->fd, head, sizeof(head), 0) < 0)
		return vma_fail(err, -errno, "cannot read %s: %s", s->path, strerror(errno));
	format = image_format(head);
	if (format)
		return vma_fail(err, -EINVAL,
				"%s looks like a %s image: convert it to raw, or say -d format=raw:NAME=%s",
				s->path, format, s->path);
	return 0;
}

int source_open(struct source **out, const char *path, bool raw, struct vma_error *err)
{
	struct source *s = calloc(1, sizeof(*s));
	struct stat st;
	int ret;

	if (!s)
		return vma_fail(err, -ENOMEM, "out of memory");
	s->path = path;
	s->direct = -1;
	/* A FIFO would be waited for otherwise. */
	s->fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (s->fd < 0)
		ret = vma_fail(err, -errno, "cannot open %s: %s", path, strerror(errno));
	else
		ret = look_at(s, &st, err);
	if (!ret && !raw)
		ret = check_raw(s, err);
	if (ret) {
		source_close(s);
		return ret;
	}
	s->direct = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC);
	/* By now the path may lead elsewhere. */
	if (s->direct >= 0) {
		struct stat again;

		if (fstat(s->direct, &again) != 0 || again.st_dev != st.st_dev ||
		    again.st_ino != st.st_ino) {
			close(s->direct);
			s->direct = -1;
		}
	}
	*out = s;
	return 0;
}

void source_close(struct source *s)
{
	if (!s)
		return;
	if (s->fd >= 0)
		close(s->fd);
	if (s->direct >= 0)
		close(s->direct);
	free(s);
}

uint64_t source_size(const struct source *s)
{
	return (s->bytes + SECTOR - 1) / SECTOR * SECTOR;
}

int source_check_apart(const struct source *s, int fd, struct vma_error *err)
{
	struct stat st, out;
	bool same;
	int ret;

	if (fstat(s->fd, &st) != 0 || fstat(fd, &out) != 0)
		return vma_fail(err, -errno, "cannot look at %s: %s", s->path, strerror(errno));
	same = st.st_dev == out.st_dev && st.st_ino == out.st_ino;
	ret = S_ISBLK(st.st_mode) && !same ? below_touches(fd, st.st_rdev, &same, err) : 0;
	if (!ret && same)
		ret = vma_fail(err, -EDEADLK,
			       "the archive would lie on %s, which it is made of", s->path);
	return ret;
}

/* ---- reading ---------------------------------------------------------- */

/* It became shorter. */
static int ended(const struct source *s, uint64_t at, struct vma_error *err)
{
	return vma_fail(err, -EIO, "cannot read %s: it ends at byte %" PRIu64 " and had %" PRIu64
			" when it was opened", s->path, at, s->bytes);
}

/* Fills len bytes, of which some may lie past the end: they become zeroes. */
static int read_data(const struct source *s, uint64_t offset, size_t len, uint8_t *buf,
		     struct vma_error *err)
{
	size_t wanted = s->bytes - offset < len ? s->bytes - offset : len, done = 0;
	int fd = s->direct >= 0 ? s->direct : s->fd;

	while (done < wanted) {
		/* All of len is asked for: O_DIRECT wants whole sectors, and stops at the end. */
		ssize_t n = pread(fd, buf + done, len - done, offset + done);

		if (n < 0 && errno == EINTR)
			continue;
		/* A part of a sector, or a file system that changed its mind. */
		if (n < 0 && errno == EINVAL && fd == s->direct) {
			fd = s->fd;
			continue;
		}
		if (n < 0)
			return vma_fail(err, -EIO, "cannot read %s at byte %" PRIu64 ": %s",
					s->path, offset + done, strerror(errno));
		if (!n)
			return ended(s, offset + done, err);
		done += n;
	}
	if (wanted < len)
		memset(buf + wanted, 0, len - wanted);
	return 0;
}

/*
 * Where data begins at or after offset, and where it ends: 1; 0: there is none up to end.
 * A file has no data behind its end, either: where that was is looked at then.
 */
static int next_data(const struct source *s, uint64_t offset, uint64_t end, uint64_t *from,
		     uint64_t *to, struct vma_error *err)
{
	off_t data, hole;
	struct stat st;

	*from = offset;
	*to = end;
	if (!s->holes)
		return 1;
	data = lseek(s->fd, offset, SEEK_DATA);
	if (data < 0 && errno != ENXIO)
		return 1;
	if (data < 0 && fstat(s->fd, &st) != 0)
		return vma_fail(err, -errno, "cannot look at %s: %s", s->path, strerror(errno));
	if (data < 0 && (uint64_t)st.st_size < s->bytes)
		return ended(s, st.st_size, err);
	if (data < 0 || (uint64_t)data >= end)
		return 0;
	hole = lseek(s->fd, data, SEEK_HOLE);
	*from = data;
	if (hole > data && (uint64_t)hole < end)
		*to = hole;
	return 1;
}

bool source_is_hole(const struct source *s, uint64_t offset, size_t len)
{
	uint64_t from, to;

	/* Who reads it is told what is wrong. */
	return next_data(s, offset, offset + len, &from, &to, NULL) == 0;
}

int source_read(const struct source *s, uint64_t offset, size_t len, uint8_t *buf, bool *there,
		struct vma_error *err)
{
	uint64_t end = offset + len, at = offset, from, to;
	size_t clusters = (len + VMA_CLUSTER_SIZE - 1) / VMA_CLUSTER_SIZE;
	int ret;

	memset(there, 0, clusters * sizeof(*there));
	while (at < end) {
		uint64_t first, last;
		size_t start;

		ret = next_data(s, at, end, &from, &to, err);
		if (ret <= 0)
			return ret;
		first = (from - offset) / VMA_CLUSTER_SIZE;
		last = (to - offset - 1) / VMA_CLUSTER_SIZE;
		start = first * VMA_CLUSTER_SIZE;
		/* Whole clusters: the rest of the last one need not be looked at. */
		ret = read_data(s, offset + start, (last - first + 1) * VMA_CLUSTER_SIZE,
				buf + start, err);
		if (ret)
			return ret;
		for (uint64_t i = first; i <= last; i++)
			there[i] = true;
		at = offset + (last + 1) * VMA_CLUSTER_SIZE;
	}
	return 0;
}
