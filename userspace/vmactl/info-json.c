// SPDX-License-Identifier: GPL-2.0-or-later
/* The names are an interface: they are documented in vmactl(8) and only ever added to. */
#include <errno.h>
#include <json.h>
#include <string.h>

#include "libvma/header.h"
#include "libvma/text.h"
#include "vmactl/archive-in.h"
#include "vmactl/header-json.h"
#include "vmactl/info.h"
#include "vmactl/json-put.h"

#define INFO_VERSION	1

static bool put_configs(struct json_object *root, const struct vma_header *h)
{
	struct json_object *list = json_object_new_array();
	bool ok = json_put(root, "configs", list);

	for (unsigned int i = 0; i < h->nr_configs && ok; i++) {
		const struct vma_config *c = &h->configs[i];
		struct json_object *o = header_json_add_config(list, c);

		ok = o &&
		     (json_is_text(c->data, c->size) ?
		      json_put(o, "text", json_object_new_string_len((const char *)c->data, c->size)) :
		      json_put_null(o, "text"));
	}
	return ok;
}

static bool put_disks(struct json_object *root, const struct info *info)
{
	struct json_object *list = json_object_new_array();
	bool ok = json_put(root, "disks", list);

	for (unsigned int i = 1; i <= VMA_MAX_DEVICES && ok; i++) {
		const struct vma_device *dev = &info->header->devices[i];
		const struct archive_device_facts *f = &info->devices[i];
		struct json_object *o;

		if (!dev->name)
			continue;
		o = json_object_new_object();
		ok = o && json_object_array_add(list, o) == 0 && json_put_u64(o, "dev_id", i) &&
		     json_put_name(o, "name", dev->name) && json_put_u64(o, "size_bytes", dev->size) &&
		     json_put_bool(o, "memory", strcmp(dev->name, VMA_VMSTATE) == 0) &&
		     json_put_u64(o, "clusters", dev->nr_clusters) &&
		     json_put_u64(o, "zero_clusters", f->zero_clusters) &&
		     json_put_u64(o, "data_bytes", f->data_bytes);
	}
	return ok;
}

static bool put_totals(struct json_object *root, const struct info *info)
{
	uint64_t size = 0, data = 0;

	for (unsigned int i = 1; i <= VMA_MAX_DEVICES; i++) {
		if (!info->header->devices[i].name)
			continue;
		size += info->header->devices[i].size;
		data += info->devices[i].data_bytes;
	}
	return json_put_u64(root, "size_bytes", size) && json_put_u64(root, "data_bytes", data);
}

static bool put_archive(struct json_object *root, const struct info *info)
{
	const struct archive_facts *f = &info->facts;

	return json_put_u64(root, "version", INFO_VERSION) &&
	       json_put_path(root, "archive", archive_in_name(info->path)) &&
	       header_json_put_uuid(root, info->header) &&
	       json_put(root, "ctime", json_object_new_int64(info->header->ctime)) &&
	       (info->is_file ? json_put_u64(root, "archive_bytes", f->file_size) :
				json_put_null(root, "archive_bytes")) &&
	       json_put_u64(root, "stream_bytes", f->stream_size) &&
	       json_put_text(root, "compression", codec_name(info->codec)) &&
	       json_put_bool(root, "random_access", info->random_access) &&
	       json_put_u64(root, "frames", f->frames) &&
	       json_put_u64(root, "frame_largest_bytes", f->frame_largest) &&
	       json_put_text(root, "index", info_index_name(info->index)) &&
	       json_put_u64(root, "header_bytes", info->header->header_size) &&
	       json_put_u64(root, "extents", f->extents);
}

int info_print_json(const struct info *info)
{
	struct json_object *root = json_object_new_object();
	bool ok = root && put_archive(root, info) && put_totals(root, info) &&
		  put_configs(root, info->header) && put_disks(root, info);

	if (ok)
		json_print(root);
	json_object_put(root);
	return ok ? 0 : -ENOMEM;
}
