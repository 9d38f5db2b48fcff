// SPDX-License-Identifier: GPL-2.0-or-later
#include "archive/extent-read.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "archive/frame-cache.h"
#include "libvma/data-sum.h"
#include "libvma/extent.h"
#include "libvma/header.h"
#include "libvma/text.h"

/*
 * Headers of extents whose data is not looked at: each is read and checked once for its clusters,
 * if they are read one after another, or by up to 1600 that read at different places.
 */
#define HEADERS_CACHE	(1u << 20)

struct extent_reader {
	struct stream *stream;
	const struct vma_header *header;
	struct index *index;
	struct frame_cache *cache;	/* NULL: of no extent data is checked here */
	struct frame_cache *headers;
	bool bare;
};

/* What is looked for, and where the index says it is. */
struct wanted {
	const struct extent_reader *reader;
	unsigned int dev_id;
	uint64_t cluster;
	const struct index_entry *entry;
	struct index_extent extent;
};

int extent_reader_new(struct extent_reader **out, struct stream *stream,
		      const struct vma_header *h, struct index *x, size_t cache,
		      struct vma_error *err)
{
	struct extent_reader *r = calloc(1, sizeof(*r));
	int ret;

	if (!r)
		return vma_fail(err, -ENOMEM, "out of memory");
	r->stream = stream;
	r->header = h;
	r->index = x;
	r->bare = !stream_frames(stream);
	ret = frame_cache_new(&r->headers, HEADERS_CACHE, err);
	if (!ret && r->bare && index_summed(x))
		ret = frame_cache_new(&r->cache, cache, err);
	if (ret) {
		extent_reader_free(r);
		return ret;
	}
	*out = r;
	return 0;
}

void extent_reader_free(struct extent_reader *r)
{
	if (!r)
		return;
	frame_cache_free(r->headers);
	frame_cache_free(r->cache);
	free(r);
}

/* ---- what is wrong, in words ------------------------------------------ */

/* The cluster that is wanted cannot be had. */
static int damaged(const struct wanted *w, const char *what, struct vma_error *err)
{
	const struct vma_device *dev = &w->reader->header->devices[w->dev_id];
	uint64_t blocks = __builtin_popcount(w->entry->mask);
	struct vma_fault f = {
		.dev_id = w->dev_id,
		.offset = w->cluster * VMA_CLUSTER_SIZE,
		.length = vma_cluster_length(dev, w->cluster),
		.begin = w->entry->at,
		.end = w->entry->at + blocks * VMA_BLOCK_SIZE,
	};
	char text[sizeof(err->text) - sizeof("damaged: ")];

	vma_error_set(&f.what, "%s", what);
	vma_fault_text(w->reader->header, &f, text, sizeof(text));
	return vma_fail(err, -EBADMSG, "damaged: %s", text);
}

/* Likewise, for the extent's header: its own words follow the place. */
static int no_extent(const struct wanted *w, const struct vma_error *why, struct vma_error *err)
{
	return vma_fail(err, -EBADMSG, "disk %s, offset %" PRIu64 ": %s",
			vma_quote(w->reader->header->devices[w->dev_id].name),
			w->cluster * VMA_CLUSTER_SIZE, why->text);
}

/* ---- reading ---------------------------------------------------------- */

/*
 * Which of the extent's entries is the cluster's, and where its blocks are among the data;
 * -1 if there is none such, or not there where the index has it.
 */
static int find_cluster(const struct wanted *w, const uint8_t *extent)
{
	const struct vma_device *dev = &w->reader->header->devices[w->dev_id];
	uint16_t device_mask = vma_mask_of(vma_cluster_length(dev, w->cluster));
	uint64_t at = w->extent.at + VMA_EXTENT_HEADER;

	for (unsigned int i = 0; i < VMA_EXTENT_CLUSTERS; i++) {
		struct vma_blockinfo info = vma_extent_info(extent, i);

		if (!info.dev_id)
			continue;
		if (info.dev_id == w->dev_id && info.cluster == w->cluster)
			return at == w->entry->at && (info.mask & device_mask) == w->entry->mask ?
			       (int)i : -1;
		at += (uint64_t)__builtin_popcount(info.mask) * VMA_BLOCK_SIZE;
	}
	return -1;
}

