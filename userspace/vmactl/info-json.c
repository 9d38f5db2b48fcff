// SPDX-License-Identifier: GPL-2.0-or-later
/* The names are an interface: they are documented in vmactl(8) and only ever added to. */
#include <errno.h>
#include <json.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "libvma/header.h"
#include "libvma/text.h"
#include "vmactl/archive-in.h"
#include "vmactl/info.h"

#define INFO_VERSION	1

/* Takes value; a value that could not be made makes the whole fail. */
static bool put(struct json_object *to, const char *key, struct json_object *value)
{
	return value && json_object_object_add(to, key, value) == 0;
}

static bool put_null(struct json_object *to, const char *key)
{
	return json_object_object_add(to, key, NULL) == 0;
}

static bool put_u64(struct json_object *to, const char *key, uint64_t value)
{
	return put(to, key, json_object_new_uint64(value));
}

static bool put_bool(struct json_object *to, const char *key, bool value)
{
	return put(to, key, json_object_new_boolean(value));
}

static bool put_text(struct json_object *to, const char *key, const char *text)
{
	return put(to, key, json_object_new_string(text));
}

static bool put_name(struct json_object *to, const char *key, const char *name)
{
	char text[VMA_ESCAPED_SIZE];

	return put_text(to, key, vma_escape(text, sizeof(text), name));
}

/* Length of the UTF-8 character at p, 0 if there is none; NUL is none. */
static unsigned int utf8_length(const uint8_t *p, size_t left)
{
	unsigned int n = *p < 0x80 ? 1 : *p < 0xc2 ? 0 : *p < 0xe0 ? 2 : *p < 0xf0 ? 3 :
			 *p < 0xf5 ? 4 : 0;

	if (!*p || !n || n > left)
		return 0;
	for (unsigned int i = 1; i < n; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	/* Overlong forms, surrogates, beyond the last character. */
	if ((*p == 0xe0 && p[1] < 0xa0) || (*p == 0xed && p[1] > 0x9f) ||
	    (*p == 0xf0 && p[1] < 0x90) || (*p == 0xf4 && p[1] > 0x8f))
		return 0;
	return n;
}

static bool is_text(const uint8_t *p, size_t len)
{
	while (len) {
		unsigned int n = utf8_length(p, len);

		if (!n)
			return false;
		p += n;
		len -= n;
	}
	return true;
}

static bool put_configs(struct json_object *root, const struct vma_header *h)
{
	struct json_object *list = json_object_new_array();
	bool ok = put(root, "configs", list);

	for (unsigned int i = 0; i < h->nr_configs && ok; i++) {
		const struct vma_config *c = &h->configs[i];
		struct json_object *o = json_object_new_object();

		ok = o && json_object_array_add(list, o) == 0 && put_name(o, "name", c->name) &&
		     put_u64(o, "size", c->size) &&
		     (is_text(c->data, c->size) ?
		      put(o, "text", json_object_new_string_len((const char *)c->data, c->size)) :
		      put_null(o, "text"));
	}
	return ok;
}

static bool put_disks(struct json_object *root, const struct info *info)
{
	struct json_object *list = json_object_new_array();
	bool ok = put(root, "disks", list);

	for (unsigned int i = 1; i <= VMA_MAX_DEVICES && ok; i++) {
		const struct vma_device *dev = &info->header->devices[i];
		const struct archive_device_facts *f = &info->devices[i];
		struct json_object *o;

		if (!dev->name)
			continue;
		o = json_object_new_object();
		ok = o && json_object_array_add(list, o) == 0 && put_u64(o, "dev_id", i) &&
		     put_name(o, "name", dev->name) && put_u64(o, "size_bytes", dev->size) &&
		     put_bool(o, "memory", strcmp(dev->name, VMA_VMSTATE) == 0) &&
		     put_u64(o, "clusters", dev->nr_clusters) &&
		     put_u64(o, "zero_clusters", f->zero_clusters) &&
		     put_u64(o, "data_bytes", f->data_bytes);
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
	return put_u64(root, "size_bytes", size) && put_u64(root, "data_bytes", data);
}

/* As it is, or what can be shown of it: JSON is text. */
static bool put_path(struct json_object *to, const char *key, const char *path)
{
	char text[4 * PATH_MAX + 1];

	if (is_text((const uint8_t *)path, strlen(path)))
		return put_text(to, key, path);
	return put_text(to, key, vma_escape(text, sizeof(text), path));
}

static bool put_archive(struct json_object *root, const struct info *info)
{
	const struct archive_facts *f = &info->facts;
	char uuid[2 * sizeof(info->header->uuid) + 1];

	for (unsigned int i = 0; i < sizeof(info->header->uuid); i++)
		snprintf(uuid + 2 * (size_t)i, 3, "%02x", info->header->uuid[i]);
	return put_u64(root, "version", INFO_VERSION) &&
	       put_path(root, "archive", archive_in_name(info->path)) &&
	       put_text(root, "uuid", uuid) &&
	       put(root, "ctime", json_object_new_int64(info->header->ctime)) &&
	       (info->is_file ? put_u64(root, "archive_bytes", f->file_size) :
				put_null(root, "archive_bytes")) &&
	       put_u64(root, "stream_bytes", f->stream_size) &&
	       put_text(root, "compression", codec_name(info->codec)) &&
	       put_bool(root, "random_access", info->random_access) &&
	       put_u64(root, "frames", f->frames) &&
	       put_u64(root, "frame_largest_bytes", f->frame_largest) &&
	       put_text(root, "index", info_index_name(info->index)) &&
	       put_u64(root, "header_bytes", info->header->header_size) &&
	       put_u64(root, "extents", f->extents);
}

int info_print_json(const struct info *info)
{
	struct json_object *root = json_object_new_object();
	bool ok = root && put_archive(root, info) && put_totals(root, info) &&
		  put_configs(root, info->header) && put_disks(root, info);

	if (ok)
		puts(json_object_to_json_string_ext(root, JSON_C_TO_STRING_PRETTY |
						    JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(root);
	return ok ? 0 : -ENOMEM;
}
