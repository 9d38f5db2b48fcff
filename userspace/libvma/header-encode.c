// SPDX-License-Identifier: GPL-2.0-or-later
/* The header as bytes. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "libvma/text.h"
#include "libvma/vma.h"
#include "libvma/wire.h"

/* Blobs lie one behind the other: official readers walk them instead of following pointers. */
struct blob_table {
	uint8_t *base;
	size_t used;
};

static size_t blob_room(size_t size)
{
	return WIRE_BLOB_LENGTH + size;
}

static uint32_t blob_put(struct blob_table *t, const void *data, size_t size)
{
	uint32_t at = t->used;

	wire_put_le16(t->base + at, size);
	if (size)
		memcpy(t->base + at + WIRE_BLOB_LENGTH, data, size);
	t->used += blob_room(size);
	return at;
}

static size_t table_size(const struct vma_header *h)
{
	size_t size = WIRE_BLOB_FIRST;

	for (unsigned int i = 1; i <= VMA_MAX_DEVICES; i++)
		if (h->devices[i].name)
			size += blob_room(strlen(h->devices[i].name) + 1);
	for (unsigned int i = 0; i < h->nr_configs; i++)
		size += blob_room(strlen(h->configs[i].name) + 1) + blob_room(h->configs[i].size);
	return size;
}

int vma_header_encode(struct vma_header *h, uint8_t **buf, size_t *len, struct vma_error *err)
{
	size_t blobs = table_size(h);
	size_t total = VMA_HEADER_MIN +
		(blobs + WIRE_HEADER_STEP - 1) / WIRE_HEADER_STEP * WIRE_HEADER_STEP;
	struct blob_table table = { .used = WIRE_BLOB_FIRST };
	uint8_t *b;

	if (total > VMA_HEADER_MAX_WRITE)
		return vma_fail(err, -E2BIG,
				"the header would have %zu bytes, at most %u are allowed: leave out configuration files",
				total, VMA_HEADER_MAX_WRITE);
	b = calloc(1, total);
	if (!b)
		return vma_fail(err, -ENOMEM, "out of memory");
	table.base = b + VMA_HEADER_MIN;

	memcpy(b, WIRE_MAGIC, WIRE_MAGIC_SIZE);
	wire_put_be32(b + WIRE_H_VERSION, WIRE_VERSION);
	memcpy(b + WIRE_H_UUID, h->uuid, WIRE_UUID_SIZE);
	wire_put_be64(b + WIRE_H_CTIME, h->ctime);
	wire_put_be32(b + WIRE_H_BLOB_OFFSET, VMA_HEADER_MIN);
	wire_put_be32(b + WIRE_H_BLOB_SIZE, blobs);
	wire_put_be32(b + WIRE_H_HEADER_SIZE, total);
	for (unsigned int i = 1; i <= VMA_MAX_DEVICES; i++) {
		const struct vma_device *dev = &h->devices[i];
		uint8_t *info = b + WIRE_H_DEVICES + i * WIRE_DEVICE_SIZE;

		if (!dev->name)
			continue;
		wire_put_be32(info + WIRE_DEVICE_NAME,
			      blob_put(&table, dev->name, strlen(dev->name) + 1));
		wire_put_be64(info + WIRE_DEVICE_BYTES, dev->size);
	}
	for (unsigned int i = 0; i < h->nr_configs; i++) {
		const struct vma_config *c = &h->configs[i];

		wire_put_be32(b + WIRE_H_CONFIG_NAMES + 4 * i,
			      blob_put(&table, c->name, strlen(c->name) + 1));
		wire_put_be32(b + WIRE_H_CONFIG_DATA + 4 * i, blob_put(&table, c->data, c->size));
	}
	wire_md5(b, total, b + WIRE_H_MD5);

	h->header_size = total;
	*buf = b;
	*len = total;
	return 0;
}
