// SPDX-License-Identifier: GPL-2.0-or-later
/* Bytes of unknown origin as a header, or a reason to refuse them. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "libvma/header.h"
#include "libvma/text.h"
#include "libvma/wire.h"

struct blob_area {
	const uint8_t *base;
	uint32_t size;
};

int vma_header_peek(const uint8_t *fixed, uint32_t *header_size, struct vma_error *err)
{
	uint32_t version = wire_get_be32(fixed + WIRE_H_VERSION);
	uint32_t size = wire_get_be32(fixed + WIRE_H_HEADER_SIZE);

	if (memcmp(fixed, WIRE_MAGIC, WIRE_MAGIC_SIZE) != 0)
		return vma_fail(err, -EBADMSG, "not a VMA archive: wrong magic number");
	if (version != WIRE_VERSION)
		return vma_fail(err, -EPROTONOSUPPORT,
				"VMA version %" PRIu32 " is not supported, only version 1 is",
				version);
	if (size <= VMA_HEADER_MIN)
		return vma_fail(err, -EBADMSG,
				"damaged header: its size of %" PRIu32 " bytes is too small", size);
	if (size > VMA_HEADER_MAX)
		return vma_fail(err, -EBADMSG,
				"damaged header: it claims %" PRIu32 " bytes, more than the limit of %u",
				size, VMA_HEADER_MAX);
	*header_size = size;
	return 0;
}

/* The blob at a pointer that is not 0. */
static int blob_get(const struct blob_area *area, uint32_t at, const char *what,
		    unsigned int index, const uint8_t **data, uint32_t *size,
		    struct vma_error *err)
{
	if (at > area->size || area->size - at < WIRE_BLOB_LENGTH)
		return vma_fail(err, -EBADMSG, "damaged header: %s %u lies outside the blob buffer",
				what, index);
	*size = wire_get_le16(area->base + at);
	*data = area->base + at + WIRE_BLOB_LENGTH;
	if (*size > area->size - at - WIRE_BLOB_LENGTH)
		return vma_fail(err, -EBADMSG, "damaged header: %s %u runs past the blob buffer",
				what, index);
	return 0;
}

/* A blob that is a name: it ends in the only NUL in it. */
static int name_get(const struct blob_area *area, uint32_t at, const char *what,
		    unsigned int index, const char **name, struct vma_error *err)
{
	const uint8_t *data;
	uint32_t size;
	int ret;

	ret = blob_get(area, at, what, index, &data, &size, err);
	if (ret)
		return ret;
	if (!size || memchr(data, 0, size) != data + size - 1)
		return vma_fail(err, -EBADMSG, "damaged header: %s %u is not a terminated string",
				what, index);
	*name = (const char *)data;
	return 0;
}

static int decode_device(struct vma_header *h, const struct blob_area *area, const uint8_t *info,
			 unsigned int id, struct vma_error *err)
{
	uint32_t at = wire_get_be32(info + WIRE_DEVICE_NAME);
	uint64_t size = wire_get_be64(info + WIRE_DEVICE_BYTES);
	struct vma_device *dev = &h->devices[id];
	const char *name, *fault;
	int ret;

	if (!at)
		return 0;
	ret = name_get(area, at, "the name of device", id, &name, err);
	if (ret)
		return ret;
	if (id > VMA_MAX_DEVICES)
		return vma_fail(err, -EBADMSG, "damaged header: device number %u is out of range",
				id);
	/* The name becomes part of a file name; the rest of the writers' rules is theirs. */
	if (!*name || strlen(name) > VMA_MAX_NAME || strchr(name, '/'))
		return vma_fail(err, -EBADMSG,
				"damaged header: device %u has the impossible name \"%s\"", id,
				vma_quote(name));
	fault = vma_size_fault(size);
	if (fault)
		return vma_fail(err, -EBADMSG,
				"damaged header: device %s of %" PRIu64 " bytes %s",
				vma_quote(name), size, fault);
	if (vma_header_find_device(h, name) > 0)
		return vma_fail(err, -EBADMSG, "damaged header: two devices are called \"%s\"",
				vma_quote(name));
	dev->name = strdup(name);
	if (!dev->name)
		return vma_fail(err, -ENOMEM, "out of memory");
	dev->size = size;
	dev->nr_clusters = vma_clusters_of(size);
	return 0;
}

