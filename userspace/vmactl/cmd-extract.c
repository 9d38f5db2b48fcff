// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * vmactl extract: the content of an archive into a new directory, or each disk
 * to a place of its own.
 *
 * Nothing gets its final name before the archive was read to its end and found
 * complete. A block device has no other name, so it is overwritten on the way.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libvma/text.h"
#include "vmactl/archive-in.h"
#include "vmactl/new-dir.h"
#include "vmactl/progress.h"
#include "vmactl/sink.h"
#include "vmactl/stop.h"
#include "vmactl/vmactl.h"

struct extract {
	/* As given. */
	const char *archive;
	const char *directory;		/* NULL: maps say where disks go */
	char **maps;			/* "NAME=PATH" */
	unsigned int nr_maps;
	char **skips;			/* "NAME" */
	unsigned int nr_skips;
	bool verbose;

	struct new_dir *dir;
	struct sink *sinks[256];	/* by dev_id; NULL: left out */
};

/* ---- where each device goes ------------------------------------------- */

/* The PATH of "NAME=PATH", or NULL if it is not about this device. */
static const char *map_path(const char *map, const char *name)
{
	size_t len = strlen(name);

	return strncmp(map, name, len) == 0 && map[len] == '=' ? map + len + 1 : NULL;
}

static bool is_skipped(const struct extract *x, const char *name)
{
	for (unsigned int i = 0; i < x->nr_skips; i++)
		if (strcmp(x->skips[i], name) == 0)
			return true;
	return false;
}

static const char *mapped_path(const struct extract *x, const char *name)
{
	for (unsigned int i = 0; i < x->nr_maps; i++)
		if (map_path(x->maps[i], name))
			return map_path(x->maps[i], name);
	return NULL;
}

/*
 * Whether both paths are of one block device, or of one file in one directory, which
 * need not exist yet.
 */
