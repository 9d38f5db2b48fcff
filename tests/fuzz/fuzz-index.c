// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * An index that is hostile, its own sums right: what it says of the archive must be
 * refused or stay within the archive. The input is the directory, a page of extents and one of
 * clusters, put together as an index of an archive of two devices.
 */
#include <sha2.h>
#include <zstd.h>

#include "archive/index-wire.h"
#include "archive/index.h"
#include "fuzz.h"
#include "libvma/header.h"
#include "libvma/wire.h"

#define DISK		(1100u * VMA_CLUSTER_SIZE - 512)
#define PLACES		2u			/* pages of the first device */
#define EXTENTS		19u			/* enough for all clusters */
#define DIRECTORY	(2 * IDX_D_SIZE + (PLACES + 1) * IDX_PLACE_SIZE + IDX_T_SIZE)
#define TABLE		(EXTENTS * IDX_TABLE_BLOCKS)

/* So many blocks are to be given to the extents. */
#define BLOCKS		252u
#define HEADER_SIZE	(VMA_HEADER_MIN + 512)
#define STREAM_SIZE	(HEADER_SIZE + EXTENTS * VMA_EXTENT_HEADER + BLOCKS * VMA_BLOCK_SIZE)

static void sum(const uint8_t *p, size_t len, uint8_t *to)
{
	SHA2_CTX ctx;

	SHA256Init(&ctx);
	SHA256Update(&ctx, p, len);
	SHA256Final(to, &ctx);
}

static struct vma_header *header(void)
{
	static const uint8_t uuid[16] = "fuzz";
	struct vma_header *h = vma_header_new(uuid, 0);

	must(h && vma_header_add_device(h, "a", DISK, NULL) == 1);
	must(vma_header_add_device(h, "b", 512, NULL) == 2);
	h->header_size = HEADER_SIZE;
	return h;
}

/* As much of the input as there is. */
static size_t take(const uint8_t **data, size_t *size, void *to, size_t len)
{
	size_t n = *size < len ? *size : len;

	memcpy(to, *data, n);
	*data += n;
	*size -= n;
	return n;
}

static size_t put_page(uint8_t *out, const uint8_t *raw, size_t len)
{
	size_t got = ZSTD_compress(out, ZSTD_COMPRESSBOUND(IDX_PAGE_RAW), raw, len, 1);

	must(!ZSTD_isError(got));
	return got;
}

/* Fixed up so that the checks behind the first ones are reached, if the input does not object. */
static size_t assemble(uint8_t *out, size_t room, const struct vma_header *h,
		       const uint8_t *data, size_t size)
{
	uint8_t directory[DIRECTORY] = { 0 }, table[TABLE] = { 0 }, raw[IDX_PAGE_RAW] = { 0 }, *end;
	bool right = size && data[0] & 1;
	size_t n = IDX_BEGIN_SIZE, page, extents;

	memset(out, 0, room);
	memcpy(out, IDX_MAGIC, IDX_MAGIC_SIZE);
	wire_put_be32(out + IDX_MAGIC_SIZE, IDX_VERSION);
	take(&data, &size, directory, sizeof(directory));
	take(&data, &size, table, sizeof(table));
	take(&data, &size, raw, sizeof(raw));
	page = put_page(out + n, raw, sizeof(raw));
	extents = put_page(out + n + page, table, sizeof(table));
	if (right) {
		uint8_t *second = directory + IDX_D_SIZE + PLACES * IDX_PLACE_SIZE;
		uint8_t *last = directory + DIRECTORY - IDX_T_SIZE;

		wire_put_be64(directory, 1ull << 32);
		wire_put_be64(directory + IDX_D_CLUSTERS, h->devices[1].nr_clusters);
		wire_put_be64(directory + IDX_D_SIZE, (uint64_t)n << 16 | page);
		wire_put_be64(second, 2ull << 32);
		wire_put_be64(second + IDX_D_CLUSTERS, 1);
		wire_put_be64(last + IDX_T_AT, h->header_size);
		wire_put_be64(last + IDX_T_PLACE, (uint64_t)(n + page) << 16 | extents);
	}
	n += page + extents;
	memcpy(out + n, directory, sizeof(directory));
	end = out + n + sizeof(directory);
	memcpy(end, IDX_MAGIC, IDX_MAGIC_SIZE);
	wire_put_be32(end + IDX_E_VERSION, IDX_VERSION);
	wire_put_be32(end + IDX_E_PAGE_CLUSTERS, IDX_PAGE_CLUSTERS);
	memcpy(end + IDX_E_UUID, h->uuid, IDX_UUID_SIZE);
	wire_put_be64(end + IDX_E_FILE_SIZE, STREAM_SIZE);
	wire_put_be64(end + IDX_E_STREAM_SIZE, STREAM_SIZE);
	wire_put_be64(end + IDX_E_EXTENTS, EXTENTS);
	wire_put_be64(end + IDX_E_SUMMED, EXTENTS);
	wire_put_be64(end + IDX_E_DIRECTORY, n);
	wire_put_be64(end + IDX_E_DIRECTORY_SIZE, sizeof(directory));
	wire_put_be32(end + IDX_E_DEVICES, 2);
	sum(directory, sizeof(directory), end + IDX_E_DIRECTORY_SUM);
	sum(end, IDX_E_SUM, end + IDX_E_SUM);
	return n + sizeof(directory) + IDX_E_SIZE;
}

static void use_extent(struct index *x, const struct vma_header *h, uint64_t at)
{
	struct index_extent e;
	struct vma_error err;

	if (index_extent(x, at, &e, &err) != 0)
		return;
	must(e.number < index_extents(x) && e.at >= h->header_size);
	must(e.size >= VMA_EXTENT_HEADER && e.at <= at && at - e.at < e.size);
	must(e.at + e.size <= STREAM_SIZE);
}

static void use(struct index *x, const struct vma_header *h)
{
	struct vma_error err;

	for (unsigned int dev = 1; dev <= 2; dev++) {
		for (uint64_t c = 0; c < h->devices[dev].nr_clusters; c++) {
			struct index_entry e;
			uint64_t size;

			must(index_zero_run(x, dev, c) <= h->devices[dev].nr_clusters - c);
			if (index_lookup(x, dev, c, &e, &err) != 0 || !e.mask)
				continue;
			size = (uint64_t)__builtin_popcount(e.mask) * VMA_BLOCK_SIZE;
			must(e.at >= h->header_size && e.at + size <= STREAM_SIZE);
			must(!(e.mask & ~vma_mask_of(vma_cluster_length(&h->devices[dev], c))));
			use_extent(x, h, e.at);
		}
	}
}

static void try(const uint8_t *data, size_t size, const struct vma_header *h)
{
	const struct index_identity id = { STREAM_SIZE, STREAM_SIZE };
	struct index *x;
	struct vma_error err;
	char path[32];

	if (index_open(&x, memory_file(data, size, path), h, &id, &err) != 0)
		return;
	use(x, h);
	index_close(x);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t out[32 << 10];
	struct vma_header *h = header();

	try(data, size, h);
	try(out, assemble(out, sizeof(out), h, data, size), h);
	vma_header_free(h);
	return 0;
}
