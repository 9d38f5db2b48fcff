// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Memory follows the clusters that an archive really has, never the sizes that its
 * header claims: a page exists once a cluster with data falls into it.
 */
#include "archive/index-build.h"

#include <errno.h>
#include <inttypes.h>
#include <sha2.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "archive/index-wire.h"
#include "libvma/cluster-set.h"
#include "libvma/data-sum.h"
#include "libvma/extent.h"
#include "libvma/header.h"
#include "libvma/text.h"
#include "libvma/wire.h"

/* Pages of a device are found in two steps: 2048 * 2048 * 1024 clusters are all there can be. */
#define FANOUT		2048u

/* The tables are mostly steps of nothing: more effort would not make them smaller. */
#define LEVEL		3

/* Of the table of extents; grows. 15 GiB of archive each. */
#define TABLE_PAGES_FIRST	64u

struct open_page {
	uint64_t at[IDX_PAGE_CLUSTERS];
	uint16_t mask[IDX_PAGE_CLUSTERS];
};

struct slot {
	uint64_t place;		/* where it went; 0: not written */
	uint32_t seen;		/* clusters, zero ones too */
	struct open_page *page;
};

struct device {
	struct cluster_set *set;	/* NULL: not in use */
	struct slot *branches[FANOUT];
	uint64_t zero_clusters;
	uint64_t blocks;
};

struct index_builder {
	const struct vma_header *header;
	codec_write_fn write;
	void *ctx;
	ZSTD_CCtx *zstd;
	uint64_t written;
	uint64_t extents;
	uint64_t summed;	/* of them, with sums: the last ones */
	uint64_t memory;	/* bytes of open pages and of what leads to pages */
	bool begun;
	struct device devices[256];	/* by dev_id */

	/* The table of extents. */
	uint8_t table_raw[IDX_TABLE_RAW];	/* the page that is not written yet */
	uint64_t table_at;			/* where its first extent is */
	uint8_t *table;				/* its directory: pages that are written */
	size_t table_pages, table_room;

	uint8_t raw[IDX_PAGE_RAW];
	uint8_t packed[ZSTD_COMPRESSBOUND(IDX_PAGE_RAW)];
};

int index_builder_new(struct index_builder **out, const struct vma_header *h,
		      codec_write_fn write, void *ctx, struct vma_error *err)
{
	struct index_builder *b = calloc(1, sizeof(*b));
	bool ok = b;

	if (ok) {
		b->header = h;
		b->write = write;
		b->ctx = ctx;
		b->zstd = ZSTD_createCCtx();
		ok = b->zstd &&
		     !ZSTD_isError(ZSTD_CCtx_setParameter(b->zstd, ZSTD_c_compressionLevel,
							  LEVEL)) &&
		     !ZSTD_isError(ZSTD_CCtx_setParameter(b->zstd, ZSTD_c_checksumFlag, 1));
	}
	for (unsigned int i = 1; i <= VMA_MAX_DEVICES && ok; i++) {
		if (!h->devices[i].name)
			continue;
		b->devices[i].set = cluster_set_new();
		ok = b->devices[i].set;
	}
	if (!ok) {
		index_builder_free(b);
		return vma_fail(err, -ENOMEM, "out of memory");
	}
	*out = b;
	return 0;
}

void index_builder_free(struct index_builder *b)
{
	if (!b)
		return;
	for (unsigned int i = 0; i < 256; i++) {
		struct device *d = &b->devices[i];

		cluster_set_free(d->set);
		for (unsigned int k = 0; k < FANOUT; k++) {
			for (unsigned int s = 0; d->branches[k] && s < FANOUT; s++)
				free(d->branches[k][s].page);
			free(d->branches[k]);
		}
	}
	free(b->table);
	ZSTD_freeCCtx(b->zstd);
	free(b);
}

static int put(struct index_builder *b, const void *data, size_t len, struct vma_error *err)
{
	struct iovec iov = { .iov_base = (void *)data, .iov_len = len };

	b->written += len;
	return b->write(b->ctx, &iov, 1, err);
}

