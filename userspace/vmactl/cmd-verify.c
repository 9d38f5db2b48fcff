// SPDX-License-Identifier: GPL-2.0-or-later
/* vmactl verify: reads all of an archive and says whether every cluster is there. */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>

#include "libvma/text.h"
#include "vmactl/archive-in.h"
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
	return ret ? ret : vma_reader_finish(r, err);
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

static void print_summary(const struct vma_header *h, const struct tally *t)
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
	printf("complete: %u devices, %u configuration files, %" PRIu64 " bytes of data\n", devices,
	       h->nr_configs, t->total * VMA_BLOCK_SIZE);
}

static int verify(const char *path, bool verbose, struct vma_error *err)
{
	struct tally tally = { 0 };
	struct archive_in *in;
	int ret;

	ret = archive_in_open(&in, path, -1, err);
	if (ret)
		return ret;
	if (verbose)
		print_details(archive_in_header(in), archive_in_codec(in));
	ret = read_all(archive_in_reader(in), &tally, verbose, err);
	if (!ret)
		print_summary(archive_in_header(in), &tally);
	archive_in_close(in);
	return ret;
}

static int run(int argc, char **argv)
{
	struct vma_error err;
	bool verbose = false;
	int ret, c;

	opterr = 0;
	while ((c = getopt(argc, argv, ":v")) != -1) {
		if (c != 'v')
			return option_error(&cmd_verify, c, argv);
		verbose = true;
	}
	if (argc - optind != 1)
		return usage_error(&cmd_verify, "give exactly one archive");
	ret = verify(argv[optind], verbose, &err);
	if (ret) {
		complain("%s: %s", archive_in_name(argv[optind]), err.text);
		return archive_in_exit_code(ret);
	}
	return EXIT_OK;
}

const struct command cmd_verify = {
	.name = "verify",
	.usage = "ARCHIVE [-v]",
	.help = "Checks that an archive is not damaged, and that no part of a disk is missing.",
	.run = run,
};
