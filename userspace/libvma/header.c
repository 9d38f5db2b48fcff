// SPDX-License-Identifier: GPL-2.0-or-later
/* The header as an object: its devices and configuration files, and their rules. */
#include "libvma/header.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "libvma/text.h"

struct vma_header *vma_header_new(const uint8_t uuid[16], int64_t ctime)
{
	struct vma_header *h = calloc(1, sizeof(*h));

	if (!h)
		return NULL;
	memcpy(h->uuid, uuid, sizeof(h->uuid));
	h->ctime = ctime;
	return h;
}

void vma_header_free(struct vma_header *h)
{
	if (!h)
		return;
	for (unsigned int i = 0; i < 256; i++) {
		free(h->devices[i].name);
		free(h->configs[i].name);
		free(h->configs[i].data);
	}
	free(h);
}

const char *vma_size_fault(uint64_t size)
{
	if (!size)
		return "is empty";
	if (size % 512)
		return "is not a multiple of 512 bytes";
	if (size > VMA_MAX_DEVICE_SIZE)
		return "is larger than 256 TiB, the most that the format can hold";
	return NULL;
}

const char *vma_config_name_fault(const char *name)
{
	if (!*name)
		return "is empty";
	if (strlen(name) > VMA_MAX_NAME)
		return "is longer than 255 bytes";
	if (strchr(name, '/'))
		return "contains \"/\"";
	if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return "is a directory";
	return NULL;
}

static bool printable(const char *name)
{
	for (; *name; name++)
		if ((unsigned char)*name < 0x20 || (unsigned char)*name >= 0x7f)
			return false;
	return true;
}

static const char *device_name_fault(const char *name)
{
	if (!*name)
		return "is empty";
	if (strlen(name) > VMA_MAX_NAME)
		return "is longer than 255 bytes";
	if (strpbrk(name, " =:/") || !printable(name))
		return "contains white space, \"=\", \":\", \"/\" or an unprintable byte";
	return NULL;
}

int vma_header_find_device(const struct vma_header *h, const char *name)
{
	for (int i = 1; i <= (int)VMA_MAX_DEVICES; i++)
		if (h->devices[i].name && strcmp(h->devices[i].name, name) == 0)
			return i;
	return -ENOENT;
}

int vma_header_add_device(struct vma_header *h, const char *name, uint64_t size,
			  struct vma_error *err)
{
	const char *fault = device_name_fault(name);
	unsigned int id = 1;

	if (fault)
		return vma_fail(err, -EINVAL, "device name \"%s\" %s", vma_quote(name), fault);
	fault = vma_size_fault(size);
	if (fault)
		return vma_fail(err, -EINVAL, "device %s of %" PRIu64 " bytes %s", name, size,
				fault);
	if (vma_header_find_device(h, name) > 0)
		return vma_fail(err, -EEXIST, "two devices are called %s", name);
	while (id <= VMA_MAX_DEVICES && h->devices[id].name)
		id++;
	if (id > VMA_MAX_DEVICES)
		return vma_fail(err, -ENOSPC, "more than %u devices, at %s", VMA_MAX_DEVICES, name);
	h->devices[id].name = strdup(name);
	if (!h->devices[id].name)
		return vma_fail(err, -ENOMEM, "out of memory");
	h->devices[id].size = size;
	h->devices[id].nr_clusters = vma_clusters_of(size);
	return id;
}

int vma_header_add_config(struct vma_header *h, const char *name, const void *data, size_t size,
			  struct vma_error *err)
{
	const char *fault = vma_config_name_fault(name);
	struct vma_config *c;

	if (!fault && !printable(name))
		fault = "contains an unprintable byte";
	if (fault)
		return vma_fail(err, -EINVAL, "configuration file name \"%s\" %s", vma_quote(name),
				fault);
	if (size > VMA_MAX_BLOB)
		return vma_fail(err, -E2BIG, "configuration file %s has %zu bytes, at most %u fit",
				name, size, VMA_MAX_BLOB);
	for (unsigned int i = 0; i < h->nr_configs; i++)
		if (strcmp(h->configs[i].name, name) == 0)
			return vma_fail(err, -EEXIST, "two configuration files are called %s",
					name);
	if (h->nr_configs == VMA_MAX_CONFIGS)
		return vma_fail(err, -ENOSPC, "more than %u configuration files, at %s",
				VMA_MAX_CONFIGS, name);
	c = &h->configs[h->nr_configs];
	c->name = strdup(name);
	c->data = malloc(size ? size : 1);
	if (!c->name || !c->data) {
		free(c->name);
		free(c->data);
		memset(c, 0, sizeof(*c));
		return vma_fail(err, -ENOMEM, "out of memory");
	}
	if (size)
		memcpy(c->data, data, size);
	c->size = size;
	h->nr_configs++;
	return 0;
}
