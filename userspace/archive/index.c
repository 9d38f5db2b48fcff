// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The directory is in memory: 8 bytes for each 64 MiB of a device, and never more than
 * the archive has use for. Pages are cached under the lock; nothing else changes.
 */
#include "archive/index.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <sha2.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zstd.h>

#include "archive/extent-table.h"
#include "archive/file.h"
#include "archive/index-page.h"
#include "archive/index-wire.h"
#include "libvma/header.h"
#include "libvma/text.h"
#include "libvma/wire.h"

/* Pages in memory, 10 KiB each: 4 GiB of disk around where several readers are. */
#define PAGES_CACHED	64u

#define COPY_SIZE	65536u

struct page {
	unsigned int dev_id;	/* 0: not in use */
	uint64_t number;
	uint16_t mask[IDX_PAGE_CLUSTERS];
	uint64_t at[IDX_PAGE_CLUSTERS];
};

struct index_device {
	uint64_t nr_pages;
	const uint8_t *places;	/* in the directory */
	struct index_totals totals;
};

struct index {
	int fd;
	const struct vma_header *header;
	uint64_t stream_size;
	uint64_t extents;
	uint64_t summed;
	uint64_t directory_at;
	size_t directory_size;
	uint8_t *directory;
	struct index_device devices[256];	/* by dev_id */
	struct extent_table *table;

	pthread_mutex_t lock;			/* of what follows */
	ZSTD_DCtx *zstd;
	struct page *pages[PAGES_CACHED];	/* by page number; NULL: not used yet */
};

/* ---- opening ---------------------------------------------------------- */

static uint64_t pages_of(const struct vma_device *dev)
{
	return (dev->nr_clusters + IDX_PAGE_CLUSTERS - 1) / IDX_PAGE_CLUSTERS;
}

static void sha256(const void *p, size_t len, uint8_t sum[IDX_SUM_SIZE])
{
	SHA2_CTX ctx;

	SHA256Init(&ctx);
	SHA256Update(&ctx, p, len);
	SHA256Final(sum, &ctx);
}

/* The version decides what the end is like. */
static int check_begin(const uint8_t *begin, struct vma_error *err)
{
	uint32_t version = wire_get_be32(begin + IDX_MAGIC_SIZE);

	if (memcmp(begin, IDX_MAGIC, IDX_MAGIC_SIZE) != 0)
		return vma_fail(err, -EUCLEAN, "not an index: wrong magic number");
	if (version != IDX_VERSION)
		return vma_fail(err, -EPROTONOSUPPORT, "index version %" PRIu32
				" is not supported, only version %u is; \"vmactl index\" replaces it",
				version, IDX_VERSION);
	return 0;
}

/*
 * How large the directory is follows from the devices and the number of extents, which must be
 * so many as the archive has room for, and enough for all clusters. So the memory for it is
 * bounded by the archive, not by what an index claims.
 */
static int check_directory_size(const struct index *x, uint64_t size, struct vma_error *err)
{
	uint64_t room = x->stream_size - x->header->header_size, clusters = 0, right = 0;

	if (x->stream_size < x->header->header_size || x->extents > room / VMA_EXTENT_HEADER)
		return index_damaged("more extents than the archive has room for", err);
	for (unsigned int i = 1; i <= VMA_MAX_DEVICES; i++) {
		if (!x->header->devices[i].name)
			continue;
		clusters += x->header->devices[i].nr_clusters;
		right += IDX_D_SIZE + IDX_PLACE_SIZE * pages_of(&x->header->devices[i]);
	}
	if ((clusters + VMA_EXTENT_CLUSTERS - 1) / VMA_EXTENT_CLUSTERS > x->extents)
		return index_damaged("too few extents for the clusters of the devices", err);
	right += IDX_T_SIZE * ((x->extents + IDX_TABLE_EXTENTS - 1) / IDX_TABLE_EXTENTS);
	return size == right ? 0 : index_damaged("its directory has a wrong size", err);
}

