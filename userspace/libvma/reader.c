// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A stream of bytes into a header and clusters.
 *
 * Memory is one extent and one cluster, whatever the archive says, and the sets
 * of clusters that were really seen. The first failure stays: a reader that has
 * refused an archive has nothing more to say about it.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "libvma/cluster-set.h"
#include "libvma/extent.h"
#include "libvma/header.h"
#include "libvma/text.h"
#include "libvma/wire.h"

#define EXTENT_DATA	(VMA_EXTENT_CLUSTERS * VMA_CLUSTER_SIZE)

struct vma_reader {
	vma_read_fn read;
	void *ctx;
	struct vma_header *header;
	struct cluster_set *sets[256];	/* by dev_id; NULL: not in use */
	uint64_t position;		/* bytes of the stream so far */
	uint64_t extents;		/* so far */

	uint64_t extent_at;		/* where the extent in memory began */
	uint8_t extent[VMA_EXTENT_HEADER];
	unsigned int next;		/* blockinfo to hand out; VMA_EXTENT_CLUSTERS: none */
	size_t used;			/* bytes of data already handed out */
	uint8_t *data;			/* EXTENT_DATA bytes */
	uint8_t *cluster;		/* VMA_CLUSTER_SIZE bytes: clusters with holes */

	bool ended;
	int failed;
	struct vma_error failure;
};

static const uint8_t zero_cluster[VMA_CLUSTER_SIZE] __attribute__((aligned(VMA_BLOCK_SIZE)));

/* ---- opening ---------------------------------------------------------- */

static ssize_t pull(void *reader, void *buf, size_t len, struct vma_error *err)
{
	struct vma_reader *r = reader;
	ssize_t got = r->read(r->ctx, buf, len, err);

	if (got > 0)
		r->position += got;
	return got;
}

int vma_reader_open(struct vma_reader **out, vma_read_fn read, void *ctx, struct vma_error *err)
{
	struct vma_reader *r = calloc(1, sizeof(*r));
	int ret = 0;

	if (!r)
		return vma_fail(err, -ENOMEM, "out of memory");
	r->read = read;
	r->ctx = ctx;
	r->next = VMA_EXTENT_CLUSTERS;
	ret = vma_header_read(&r->header, pull, r, err);
	if (ret) {
		vma_reader_free(r);
		return ret;
	}
	/* Page aligned, for callers that write the data with O_DIRECT. */
	r->data = aligned_alloc(VMA_BLOCK_SIZE, EXTENT_DATA);
	r->cluster = aligned_alloc(VMA_BLOCK_SIZE, VMA_CLUSTER_SIZE);
	if (!r->data || !r->cluster)
		ret = -ENOMEM;
	for (unsigned int i = 1; i <= VMA_MAX_DEVICES && !ret; i++) {
		if (!r->header->devices[i].name)
			continue;
		r->sets[i] = cluster_set_new();
		if (!r->sets[i])
			ret = -ENOMEM;
	}
	if (ret) {
		vma_reader_free(r);
		return vma_fail(err, ret, "out of memory");
	}
	*out = r;
	return 0;
}

const struct vma_header *vma_reader_header(const struct vma_reader *r)
{
	return r->header;
}

void vma_reader_free(struct vma_reader *r)
{
	if (!r)
		return;
	for (unsigned int i = 0; i < 256; i++)
		cluster_set_free(r->sets[i]);
	vma_header_free(r->header);
	free(r->data);
	free(r->cluster);
	free(r);
}

/* ---- extents ---------------------------------------------------------- */

/* 1, or 0 at the end of the stream. */
static int read_extent(struct vma_reader *r, struct vma_error *err)
{
	unsigned int blocks;
	ssize_t got;
	size_t size;
	int ret;

	r->extent_at = r->position;
	got = pull(r, r->extent, sizeof(r->extent), err);
	if (got <= 0)
		return got;
	if (got == (ssize_t)sizeof(r->extent)) {
		ret = vma_extent_check(r->header, r->extent, r->extent_at, &blocks, err);
		if (ret)
			return ret;
		size = (size_t)blocks * VMA_BLOCK_SIZE;
		got = size ? pull(r, r->data, size, err) : 0;
		if (got < 0)
			return got;
		if ((size_t)got == size) {
			r->next = 0;
			r->used = 0;
			r->extents++;
			return 1;
		}
	}
	return vma_extent_truncated(r->extent_at, err);
}

