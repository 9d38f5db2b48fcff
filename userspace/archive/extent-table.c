// SPDX-License-Identifier: GPL-2.0-or-later
/* Pages are cached under the lock; nothing else changes. */
#include "archive/extent-table.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "archive/index-page.h"
#include "archive/index-wire.h"
#include "libvma/text.h"
#include "libvma/wire.h"

/* Pages in memory, 32 KiB each: 15 GiB of archive around where several readers are. */
#define PAGES_CACHED	8u

#define BLOCKS_MAX	(VMA_EXTENT_CLUSTERS * VMA_BLOCKS_PER_CLUSTER)
#define EXTENT_MAX	(VMA_EXTENT_HEADER + BLOCKS_MAX * VMA_BLOCK_SIZE)

struct page {
	uint64_t number;
	uint32_t nr;				/* 0: not in use */
	uint64_t at[IDX_TABLE_EXTENTS + 1];	/* the last one: where the next page begins */
};

struct extent_table {
	struct extent_table_at where;
	uint64_t nr_pages;

	pthread_mutex_t lock;			/* of what follows */
	ZSTD_DCtx *zstd;
	struct page *pages[PAGES_CACHED];	/* by page number; NULL: not used yet */
};

static const uint8_t *entry_of(const struct extent_table *t, uint64_t page)
{
	return t->where.directory + page * IDX_T_SIZE;
}

/* Where a page's first extent begins; of the one behind the last, where all end. */
static uint64_t page_at(const struct extent_table *t, uint64_t page)
{
	return page < t->nr_pages ? wire_get_be64(entry_of(t, page) + IDX_T_AT) : t->where.end;
}

static uint32_t page_extents(const struct extent_table *t, uint64_t page)
{
	uint64_t left = t->where.extents - page * IDX_TABLE_EXTENTS;

	return left < IDX_TABLE_EXTENTS ? left : IDX_TABLE_EXTENTS;
}

/* Pages follow each other, and each can have the size that it claims. */
static int check_directory(const struct extent_table *t, struct vma_error *err)
{
	if (page_at(t, 0) != t->where.begin)
		return index_damaged("its extents do not begin where the archive's do", err);
	for (uint64_t i = 0; i < t->nr_pages; i++) {
		uint64_t at = page_at(t, i), next = page_at(t, i + 1), nr = page_extents(t, i);

		if (next < at || next - at < nr * VMA_EXTENT_HEADER ||
		    next - at > nr * EXTENT_MAX)
			return index_damaged("its extents do not follow each other", err);
		if (!index_place_ok(wire_get_be64(entry_of(t, i) + IDX_T_PLACE),
				    t->where.pages_end))
			return index_damaged("a page lies outside of it", err);
	}
	return 0;
}

int extent_table_open(struct extent_table **out, const struct extent_table_at *where,
		      struct vma_error *err)
{
	struct extent_table *t;
	uint64_t nr_pages = where->extents / IDX_TABLE_EXTENTS +
			    (where->extents % IDX_TABLE_EXTENTS != 0);
	int ret;

	if (where->directory_size % IDX_T_SIZE || where->directory_size / IDX_T_SIZE != nr_pages)
		return index_damaged("its directory has a wrong size", err);
	t = calloc(1, sizeof(*t));
	if (!t)
		return vma_fail(err, -ENOMEM, "out of memory");
	t->where = *where;
	t->nr_pages = nr_pages;
	pthread_mutex_init(&t->lock, NULL);
	t->zstd = ZSTD_createDCtx();
	ret = t->zstd ? check_directory(t, err) : vma_fail(err, -ENOMEM, "out of memory");
	if (ret) {
		extent_table_close(t);
		return ret;
	}
	*out = t;
	return 0;
}

void extent_table_close(struct extent_table *t)
{
	if (!t)
		return;
	pthread_mutex_destroy(&t->lock);
	ZSTD_freeDCtx(t->zstd);
	for (unsigned int i = 0; i < PAGES_CACHED; i++)
		free(t->pages[i]);
	free(t);
}

static int read_page(struct extent_table *t, struct page *p, uint64_t number,
		     struct vma_error *err)
{
	uint64_t place = wire_get_be64(entry_of(t, number) + IDX_T_PLACE);
	uint8_t raw[IDX_TABLE_RAW];
	uint32_t nr = page_extents(t, number);
	uint64_t at = page_at(t, number);
	int ret;

	ret = index_page_read(t->where.fd, t->zstd, place, raw, (size_t)nr * IDX_TABLE_BLOCKS, err);
	if (ret)
		return ret;
	for (uint32_t i = 0; i < nr; i++) {
		unsigned int blocks = wire_get_be16(raw + (size_t)i * IDX_TABLE_BLOCKS);

		p->at[i] = at;
		if (blocks > BLOCKS_MAX)
			return index_damaged("an extent is larger than any can be", err);
		at += VMA_EXTENT_HEADER + (uint64_t)blocks * VMA_BLOCK_SIZE;
	}
	p->at[nr] = at;
	if (at != page_at(t, number + 1))
		return index_damaged("extents of a page do not end where the next ones begin", err);
	p->number = number;
	p->nr = nr;
	return 0;
}

/* With the lock. */
static int page_get(struct extent_table *t, uint64_t number, struct page **out,
		    struct vma_error *err)
{
	struct page **slot = &t->pages[number % PAGES_CACHED], *p;

	if (!*slot)
		*slot = calloc(1, sizeof(**slot));
	p = *out = *slot;
	if (!p)
		return vma_fail(err, -ENOMEM, "out of memory");
	if (p->nr && p->number == number)
		return 0;
	p->nr = 0;
	return read_page(t, p, number, err);
}

int extent_table_check(struct extent_table *t, struct vma_error *err)
{
	struct page *p;
	int ret = 0;

	pthread_mutex_lock(&t->lock);
	for (uint64_t i = 0; i < t->nr_pages && !ret; i++)
		ret = page_get(t, i, &p, err);
	pthread_mutex_unlock(&t->lock);
	return ret;
}

int extent_table_find(struct extent_table *t, uint64_t at, struct extent_place *place,
		      struct vma_error *err)
{
	uint64_t low = 0, high = t->nr_pages;
	struct page *p;
	int ret;

	if (at < t->where.begin || at >= t->where.end)
		return index_damaged("a cluster lies outside of the archive", err);
	while (high - low > 1) {
		uint64_t mid = low + (high - low) / 2;

		if (page_at(t, mid) <= at)
			low = mid;
		else
			high = mid;
	}
	pthread_mutex_lock(&t->lock);
	ret = page_get(t, low, &p, err);
	if (!ret) {
		uint32_t first = 0, behind = p->nr;

		while (behind - first > 1) {
			uint32_t mid = first + (behind - first) / 2;

			if (p->at[mid] <= at)
				first = mid;
			else
				behind = mid;
		}
		place->number = low * IDX_TABLE_EXTENTS + first;
		place->at = p->at[first];
		place->size = p->at[first + 1] - p->at[first];
	}
	pthread_mutex_unlock(&t->lock);
	return ret;
}
