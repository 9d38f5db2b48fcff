// SPDX-License-Identifier: GPL-2.0-or-later
/* Bytes and holes of a device, at any place. */
#include <errno.h>
#include <string.h>

#include "archive/archive-private.h"
#include "libvma/header.h"
#include "libvma/text.h"

static int check_range(const struct archive *a, unsigned int dev_id, uint64_t offset, uint64_t len,
		       struct vma_error *err)
{
	const struct vma_device *dev = &a->header->devices[dev_id];

	if (!a->index || dev_id > VMA_MAX_DEVICES || !dev->name || offset > dev->size ||
	    len > dev->size - offset)
		return vma_fail(err, -EINVAL, "the range lies outside of the device");
	return 0;
}

/* Stored bytes that follow each other in the stream and in the caller's buffer: one read. */
struct gather {
	struct stream *stream;
	uint64_t at;
	uint8_t *to;
	size_t len;
};

static int gather_flush(struct gather *g, struct vma_error *err)
{
	int ret = g->len ? stream_read(g->stream, g->at, g->to, g->len, err) : 0;

	g->len = 0;
	return ret;
}

static int gather_add(struct gather *g, uint64_t at, uint8_t *to, size_t len,
		      struct vma_error *err)
{
	int ret;

	if (g->len && g->at + g->len == at && g->to + g->len == to) {
		g->len += len;
		return 0;
	}
	ret = gather_flush(g, err);
	g->at = at;
	g->to = to;
	g->len = len;
	return ret;
}

/* Part of one cluster, block by block; from its blocks, or from where they are. */
static int copy_blocks(struct gather *g, const struct index_entry *e, const uint8_t *blocks,
		       uint32_t begin, uint32_t end, uint8_t *to, struct vma_error *err)
{
	int ret = 0;

	while (begin < end && !ret) {
		unsigned int block = begin / VMA_BLOCK_SIZE;
		uint32_t in_block = begin % VMA_BLOCK_SIZE, n = VMA_BLOCK_SIZE - in_block;
		uint64_t before = __builtin_popcount(e->mask & ((1u << block) - 1));
		uint64_t at = before * VMA_BLOCK_SIZE + in_block;

		if (n > end - begin)
			n = end - begin;
		if (!(e->mask & 1u << block))
			memset(to, 0, n);
		else if (blocks)
			memcpy(to, blocks + at, n);
		else
			ret = gather_add(g, e->at + at, to, n, err);
		begin += n;
		to += n;
	}
	return ret;
}

/* Whether there is anything to read in a part of a cluster. */
static bool has_data(const struct index_entry *e, uint32_t begin, uint32_t end)
{
	return e->mask & vma_mask_of(end) & ~((1u << begin / VMA_BLOCK_SIZE) - 1);
}

static int read_cluster(struct archive *a, struct gather *g, unsigned int dev_id,
			uint64_t cluster, uint32_t begin, uint32_t end, uint8_t *to,
			struct vma_error *err)
{
	struct extent_cluster c = { 0 };
	struct index_entry e;
	int ret;

	ret = index_lookup(a->index, dev_id, cluster, &e, err);
	if (!ret && a->extents && has_data(&e, begin, end))
		ret = extent_reader_get(a->extents, dev_id, cluster, &e, &c, err);
	if (ret)
		return ret;
	ret = copy_blocks(g, &e, c.blocks, begin, end, to, err);
	if (a->extents)
		extent_reader_put(a->extents, &c);
	return ret;
}

int archive_read(struct archive *a, unsigned int dev_id, uint64_t offset, void *buf, size_t len,
		 struct vma_error *err)
{
	struct gather g = { .stream = a->stream };
	uint8_t *to = buf;
	int ret;

	ret = check_range(a, dev_id, offset, len, err);
	while (len && !ret) {
		uint32_t begin = offset % VMA_CLUSTER_SIZE;
		uint32_t n = VMA_CLUSTER_SIZE - begin;

		if (n > len)
			n = len;
		ret = read_cluster(a, &g, dev_id, offset / VMA_CLUSTER_SIZE, begin, begin + n, to,
				   err);
		offset += n;
		to += n;
		len -= n;
	}
	return ret ? ret : gather_flush(&g, err);
}

/* How far a state reaches within a cluster. */
static uint32_t run_in_cluster(uint16_t mask, uint32_t begin, bool data)
{
	unsigned int block = begin / VMA_BLOCK_SIZE;

	while (block < VMA_BLOCKS_PER_CLUSTER && !!(mask & 1u << block) == data)
		block++;
	return block * VMA_BLOCK_SIZE > begin ? block * VMA_BLOCK_SIZE - begin : 0;
}

int archive_map(struct archive *a, unsigned int dev_id, uint64_t offset, uint64_t len, bool *data,
		uint64_t *run, struct vma_error *err)
{
	uint64_t done = 0;
	int ret;

	ret = check_range(a, dev_id, offset, len, err);
	if (!ret && !len)
		ret = vma_fail(err, -EINVAL, "the range is empty");
	*data = false;
	while (!ret && done < len) {
		uint64_t cluster = (offset + done) / VMA_CLUSTER_SIZE, n;
		uint32_t begin = (offset + done) % VMA_CLUSTER_SIZE;
		uint64_t zero = index_zero_run(a->index, dev_id, cluster);
		struct index_entry e = { 0 };

		if (!zero)
			ret = index_lookup(a->index, dev_id, cluster, &e, err);
		if (ret)
			break;
		if (!done)
			*data = e.mask & 1u << begin / VMA_BLOCK_SIZE;
		if (zero)
			n = *data ? 0 : zero * VMA_CLUSTER_SIZE - begin;
		else
			n = run_in_cluster(e.mask, begin, *data);
		done += n;
		if (!n || (!zero && begin + n < VMA_CLUSTER_SIZE))
			break;
	}
	*run = done < len ? done : len;
	return ret;
}