static int check_end(struct index *x, const uint8_t *end, uint64_t size,
		     const struct index_identity *id, struct vma_error *err)
{
	uint8_t sum[IDX_SUM_SIZE];

	if (memcmp(end, IDX_MAGIC, IDX_MAGIC_SIZE) != 0)
		return index_damaged("it does not end as an index does", err);
	if (wire_get_be32(end + IDX_E_VERSION) != IDX_VERSION)
		return index_damaged("its end has another version than its beginning", err);
	sha256(end, IDX_E_SUM, sum);
	if (memcmp(sum, end + IDX_E_SUM, IDX_SUM_SIZE) != 0)
		return index_damaged("wrong checksum of its end", err);
	if (wire_get_be32(end + IDX_E_PAGE_CLUSTERS) != IDX_PAGE_CLUSTERS ||
	    wire_get_be32(end + IDX_E_RESERVED))
		return index_damaged("pages of an unknown kind", err);
	if (memcmp(end + IDX_E_UUID, x->header->uuid, IDX_UUID_SIZE) != 0 ||
	    wire_get_be64(end + IDX_E_FILE_SIZE) != id->file_size ||
	    wire_get_be64(end + IDX_E_STREAM_SIZE) != id->stream_size)
		return vma_fail(err, -ESTALE, "the index is of another archive");
	x->extents = wire_get_be64(end + IDX_E_EXTENTS);
	x->summed = wire_get_be64(end + IDX_E_SUMMED);
	if (x->summed > x->extents)
		return index_damaged("more extents have sums than there are", err);
	x->directory_at = wire_get_be64(end + IDX_E_DIRECTORY);
	if (x->directory_at < IDX_BEGIN_SIZE || x->directory_at > size - IDX_E_SIZE ||
	    wire_get_be64(end + IDX_E_DIRECTORY_SIZE) != size - IDX_E_SIZE - x->directory_at)
		return index_damaged("its parts do not fit together", err);
	x->directory_size = wire_get_be64(end + IDX_E_DIRECTORY_SIZE);
	return check_directory_size(x, x->directory_size, err);
}

/* A place is within the pages; how they lie there is not important. */
static int check_places(const struct index *x, const struct index_device *d,
			struct vma_error *err)
{
	for (uint64_t i = 0; i < d->nr_pages; i++) {
		uint64_t place = wire_get_be64(d->places + i * IDX_PLACE_SIZE);

		if (place && !index_place_ok(place, x->directory_at))
			return index_damaged("a page lies outside of it", err);
	}
	return 0;
}

static int decode_device(struct index *x, unsigned int dev_id, size_t *pos, struct vma_error *err)
{
	const struct vma_device *dev = &x->header->devices[dev_id];
	struct index_device *d = &x->devices[dev_id];
	const uint8_t *p = x->directory + *pos;
	size_t left = x->directory_size - *pos;

	if (left < IDX_D_SIZE)
		return index_damaged("its directory is too short", err);
	if (wire_get_be32(p + IDX_D_ID) != dev_id || wire_get_be32(p + IDX_D_RESERVED) ||
	    wire_get_be64(p + IDX_D_CLUSTERS) != dev->nr_clusters)
		return vma_fail(err, -ESTALE, "the index is of another archive: device %s differs",
				vma_quote(dev->name));
	d->totals.zero_clusters = wire_get_be64(p + IDX_D_ZERO);
	d->totals.blocks = wire_get_be64(p + IDX_D_BLOCKS);
	d->nr_pages = pages_of(dev);
	d->places = p + IDX_D_SIZE;
	if (d->nr_pages > (left - IDX_D_SIZE) / IDX_PLACE_SIZE)
		return index_damaged("its directory is too short", err);
	*pos += IDX_D_SIZE + d->nr_pages * IDX_PLACE_SIZE;
	return check_places(x, d, err);
}

/* The table of extents: the rest of the directory. */
static int open_table(struct index *x, size_t pos, struct vma_error *err)
{
	const struct extent_table_at where = {
		.fd = x->fd,
		.pages_end = x->directory_at,
		.directory = x->directory + pos,
		.directory_size = x->directory_size - pos,
		.extents = x->extents,
		.begin = x->header->header_size,
		.end = x->stream_size,
	};

	return extent_table_open(&x->table, &where, err);
}

