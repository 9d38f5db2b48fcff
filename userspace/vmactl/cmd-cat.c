// SPDX-License-Identifier: GPL-2.0-or-later
/* vmactl cat: a range of one disk of an archive, to standard output. */
#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "archive/archive.h"
#include "libvma/text.h"
#include "output/output.h"
#include "vmactl/archive-in.h"
#include "vmactl/vmactl.h"

/* Read and written at a time: large enough that calls cost nothing beside the data. */
#define PIECE	(1u << 20)

struct range {
	const char *disk;
	const char *index;
	uint64_t offset;
	uint64_t length;	/* UINT64_MAX: to the end */
};

/* A number of bytes, with K, M, G or T behind it for multiples of 1024. */
static bool parse_bytes(const char *text, uint64_t *bytes)
{
	static const char suffixes[] = "KMGT";
	unsigned int shift = 0;
	const char *suffix;
	char *end;

	if (!isdigit((unsigned char)*text))
		return false;
	errno = 0;
	*bytes = strtoull(text, &end, 10);
	if (errno)
		return false;
	if (*end) {
		suffix = strchr(suffixes, *end);
		if (!suffix || end[1])
			return false;
		shift = 10 * (suffix - suffixes + 1);
	}
	if (*bytes > UINT64_MAX >> shift)
		return false;
	*bytes <<= shift;
	return true;
}

/* Says so itself, and returns an exit code, if something fails. */
static int copy(struct archive *a, const char *path, unsigned int dev_id, uint64_t offset,
		uint64_t length)
{
	uint8_t *buf = malloc(PIECE);
	struct vma_error err;
	struct output *o = NULL;
	size_t step = PIECE;
	bool reading = false;
	int ret;

	ret = buf ? output_open(&o, "-", &err) : vma_fail(&err, -ENOMEM, "out of memory");
	while (!ret && length) {
		struct iovec iov = { .iov_base = buf, .iov_len = step - offset % step };

		if (iov.iov_len > length)
			iov.iov_len = length;
		ret = archive_read(a, dev_id, offset, buf, iov.iov_len, &err);
		if (ret && step > VMA_CLUSTER_SIZE) {
			/* What comes before the damage is written. */
			step = VMA_CLUSTER_SIZE;
			ret = 0;
			continue;
		}
		reading = ret != 0;
		if (!ret)
			ret = output_write(o, &iov, 1, &err);
		offset += iov.iov_len;
		length -= iov.iov_len;
	}
	if (!ret)
		ret = output_commit(o, &err);
	else
		output_abort(o);
	free(buf);
	if (!ret)
		return EXIT_OK;
	if (reading)
		complain("%s: %s", path, err.text);
	else
		complain("%s", err.text);
	return reading ? archive_in_exit_code(ret) : EXIT_FAILED;
}

/*
 * Whether it is the index that was given which can't be used: the archive can be opened. Nothing
 * of it is wrong then, so the exit code is not that of a damaged archive.
 */
static bool index_at_fault(const char *path, const char *index)
{
	struct archive *a;
	struct vma_error ignored;

	if (!index || archive_open_bare(&a, path, &ignored) != 0)
		return false;
	archive_close(a);
	return true;
}

static int cat(const char *path, const struct range *r)
{
	const struct archive_options options = { .index = r->index };
	const struct vma_device *dev;
	uint64_t length = r->length;
	struct archive *a;
	struct vma_error err;
	int ret;

	ret = archive_open(&a, path, &options, &err);
	if (ret && ret != -ENOMEM && index_at_fault(path, r->index)) {
		complain("%s: not used: %s; without --index one is made", r->index, err.text);
		return EXIT_FAILED;
	}
	if (ret) {
		complain("%s: %s", path, err.text);
		return archive_in_exit_code(ret);
	}
	if (archive_index_state(a) == ARCHIVE_INDEX_REFUSED)
		complain("%s%s: not used: %s", path, ARCHIVE_INDEX_SUFFIX, archive_index_fault(a));
	ret = vma_header_find_device(archive_header(a), r->disk);
	if (ret < 0) {
		complain("%s: has no disk called \"%s\"; \"vmactl list\" shows what it has", path,
			 r->disk);
		archive_close(a);
		return EXIT_USAGE;
	}
	dev = &archive_header(a)->devices[ret];
	if (length == UINT64_MAX && r->offset <= dev->size)
		length = dev->size - r->offset;
	if (r->offset > dev->size || length > dev->size - r->offset) {
		complain("%s: disk %s has only %" PRIu64 " bytes", path, r->disk, dev->size);
		archive_close(a);
		return EXIT_USAGE;
	}
	ret = copy(a, path, ret, r->offset, length);
	archive_close(a);
	return ret;
}

static int run(int argc, char **argv)
{
	static const struct option options[] = {
		{ "disk", required_argument, NULL, 'd' },
		{ "offset", required_argument, NULL, 'o' },
		{ "length", required_argument, NULL, 'l' },
		{ "index", required_argument, NULL, 'i' },
		{ 0 },
	};
	struct range r = { .length = UINT64_MAX };
	int c;

	opterr = 0;
	while ((c = getopt_long(argc, argv, ":", options, NULL)) != -1) {
		switch (c) {
		case 'd':
			r.disk = optarg;
			break;
		case 'i':
			r.index = optarg;
			break;
		case 'o':
		case 'l':
			if (!parse_bytes(optarg, c == 'o' ? &r.offset : &r.length))
				return usage_error(&cmd_cat,
						   "%s: bytes are wanted, like 4096, 64K or 1G",
						   optarg);
			break;
		default:
			return option_error(&cmd_cat, c, argv);
		}
	}
	if (argc - optind != 1)
		return usage_error(&cmd_cat, "give exactly one archive");
	if (!r.disk)
		return usage_error(&cmd_cat, "--disk is missing");
	return cat(argv[optind], &r);
}

const struct command cmd_cat = {
	.name = "cat",
	.usage = "ARCHIVE --disk NAME [--offset BYTES] [--length BYTES] [--index FILE]",
	.help = "Writes a part of a disk in an archive to standard output.",
	.run = run,
};
