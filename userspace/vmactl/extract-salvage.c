// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The end of "vmactl extract --salvage": what could not be read becomes zeroes, and nobody
 * is to take what was written for a good restore.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "libvma/text.h"
#include "vmactl/damage.h"
#include "vmactl/extract.h"
#include "vmactl/stop.h"
#include "vmactl/vmactl.h"

/* In the new directory, beside the disks. */
#define REPORT_NAME	"damage.json"

/* Zeroes are asked for by so much at a time, between looks at signals. */
#define ZERO_STEP	(64ull << 20)

static int zero_lost(struct sink *s, const struct vma_reader *r, unsigned int id, int stop_fd,
		     struct vma_error *err)
{
	uint64_t offset = 0, length;
	int ret = 0;

	while (!ret && vma_reader_run(r, VMA_CLUSTERS_MISSING, id, &offset, &length)) {
		while (!ret && length) {
			uint64_t n = length < ZERO_STEP ? length : ZERO_STEP;

			if (stop_requested(stop_fd))
				return vma_fail(err, -EINTR, "interrupted by a signal");
			ret = sink_zero(s, offset, n, err);
			offset += n;
			length -= n;
		}
	}
	return ret;
}

static int report(struct extract *x, struct vma_reader *r, const struct damage *d,
		  struct vma_error *err)
{
	struct vma_reader_stats stats;
	struct json_object *root;
	const char *text;
	int ret = 0;

	if (!x->json && !(x->dir && damage_any(d)))
		return 0;
	vma_reader_stats(r, &stats);
	root = damage_json(d, r, stats.extents && stats.summed == stats.extents);
	text = root ? json_object_to_json_string_ext(root, JSON_C_TO_STRING_PRETTY |
						     JSON_C_TO_STRING_NOSLASHESCAPE) : NULL;
	if (!text)
		ret = vma_fail(err, -ENOMEM, "out of memory");
	if (!ret && x->json)
		puts(text);
	if (!ret && x->dir && damage_any(d))
		ret = new_dir_put(x->dir, REPORT_NAME, text, strlen(text), err);
	json_object_put(root);
	/* A configuration file of that name: it is what was to be extracted. */
	return ret == -EEXIST ? 0 : ret;
}

int extract_salvaged(struct extract *x, struct vma_reader *r, struct damage *d, int stop_fd,
		     int *code, struct vma_error *err)
{
	bool wanted[256] = { false };
	int ret = 0;

	for (unsigned int id = 1; id <= VMA_MAX_DEVICES && !ret; id++) {
		if (!x->sinks[id])
			continue;
		wanted[id] = true;
		ret = zero_lost(x->sinks[id], r, id, stop_fd, err);
	}
	if (ret)
		return ret;
	damage_missing(d, r, wanted, true);
	*code = damage_harmless(d) ? EXIT_OK : EXIT_SALVAGED;
	return report(x, r, d, err);
}
