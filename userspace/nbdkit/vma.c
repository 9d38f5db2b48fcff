// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * nbdkit-vma-plugin: serves the disks of a VMA archive over NBD, read-only.
 *
 * Owns the parameters and what NBD wants to know; everything else is archive's, whose
 * functions any number of threads may call. A connection's handle is constant.
 */
#define NBDKIT_API_VERSION 2
#include <nbdkit-plugin.h>

#include <errno.h>
#include <inttypes.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "archive/archive.h"
#include "libvma/text.h"

#define THREAD_MODEL NBDKIT_THREAD_MODEL_PARALLEL

/*
 * Of one answer about what is data and what is not: a client asks again for the rest.
 * More of them would be memory and time that a client's one question costs us.
 */
#define EXTENTS_MAX	4096u

/*
 * What is larger goes back to the system when it is freed: frames and extents, that is.
 * Left to itself the C library keeps it, for each of nbdkit's threads, and holds up to 200 MiB
 * for a cache of 64.
 */
#define KEEP_MAX	(1 << 20)

static char *archive_path;
static char *index_path;
static const char *disk;		/* NULL: the client's export name says */
static size_t cache;
static struct archive *archive;

static void vma_load(void)
{
	mallopt(M_MMAP_THRESHOLD, KEEP_MAX);
}

static void vma_unload(void)
{
	archive_close(archive);
	free(archive_path);
	free(index_path);
}

static int set_path(char **to, const char *key, const char *value)
{
	if (*to) {
		nbdkit_error("%s= is given twice", key);
		return -1;
	}
	/* nbdkit changes its directory before the file is opened. */
	*to = nbdkit_absolute_path(value);
	return *to ? 0 : -1;
}

static int vma_config(const char *key, const char *value)
{
	int64_t size;

	if (strcmp(key, "archive") == 0)
		return set_path(&archive_path, key, value);
	if (strcmp(key, "index") == 0)
		return set_path(&index_path, key, value);
	if (strcmp(key, "disk") == 0) {
		disk = value;
		return 0;
	}
	if (strcmp(key, "cache") == 0) {
		size = nbdkit_parse_size(value);
		if (size < 0)
			return -1;
		if ((uint64_t)size < ARCHIVE_CACHE_MIN || (uint64_t)size > SIZE_MAX / 2) {
			nbdkit_error("cache=%s: at least %u bytes are needed", value,
				     ARCHIVE_CACHE_MIN);
			return -1;
		}
		cache = size;
		return 0;
	}
	nbdkit_error("unknown parameter \"%s\"", key);
	return -1;
}

static int vma_config_complete(void)
{
	if (!archive_path) {
		nbdkit_error("archive=FILE is missing");
		return -1;
	}
	return 0;
}

/* Before nbdkit goes into the background: what is wrong is seen by whoever started it. */
static int vma_get_ready(void)
{
	struct archive_options options = { .index = index_path, .cache = cache };
	struct vma_error err;

	if (archive_open(&archive, archive_path, &options, &err) != 0) {
		nbdkit_error("%s: %s", archive_path, err.text);
		return -1;
	}
	if (disk && vma_header_find_device(archive_header(archive), disk) < 0) {
		nbdkit_error("%s: has no disk called \"%s\"", archive_path, disk);
		return -1;
	}
	if (archive_index_state(archive) == ARCHIVE_INDEX_REFUSED)
		nbdkit_error("%s%s: not used: %s", archive_path, ARCHIVE_INDEX_SUFFIX,
			     archive_index_fault(archive));
	return 0;
}

/* ---- exports ---------------------------------------------------------- */

static int vma_list_exports(int readonly, int is_tls, struct nbdkit_exports *exports)
{
	const struct vma_header *h = archive_header(archive);

	(void)readonly;
	(void)is_tls;
	for (unsigned int i = 1; i <= VMA_MAX_DEVICES; i++) {
		const char *name = h->devices[i].name;

		if (!name || (disk && strcmp(name, disk) != 0))
			continue;
		if (nbdkit_add_export(exports, name, NULL) != 0)
			return -1;
	}
	return 0;
}

/* The disk that was named, or the only one that there is. */
static const char *vma_default_export(int readonly, int is_tls)
{
	const struct vma_header *h = archive_header(archive);
	const char *only = NULL;

	(void)readonly;
	(void)is_tls;
	if (disk)
		return disk;
	for (unsigned int i = 1; i <= VMA_MAX_DEVICES; i++) {
		if (!h->devices[i].name)
			continue;
		if (only)
			return "";
		only = h->devices[i].name;
	}
	return only ? only : "";
}

