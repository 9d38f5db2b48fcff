// SPDX-License-Identifier: GPL-2.0-or-later
/* Clusters into extents, without copying them. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "libvma/cluster-set.h"
#include "libvma/data-sum.h"
#include "libvma/header.h"
#include "libvma/text.h"
#include "libvma/vma.h"
#include "libvma/wire.h"
#include "libvma/zero.h"

/* Of one cluster: at most every other block starts a run, and the last one may need filling up. */
#define RUNS_PER_CLUSTER	(VMA_BLOCKS_PER_CLUSTER / 2 + 1)
#define MAX_IOV			(1 + VMA_EXTENT_FILL * RUNS_PER_CLUSTER)

struct vma_writer {
	const struct vma_header *header;
	struct cluster_set *sets[256];		/* by dev_id; NULL: not in use */

	/* The extent being built. */
	uint8_t extent[VMA_EXTENT_HEADER];
	unsigned int clusters;
	unsigned int blocks;
	uint64_t sums[VMA_EXTENT_FILL];		/* of its clusters */
	struct data_sum *sum;
	bool taken;				/* iov describes the extent before it */
	struct iovec iov[MAX_IOV];
	int iovcnt;

	struct vma_writer_stats stats;
};

static const uint8_t zero_block[VMA_BLOCK_SIZE];

int vma_writer_new(struct vma_writer **out, const struct vma_header *h, struct vma_error *err)
{
	struct vma_writer *w = calloc(1, sizeof(*w));

	if (!w)
		return vma_fail(err, -ENOMEM, "out of memory");
	w->header = h;
	w->taken = true;
	w->sum = data_sum_new();
	if (!w->sum) {
		vma_writer_free(w);
		return vma_fail(err, -ENOMEM, "out of memory");
	}
	for (unsigned int i = 1; i <= VMA_MAX_DEVICES; i++) {
		if (!h->devices[i].name)
			continue;
		w->sets[i] = cluster_set_new();
		if (!w->sets[i]) {
			vma_writer_free(w);
			return vma_fail(err, -ENOMEM, "out of memory");
		}
	}
	*out = w;
	return 0;
}

void vma_writer_free(struct vma_writer *w)
{
	if (!w)
		return;
	for (unsigned int i = 0; i < 256; i++)
		cluster_set_free(w->sets[i]);
	data_sum_free(w->sum);
	free(w);
}

static void extent_begin(struct vma_writer *w)
{
	memset(w->extent, 0, sizeof(w->extent));
	memcpy(w->extent, WIRE_EXTENT_MAGIC, WIRE_MAGIC_SIZE);
	memcpy(w->extent + WIRE_E_UUID, w->header->uuid, WIRE_UUID_SIZE);
	w->iov[0].iov_base = w->extent;
	w->iov[0].iov_len = sizeof(w->extent);
	w->iovcnt = 1;
	w->clusters = 0;
	w->blocks = 0;
	w->taken = false;
}

static void iov_put(struct vma_writer *w, const uint8_t *data, size_t len)
{
	struct iovec *last = &w->iov[w->iovcnt - 1];

	data_sum_add(w->sum, data, len);
	/* Not behind the header: the memory there may adjoin by accident only. */
	if (w->iovcnt > 1 && (const uint8_t *)last->iov_base + last->iov_len == data) {
		last->iov_len += len;
		return;
	}
	w->iov[w->iovcnt].iov_base = (void *)data;
	w->iov[w->iovcnt].iov_len = len;
	w->iovcnt++;
}

/* Puts the blocks that are not all zero; returns their mask. */
static uint16_t put_blocks(struct vma_writer *w, const uint8_t *data, uint32_t length)
{
	uint16_t mask = 0;

	for (uint32_t at = 0, bit = 0; at < length; at += VMA_BLOCK_SIZE, bit++) {
		uint32_t len = length - at < VMA_BLOCK_SIZE ? length - at : VMA_BLOCK_SIZE;

		if (vma_is_zero(data + at, len))
			continue;
		iov_put(w, data + at, len);
		if (len < VMA_BLOCK_SIZE)
			iov_put(w, zero_block, VMA_BLOCK_SIZE - len);
		mask |= 1u << bit;
	}
	return mask;
}