static int decode_directory(struct index *x, const uint8_t *end, struct vma_error *err)
{
	uint8_t sum[IDX_SUM_SIZE];
	unsigned int nr = 0;
	size_t pos = 0;
	int ret = 0;

	sha256(x->directory, x->directory_size, sum);
	if (memcmp(sum, end + IDX_E_DIRECTORY_SUM, IDX_SUM_SIZE) != 0)
		return index_damaged("wrong checksum of its directory", err);
	for (unsigned int i = 1; i <= VMA_MAX_DEVICES && !ret; i++) {
		if (!x->header->devices[i].name)
			continue;
		ret = decode_device(x, i, &pos, err);
		nr++;
	}
	if (!ret && wire_get_be32(end + IDX_E_DEVICES) != nr)
		ret = vma_fail(err, -ESTALE,
			       "the index is of another archive: the number of devices differs");
	return ret ? ret : open_table(x, pos, err);
}

static int read_index(struct index *x, const struct index_identity *id, struct vma_error *err)
{
	uint8_t begin[IDX_BEGIN_SIZE], end[IDX_E_SIZE];
	uint64_t size;
	int ret;

	ret = file_size(x->fd, &size, err);
	if (ret)
		return ret;
	if (size < IDX_BEGIN_SIZE + IDX_E_SIZE)
		return index_damaged("it is too short", err);
	ret = file_read(x->fd, 0, begin, sizeof(begin), err);
	if (!ret)
		ret = check_begin(begin, err);
	if (!ret)
		ret = file_read(x->fd, size - IDX_E_SIZE, end, sizeof(end), err);
	if (!ret)
		ret = check_end(x, end, size, id, err);
	if (ret)
		return ret;
	x->directory = malloc(x->directory_size ? x->directory_size : 1);
	x->zstd = ZSTD_createDCtx();
	if (!x->directory || !x->zstd)
		return vma_fail(err, -ENOMEM, "out of memory");
	ret = file_read(x->fd, x->directory_at, x->directory, x->directory_size, err);
	return ret ? ret : decode_directory(x, end, err);
}

int index_open(struct index **out, int fd, const struct vma_header *h,
	       const struct index_identity *id, struct vma_error *err)
{
	struct index *x = calloc(1, sizeof(*x));
	int ret;

	if (!x) {
		close(fd);
		return vma_fail(err, -ENOMEM, "out of memory");
	}
	x->fd = fd;
	x->header = h;
	x->stream_size = id->stream_size;
	pthread_mutex_init(&x->lock, NULL);
	ret = read_index(x, id, err);
	if (ret) {
		index_close(x);
		return ret;
	}
	*out = x;
	return 0;
}

void index_close(struct index *x)
{
	if (!x)
		return;
	extent_table_close(x->table);
	close(x->fd);
	pthread_mutex_destroy(&x->lock);
	ZSTD_freeDCtx(x->zstd);
	for (unsigned int i = 0; i < PAGES_CACHED; i++)
		free(x->pages[i]);
	free(x->directory);
	free(x);
}

/* ---- looking up ------------------------------------------------------- */

static uint64_t place_of(const struct index_device *d, uint64_t page)
{
	return wire_get_be64(d->places + page * IDX_PLACE_SIZE);
}

/* Where data begins follows from where it ended before: what is stored is the rest. */
static int decode_page(const struct index *x, struct page *p, const uint8_t *raw, uint32_t nr,
		       struct vma_error *err)
{
	const struct vma_device *dev = &x->header->devices[p->dev_id];
	const uint8_t *steps = raw + (size_t)nr * IDX_PAGE_MASK;
	uint64_t expected = 0;

	for (uint32_t i = 0; i < nr; i++) {
		uint64_t cluster = p->number * IDX_PAGE_CLUSTERS + i;
		uint16_t mask = wire_get_be16(raw + i * IDX_PAGE_MASK);
		uint64_t at = expected + wire_get_be64(steps + i * IDX_PAGE_STEP);
		uint64_t size = (uint64_t)__builtin_popcount(mask) * VMA_BLOCK_SIZE;

		if (mask & ~vma_mask_of(vma_cluster_length(dev, cluster)))
			return index_damaged("a cluster has blocks past the end of its device", err);
		if (mask && (at < x->header->header_size || at > x->stream_size ||
			     size > x->stream_size - at))
			return index_damaged("a cluster lies outside of the archive", err);
		p->mask[i] = mask;
		p->at[i] = at;
		if (mask)
			expected = at + size;
	}
	return 0;
}