static int begin(struct index_builder *b, struct vma_error *err)
{
	uint8_t bytes[IDX_BEGIN_SIZE] = IDX_MAGIC;

	if (b->begun)
		return 0;
	b->begun = true;
	wire_put_be32(bytes + IDX_MAGIC_SIZE, IDX_VERSION);
	return put(b, bytes, sizeof(bytes), err);
}

/* ---- pages ------------------------------------------------------------ */

static uint32_t page_clusters(const struct vma_device *dev, uint64_t number)
{
	uint64_t left = dev->nr_clusters - number * IDX_PAGE_CLUSTERS;

	return left < IDX_PAGE_CLUSTERS ? left : IDX_PAGE_CLUSTERS;
}

/* Compresses it; *place is where it went. */
static int put_page(struct index_builder *b, const uint8_t *raw, size_t len, uint64_t *place,
		    struct vma_error *err)
{
	size_t size;
	int ret;

	ret = begin(b, err);
	if (ret)
		return ret;
	size = ZSTD_compress2(b->zstd, b->packed, sizeof(b->packed), raw, len);
	if (ZSTD_isError(size))
		return vma_fail(err, -EIO, "zstd cannot compress: %s", ZSTD_getErrorName(size));
	if (b->written >= IDX_OFFSET_MAX)
		return vma_fail(err, -EFBIG, "the index becomes too large; read the archive from its beginning (extract, verify)");
	*place = b->written << 16 | size;
	return put(b, b->packed, size, err);
}

static int write_page(struct index_builder *b, struct slot *slot, uint32_t nr,
		      struct vma_error *err)
{
	const struct open_page *page = slot->page;
	uint8_t *steps = b->raw + (size_t)nr * IDX_PAGE_MASK;
	uint64_t expected = 0;
	int ret;

	for (uint32_t i = 0; i < nr; i++) {
		uint16_t mask = page->mask[i];

		wire_put_be16(b->raw + i * IDX_PAGE_MASK, mask);
		wire_put_be64(steps + i * IDX_PAGE_STEP, mask ? page->at[i] - expected : 0);
		if (mask)
			expected = page->at[i] +
				   (uint64_t)__builtin_popcount(mask) * VMA_BLOCK_SIZE;
	}
	ret = put_page(b, b->raw, (size_t)nr * (IDX_PAGE_MASK + IDX_PAGE_STEP), &slot->place, err);
	free(slot->page);
	slot->page = NULL;
	b->memory -= sizeof(*page);
	return ret;
}

static int check_memory(const struct index_builder *b, size_t more, struct vma_error *err)
{
	if (b->memory + more > INDEX_BUILD_MAX)
		return vma_fail(err, -EFBIG,
				"its clusters are in an order that needs more than %llu MiB to index; read the archive from its beginning (extract, verify)",
				INDEX_BUILD_MAX >> 20);
	return 0;
}

/* Zeroed memory within the bound. */
static int take_memory(struct index_builder *b, size_t nr, size_t size, void *out,
		       struct vma_error *err)
{
	int ret = check_memory(b, nr * size, err);
	void *p;

	if (ret)
		return ret;
	p = calloc(nr, size);
	if (!p)
		return vma_fail(err, -ENOMEM, "out of memory");
	b->memory += nr * size;
	memcpy(out, &p, sizeof(p));
	return 0;
}

static int slot_of(struct index_builder *b, struct device *d, uint64_t number, struct slot **slot,
		   struct vma_error *err)
{
	struct slot **branch = &d->branches[number / FANOUT];
	int ret = *branch ? 0 : take_memory(b, FANOUT, sizeof(**branch), branch, err);

	if (!ret)
		*slot = &(*branch)[number % FANOUT];
	return ret;
}

