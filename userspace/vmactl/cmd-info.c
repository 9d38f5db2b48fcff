// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * vmactl info: everything about an archive.
 *
 * An index knows all of it at once. Without one it is made, which checks headers and frames of
 * zstd, but not, as verify does, the data of an archive that is not compressed. What cannot be
 * entered in the middle is read from its beginning, standard input too, and checked as by verify.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "libvma/text.h"
#include "vmactl/archive-in.h"
#include "vmactl/info.h"
#include "vmactl/vmactl.h"

static int print(const struct info *info, bool json, struct vma_error *err)
{
	if (!json) {
		info_print_text(info);
		return 0;
	}
	return info_print_json(info) ? vma_fail(err, -ENOMEM, "out of memory") : 0;
}

/* -EOPNOTSUPP, -ESPIPE: not that way. */
static int from_index(struct info *info, bool json, struct vma_error *err)
{
	struct archive *a;
	int ret;

	ret = archive_open(&a, info->path, NULL, err);
	if (ret)
		return ret;
	info->header = archive_header(a);
	info->facts = archive_facts(a);
	info->codec = info->facts.frames ? CODEC_ZSTD : CODEC_NONE;
	info->is_file = true;
	info->random_access = true;
	info->index = archive_index_state(a);
	info->index_fault = archive_index_fault(a);
	for (unsigned int i = 1; i <= VMA_MAX_DEVICES; i++)
		if (info->header->devices[i].name)
			info->devices[i] = archive_device_facts(a, i);
	ret = print(info, json, err);
	archive_close(a);
	return ret;
}

static int read_all(struct info *info, struct vma_reader *r, struct vma_error *err)
{
	struct vma_reader_stats stats;
	struct vma_cluster c;
	int ret;

	while ((ret = vma_reader_next(r, &c, err)) > 0) {
		info->devices[c.dev_id].zero_clusters += !c.mask;
		info->devices[c.dev_id].data_bytes +=
			(uint64_t)__builtin_popcount(c.mask) * VMA_BLOCK_SIZE;
	}
	vma_reader_stats(r, &stats);
	info->facts.extents = stats.extents;
	info->facts.stream_size = stats.bytes;
	return ret ? ret : vma_reader_finish(r, err);
}

static int from_stream(struct info *info, bool json, struct vma_error *err)
{
	struct archive_in *in;
	struct stat st;
	int ret;

	ret = archive_in_open(&in, info->path, -1, err);
	if (ret)
		return ret;
	info->header = archive_in_header(in);
	info->codec = archive_in_codec(in);
	info->index = ARCHIVE_INDEX_NONE;
	if (fstat(archive_in_fd(in), &st) == 0 && S_ISREG(st.st_mode)) {
		info->is_file = true;
		info->facts.file_size = st.st_size;
	}
	ret = read_all(info, archive_in_reader(in), err);
	if (!ret)
		ret = print(info, json, err);
	archive_in_close(in);
	return ret;
}

/*
 * Standard input, or a FIFO: what has no places is opened once, and not to find that out. Its
 * writer would lose its reader.
 */
static bool has_no_places(const char *path)
{
	struct stat st;

	return strcmp(path, "-") == 0 ||
	       (stat(path, &st) == 0 && !S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode));
}

static int run(int argc, char **argv)
{
	static const struct option options[] = {
		{ "json", no_argument, NULL, 'j' },
		{ 0 },
	};
	struct info info = { 0 };
	struct vma_error err;
	bool json = false;
	int ret, c;

	opterr = 0;
	while ((c = getopt_long(argc, argv, ":", options, NULL)) != -1) {
		if (c != 'j')
			return option_error(&cmd_info, c, argv);
		json = true;
	}
	if (argc - optind != 1)
		return usage_error(&cmd_info, "give exactly one archive");
	info.path = argv[optind];
	ret = has_no_places(info.path) ? -ESPIPE : from_index(&info, json, &err);
	/* -EFBIG: frames or an order that only matter to who looks things up. */
	if (ret == -EOPNOTSUPP || ret == -ESPIPE || ret == -EFBIG)
		ret = from_stream(&info, json, &err);
	if (ret) {
		complain("%s: %s", archive_in_name(info.path), err.text);
		return archive_in_exit_code(ret);
	}
	return EXIT_OK;
}

const struct command cmd_info = {
	.name = "info",
	.usage = "ARCHIVE [--json]",
	.help = "Tells everything about an archive.",
	.run = run,
};
