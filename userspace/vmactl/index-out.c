// SPDX-License-Identifier: GPL-2.0-or-later
#include "vmactl/index-out.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "archive/archive.h"
#include "archive/index-build.h"
#include "libvma/extent.h"
#include "libvma/text.h"
#include "output/output.h"
#include "vmactl/vmactl.h"

struct index_out {
	char *path;
	struct output *output;		/* NULL: it has failed */
	struct index_builder *builder;
	uint64_t at;			/* bytes of the archive's stream so far */
	struct vma_error why;		/* it has failed */
};

int index_out_allowed(const char *archive, enum codec_kind kind, struct vma_error *err)
{
	if (output_is_stream(archive))
		return vma_fail(err, -EINVAL, "--index: what is written to a pipe has no index");
	if (kind != CODEC_NONE && kind != CODEC_ZSTD)
		return vma_fail(err, -EINVAL,
				"--index: %s cannot be entered in the middle, use zstd or none",
				codec_name(kind));
	return 0;
}

/* What was written so far is of no use. */
static void drop(struct index_out *x)
{
	index_builder_free(x->builder);
	output_abort(x->output);
	x->builder = NULL;
	x->output = NULL;
}

/* Told at the end: standard error may take nothing now, and guests would wait for it. */
static void fail(struct index_out *x, const struct vma_error *why)
{
	drop(x);
	x->why = *why;
}

static int start(struct index_out *x, const struct vma_header *h, struct vma_error *err)
{
	int ret;

	/* There is no archive yet, so whatever archive it was of is gone. */
	if (archive_is_index(x->path) && unlink(x->path) != 0)
		return vma_fail(err, -errno, "cannot replace %s: %s", x->path, strerror(errno));
	ret = output_open(&x->output, x->path, err);
	if (!ret)
		ret = index_builder_new(&x->builder, h, output_write, x->output, err);
	return ret;
}

struct index_out *index_out_open(const char *archive, const struct vma_header *h,
				 uint64_t stream_at)
{
	struct index_out *x = calloc(1, sizeof(*x));
	struct vma_error err;

	if (!x || asprintf(&x->path, "%s%s", archive, ARCHIVE_INDEX_SUFFIX) < 0) {
		free(x);
		complain("warning: the archive gets no index: out of memory");
		return NULL;
	}
	x->at = stream_at;
	if (start(x, h, &err)) {
		fail(x, &err);
		index_out_abort(x);
		return NULL;
	}
	return x;
}

void index_out_extent(struct index_out *x, const struct iovec *iov, int iovcnt)
{
	uint8_t extent[VMA_EXTENT_HEADER];
	struct vma_error err;
	unsigned int blocks;

	if (!x || !x->output || !iovcnt)
		return;
	/* A copy: it is checked, which changes it. */
	memcpy(extent, iov[0].iov_base, sizeof(extent));
	if (index_builder_extent(x->builder, extent, x->at, &blocks, &err)) {
		fail(x, &err);
		return;
	}
	x->at += sizeof(extent) + (uint64_t)blocks * VMA_BLOCK_SIZE;
}

void index_out_commit(struct index_out *x, uint64_t archive_bytes)
{
	struct vma_error err;
	int ret;

	if (x && x->output) {
		struct index_identity id = { .file_size = archive_bytes, .stream_size = x->at };

		ret = index_builder_finish(x->builder, &id, &err);
		if (!ret) {
			ret = output_commit(x->output, &err);
			x->output = NULL;
		}
		if (ret)
			fail(x, &err);
	}
	index_out_abort(x);
}

void index_out_abort(struct index_out *x)
{
	if (!x)
		return;
	drop(x);
	if (x->why.text[0])
		complain("warning: the archive gets no index: %s", x->why.text);
	free(x->path);
	free(x);
}
