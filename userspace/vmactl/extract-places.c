// SPDX-License-Identifier: GPL-2.0-or-later
/* Where each disk of an archive goes, by options or by a map. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libvma/header.h"
#include "libvma/text.h"
#include "vmactl/extract.h"
#include "vmactl/vmactl.h"

/* Where the memory of a virtual machine goes in the directory, as with vma. */
#define VMSTATE_FILE	"vmstate.bin"

/* A map is no command line, so how that is used is not to be explained. */
#define refuse(x, ...)	((x)->map_path ? (complain(__VA_ARGS__), EXIT_FAILED) : \
					 usage_error(&cmd_extract, __VA_ARGS__))

/* ---- where each device goes ------------------------------------------- */

/* The PATH of "NAME=PATH", or NULL if it is not about this device. */
static const char *map_path(const char *map, const char *name)
{
	size_t len = strlen(name);

	return strncmp(map, name, len) == 0 && map[len] == '=' ? map + len + 1 : NULL;
}

/* Whether the name is one of those in the text, separated by commas. */
static bool in_list(const char *list, const char *name)
{
	size_t len = strlen(name);

	for (const char *at = list; at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL)
		if (strncmp(at, name, len) == 0 && (!at[len] || at[len] == ','))
			return true;
	return false;
}

static bool is_skipped(const struct extract *x, const char *name)
{
	for (unsigned int i = 0; i < x->nr_skips; i++)
		if (strcmp(x->skips[i], name) == 0)
			return true;
	return x->only && !in_list(x->only, name);
}

/* Where the memory of a virtual machine goes with a map: into the directory. */
static bool in_directory(const struct extract *x, const char *name)
{
	return x->directory && (!x->map_path || strcmp(name, VMA_VMSTATE) == 0);
}

static const char *mapped_path(const struct extract *x, const char *name)
{
	for (unsigned int i = 0; i < x->nr_maps; i++)
		if (map_path(x->maps[i], name))
			return map_path(x->maps[i], name);
	return NULL;
}

/*
 * Whether both paths are of one block device, of one file under whatever names, or of one
 * name in one directory, where there need not be anything yet.
 */
static bool same_place(const char *a, const char *b)
{
	const char *slash_a = strrchr(a, '/'), *slash_b = strrchr(b, '/');
	const char *file_a = slash_a ? slash_a + 1 : a, *file_b = slash_b ? slash_b + 1 : b;
	char *dir_a, *dir_b;
	struct stat st_a, st_b;
	bool same;

	if (stat(a, &st_a) == 0 && stat(b, &st_b) == 0) {
		if (S_ISBLK(st_a.st_mode) && S_ISBLK(st_b.st_mode))
			return st_a.st_rdev == st_b.st_rdev;
		return st_a.st_dev == st_b.st_dev && st_a.st_ino == st_b.st_ino;
	}
	if (strcmp(file_a, file_b) != 0)
		return false;
	dir_a = strndup(a, file_a - a);
	dir_b = strndup(b, file_b - b);
	same = dir_a && dir_b && stat(*dir_a ? dir_a : ".", &st_a) == 0 &&
	       stat(*dir_b ? dir_b : ".", &st_b) == 0 && st_a.st_dev == st_b.st_dev &&
	       st_a.st_ino == st_b.st_ino;
	free(dir_a);
	free(dir_b);
	return same;
}

/* Two disks to one place; needs the names, which may have an equals sign. */
static int check_places(const struct extract *x, const struct vma_header *h)
{
	for (unsigned int i = 1; i <= VMA_MAX_DEVICES; i++) {
		const char *a = h->devices[i].name ? mapped_path(x, h->devices[i].name) : NULL;

		for (unsigned int j = 1; a && j < i; j++) {
			const char *b = h->devices[j].name ? mapped_path(x, h->devices[j].name)
							   : NULL;

			if (b && same_place(a, b))
				return refuse(x, "devices %s and %s would both go to %s",
					      vma_quote(h->devices[j].name),
					      vma_quote(h->devices[i].name), a);
		}
	}
	return EXIT_OK;
}