static int decode_config(struct vma_header *h, const struct blob_area *area, uint32_t name_at,
			 uint32_t data_at, unsigned int index, struct vma_error *err)
{
	struct vma_config *c = &h->configs[h->nr_configs];
	const char *name, *fault;
	const uint8_t *data;
	uint32_t size;
	int ret;

	if (!name_at || !data_at)
		return 0;
	ret = name_get(area, name_at, "the name of configuration file", index, &name, err);
	if (!ret)
		ret = blob_get(area, data_at, "configuration file", index, &data, &size, err);
	if (ret)
		return ret;
	fault = vma_config_name_fault(name);
	if (fault)
		return vma_fail(err, -EBADMSG,
				"refused: the name of configuration file \"%s\" %s",
				vma_quote(name), fault);
	for (unsigned int i = 0; i < h->nr_configs; i++)
		if (strcmp(h->configs[i].name, name) == 0)
			return vma_fail(err, -EBADMSG,
					"damaged header: two configuration files are called \"%s\"",
					vma_quote(name));
	c->name = strdup(name);
	c->data = malloc(size ? size : 1);
	if (!c->name || !c->data)
		return vma_fail(err, -ENOMEM, "out of memory");
	memcpy(c->data, data, size);
	c->size = size;
	h->nr_configs++;
	return 0;
}

static int decode(struct vma_header *h, const uint8_t *buf, struct vma_error *err)
{
	uint32_t offset = wire_get_be32(buf + WIRE_H_BLOB_OFFSET);
	uint32_t size = wire_get_be32(buf + WIRE_H_BLOB_SIZE);
	struct blob_area area = { .size = size };
	int ret = 0;

	if (offset < VMA_HEADER_MIN || offset > h->header_size || size > h->header_size - offset)
		return vma_fail(err, -EBADMSG,
				"damaged header: the blob buffer of %" PRIu32 " bytes at %" PRIu32
				" does not fit into %" PRIu32 " bytes",
				size, offset, h->header_size);
	area.base = buf + offset;
	for (unsigned int i = 1; i < 256 && !ret; i++)
		ret = decode_device(h, &area, buf + WIRE_H_DEVICES + i * WIRE_DEVICE_SIZE, i, err);
	for (unsigned int i = 0; i < VMA_MAX_CONFIGS && !ret; i++)
		ret = decode_config(h, &area, wire_get_be32(buf + WIRE_H_CONFIG_NAMES + 4 * i),
				    wire_get_be32(buf + WIRE_H_CONFIG_DATA + 4 * i), i, err);
	return ret;
}

int vma_header_decode(struct vma_header **out, uint8_t *buf, uint32_t len, struct vma_error *err)
{
	struct vma_header *h;
	bool right;
	int ret = vma_header_decode_damaged(&h, buf, len, &right, err);

	/* What else may be wrong with it follows from that. */
	if ((!ret || ret == -EBADMSG) && !right) {
		if (!ret)
			vma_header_free(h);
		return vma_fail(err, -EBADMSG, "damaged header: wrong checksum");
	}
	if (!ret)
		*out = h;
	return ret;
}

int vma_header_decode_damaged(struct vma_header **out, uint8_t *buf, uint32_t len, bool *right,
			      struct vma_error *err)
{
	struct vma_header *h;
	int ret;

	*right = wire_md5_check(buf, len, WIRE_H_MD5);
	h = vma_header_new(buf + WIRE_H_UUID, (int64_t)wire_get_be64(buf + WIRE_H_CTIME));
	if (!h)
		return vma_fail(err, -ENOMEM, "out of memory");
	h->header_size = len;
	ret = decode(h, buf, err);
	if (ret) {
		vma_header_free(h);
		return ret;
	}
	*out = h;
	return 0;
}
