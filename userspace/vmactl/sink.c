// SPDX-License-Identifier: GPL-2.0-or-later
#include "vmactl/sink.h"

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
#include "devices/target.h"
#include "libvma/text.h"
#include "output/output.h"

/*
 * Zeroes are collected up to so much before the kernel is asked to write them:
 * one request for many clusters, and yet none that can't be interrupted for long
 * where the device has no fast way to do it.
 */
#define ZERO_RUN_MAX	(64ull << 20)

/*
 * Who opens a device for a moment, as udev does to see what is on a new one, is not who
 * uses it. udev is done in milliseconds; a second is for busy hosts.
 */
#define IN_USE_WAIT_MS	1000
#define IN_USE_STEP_MS	50

struct sink {
	char *path;
	struct output *output;	/* owns fd and the file's name; NULL: fd is ours */
	int fd;
	bool block_device;
	bool touched;
	bool no_zeroout;	/* the kernel said so */
	uint64_t zero_start, zero_end;
};

static void sink_free(struct sink *s)
{
	if (s->fd >= 0 && !s->output)
		close(s->fd);
	free(s->path);
	free(s);
}

static int write_failure(const struct sink *s, int error, struct vma_error *err)
{
	return vma_fail(err, error, "cannot write %s: %s", s->path, strerror(-error));
}

static struct sink *sink_alloc(int fd, const char *path)
{
	struct sink *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->fd = fd;
	s->path = strdup(path);
	if (!s->path) {
		free(s);
		return NULL;
	}
	return s;
}

static int set_size(const struct sink *s, uint64_t size, struct vma_error *err)
{
	if (ftruncate(s->fd, size) == 0)
		return 0;
	if (errno == EFBIG || errno == EINVAL)
		return vma_fail(err, -EFBIG, "%s: a file of %" PRIu64
				" bytes is too large for this file system", s->path, size);
	return vma_fail(err, -errno, "cannot give %s a size of %" PRIu64 " bytes: %s", s->path,
			size, strerror(errno));
}

int sink_new_file(struct sink **out, int fd, const char *path, uint64_t size, struct vma_error *err)
{
	struct sink *s = sink_alloc(fd, path);
	int ret;

	if (!s) {
		close(fd);
		return vma_fail(err, -ENOMEM, "out of memory");
	}
	ret = set_size(s, size, err);
	if (ret) {
		sink_free(s);
		return ret;
	}
	*out = s;
	return 0;
}

/* ---- block devices ---------------------------------------------------- */

/*
 * O_EXCL keeps out only who asks for it, and QEMU does not. Device-mapper counts all;
 * for other devices there is nobody to ask.
 */
static int check_unused(const struct sink *s, dev_t dev, struct vma_error *err)
{
	unsigned int count, waited = 0;
	struct vma_error why;
	int ret;

	for (;;) {
		ret = target_open_count(dev, &count, &why);
		if (ret == -ENODEV)
			return 0;
		if (ret)
			return vma_fail(err, ret, "cannot tell whether %s is in use: %s", s->path,
					why.text);
		if (count <= 1)
			return 0;
		if (waited >= IN_USE_WAIT_MS)
			return vma_fail(err, -EBUSY,
					"%s is in use by another process: stop what uses it",
					s->path);
		usleep(IN_USE_STEP_MS * 1000);
		waited += IN_USE_STEP_MS;
	}
}

int sink_check_apart(const char *path, int fd, struct vma_error *err)
{
	struct stat target, st;
	struct below *b;
	bool same;
	int ret;

	if (stat(path, &target) != 0 || !S_ISBLK(target.st_mode))
		return 0;
	if (fstat(fd, &st) != 0)
		return vma_fail(err, -errno, "cannot look at the archive: %s", strerror(errno));
	b = malloc(sizeof(*b));
	if (!b)
		return vma_fail(err, -ENOMEM, "out of memory");
	below_init(b);
	ret = below_add_file(b, fd, err);
	same = !ret && below_has(b, target.st_rdev);
	/* An archive on a whole disk, and a partition of it to overwrite. */
	if (!ret && !same && S_ISBLK(st.st_mode)) {
		below_init(b);
		ret = below_add_device(b, target.st_rdev, err);
		same = !ret && below_has(b, st.st_rdev);
	}
	free(b);
	if (!ret && same)
		ret = vma_fail(err, -EBUSY, "the archive lies on %s and would be overwritten",
			       path);
	return ret;
}

static int open_block_device(struct sink *s, uint64_t size, struct vma_error *err)
{
	uint64_t room;
	struct stat st;
	int ret;

	/* O_EXCL: not while it is mounted, part of another device, or another sink's. */
	s->fd = open(s->path, O_RDWR | O_EXCL | O_CLOEXEC);
	if (s->fd < 0 && errno == EBUSY)
		return vma_fail(err, -EBUSY,
				"%s is in use: unmount it, or stop what uses it", s->path);
	if (s->fd < 0)
		return vma_fail(err, -errno, "cannot open %s: %s", s->path, strerror(errno));
	if (fstat(s->fd, &st) != 0 || !S_ISBLK(st.st_mode))
		return vma_fail(err, -ENOTBLK, "%s is no longer a block device", s->path);
	ret = check_unused(s, st.st_rdev, err);
	if (ret)
		return ret;
	if (ioctl(s->fd, BLKGETSIZE64, &room) != 0)
		return vma_fail(err, -errno, "cannot tell the size of %s: %s", s->path,
				strerror(errno));
	if (room < size)
		return vma_fail(err, -ENOSPC,
				"%s has %" PRIu64 " bytes, %" PRIu64 " are needed: enlarge it",
				s->path, room, size);
	s->block_device = true;
	return 0;
}