int vma_writer_add(struct vma_writer *w, unsigned int dev_id, uint64_t cluster, const void *data,
		   struct vma_error *err)
{
	const struct vma_device *dev;
	uint16_t mask = 0;
	uint64_t info;
	int ret;

	if (dev_id > 255 || !w->sets[dev_id])
		return vma_fail(err, -ENOENT, "there is no device %u in this archive", dev_id);
	dev = &w->header->devices[dev_id];
	if (cluster >= dev->nr_clusters)
		return vma_fail(err, -ERANGE,
				"device %s: cluster %" PRIu64 " lies past the end of %" PRIu64
				" bytes", dev->name, cluster, dev->size);
	if (!w->taken && w->clusters == VMA_EXTENT_FILL)
		return vma_fail(err, -ENOBUFS, "the extent is full");
	if (strcmp(dev->name, VMA_VMSTATE) == 0 && cluster > cluster_set_count(w->sets[dev_id]))
		return vma_fail(err, -EINVAL,
				"device %s: cluster %" PRIu64 " comes out of order", dev->name,
				cluster);
	ret = cluster_set_add(w->sets[dev_id], cluster);
	if (ret == -EEXIST)
		return vma_fail(err, ret, "device %s: cluster %" PRIu64 " was added before",
				dev->name, cluster);
	if (ret)
		return vma_fail(err, ret, "out of memory");

	if (w->taken)
		extent_begin(w);
	data_sum_begin(w->sum);
	if (data)
		mask = put_blocks(w, data, vma_cluster_length(dev, cluster));
	info = (uint64_t)mask << 48 | (uint64_t)dev_id << 32 | cluster;
	wire_put_be64(w->extent + WIRE_E_BLOCKINFO + 8 * w->clusters, info);
	w->sums[w->clusters] = data_sum_end(w->sum);
	w->clusters++;
	w->blocks += __builtin_popcount(mask);

	w->stats.clusters++;
	w->stats.zero_clusters += !mask;
	w->stats.data_bytes += (uint64_t)__builtin_popcount(mask) * VMA_BLOCK_SIZE;
	return w->clusters == VMA_EXTENT_FILL;
}

unsigned int vma_writer_pending(const struct vma_writer *w)
{
	return w->taken ? 0 : w->clusters;
}

ssize_t vma_writer_take(struct vma_writer *w, struct iovec **iov, int *iovcnt)
{
	ssize_t bytes;

	if (w->taken) {
		*iov = NULL;
		*iovcnt = 0;
		return 0;
	}
	wire_put_be16(w->extent + WIRE_E_BLOCK_COUNT, w->blocks);
	data_sum_put(w->extent, w->sums, w->clusters);
	wire_md5(w->extent, sizeof(w->extent), w->extent + WIRE_E_MD5);
	w->taken = true;
	*iov = w->iov;
	*iovcnt = w->iovcnt;
	bytes = VMA_EXTENT_HEADER + (ssize_t)w->blocks * VMA_BLOCK_SIZE;
	w->stats.bytes += bytes;
	return bytes;
}

int vma_writer_finish(struct vma_writer *w, struct vma_error *err)
{
	for (unsigned int i = 1; i <= VMA_MAX_DEVICES; i++) {
		const struct vma_device *dev = &w->header->devices[i];

		if (!w->sets[i] || cluster_set_count(w->sets[i]) == dev->nr_clusters)
			continue;
		return vma_fail(err, -ENODATA,
				"device %s: cluster %" PRIu64 " and %" PRIu64
				" in all were never added", dev->name,
				cluster_set_first_missing(w->sets[i], dev->nr_clusters),
				dev->nr_clusters - cluster_set_count(w->sets[i]));
	}
	if (!w->taken)
		return vma_fail(err, -ENODATA, "the last extent was not taken");
	return 0;
}

void vma_writer_stats(const struct vma_writer *w, struct vma_writer_stats *stats)
{
	*stats = w->stats;
}