/* Reads the first `len` bytes of the extent, of which the header is checked. */
static int read_checked(const struct wanted *w, uint8_t *data, size_t len, struct vma_error *err)
{
	struct vma_error why;
	unsigned int blocks;
	int ret;

	ret = stream_read(w->reader->stream, w->extent.at, data, len, err);
	if (ret)
		return ret;
	ret = vma_extent_check(w->reader->header, data, w->extent.at, &blocks, &why);
	if (ret)
		return no_extent(w, &why, err);
	if (VMA_EXTENT_HEADER + (uint64_t)blocks * VMA_BLOCK_SIZE != w->extent.size)
		return damaged(w, "its extent is not as the index says", err);
	return 0;
}

/* A frame_fill_fn. An index must not keep data from being checked. */
static int read_header(void *ctx, uint8_t *data, struct vma_error *err)
{
	const struct wanted *w = ctx;
	int ret = read_checked(w, data, VMA_EXTENT_HEADER, err);

	if (!ret && w->reader->bare && data_sum_there(data))
		return damaged(w, "its extent has a checksum, the index says that it has none", err);
	return ret;
}

/* A frame_fill_fn. */
static int read_extent(void *ctx, uint8_t *data, struct vma_error *err)
{
	const struct wanted *w = ctx;
	struct data_check check;
	int ret, i;

	ret = read_checked(w, data, w->extent.size, err);
	if (ret)
		return ret;
	check = data_sum_check(data, data + VMA_EXTENT_HEADER);
	if (!check.there)
		return damaged(w, "the checksum of its data is missing", err);
	if (check.right)
		return 0;
	i = find_cluster(w, data);
	if (check.differs && i >= 0 && !(check.differs >> i & 1))
		return damaged(w, "not proven, for other data of its extent is damaged", err);
	return damaged(w, check.differs ? "its data differs from its checksum" :
		       "its extent's data differs from its checksum", err);
}

static int not_there(const struct wanted *w, struct vma_error *err)
{
	return damaged(w, "its extent does not have it where the index says", err);
}

/* Where the data is, is right; what it is, is for the caller to read. */
static int check_place(struct wanted *w, struct vma_error *err)
{
	struct frame_cache *headers = w->reader->headers;
	struct cached *held;
	bool there;
	int ret;

	ret = frame_cache_hold(headers, w->extent.number, VMA_EXTENT_HEADER, read_header, w, &held,
			       err);
	if (ret)
		return ret;
	there = find_cluster(w, frame_cache_data(held)) >= 0;
	frame_cache_release(headers, held);
	return there ? 0 : not_there(w, err);
}

int extent_reader_get(struct extent_reader *r, unsigned int dev_id, uint64_t cluster,
		      const struct index_entry *e, struct extent_cluster *c, struct vma_error *err)
{
	struct wanted w = { .reader = r, .dev_id = dev_id, .cluster = cluster, .entry = e };
	const uint8_t *data;
	int ret;

	*c = (struct extent_cluster){ 0 };
	ret = index_extent(r->index, e->at, &w.extent, err);
	if (ret)
		return ret;
	if (!r->cache || !w.extent.summed)
		return check_place(&w, err);
	ret = frame_cache_hold(r->cache, w.extent.number, w.extent.size, read_extent, &w, &c->held,
			       err);
	if (ret)
		return ret;
	data = frame_cache_data(c->held);
	if (find_cluster(&w, data) < 0) {
		extent_reader_put(r, c);
		return not_there(&w, err);
	}
	c->blocks = data + (e->at - w.extent.at);
	return 0;
}

void extent_reader_put(struct extent_reader *r, struct extent_cluster *c)
{
	if (c->held)
		frame_cache_release(r->cache, c->held);
	c->held = NULL;
}