static bool is_mapped(const char *map, const struct vma_header *h)
{
	for (unsigned int id = 1; id <= VMA_MAX_DEVICES; id++)
		if (h->devices[id].name && map_path(map, h->devices[id].name))
			return true;
	return false;
}

/* How often a device is named; once is enough. */
static int check_device(const struct extract *x, const char *name)
{
	unsigned int given = 0;

	for (unsigned int i = 0; i < x->nr_maps; i++)
		given += map_path(x->maps[i], name) != NULL;
	for (unsigned int i = 0; i < x->nr_skips; i++)
		given += strcmp(x->skips[i], name) == 0;
	if (given > 1)
		return refuse(x, "device %s is named more than once", vma_quote(name));
	if (given || in_directory(x, name) || is_skipped(x, name))
		return EXIT_OK;
	if (x->map_path)
		return refuse(x, "device %s is not in the map", vma_quote(name));
	return refuse(x, "device %s is not named: add --to %s=PATH or --skip %s", vma_quote(name),
		      vma_quote(name), vma_quote(name));
}

/* The names in "-d", each of which must be there. */
static int check_only(const struct extract *x, const struct vma_header *h)
{
	char *list = x->only ? strdup(x->only) : NULL, *at = list, *name;
	int code = EXIT_OK;

	while (code == EXIT_OK && (name = strsep(&at, ",")))
		if (vma_header_find_device(h, name) < 0)
			code = refuse(x, "-d %s: there is no such device in %s", name,
				      archive_in_name(x->archive));
	free(list);
	return code;
}

int extract_check_names(const struct extract *x, const struct vma_header *h)
{
	const char *archive = archive_in_name(x->archive);
	int code = check_only(x, h);

	for (unsigned int i = 0; i < x->nr_skips; i++)
		if (vma_header_find_device(h, x->skips[i]) < 0)
			return refuse(x, "--skip %s: there is no such device in %s", x->skips[i],
				      archive);
	for (unsigned int i = 0; i < x->nr_zeroed; i++)
		if (vma_header_find_device(h, x->zeroed[i]) < 0)
			return refuse(x, "--zeroed %s: there is no such device in %s",
				      x->zeroed[i], archive);
	for (unsigned int i = 0; i < x->nr_maps; i++)
		if (!is_mapped(x->maps[i], h))
			return refuse(x, "--to %s: there is no such device in %s", x->maps[i],
				      archive);
	for (unsigned int id = 1; id <= VMA_MAX_DEVICES && code == EXIT_OK; id++)
		if (h->devices[id].name)
			code = check_device(x, h->devices[id].name);
	return code == EXIT_OK ? check_places(x, h) : code;
}

int extract_check_apart(const struct extract *x, const struct archive_in *in,
			struct vma_error *err)
{
	const struct vma_header *h = archive_in_header(in);
	int ret = 0;

	for (unsigned int id = 1; id <= VMA_MAX_DEVICES && x->nr_maps && !ret; id++) {
		const char *name = h->devices[id].name;

		if (name && !is_skipped(x, name) && mapped_path(x, name))
			ret = sink_check_apart(mapped_path(x, name), archive_in_fd(in), err);
	}
	return ret;
}

static int open_in_directory(struct extract *x, const char *name, unsigned int id, uint64_t size,
			     struct vma_error *err)
{
	char file[VMA_MAX_NAME + sizeof("disk-.raw")];
	char quoted[VMA_QUOTE_SIZE], *path;
	int fd, ret;

	if (strcmp(name, VMA_VMSTATE) == 0)
		strcpy(file, VMSTATE_FILE);
	else
		snprintf(file, sizeof(file), "disk-%s.raw", name);
	fd = new_dir_create(x->dir, file, err);
	if (fd < 0)
		return fd;
	if (asprintf(&path, "%s/%s", x->directory, vma_escape(quoted, sizeof(quoted), file)) < 0) {
		close(fd);
		return vma_fail(err, -ENOMEM, "out of memory");
	}
	ret = sink_new_file(&x->sinks[id], fd, path, size, err);
	free(path);
	return ret;
}

