// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * vmactl extract: the content of an archive into a new directory, or each disk
 * to a place of its own, which options or a map file (map-file.h) tell.
 *
 * Nothing gets its final name before the archive was read to its end and found
 * complete. A block device has no other name, so it is overwritten on the way. With a
 * map file, who writes it reads the configuration first: then the directory is there
 * from the beginning, and is removed if all fails.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libvma/header.h"
#include "libvma/text.h"
#include "vmactl/damage.h"
#include "vmactl/extract.h"
#include "vmactl/stop.h"
#include "vmactl/vma-progress.h"
#include "vmactl/vmactl.h"

/* ---- copying ---------------------------------------------------------- */

static int put(struct extract *x, struct restore *restore, const struct vma_cluster *c,
	       int stop_fd, struct vma_error *err)
{
	int ret = 0;

	if (!x->sinks[c->dev_id])
		return 0;
	if (x->limits[c->dev_id] && (c->mask || sink_writes_zeroes(x->sinks[c->dev_id])))
		ret = throttle_wait(x->limits[c->dev_id], c->length, stop_fd, err);
	return ret ? ret : restore_put(restore, x->sinks[c->dev_id], c, err);
}

/* Sets *reading while a failure would be the archive's. */
static int copy(struct extract *x, struct vma_reader *r, int stop_fd, bool *reading,
		struct vma_error *err)
{
	struct vma_progress progress;
	struct restore *restore;
	struct vma_cluster c;
	int ret;

	vma_progress_start(&progress, x->verbose, vma_reader_header(r));
	ret = restore_new(&restore, err);
	if (ret)
		return ret;
	for (;;) {
		*reading = true;
		ret = vma_reader_next(r, &c, err);
		if (ret <= 0)
			break;
		*reading = false;
		ret = put(x, restore, &c, stop_fd, err);
		if (ret < 0)
			break;
		vma_progress_add(&progress, &c);
	}
	if (!ret && !x->salvage)
		ret = vma_reader_finish(r, err);
	if (!ret) {
		*reading = false;
		ret = restore_finish(restore, err);
	}
	restore_free(restore);
	if (!ret)
		vma_progress_end(&progress);
	return ret;
}

static int commit(struct extract *x, struct vma_error *err)
{
	bool named;
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
		ret = new_dir_commit(x->dir, &named, err);
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
				 path ? path : "a block device or file");
		free(path);
	}
	new_dir_abort(x->dir);
	if (x->made)
		extract_remove_made(x);
	map_file_free(&x->map);
}

static int open_archive(struct extract *x, struct archive_in **in, struct damage **d, int stop_fd,
			struct vma_error *err)
{
	struct vma_tolerance t = { .fault = damage_fault, .likely = x->likely };
	int ret;

	if (!x->salvage)
		return archive_in_open(in, x->archive, stop_fd, err);
	ret = damage_new(d, x->archive, err);
	if (ret)
		return ret;
	t.ctx = *d;
	ret = archive_in_open_damaged(in, x->archive, stop_fd, &t, err);
	if (!ret)
		damage_set_header(*d, archive_in_header(*in));
	return ret;
}

static int extract(struct extract *x)
{
	struct damage *damage = NULL;
	struct archive_in *in = NULL;
	struct vma_error err;
	bool reading = true;
	int stop_fd, ret, code = EXIT_OK;

	stop_fd = stop_open(false, &err);
	ret = stop_fd < 0 ? stop_fd : open_archive(x, &in, &damage, stop_fd, &err);
	if (!ret) {
		reading = false;
		if (x->map_path)
			ret = extract_ask_for_map(x, archive_in_header(in), stop_fd, &err);
	}
	if (!ret) {
		code = extract_check_names(x, archive_in_header(in));
		if (code != EXIT_OK)
			goto out;
		ret = extract_check_apart(x, in, &err);
	}
	if (!ret)
		ret = extract_open_sinks(x, archive_in_header(in), &err);
	if (!ret)
		ret = copy(x, archive_in_reader(in), stop_fd, &reading, &err);
	if (!ret) {
		reading = false;
		if (x->salvage)
			ret = extract_salvaged(x, archive_in_reader(in), damage, stop_fd, &code,
					       &err);
	}
	if (!ret) {
		if (stop_requested(stop_fd))
			ret = vma_fail(&err, -EINTR, "interrupted by a signal");
		else
			ret = commit(x, &err);
		if (!ret)
			x->made = NULL;
	}
	if (!ret && damage)
		damage_close(damage, code);
	if (ret)
		complain("%s: %s", archive_in_name(x->archive), err.text);
	if (ret)
		code = reading || ret == -EINTR ? archive_in_exit_code(ret) : EXIT_FAILED;
out:
	clean_up(x);
	damage_free(damage);
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
		{ "zeroed", required_argument, NULL, 'z' },
		{ "salvage", optional_argument, NULL, 'S' },
		{ "json", no_argument, NULL, 'j' },
		{ 0 },
	};
	int c;

	opterr = 0;
	while ((c = getopt_long(argc, argv, ":vd:r:", options, NULL)) != -1) {
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
		case 'z':
			x->zeroed[x->nr_zeroed++] = optarg;
			break;
		case 'd':
			x->only = optarg;
			break;
		case 'r':
			x->map_path = optarg;
			break;
		case 'v':
			x->verbose = true;
			break;
		case 'S':
			if (optarg && strcmp(optarg, "likely") != 0)
				return usage_error(&cmd_extract, "--salvage=%s: there is only --salvage=likely",
						   optarg);
			x->salvage = true;
			x->likely = x->likely || optarg;
			break;
		case 'j':
			x->json = true;
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
	if (x->only && x->nr_maps)
		return usage_error(&cmd_extract, "-d goes with a directory: with --to use --skip");
	if (x->map_path && !x->directory)
		return usage_error(&cmd_extract, "-r wants a directory, for the configurations");
	if (x->json && !x->salvage)
		return usage_error(&cmd_extract, "--json goes with --salvage");
	if (x->json && (x->verbose || x->map_path))
		return usage_error(&cmd_extract, "--json goes neither with -v nor with -r: all use standard output");
	if (!x->directory && !x->nr_maps)
		return usage_error(&cmd_extract, "give a directory, or --to NAME=PATH for each disk");
	return EXIT_OK;
}

static int run(int argc, char **argv)
{
	struct extract x = { 0 };
	int code;

	/* What a map adds is no more than an archive has disks. */
	x.maps = calloc(argc + VMA_MAX_DEVICES, sizeof(*x.maps));
	x.skips = calloc(argc + VMA_MAX_DEVICES, sizeof(*x.skips));
	x.zeroed = calloc(argc, sizeof(*x.zeroed));
	if (x.maps && x.skips && x.zeroed) {
		code = parse(&x, argc, argv);
		if (code == EXIT_OK)
			code = extract(&x);
	} else {
		complain("out of memory");
		code = EXIT_FAILED;
	}
	free(x.maps);
	free(x.skips);
	free(x.zeroed);
	return code;
}

const struct command cmd_extract = {
	.name = "extract",
	.usage = "ARCHIVE DIR [-v] [-d NAME,...] [--skip NAME]... [-r MAP]\n"
		 "   or: extract ARCHIVE --to NAME=PATH... [-v] [--skip NAME]... [--zeroed NAME]...\n"
		 "   both with --salvage[=likely] [--json] for what is not damaged",
	.help = "Extracts an archive into a new directory, or its disks one by one.",
	.run = run,
};