/*
 * Where the cluster's bytes are, as vma_cluster promises them. Blocks past the
 * device's end are stored behind all others, so clipping them skips them.
 */
static const uint8_t *cluster_data(struct vma_reader *r, const struct vma_cluster *c,
				   uint16_t stored)
{
	const uint8_t *from = r->data + r->used;

	r->used += (size_t)__builtin_popcount(stored) * VMA_BLOCK_SIZE;
	if (!c->mask)
		return zero_cluster;
	if (stored == 0xffff && c->length == VMA_CLUSTER_SIZE)
		return from;
	for (unsigned int i = 0; i < VMA_BLOCKS_PER_CLUSTER; i++) {
		uint8_t *to = r->cluster + i * VMA_BLOCK_SIZE;

		if (!(c->mask & 1u << i)) {
			memset(to, 0, VMA_BLOCK_SIZE);
			continue;
		}
		memcpy(to, from, VMA_BLOCK_SIZE);
		from += VMA_BLOCK_SIZE;
	}
	memset(r->cluster + c->length, 0, VMA_CLUSTER_SIZE - c->length);
	return r->cluster;
}

static int take_cluster(struct vma_reader *r, struct vma_blockinfo info, struct vma_cluster *c,
			struct vma_error *err)
{
	const struct vma_device *dev = &r->header->devices[info.dev_id];
	int ret;

	ret = vma_extent_check_info(r->header, info, r->extent_at, err);
	if (ret)
		return ret;
	ret = cluster_set_add(r->sets[info.dev_id], info.cluster);
	if (ret == -EEXIST)
		return vma_extent_twice(r->header, info, r->extent_at, err);
	if (ret)
		return vma_fail(err, ret, "out of memory");
	c->dev_id = info.dev_id;
	c->cluster = info.cluster;
	c->offset = c->cluster * VMA_CLUSTER_SIZE;
	c->length = vma_cluster_length(dev, c->cluster);
	c->mask = info.mask & vma_mask_of(c->length);
	c->data = cluster_data(r, c, info.mask);
	return 1;
}

static int next_cluster(struct vma_reader *r, struct vma_cluster *c, struct vma_error *err)
{
	int ret;

	for (;;) {
		while (r->next < VMA_EXTENT_CLUSTERS) {
			struct vma_blockinfo info = vma_extent_info(r->extent, r->next++);

			if (info.dev_id)
				return take_cluster(r, info, c, err);
		}
		ret = read_extent(r, err);
		if (ret <= 0)
			return ret;
	}
}

int vma_reader_next(struct vma_reader *r, struct vma_cluster *c, struct vma_error *err)
{
	int ret;

	if (r->failed)
		return vma_fail(err, r->failed, "%s", r->failure.text);
	if (r->ended)
		return 0;
	r->failure.text[0] = '\0';
	ret = next_cluster(r, c, &r->failure);
	if (ret < 0) {
		r->failed = ret;
		return vma_fail(err, ret, "%s", r->failure.text);
	}
	r->ended = ret == 0;
	return ret;
}

int vma_reader_finish(struct vma_reader *r, struct vma_error *err)
{
	if (r->failed)
		return vma_fail(err, r->failed, "%s", r->failure.text);
	if (!r->ended)
		return vma_fail(err, -EINVAL, "the archive was not read to its end");
	return cluster_sets_complete(r->sets, r->header, err);
}

void vma_reader_stats(const struct vma_reader *r, struct vma_reader_stats *stats)
{
	*stats = (struct vma_reader_stats){ .extents = r->extents, .bytes = r->position };
}