struct handle {
	unsigned int dev_id;
	uint64_t size;
};

static void *vma_open(int readonly)
{
	const struct vma_header *h = archive_header(archive);
	const char *name = nbdkit_export_name();
	struct handle *handle;
	int id;

	(void)readonly;
	if (!name)
		return NULL;
	if (!*name)
		name = vma_default_export(1, 0);
	if (!*name) {
		nbdkit_error("the archive has several disks: name one as the export");
		nbdkit_set_error(ENOENT);
		return NULL;
	}
	id = disk && strcmp(name, disk) != 0 ? -ENOENT : vma_header_find_device(h, name);
	if (id < 0) {
		nbdkit_error("there is no disk called \"%s\"", vma_quote(name));
		nbdkit_set_error(ENOENT);
		return NULL;
	}
	handle = malloc(sizeof(*handle));
	if (!handle) {
		nbdkit_error("out of memory");
		return NULL;
	}
	handle->dev_id = id;
	handle->size = h->devices[id].size;
	return handle;
}

static void vma_close(void *handle)
{
	free(handle);
}

static int64_t vma_get_size(void *handle)
{
	return ((const struct handle *)handle)->size;
}

static int vma_yes(void *handle)
{
	(void)handle;
	return 1;
}

/* Any byte can be asked for; a cluster is what is stored together. */
static int vma_block_size(void *handle, uint32_t *minimum, uint32_t *preferred, uint32_t *maximum)
{
	(void)handle;
	*minimum = 1;
	*preferred = VMA_CLUSTER_SIZE;
	*maximum = UINT32_MAX;
	return 0;
}

/* ---- data ------------------------------------------------------------- */

static int fail(const struct vma_error *err)
{
	nbdkit_error("%s: %s", archive_path, err->text);
	nbdkit_set_error(EIO);
	return -1;
}

static int vma_pread(void *handle, void *buf, uint32_t count, uint64_t offset, uint32_t flags)
{
	const struct handle *h = handle;
	struct vma_error err;

	(void)flags;
	return archive_read(archive, h->dev_id, offset, buf, count, &err) ? fail(&err) : 0;
}

static int vma_extents(void *handle, uint32_t count, uint64_t offset, uint32_t flags,
		       struct nbdkit_extents *extents)
{
	const struct handle *h = handle;
	unsigned int most = flags & NBDKIT_FLAG_REQ_ONE ? 1 : EXTENTS_MAX;
	uint64_t end = offset + count;
	struct vma_error err;

	for (unsigned int i = 0; i < most && offset < end; i++) {
		uint64_t run;
		bool data;

		if (archive_map(archive, h->dev_id, offset, end - offset, &data, &run, &err) != 0)
			return fail(&err);
		if (nbdkit_add_extent(extents, offset, run,
				      data ? 0 : NBDKIT_EXTENT_HOLE | NBDKIT_EXTENT_ZERO) != 0)
			return -1;
		offset += run;
	}
	return 0;
}

static struct nbdkit_plugin plugin = {
	.name = "vma",
	.longname = "disks of VMA archives",
	.description = "Serves the disks of a VMA archive, read-only.",
	.version = "0.1.0",
	.config = vma_config,
	.config_complete = vma_config_complete,
	.config_help =
		"archive=<FILE>  (required) the archive; bare, or zstd with a seek table\n"
		"disk=<NAME>     the only disk to serve; else the export's name says which\n"
		"index=<FILE>    the index, if it is not FILE" ARCHIVE_INDEX_SUFFIX "\n"
		"cache=<SIZE>    memory for data that is read as a whole (64M)",
	.magic_config_key = "archive",
	.load = vma_load,
	.unload = vma_unload,
	.get_ready = vma_get_ready,
	.list_exports = vma_list_exports,
	.default_export = vma_default_export,
	.open = vma_open,
	.close = vma_close,
	.get_size = vma_get_size,
	.block_size = vma_block_size,
	.can_multi_conn = vma_yes,
	.can_extents = vma_yes,
	.pread = vma_pread,
	.extents = vma_extents,
};

NBDKIT_REGISTER_PLUGIN(plugin)