/* What the map's line for the device says beyond the place. */
static void apply_line(struct extract *x, const struct map_line *l, unsigned int id)
{
	if (!l->write_zeroes)
		sink_assume_zero(x->sinks[id]);
	if (l->use_cache)
		sink_use_cache(x->sinks[id]);
	x->groups[id] = l->group;
	for (unsigned int i = 1; i < id && l->group; i++)
		if (x->groups[i] && strcmp(x->groups[i], l->group) == 0 && x->limits[i]) {
			x->limits[id] = x->limits[i];
			if (!x->limits[id]->bps)
				x->limits[id]->bps = l->bps;
			return;
		}
	x->throttles[id].bps = l->bps;
	x->limits[id] = &x->throttles[id];
}

static int open_mapped(struct extract *x, const char *name, unsigned int id, uint64_t size,
		       struct vma_error *err)
{
	const char *path = mapped_path(x, name);
	const struct map_line *l = x->map.lines;
	int ret;

	if (!x->map_path)
		return sink_open(&x->sinks[id], path, size, err);
	while (l->skip || !map_path(l->target, name))
		l++;
	ret = sink_open_existing(&x->sinks[id], path, size, l->raw, err);
	if (!ret)
		apply_line(x, l, id);
	return ret;
}

static int open_sink(struct extract *x, const struct vma_device *dev, unsigned int id,
		     struct vma_error *err)
{
	char *path;
	int ret;

	if (mapped_path(x, dev->name)) {
		ret = open_mapped(x, dev->name, id, dev->size, err);
	} else if (x->dir) {
		ret = open_in_directory(x, dev->name, id, dev->size, err);
	} else {
		if (asprintf(&path, "%s/" VMSTATE_FILE, x->directory) < 0)
			return vma_fail(err, -ENOMEM, "out of memory");
		ret = sink_open(&x->sinks[id], path, dev->size, err);
		free(path);
	}
	for (unsigned int i = 0; i < x->nr_zeroed && !ret; i++)
		if (strcmp(x->zeroed[i], dev->name) == 0)
			sink_assume_zero(x->sinks[id]);
	return ret;
}

/* The directory with the configurations; the disks may follow. */
static int open_directory(struct extract *x, const struct vma_header *h, struct vma_error *err)
{
	int ret = new_dir_open(&x->dir, x->directory, err);

	for (unsigned int i = 0; i < h->nr_configs && !ret; i++)
		ret = new_dir_put(x->dir, h->configs[i].name, h->configs[i].data,
				  h->configs[i].size, err);
	return ret;
}

int extract_open_sinks(struct extract *x, const struct vma_header *h, struct vma_error *err)
{
	int ret = 0;

	if (x->directory && !x->map_path)
		ret = open_directory(x, h, err);
	for (unsigned int id = 1; id <= VMA_MAX_DEVICES && !ret; id++)
		if (h->devices[id].name && !is_skipped(x, h->devices[id].name))
			ret = open_sink(x, &h->devices[id], id, err);
	return ret;
}

/* ---- the map ---------------------------------------------------------- */

int extract_ask_for_map(struct extract *x, const struct vma_header *h, int stop_fd,
			struct vma_error *err)
{
	int ret = open_directory(x, h, err);
	bool named;

	if (!ret) {
		ret = new_dir_commit(x->dir, &named, err);
		x->dir = NULL;
		x->made = named ? h : NULL;
	}
	if (ret)
		return ret;
	print_listing(h);
	fflush(stdout);
	ret = map_file_read(&x->map, x->map_path, stop_fd, err);
	for (unsigned int i = 0; i < x->map.nr && !ret; i++) {
		const struct map_line *l = &x->map.lines[i];

		if (l->skip)
			x->skips[x->nr_skips++] = l->target;
		else
			x->maps[x->nr_maps++] = l->target;
		if (x->verbose && !l->skip)
			printf("map '%s' (write zeros = %d)\n", l->target, l->write_zeroes);
	}
	return ret;
}

void extract_remove_made(const struct extract *x)
{
	int dir = open(x->directory, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (dir < 0)
		return;
	for (unsigned int i = 0; i < x->made->nr_configs; i++)
		unlinkat(dir, x->made->configs[i].name, 0);
	/* It may have got its name before another disk failed. */
	unlinkat(dir, VMSTATE_FILE, 0);
	close(dir);
	rmdir(x->directory);
}
