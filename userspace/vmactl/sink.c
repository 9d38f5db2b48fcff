// SPDX-License-Identifier: GPL-2.0-or-later
#include "vmactl/sink.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "devices/below.h"
#include "devices/target.h"
#include "libvma/text.h"
#include "output/direct.h"
#include "output/output.h"
#include "vmactl/image-format.h"

/*
 * Who opens a device for a moment, as udev does to see what is on a new one, is not who
 * uses it. udev is done in milliseconds; a second is for busy hosts.
 */
#define IN_USE_WAIT_MS	1000
#define IN_USE_STEP_MS	50

/* What O_DIRECT wants offsets, lengths and memory to be multiples of, at most. */
#define DIRECT_ALIGN	4096u

/* Ways to have zeroes, best first; what the target can't do is not tried again. */
enum { ZERO_DEALLOCATE, ZERO_REQUEST, ZERO_WRITE };

struct sink {
	char *path;
	struct output *output;	/* owns fd and the file's name; NULL: fd is ours */
	int fd;
	int direct;		/* the same with O_DIRECT; -1: none */
	bool block_device;
	bool overwrites;	/* what was there before is lost */
	bool reads_zero;	/* where nothing was written yet */
	bool preallocated;	/* a file without holes, and it stays so */
	/* Changed by any thread. */
	atomic_bool touched;
	atomic_bool no_direct;	/* the kernel said so */
	atomic_int zero_by;
};

static void sink_free(struct sink *s)
{
	if (s->fd >= 0 && !s->output)
		close(s->fd);
	if (s->direct >= 0)
		close(s->direct);
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
	s->direct = -1;
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
	s->reads_zero = true;
	s->direct = direct_open(s->fd);
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
	bool same;
	int ret;

	if (stat(path, &target) != 0)
		return 0;
	if (fstat(fd, &st) != 0)
		return vma_fail(err, -errno, "cannot look at the archive: %s", strerror(errno));
	if (st.st_dev == target.st_dev && st.st_ino == target.st_ino)
		return vma_fail(err, -EBUSY, "%s is the archive and would be overwritten", path);
	if (!S_ISBLK(target.st_mode))
		return 0;
	ret = below_touches(fd, target.st_rdev, &same, err);
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
	s->overwrites = true;
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
			s->reads_zero = true;
			ret = set_size(s, size, err);
		}
	}
	if (ret) {
		sink_abort(s);
		return ret;
	}
	s->direct = direct_open(s->fd);
	*out = s;
	return 0;
}

