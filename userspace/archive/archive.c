// SPDX-License-Identifier: GPL-2.0-or-later
/* Opening and closing: the file, its header, its index. */
#include "archive/archive.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "archive/archive-private.h"
#include "archive/file.h"
#include "archive/frames.h"
#include "archive/index-build.h"
#include "archive/index-wire.h"
#include "libvma/header.h"
#include "libvma/text.h"

/* ---- the header ------------------------------------------------------- */

struct cursor {
	struct stream *stream;
	uint64_t at;
};

static ssize_t cursor_read(void *ctx, void *buf, size_t len, struct vma_error *err)
{
	struct cursor *c = ctx;
	uint64_t left = stream_size(c->stream) - c->at;
	int ret;

	if (len > left)
		len = left;
	ret = stream_read(c->stream, c->at, buf, len, err);
	if (ret)
		return ret;
	c->at += len;
	return len;
}

static int open_archive(struct archive *a, const char *path, size_t cache, struct vma_error *err)
{
	struct cursor cursor = { 0 };
	int ret;

	/* Not O_RDONLY alone: a FIFO without a writer would be waited for. */
	a->fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (a->fd < 0)
		return vma_fail(err, -errno, "cannot open: %s", strerror(errno));
	ret = stream_open(&a->stream, a->fd, cache, err);
	if (ret)
		return ret;
	cursor.stream = a->stream;
	return vma_header_read(&a->header, cursor_read, &cursor, NULL, err);
}

/* ---- the index -------------------------------------------------------- */

static struct index_identity identity(const struct archive *a)
{
	return (struct index_identity){
		.file_size = stream_file_size(a->stream),
		.stream_size = stream_size(a->stream),
	};
}

/* Hops from extent to extent. */
static int scan(struct archive *a, struct index_builder *b, struct vma_error *err)
{
	uint64_t at = a->header->header_size, end = stream_size(a->stream);
	uint8_t extent[VMA_EXTENT_HEADER];
	unsigned int blocks;
	int ret;

	while (at < end) {
		uint64_t size;

		if (end - at < sizeof(extent))
			return vma_extent_truncated(at, err);
		ret = stream_read(a->stream, at, extent, sizeof(extent), err);
		if (!ret)
			ret = index_builder_extent(b, extent, at, &blocks, err);
		if (ret)
			return ret;
		size = sizeof(extent) + (uint64_t)blocks * VMA_BLOCK_SIZE;
		if (size > end - at)
			return vma_extent_truncated(at, err);
		at += size;
	}
	return 0;
}

static int build(struct archive *a, int fd, struct vma_error *err)
{
	struct index_identity id = identity(a);
	struct index_builder *b;
	int ret;

	ret = index_builder_new(&b, a->header, file_write, &fd, err);
	if (ret)
		return ret;
	ret = scan(a, b, err);
	if (!ret)
		ret = index_builder_finish(b, &id, err);
	index_builder_free(b);
	return ret;
}

/* An index of our own making is opened as any other: there is one way to look things up. */
static int make_index(struct archive *a, struct vma_error *err)
{
	struct index_identity id = identity(a);
	int fd = memfd_create("vma-index", MFD_CLOEXEC);
	int ret;

	if (fd < 0)
		return vma_fail(err, -errno, "no memory for an index: %s", strerror(errno));
	ret = build(a, fd, err);
	if (ret) {
		close(fd);
		return ret;
	}
	return index_open(&a->index, fd, a->header, &id, err);
}

static int read_index(struct archive *a, const char *path, struct vma_error *err)
{
	struct index_identity id = identity(a);
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	int ret;

	if (fd < 0)
		return vma_fail(err, -errno, "cannot open the index: %s", strerror(errno));
	ret = index_open(&a->index, fd, a->header, &id, err);
	if (ret)
		return ret;
	/* A page found damaged later would fail reads of an archive that may be good. */
	ret = index_check(a->index, err);
	if (ret) {
		index_close(a->index);
		a->index = NULL;
	}
	return ret;
}

