// SPDX-License-Identifier: GPL-2.0-or-later
#include "libvma/extent.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "libvma/text.h"
#include "libvma/wire.h"

struct vma_blockinfo vma_extent_info(const uint8_t *extent, unsigned int i)
{
	uint64_t v = wire_get_be64(extent + WIRE_E_BLOCKINFO + 8 * i);

	return (struct vma_blockinfo){ .mask = v >> 48, .dev_id = v >> 32, .cluster = v };
}

int vma_extent_check(const struct vma_header *h, uint8_t *extent, uint64_t at,
		     unsigned int *blocks, struct vma_error *err)
{
	unsigned int count = wire_get_be16(extent + WIRE_E_BLOCK_COUNT);
	unsigned int reserved = wire_get_be16(extent + WIRE_E_RESERVED);
	unsigned int sum = 0;

	if (memcmp(extent, WIRE_EXTENT_MAGIC, WIRE_MAGIC_SIZE) != 0)
		return vma_fail(err, -EBADMSG,
				"damaged: no extent at byte %" PRIu64 ", wrong magic number", at);
	if (!wire_md5_check(extent, VMA_EXTENT_HEADER, WIRE_E_MD5))
		return vma_fail(err, -EBADMSG,
				"damaged: the extent at byte %" PRIu64 " has a wrong checksum", at);
	if (memcmp(extent + WIRE_E_UUID, h->uuid, WIRE_UUID_SIZE) != 0)
		return vma_fail(err, -EBADMSG,
				"damaged: the extent at byte %" PRIu64
				" belongs to another archive (uuid)", at);
	if (reserved)
		return vma_fail(err, -EBADMSG,
				"damaged: the extent at byte %" PRIu64
				" has %u in its reserved field", at, reserved);
	for (unsigned int i = 0; i < VMA_EXTENT_CLUSTERS; i++) {
		struct vma_blockinfo info = vma_extent_info(extent, i);

		if (info.dev_id)
			sum += __builtin_popcount(info.mask);
	}
	if (sum != count)
		return vma_fail(err, -EBADMSG,
				"damaged: the extent at byte %" PRIu64
				" has %u blocks, its masks say %u", at, count, sum);
	*blocks = count;
	return 0;
}

int vma_extent_check_info(const struct vma_header *h, struct vma_blockinfo info, uint64_t at,
			  struct vma_error *err)
{
	const struct vma_device *dev = &h->devices[info.dev_id];

	if (!dev->name)
		return vma_fail(err, -EBADMSG,
				"damaged: the extent at byte %" PRIu64
				" names the unknown device %u", at, info.dev_id);
	if (info.cluster >= dev->nr_clusters)
		return vma_fail(err, -EBADMSG,
				"damaged: device %s: cluster %" PRIu32
				" in the extent at byte %" PRIu64 " lies past its end",
				vma_quote(dev->name), info.cluster, at);
	return 0;
}

int vma_extent_twice(const struct vma_header *h, struct vma_blockinfo info, uint64_t at,
		     struct vma_error *err)
{
	return vma_fail(err, -EBADMSG,
			"damaged: device %s: cluster %" PRIu32
			" in the extent at byte %" PRIu64 " comes twice",
			vma_quote(h->devices[info.dev_id].name), info.cluster, at);
}

int vma_extent_truncated(uint64_t at, struct vma_error *err)
{
	return vma_fail(err, -EBADMSG,
			"truncated: the archive ends within the extent at byte %" PRIu64, at);
}

int vma_extent_unsummed(uint64_t at, struct vma_error *err)
{
	return vma_fail(err, -EBADMSG,
			"damaged: the extent at byte %" PRIu64
			" lacks the checksum of its data, those before it have theirs", at);
}
