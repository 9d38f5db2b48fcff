// SPDX-License-Identifier: GPL-2.0-or-later
/* vmactl index: makes the file beside an archive that lets it be entered anywhere. */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "archive/archive.h"
#include "libvma/text.h"
#include "output/output.h"
#include "vmactl/archive-in.h"
#include "vmactl/stop.h"
#include "vmactl/vmactl.h"

/*
 * From here on it takes moments; signals wait, so that nothing half-written stays. -EINTR: one
 * came before it was complete.
 */
static int save(struct archive *a, const char *path, struct vma_error *err)
{
	int stop = stop_open(false, err);
	struct output *o;
	uint64_t bytes;
	int ret;

	if (stop < 0)
		return stop;
	ret = output_open(&o, path, err);
	if (!ret) {
		ret = archive_save_index(a, output_write, o, err);
		bytes = output_bytes(o);
		if (!ret && stop_requested(stop))
			ret = vma_fail(err, -EINTR, "interrupted by a signal");
		if (ret)
			output_abort(o);
		else
			ret = output_commit(o, err);
	}
	close(stop);
	if (!ret)
		printf("%s: %" PRIu64 " bytes, %" PRIu64 " extents\n", path, bytes,
		       archive_facts(a).extents);
	return ret;
}

static int make_index(const char *path, const char *index)
{
	struct archive *a;
	struct vma_error err;
	int ret;

	ret = archive_open(&a, path, NULL, &err);
	if (ret) {
		complain("%s: %s", path, err.text);
		return archive_in_exit_code(ret);
	}
	if (archive_index_state(a) == ARCHIVE_INDEX_READ) {
		printf("%s: fits the archive already\n", index);
	} else if (archive_index_state(a) == ARCHIVE_INDEX_REFUSED && !archive_is_index(index)) {
		complain("%s: is there, and is not an index: move it away", index);
		ret = -EEXIST;
	} else {
		/* One that does not fit is good for nothing. */
		if (archive_index_state(a) == ARCHIVE_INDEX_REFUSED && unlink(index) != 0)
			ret = vma_fail(&err, -errno, "cannot replace %s: %s", index,
				       strerror(errno));
		if (!ret)
			ret = save(a, index, &err);
		if (ret)
			complain("%s", err.text);
	}
	archive_close(a);
	if (ret == -EINTR)
		return EXIT_INTERRUPTED;
	return ret ? EXIT_FAILED : EXIT_OK;
}

static int run(int argc, char **argv)
{
	char *index;
	int code;

	opterr = 0;
	if (getopt(argc, argv, ":") != -1)
		return option_error(&cmd_index, '?', argv);
	if (argc - optind != 1)
		return usage_error(&cmd_index, "give exactly one archive");
	if (strcmp(argv[optind], "-") == 0)
		return usage_error(&cmd_index, "give the path of an archive, a pipe has no index");
	if (asprintf(&index, "%s%s", argv[optind], ARCHIVE_INDEX_SUFFIX) < 0) {
		complain("out of memory");
		return EXIT_FAILED;
	}
	code = make_index(argv[optind], index);
	free(index);
	return code;
}

const struct command cmd_index = {
	.name = "index",
	.usage = "ARCHIVE",
	.help = "Makes ARCHIVE" ARCHIVE_INDEX_SUFFIX ", with which any part of the archive is found at once.",
	.run = run,
};