static int read_page(struct index *x, struct page *p, uint64_t place, struct vma_error *err)
{
	const struct vma_device *dev = &x->header->devices[p->dev_id];
	uint64_t left = dev->nr_clusters - p->number * IDX_PAGE_CLUSTERS;
	uint32_t nr = left < IDX_PAGE_CLUSTERS ? left : IDX_PAGE_CLUSTERS;
	uint8_t raw[IDX_PAGE_RAW];
	int ret;

	ret = index_page_read(x->fd, x->zstd, place, raw,
			      (size_t)nr * (IDX_PAGE_MASK + IDX_PAGE_STEP), err);
	return ret ? ret : decode_page(x, p, raw, nr, err);
}

/* With the lock. */
static int page_get(struct index *x, unsigned int dev_id, uint64_t number, uint64_t place,
		    struct page **out, struct vma_error *err)
{
	struct page **slot = &x->pages[(number + dev_id) % PAGES_CACHED], *p;
	int ret;

	if (!*slot)
		*slot = calloc(1, sizeof(**slot));
	p = *out = *slot;
	if (!p)
		return vma_fail(err, -ENOMEM, "out of memory");
	if (p->dev_id == dev_id && p->number == number)
		return 0;
	p->dev_id = dev_id;
	p->number = number;
	ret = read_page(x, p, place, err);
	if (ret)
		p->dev_id = 0;
	return ret;
}

int index_check(struct index *x, struct vma_error *err)
{
	struct page *p;
	int ret = 0;

	pthread_mutex_lock(&x->lock);
	for (unsigned int id = 1; id <= VMA_MAX_DEVICES; id++) {
		const struct index_device *d = &x->devices[id];

		for (uint64_t i = 0; i < d->nr_pages && !ret; i++)
			if (place_of(d, i))
				ret = page_get(x, id, i, place_of(d, i), &p, err);
	}
	pthread_mutex_unlock(&x->lock);
	return ret ? ret : extent_table_check(x->table, err);
}

int index_lookup(struct index *x, unsigned int dev_id, uint64_t cluster,
		 struct index_entry *entry, struct vma_error *err)
{
	uint64_t number = cluster / IDX_PAGE_CLUSTERS;
	uint64_t place = place_of(&x->devices[dev_id], number);
	struct page *p;
	int ret;

	*entry = (struct index_entry){ 0 };
	if (!place)
		return 0;
	pthread_mutex_lock(&x->lock);
	ret = page_get(x, dev_id, number, place, &p, err);
	if (!ret) {
		entry->mask = p->mask[cluster % IDX_PAGE_CLUSTERS];
		entry->at = p->at[cluster % IDX_PAGE_CLUSTERS];
	}
	pthread_mutex_unlock(&x->lock);
	return ret;
}

uint64_t index_zero_run(const struct index *x, unsigned int dev_id, uint64_t cluster)
{
	const struct index_device *d = &x->devices[dev_id];
	uint64_t page = cluster / IDX_PAGE_CLUSTERS, end;

	while (page < d->nr_pages && !place_of(d, page))
		page++;
	end = page * IDX_PAGE_CLUSTERS;
	if (end > x->header->devices[dev_id].nr_clusters)
		end = x->header->devices[dev_id].nr_clusters;
	return end > cluster ? end - cluster : 0;
}

int index_extent(struct index *x, uint64_t at, struct index_extent *extent,
		 struct vma_error *err)
{
	struct extent_place place;
	int ret;

	ret = extent_table_find(x->table, at, &place, err);
	if (!ret)
		*extent = (struct index_extent){
			.number = place.number,
			.at = place.at,
			.size = place.size,
			.summed = place.number >= x->extents - x->summed,
		};
	return ret;
}

uint64_t index_extents(const struct index *x)
{
	return x->extents;
}

uint64_t index_summed(const struct index *x)
{
	return x->summed;
}

struct index_totals index_device(const struct index *x, unsigned int dev_id)
{
	return x->devices[dev_id].totals;
}

int index_copy(const struct index *x, codec_write_fn write, void *ctx, struct vma_error *err)
{
	uint8_t buf[COPY_SIZE];
	uint64_t size;
	int ret;

	ret = file_size(x->fd, &size, err);
	for (uint64_t at = 0; !ret && at < size;) {
		struct iovec iov = { .iov_base = buf };

		iov.iov_len = size - at < sizeof(buf) ? size - at : sizeof(buf);
		ret = file_read(x->fd, at, buf, iov.iov_len, err);
		if (!ret)
			ret = write(ctx, &iov, 1, err);
		at += iov.iov_len;
	}
	return ret;
}