static int find_index(struct archive *a, const char *path, const char *given,
		      struct vma_error *err)
{
	char *beside;
	int ret;

	if (given)
		return read_index(a, given, err);
	if (asprintf(&beside, "%s%s", path, ARCHIVE_INDEX_SUFFIX) < 0)
		return vma_fail(err, -ENOMEM, "out of memory");
	ret = read_index(a, beside, &a->index_fault);
	free(beside);
	if (!ret || ret == -ENOMEM)
		return ret ? vma_fail(err, ret, "out of memory") : 0;
	a->index_state = ret == -ENOENT ? ARCHIVE_INDEX_MADE : ARCHIVE_INDEX_REFUSED;
	return make_index(a, err);
}

/* ---- the object ------------------------------------------------------- */

static int open_any(struct archive **out, const char *path, const struct archive_options *o,
		    struct vma_error *err)
{
	size_t cache = o && o->cache ? o->cache : ARCHIVE_CACHE_DEFAULT;
	struct archive *a = calloc(1, sizeof(*a));
	int ret;

	if (!a)
		return vma_fail(err, -ENOMEM, "out of memory");
	a->fd = -1;
	a->index_state = o ? ARCHIVE_INDEX_READ : ARCHIVE_INDEX_NONE;
	ret = open_archive(a, path, cache, err);
	if (!ret && o)
		ret = find_index(a, path, o->index, err);
	if (!ret && o)
		ret = extent_reader_new(&a->extents, a->stream, a->header, a->index, cache, err);
	if (ret) {
		archive_close(a);
		return ret;
	}
	*out = a;
	return 0;
}

int archive_open(struct archive **a, const char *path, const struct archive_options *o,
		 struct vma_error *err)
{
	static const struct archive_options defaults;

	return open_any(a, path, o ? o : &defaults, err);
}

int archive_open_bare(struct archive **a, const char *path, struct vma_error *err)
{
	return open_any(a, path, NULL, err);
}

void archive_close(struct archive *a)
{
	if (!a)
		return;
	extent_reader_free(a->extents);
	index_close(a->index);
	vma_header_free(a->header);
	stream_close(a->stream);
	if (a->fd >= 0)
		close(a->fd);
	free(a);
}

int archive_save_index(struct archive *a, codec_write_fn write, void *ctx, struct vma_error *err)
{
	return index_copy(a->index, write, ctx, err);
}

bool archive_is_index(const char *path)
{
	uint8_t begin[IDX_MAGIC_SIZE];
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	bool is;

	if (fd < 0)
		return false;
	is = file_read(fd, 0, begin, sizeof(begin), NULL) == 0 &&
	     memcmp(begin, IDX_MAGIC, IDX_MAGIC_SIZE) == 0;
	close(fd);
	return is;
}

const struct vma_header *archive_header(const struct archive *a)
{
	return a->header;
}

enum archive_index archive_index_state(const struct archive *a)
{
	return a->index_state;
}

const char *archive_index_fault(const struct archive *a)
{
	return a->index_fault.text;
}

struct archive_facts archive_facts(const struct archive *a)
{
	const struct frames *frames = stream_frames(a->stream);

	return (struct archive_facts){
		.file_size = stream_file_size(a->stream),
		.stream_size = stream_size(a->stream),
		.frames = frames ? frames_count(frames) : 0,
		.frame_largest = frames ? frames_largest(frames) : 0,
		.extents = a->index ? index_extents(a->index) : 0,
	};
}

struct archive_device_facts archive_device_facts(const struct archive *a, unsigned int dev_id)
{
	struct index_totals t = { 0 };

	if (a->index)
		t = index_device(a->index, dev_id);
	return (struct archive_device_facts){
		.zero_clusters = t.zero_clusters,
		.data_bytes = t.blocks * VMA_BLOCK_SIZE,
	};
}
