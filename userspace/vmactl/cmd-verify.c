// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * vmactl verify: reads all of an archive and says whether every cluster is there and as it was
 * written. Damage does not end it: all that can be found is told.
 */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>

#include "libvma/text.h"
#include "vmactl/archive-in.h"
#include "vmactl/damage.h"
#include "vmactl/json-put.h"
#include "vmactl/vma-progress.h"
#include "vmactl/vmactl.h"

/* By dev_id: 4 KiB blocks that hold data. */
struct tally {
	uint64_t blocks[256];
	uint64_t total;
};

static int read_all(struct vma_reader *r, struct tally *t, bool verbose, struct vma_error *err)
{
	struct vma_progress progress;
	struct vma_cluster c;
	int ret;

	vma_progress_start(&progress, verbose, vma_reader_header(r));
	while ((ret = vma_reader_next(r, &c, err)) > 0) {
		t->blocks[c.dev_id] += __builtin_popcount(c.mask);
		t->total += __builtin_popcount(c.mask);
		vma_progress_add(&progress, &c);
	}
	if (!ret)
		vma_progress_end(&progress);
	return ret;
}

static void print_details(const struct vma_header *h, enum codec_kind codec)
{
	char name[VMA_ESCAPED_SIZE];

	fputs("uuid: ", stdout);
	for (unsigned int i = 0; i < sizeof(h->uuid); i++)
		printf("%02x", h->uuid[i]);
	printf("\ncreated: @%" PRId64 "\ncompression: %s\nheader: %" PRIu32 " bytes\n", h->ctime,
	       codec_name(codec), h->header_size);
	for (unsigned int i = 0; i < h->nr_configs; i++)
		printf("configuration file %s: %zu bytes\n",
		       vma_escape(name, sizeof(name), h->configs[i].name), h->configs[i].size);
}

static void print_summary(const struct vma_header *h, const struct tally *t,
			  const struct vma_reader_stats *stats)
{
	char name[VMA_ESCAPED_SIZE];
	unsigned int devices = 0;

	for (unsigned int i = 1; i <= VMA_MAX_DEVICES; i++) {
		const struct vma_device *dev = &h->devices[i];
		uint64_t all = dev->size / VMA_BLOCK_SIZE + (dev->size % VMA_BLOCK_SIZE != 0);

		if (!dev->name)
			continue;
		devices++;
		printf("%s: %" PRIu64 " bytes, %" PRIu64 " clusters, %.1f%% zero\n",
		       vma_escape(name, sizeof(name), dev->name), dev->size, dev->nr_clusters,
		       100.0 * (double)(all - t->blocks[i]) / (double)all);
	}
	if (stats->extents)
		printf("data is %sprotected by checksums\n",
		       stats->summed == stats->extents ? "" :
		       stats->summed ? "partly " : "not ");
	printf("complete: %u devices, %u configuration files, %" PRIu64 " bytes of data\n", devices,
	       h->nr_configs, t->total * VMA_BLOCK_SIZE);
}

/* Says what is wrong, and returns an exit code. */
static int conclude(struct archive_in *in, struct damage *d, const struct tally *t, bool json)
{
	const struct vma_header *h = archive_in_header(in);
	const struct vma_reader *r = archive_in_reader(in);
	struct vma_reader_stats stats;
	struct json_object *root;
	bool all[256];

	for (unsigned int i = 0; i < 256; i++)
		all[i] = h->devices[i].name;
	vma_reader_stats(r, &stats);
	damage_missing(d, r, all, false);
	if (json) {
		root = damage_json(d, r, stats.extents && stats.summed == stats.extents);
		if (!root) {
			complain("out of memory");
			return EXIT_FAILED;
		}
		json_print(root);
		json_object_put(root);
	} else if (!damage_any(d)) {
		print_summary(h, t, &stats);
	}
	damage_verdict(d);
	return damage_any(d) ? EXIT_BAD_ARCHIVE : EXIT_OK;
}

static int verify(const char *path, bool verbose, bool json)
{
	struct vma_tolerance t = { .fault = damage_fault };
	struct tally tally = { 0 };
	struct archive_in *in = NULL;
	struct damage *d = NULL;
	struct vma_error err;
	int ret, code;

	ret = damage_new(&d, path, &err);
	t.ctx = d;
	if (!ret)
		ret = archive_in_open_damaged(&in, path, -1, &t, &err);
	if (!ret) {
		damage_set_header(d, archive_in_header(in));
		if (verbose)
			print_details(archive_in_header(in), archive_in_codec(in));
		ret = read_all(archive_in_reader(in), &tally, verbose, &err);
	}
	if (ret)
		complain("%s: %s", archive_in_name(path), err.text);
	code = ret ? archive_in_exit_code(ret) : conclude(in, d, &tally, json);
	archive_in_close(in);
	damage_free(d);
	return code;
}

static int run(int argc, char **argv)
{
	static const struct option options[] = {
		{ "json", no_argument, NULL, 'j' },
		{ 0 },
	};
	bool verbose = false, json = false;
	int c;

	opterr = 0;
	while ((c = getopt_long(argc, argv, ":v", options, NULL)) != -1) {
		if (c == 'v')
			verbose = true;
		else if (c == 'j')
			json = true;
		else
			return option_error(&cmd_verify, c, argv);
	}
	if (argc - optind != 1)
		return usage_error(&cmd_verify, "give exactly one archive");
	if (json && verbose)
		return usage_error(&cmd_verify, "give -v or --json, not both");
	return verify(argv[optind], verbose, json);
}

const struct command cmd_verify = {
	.name = "verify",
	.usage = "ARCHIVE [-v | --json]",
	.help = "Checks that an archive is not damaged, and that no part of a disk is missing.",
	.run = run,
};
