/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * index-build: makes an index out of an archive's extents.
 *
 * Fed with the headers of all extents in order, by whoever reads or writes an archive.
 * A page goes out when its last cluster was seen, so that an archive in the order of
 * its disks needs next to no memory.
 */
#ifndef ARCHIVE_INDEX_BUILD_H
#define ARCHIVE_INDEX_BUILD_H

#include "archive/index.h"

/*
 * Bytes. Pages that lack clusters take 10 KiB for 64 MiB of a disk, so that it is enough for
 * 6 TiB of data in the worst order. Beyond it -EFBIG.
 */
#define INDEX_BUILD_MAX	(1ull << 30)

struct index_builder;

/* The header outlives the builder. */
int index_builder_new(struct index_builder **b, const struct vma_header *h, codec_write_fn write,
		      void *ctx, struct vma_error *err);
void index_builder_free(struct index_builder *b);

/*
 * The 512 bytes at byte `at` of the stream, of which the checksum field is zeroed. *blocks:
 * how many 4 KiB blocks of data follow them. -EBADMSG, -EFBIG, -ENOMEM.
 */
int index_builder_extent(struct index_builder *b, uint8_t *extent, uint64_t at,
			 unsigned int *blocks, struct vma_error *err);

/* Writes the rest. -ENODATA if clusters are missing. */
int index_builder_finish(struct index_builder *b, const struct index_identity *id,
			 struct vma_error *err);

#endif /* ARCHIVE_INDEX_BUILD_H */