static bool same_place(const char *a, const char *b)
{
	const char *slash_a = strrchr(a, '/'), *slash_b = strrchr(b, '/');
	const char *file_a = slash_a ? slash_a + 1 : a, *file_b = slash_b ? slash_b + 1 : b;
	char *dir_a, *dir_b;
	struct stat st_a, st_b;
	bool same;

	if (stat(a, &st_a) == 0 && stat(b, &st_b) == 0 && S_ISBLK(st_a.st_mode) &&
	    S_ISBLK(st_b.st_mode))
		return st_a.st_rdev == st_b.st_rdev;
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
				return usage_error(&cmd_extract,
						   "devices %s and %s would both go to %s",
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

/*
 * Names that were given must be in the archive: a mistyped one would leave a disk out.
 * The rest of the command line's check, now that the names are known: an exit code.
 */
static int check_names(const struct extract *x, const struct vma_header *h)
{
	const char *archive = archive_in_name(x->archive);

	for (unsigned int i = 0; i < x->nr_skips; i++)
		if (vma_header_find_device(h, x->skips[i]) < 0)
			return usage_error(&cmd_extract, "--skip %s: there is no such device in %s",
					   x->skips[i], archive);
	for (unsigned int i = 0; i < x->nr_maps; i++)
		if (!is_mapped(x->maps[i], h))
			return usage_error(&cmd_extract, "--to %s: there is no such device in %s",
					   x->maps[i], archive);
	for (unsigned int id = 1; id <= VMA_MAX_DEVICES; id++) {
		const char *name = h->devices[id].name;
		unsigned int given = 0;

		if (!name)
			continue;
		for (unsigned int i = 0; i < x->nr_maps; i++)
			given += map_path(x->maps[i], name) != NULL;
		given += is_skipped(x, name);
		if (given > 1)
			return usage_error(&cmd_extract, "device %s is named more than once",
					   vma_quote(name));
		if (!given && !x->directory)
			return usage_error(&cmd_extract,
					   "device %s is not named: add --to %s=PATH or --skip %s",
					   vma_quote(name), vma_quote(name), vma_quote(name));
	}
	return check_places(x, h);
}

/* The archive must not be below a disk that is about to be overwritten. */
static int check_archive_apart(const struct extract *x, const struct archive_in *in,
			       struct vma_error *err)
{
	const struct vma_header *h = archive_in_header(in);
	int ret = 0;

	for (unsigned int id = 1; id <= VMA_MAX_DEVICES && x->nr_maps && !ret; id++) {
		const char *name = h->devices[id].name;

		if (name && !is_skipped(x, name))
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

	if (strcmp(name, "vmstate") == 0)
		strcpy(file, "vmstate.bin");
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

static int open_sinks(struct extract *x, const struct vma_header *h, struct vma_error *err)
{
	int ret = 0;

	if (x->directory)
		ret = new_dir_open(&x->dir, x->directory, err);
	for (unsigned int i = 0; i < h->nr_configs && x->dir && !ret; i++)
		ret = new_dir_put(x->dir, h->configs[i].name, h->configs[i].data,
				  h->configs[i].size, err);
	for (unsigned int id = 1; id <= VMA_MAX_DEVICES && !ret; id++) {
		const struct vma_device *dev = &h->devices[id];

		if (!dev->name || is_skipped(x, dev->name))
			continue;
		if (x->dir)
			ret = open_in_directory(x, dev->name, id, dev->size, err);
		else
			ret = sink_open(&x->sinks[id], mapped_path(x, dev->name), dev->size, err);
	}
	return ret;
}

/* ---- copying ---------------------------------------------------------- */

/* Sets *reading while a failure would be the archive's. */
static int copy(struct extract *x, struct vma_reader *r, bool *reading, struct vma_error *err)
{
	const struct vma_header *h = vma_reader_header(r);
	uint64_t total = 0, done = 0, data = 0;
	struct progress progress;
	struct vma_cluster c;
	int ret;

	for (unsigned int i = 1; i <= VMA_MAX_DEVICES; i++)
		total += h->devices[i].size;
	progress_start(&progress, x->verbose, total);
	for (;;) {
		*reading = true;
		ret = vma_reader_next(r, &c, err);
		if (ret <= 0)
			break;
		*reading = false;
		if (x->sinks[c.dev_id])
			ret = sink_write(x->sinks[c.dev_id], &c, err);
		if (ret < 0)
			break;
		done += c.length;
		data += (uint64_t)__builtin_popcount(c.mask) * VMA_BLOCK_SIZE;
		progress_update(&progress, done, data);
	}
	progress_end(&progress, done, data);
	return ret ? ret : vma_reader_finish(r, err);
}

static int commit(struct extract *x, struct vma_error *err)
{
	int ret = 0;

	for (unsigned int id = 0; id < 256 && !ret; id++) {
		if (!x->sinks[id])
			continue;
		ret = sink_commit(x->sinks[id], err);
		/* Else clean_up() tells what is left of it. */
		if (!ret)
			x->sinks[id] = NULL;
	}
	if (!ret && x->dir) {
		ret = new_dir_commit(x->dir, err);
		x->dir = NULL;
	}
	return ret;
}

static void clean_up(struct extract *x)
{
	for (unsigned int id = 0; id < 256; id++) {
		struct sink *s = x->sinks[id];
		char *path = s ? strdup(sink_path(s)) : NULL;

		if (sink_abort(s))
			complain("%s is overwritten in part and must not be used",
				 path ? path : "a block device");
		free(path);
	}
	new_dir_abort(x->dir);
}

static int extract(struct extract *x)
{
	struct archive_in *in = NULL;
	struct vma_error err;
	bool reading = true;
	int stop_fd, ret, code = EXIT_OK;

	stop_fd = stop_open(&err);
	ret = stop_fd < 0 ? stop_fd : archive_in_open(&in, x->archive, stop_fd, &err);
	if (!ret) {
		reading = false;
		code = check_names(x, archive_in_header(in));
		if (code != EXIT_OK)
			goto out;
		ret = check_archive_apart(x, in, &err);
	}
	if (!ret)
		ret = open_sinks(x, archive_in_header(in), &err);
	if (!ret)
		ret = copy(x, archive_in_reader(in), &reading, &err);
	if (!ret) {
		reading = false;
		if (stop_requested(stop_fd))
			ret = vma_fail(&err, -EINTR, "interrupted by a signal");
		else
			ret = commit(x, &err);
	}
	if (ret)
		complain("%s: %s", archive_in_name(x->archive), err.text);
	if (ret)
		code = reading || ret == -EINTR ? archive_in_exit_code(ret) : EXIT_FAILED;
out:
	clean_up(x);
	archive_in_close(in);
	if (stop_fd >= 0)
		close(stop_fd);
	return code;
}

/* ---- the command line ------------------------------------------------- */

static int parse(struct extract *x, int argc, char **argv)
{
	static const struct option options[] = {
		{ "to", required_argument, NULL, 't' },
		{ "skip", required_argument, NULL, 's' },
		{ 0 },
	};
	int c;

	opterr = 0;
	while ((c = getopt_long(argc, argv, ":v", options, NULL)) != -1) {
		switch (c) {
		case 't':
			if (!strchr(optarg, '=') || !strchr(optarg, '=')[1])
				return usage_error(&cmd_extract, "--to %s: write NAME=PATH",
						   optarg);
			x->maps[x->nr_maps++] = optarg;
			break;
		case 's':
			x->skips[x->nr_skips++] = optarg;
			break;
		case 'v':
			x->verbose = true;
			break;
		default:
			return option_error(&cmd_extract, c, argv);
		}
	}
	if (argc == optind)
		return usage_error(&cmd_extract, "give an archive");
	x->archive = argv[optind++];
	if (argc > optind)
		x->directory = argv[optind++];
	if (argc > optind)
		return usage_error(&cmd_extract, "too many arguments, at %s", argv[optind]);
	if (x->directory && x->nr_maps)
		return usage_error(&cmd_extract, "give a directory or --to, not both");
	if (!x->directory && !x->nr_maps)
		return usage_error(&cmd_extract, "give a directory, or --to NAME=PATH for each disk");
	return EXIT_OK;
}

static int run(int argc, char **argv)
{
	struct extract x = { 0 };
	int code;

	x.maps = calloc(argc, sizeof(*x.maps));
	x.skips = calloc(argc, sizeof(*x.skips));
	if (x.maps && x.skips) {
		code = parse(&x, argc, argv);
		if (code == EXIT_OK)
			code = extract(&x);
	} else {
		complain("out of memory");
		code = EXIT_FAILED;
	}
	free(x.maps);
	free(x.skips);
	return code;
}

const struct command cmd_extract = {
	.name = "extract",
	.usage = "ARCHIVE DIR [-v] [--skip NAME]...\n"
		 "   or: vmactl extract ARCHIVE --to NAME=PATH... [-v] [--skip NAME]...",
	.help = "Extracts an archive into a new directory, or its disks one by one.",
	.run = run,
};