int sink_open(struct sink **out, const char *path, uint64_t size, struct vma_error *err)
{
	struct sink *s = sink_alloc(-1, path);
	struct stat st;
	int ret;

	if (!s)
		return vma_fail(err, -ENOMEM, "out of memory");
	if (strcmp(path, "-") == 0) {
		/* An archive has clusters in any order. */
		ret = vma_fail(err, -EINVAL, "a disk cannot be extracted to standard output");
	} else if (stat(path, &st) == 0 && S_ISBLK(st.st_mode)) {
		ret = open_block_device(s, size, err);
	} else {
		ret = output_open(&s->output, path, err);
		if (!ret) {
			s->fd = output_fd(s->output);
			ret = set_size(s, size, err);
		}
	}
	if (ret) {
		sink_abort(s);
		return ret;
	}
	*out = s;
	return 0;
}

static int write_at(struct sink *s, const uint8_t *data, size_t len, uint64_t offset,
		    struct vma_error *err)
{
	s->touched = true;
	while (len) {
		ssize_t n = pwrite(s->fd, data, len, offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return write_failure(s, n ? -errno : -EIO, err);
		data += n;
		offset += n;
		len -= n;
	}
	return 0;
}

static int write_zeroes(struct sink *s, uint64_t offset, uint64_t len, struct vma_error *err)
{
	static const uint8_t zeroes[VMA_CLUSTER_SIZE];
	/* What is no whole block stays out: devices with large sectors refuse it. */
	uint64_t range[2] = { offset, len - len % VMA_BLOCK_SIZE };
	int ret = 0;

	s->touched = true;
	if (range[1] && !s->no_zeroout) {
		if (ioctl(s->fd, BLKZEROOUT, range) == 0) {
			offset += range[1];
			len -= range[1];
		} else if (errno == EOPNOTSUPP || errno == EINVAL || errno == ENOTTY) {
			s->no_zeroout = true;
		} else {
			return write_failure(s, -errno, err);
		}
	}
	while (len && !ret) {
		size_t n = len < sizeof(zeroes) ? len : sizeof(zeroes);

		ret = write_at(s, zeroes, n, offset, err);
		offset += n;
		len -= n;
	}
	return ret;
}

static int flush_zeroes(struct sink *s, struct vma_error *err)
{
	uint64_t start = s->zero_start, len = s->zero_end - s->zero_start;

	s->zero_start = 0;
	s->zero_end = 0;
	return len ? write_zeroes(s, start, len, err) : 0;
}

static int collect_zeroes(struct sink *s, const struct vma_cluster *c, struct vma_error *err)
{
	int ret = 0;

	if (s->zero_end != c->offset || s->zero_end - s->zero_start >= ZERO_RUN_MAX) {
		ret = flush_zeroes(s, err);
		s->zero_start = c->offset;
	}
	s->zero_end = c->offset + c->length;
	return ret;
}

/* ---- writing ---------------------------------------------------------- */

/* The stored blocks only, as few writes as there are runs of them. */
static int write_runs(struct sink *s, const struct vma_cluster *c, struct vma_error *err)
{
	unsigned int i = 0;
	int ret = 0;

	while (i < VMA_BLOCKS_PER_CLUSTER && !ret) {
		uint32_t start = i * VMA_BLOCK_SIZE, end;

		if (!(c->mask & 1u << i)) {
			i++;
			continue;
		}
		while (i < VMA_BLOCKS_PER_CLUSTER && (c->mask & 1u << i))
			i++;
		end = i * VMA_BLOCK_SIZE;
		if (end > c->length)
			end = c->length;
		ret = write_at(s, c->data + start, end - start, c->offset + start, err);
	}
	return ret;
}

int sink_write(struct sink *s, const struct vma_cluster *c, struct vma_error *err)
{
	if (!s->block_device)
		return write_runs(s, c, err);
	if (!c->mask)
		return collect_zeroes(s, c, err);
	return write_at(s, c->data, c->length, c->offset, err);
}

int sink_commit(struct sink *s, struct vma_error *err)
{
	int ret = flush_zeroes(s, err);

	if (!ret && s->output) {
		ret = output_commit(s->output, err);
		s->fd = -1;
		s->output = NULL;
	} else if (!ret) {
		if (fsync(s->fd) != 0)
			ret = -errno;
		if (close(s->fd) != 0 && !ret)
			ret = -errno;
		s->fd = -1;
		if (ret)
			write_failure(s, ret, err);
	}
	if (!ret)
		sink_free(s);
	return ret;
}

bool sink_abort(struct sink *s)
{
	bool partly;

	if (!s)
		return false;
	partly = s->block_device && s->touched;
	if (s->output) {
		output_abort(s->output);
		s->output = NULL;
		s->fd = -1;
	}
	sink_free(s);
	return partly;
}

const char *sink_path(const struct sink *s)
{
	return s->path;
}