static int add(struct index_builder *b, struct vma_blockinfo info, uint64_t extent_at,
	       uint64_t at, struct vma_error *err)
{
	const struct vma_device *dev = &b->header->devices[info.dev_id];
	struct device *d = &b->devices[info.dev_id];
	uint64_t number = info.cluster / IDX_PAGE_CLUSTERS;
	uint16_t mask;
	struct slot *slot;
	int ret;

	ret = vma_extent_check_info(b->header, info, extent_at, err);
	if (ret)
		return ret;
	ret = cluster_set_add(d->set, info.cluster);
	if (ret == -EEXIST)
		return vma_extent_twice(b->header, info, extent_at, err);
	if (ret)
		return vma_fail(err, ret, "out of memory");
	ret = slot_of(b, d, number, &slot, err);
	if (ret)
		return ret;
	mask = info.mask & vma_mask_of(vma_cluster_length(dev, info.cluster));
	if (mask) {
		if (!slot->page)
			ret = take_memory(b, 1, sizeof(*slot->page), &slot->page, err);
		if (ret)
			return ret;
		slot->page->mask[info.cluster % IDX_PAGE_CLUSTERS] = mask;
		slot->page->at[info.cluster % IDX_PAGE_CLUSTERS] = at;
	}
	d->zero_clusters += !mask;
	d->blocks += __builtin_popcount(mask);
	slot->seen++;
	if (slot->page && slot->seen == page_clusters(dev, number))
		return write_page(b, slot, slot->seen, err);
	return 0;
}

/* ---- the table of extents --------------------------------------------- */

static int table_grow(struct index_builder *b, struct vma_error *err)
{
	size_t room = b->table_room ? 2 * b->table_room : TABLE_PAGES_FIRST;
	size_t more = (room - b->table_room) * IDX_T_SIZE;
	uint8_t *p;
	int ret = check_memory(b, more, err);

	if (ret)
		return ret;
	p = reallocarray(b->table, room, IDX_T_SIZE);
	if (!p)
		return vma_fail(err, -ENOMEM, "out of memory");
	b->table = p;
	b->table_room = room;
	b->memory += more;
	return 0;
}

/* A page of so many extents. */
static int table_write(struct index_builder *b, uint32_t nr, struct vma_error *err)
{
	uint64_t place;
	uint8_t *entry;
	int ret = 0;

	if (b->table_pages == b->table_room)
		ret = table_grow(b, err);
	if (!ret)
		ret = put_page(b, b->table_raw, (size_t)nr * IDX_TABLE_BLOCKS, &place, err);
	if (ret)
		return ret;
	entry = b->table + b->table_pages++ * IDX_T_SIZE;
	wire_put_be64(entry + IDX_T_AT, b->table_at);
	wire_put_be64(entry + IDX_T_PLACE, place);
	return 0;
}

static int table_add(struct index_builder *b, uint64_t at, unsigned int blocks,
		     struct vma_error *err)
{
	uint32_t i = b->extents % IDX_TABLE_EXTENTS;

	if (!i)
		b->table_at = at;
	wire_put_be16(b->table_raw + (size_t)i * IDX_TABLE_BLOCKS, blocks);
	b->extents++;
	return i + 1 == IDX_TABLE_EXTENTS ? table_write(b, i + 1, err) : 0;
}

/* ---- extents ---------------------------------------------------------- */

int index_builder_extent(struct index_builder *b, uint8_t *extent, uint64_t at,
			 unsigned int *blocks, struct vma_error *err)
{
	uint64_t data = at + VMA_EXTENT_HEADER;
	int ret;

	ret = vma_extent_check(b->header, extent, at, blocks, err);
	if (!ret && data_sum_there(extent))
		b->summed++;
	else if (!ret && b->summed)
		ret = vma_extent_unsummed(at, err);
	for (unsigned int i = 0; i < VMA_EXTENT_CLUSTERS && !ret; i++) {
		struct vma_blockinfo info = vma_extent_info(extent, i);

		if (!info.dev_id)
			continue;
		ret = add(b, info, at, data, err);
		data += (uint64_t)__builtin_popcount(info.mask) * VMA_BLOCK_SIZE;
	}
	return ret ? ret : table_add(b, at, *blocks, err);
}

/* ---- the end ---------------------------------------------------------- */

/* Goes out piece by piece; the sum grows with it. */
static int put_summed(struct index_builder *b, SHA2_CTX *sum, const void *data, size_t len,
		      struct vma_error *err)
{
	SHA256Update(sum, data, len);
	return put(b, data, len, err);
}