/* A file that was made for this, like a volume of a storage of files. */
static int open_existing_file(struct sink *s, uint64_t *room, bool raw, struct vma_error *err)
{
	char head[IMAGE_HEAD] = "";
	struct stat st;

	s->fd = open(s->path, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
	if (s->fd < 0)
		return vma_fail(err, -errno, "cannot open %s: %s", s->path, strerror(errno));
	if (fstat(s->fd, &st) != 0 || !S_ISREG(st.st_mode))
		return vma_fail(err, -EINVAL, "%s is neither a file nor a block device", s->path);
	if (!raw && pread(s->fd, head, sizeof(head), 0) >= 0 && image_format(head))
		return vma_fail(err, -EINVAL,
				"%s is a %s image, and only raw ones are written: make it one, or say format=raw in the map",
				s->path, image_format(head));
	s->overwrites = true;
	s->preallocated = st.st_blocks * 512ll >= st.st_size;
	*room = st.st_size;
	return 0;
}

int sink_open_existing(struct sink **out, const char *path, uint64_t size, bool raw,
		       struct vma_error *err)
{
	struct sink *s = sink_alloc(-1, path);
	uint64_t room = 0;
	struct stat st;
	int ret;

	if (!s)
		return vma_fail(err, -ENOMEM, "out of memory");
	if (stat(path, &st) != 0) {
		ret = vma_fail(err, -errno, "cannot open %s: %s", path, strerror(errno));
	} else if (S_ISBLK(st.st_mode)) {
		ret = open_block_device(s, size, err);
		if (!ret && ioctl(s->fd, BLKGETSIZE64, &room) != 0)
			ret = vma_fail(err, -errno, "cannot tell the size of %s: %s", path,
				       strerror(errno));
	} else {
		ret = open_existing_file(s, &room, raw, err);
	}
	if (!ret && (room < size || room - size > SINK_MAX_SURPLUS))
		ret = vma_fail(err, -EINVAL,
			       "%s has %" PRIu64 " bytes, %" PRIu64 " are needed, and at most %u more",
			       path, room, size, SINK_MAX_SURPLUS);
	if (ret) {
		sink_abort(s);
		return ret;
	}
	s->direct = direct_open(s->fd);
	*out = s;
	return 0;
}

void sink_assume_zero(struct sink *s)
{
	s->reads_zero = true;
}

void sink_use_cache(struct sink *s)
{
	s->no_direct = true;
}

bool sink_reads_zero(const struct sink *s)
{
	return s->reads_zero;
}

bool sink_writes_zeroes(const struct sink *s)
{
	return !s->reads_zero && s->zero_by > ZERO_DEALLOCATE;
}

/* ---- writing ---------------------------------------------------------- */

static int write_by(struct sink *s, int fd, const uint8_t *data, size_t len, uint64_t offset)
{
	while (len) {
		ssize_t n = pwrite(fd, data, len, offset);

		if (n < 0 && errno == EINTR)
			continue;
		/* A part of it may be written: the caller writes all of it in the other way. */
		if (n < 0 && errno == EINVAL && fd == s->direct)
			return -EINVAL;
		if (n <= 0)
			return n ? -errno : -EIO;
		data += n;
		offset += n;
		len -= n;
	}
	return 0;
}

int sink_write(struct sink *s, const void *data, size_t len, uint64_t offset,
	       struct vma_error *err)
{
	/* The end of a disk may be a part of a block. */
	size_t whole = len - len % DIRECT_ALIGN;
	const uint8_t *from = data;
	int ret = 0;

	s->touched = true;
	if (s->direct >= 0 && !s->no_direct && whole) {
		ret = write_by(s, s->direct, from, whole, offset);
		if (ret == -EINVAL) {
			s->no_direct = true;
			ret = 0;
		} else {
			from += whole;
			offset += whole;
			len -= whole;
		}
	}
	if (!ret)
		ret = write_by(s, s->fd, from, len, offset);
	return ret ? write_failure(s, ret, err) : 0;
}

/* 1: done, 0: it can't. */
static int zero_in_one(struct sink *s, int how, uint64_t offset, uint64_t len)
{
	uint64_t range[2] = { offset, len };
	int mode = s->preallocated ? FALLOC_FL_ZERO_RANGE : FALLOC_FL_PUNCH_HOLE;
	int ret;

	if (how == ZERO_DEALLOCATE)
		ret = fallocate(s->fd, mode | FALLOC_FL_KEEP_SIZE, offset, len);
	else if (s->block_device)
		ret = ioctl(s->fd, BLKZEROOUT, range);
	else
		return 0;
	if (ret == 0)
		return 1;
	if (errno == EOPNOTSUPP || errno == EINVAL || errno == ENOTTY || errno == ENOSYS)
		return 0;
	return -errno;
}

int sink_zero(struct sink *s, uint64_t offset, uint64_t len, struct vma_error *err)
{
	static const uint8_t zeroes[VMA_CLUSTER_SIZE] __attribute__((aligned(DIRECT_ALIGN)));
	/* What is no whole block stays out: devices with large sectors refuse it. */
	uint64_t whole = len - len % VMA_BLOCK_SIZE;
	int ret = 0;

	if (s->reads_zero)
		return 0;
	s->touched = true;
	for (int how = s->zero_by; whole && how < ZERO_WRITE && !ret; how++) {
		ret = zero_in_one(s, how, offset, whole);
		if (ret < 0)
			return write_failure(s, ret, err);
		if (ret) {
			offset += whole;
			len -= whole;
		} else if (s->zero_by <= how) {
			s->zero_by = how + 1;
		}
	}
	ret = 0;
	while (len && !ret) {
		size_t n = len < sizeof(zeroes) ? len : sizeof(zeroes);

		ret = sink_write(s, zeroes, n, offset, err);
		offset += n;
		len -= n;
	}
	return ret;
}

int sink_commit(struct sink *s, struct vma_error *err)
{
	int ret = 0;

	if (s->output) {
		ret = output_commit(s->output, err);
		s->fd = -1;
		s->output = NULL;
	} else {
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
	partly = s->overwrites && s->touched;
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