static int put_places(struct index_builder *b, unsigned int dev_id, SHA2_CTX *sum,
		      struct vma_error *err)
{
	uint64_t clusters = b->header->devices[dev_id].nr_clusters;
	uint64_t pages = (clusters + IDX_PAGE_CLUSTERS - 1) / IDX_PAGE_CLUSTERS;
	const struct device *d = &b->devices[dev_id];
	uint8_t places[FANOUT * IDX_PLACE_SIZE];
	int ret = 0;

	for (uint64_t first = 0; first < pages && !ret; first += FANOUT) {
		const struct slot *branch = d->branches[first / FANOUT];
		unsigned int nr = pages - first < FANOUT ? pages - first : FANOUT;

		for (unsigned int i = 0; i < nr; i++)
			wire_put_be64(places + (size_t)i * IDX_PLACE_SIZE, branch[i].place);
		ret = put_summed(b, sum, places, (size_t)nr * IDX_PLACE_SIZE, err);
	}
	return ret;
}

static int put_directory(struct index_builder *b, uint8_t *end, struct vma_error *err)
{
	uint64_t begins = b->written;
	unsigned int nr = 0;
	SHA2_CTX sum;
	int ret = 0;

	SHA256Init(&sum);
	for (unsigned int i = 1; i <= VMA_MAX_DEVICES && !ret; i++) {
		const struct device *d = &b->devices[i];
		uint8_t entry[IDX_D_SIZE] = { 0 };

		if (!d->set)
			continue;
		nr++;
		wire_put_be32(entry + IDX_D_ID, i);
		wire_put_be64(entry + IDX_D_CLUSTERS, b->header->devices[i].nr_clusters);
		wire_put_be64(entry + IDX_D_ZERO, d->zero_clusters);
		wire_put_be64(entry + IDX_D_BLOCKS, d->blocks);
		ret = put_summed(b, &sum, entry, sizeof(entry), err);
		if (!ret)
			ret = put_places(b, i, &sum, err);
	}
	if (!ret && b->table_pages)
		ret = put_summed(b, &sum, b->table, b->table_pages * IDX_T_SIZE, err);
	SHA256Final(end + IDX_E_DIRECTORY_SUM, &sum);
	wire_put_be64(end + IDX_E_DIRECTORY, begins);
	wire_put_be64(end + IDX_E_DIRECTORY_SIZE, b->written - begins);
	wire_put_be32(end + IDX_E_DEVICES, nr);
	return ret;
}

int index_builder_finish(struct index_builder *b, const struct index_identity *id,
			 struct vma_error *err)
{
	uint8_t end[IDX_E_SIZE] = IDX_MAGIC;
	struct cluster_set *sets[256];
	SHA2_CTX sum;
	int ret;

	for (unsigned int i = 0; i < 256; i++)
		sets[i] = b->devices[i].set;
	ret = cluster_sets_complete(sets, b->header, err);
	if (!ret)
		ret = begin(b, err);
	if (!ret && b->extents % IDX_TABLE_EXTENTS)
		ret = table_write(b, b->extents % IDX_TABLE_EXTENTS, err);
	if (!ret)
		ret = put_directory(b, end, err);
	if (ret)
		return ret;
	wire_put_be32(end + IDX_E_VERSION, IDX_VERSION);
	wire_put_be32(end + IDX_E_PAGE_CLUSTERS, IDX_PAGE_CLUSTERS);
	memcpy(end + IDX_E_UUID, b->header->uuid, IDX_UUID_SIZE);
	wire_put_be64(end + IDX_E_FILE_SIZE, id->file_size);
	wire_put_be64(end + IDX_E_STREAM_SIZE, id->stream_size);
	wire_put_be64(end + IDX_E_EXTENTS, b->extents);
	wire_put_be64(end + IDX_E_SUMMED, b->summed);
	SHA256Init(&sum);
	SHA256Update(&sum, end, IDX_E_SUM);
	SHA256Final(end + IDX_E_SUM, &sum);
	return put(b, end, sizeof(end), err);
}
