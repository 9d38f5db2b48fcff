/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * index: where each cluster of an archive lies in its stream.
 *
 * Held against the archive's header and sizes when it is opened; an index of another
 * archive, or a damaged one, is refused. Its pages are read when they are needed, and
 * checked then, or all at once before. For any number of threads.
 */
#ifndef ARCHIVE_INDEX_H
#define ARCHIVE_INDEX_H

#include "codec/codec.h"
#include "libvma/vma.h"

struct index;

/* What ties an index to its archive, beside the header. */
struct index_identity {
	uint64_t file_size;		/* as stored */
	uint64_t stream_size;		/* decompressed */
};

struct index_entry {
	uint16_t mask;			/* blocks that have data, clipped to the device */
	uint64_t at;			/* of the first of them in the stream */
};

/*
 * Takes fd, also if it fails. The header outlives the index. -EUCLEAN damaged, -ESTALE
 * of another archive, -EPROTONOSUPPORT, -EIO, -ENOMEM.
 */
int index_open(struct index **x, int fd, const struct vma_header *h,
	       const struct index_identity *id, struct vma_error *err);
void index_close(struct index *x);

/* Reads all pages, which opening does not: the index is about 1/100000 of its archive. */
int index_check(struct index *x, struct vma_error *err);

/* cluster is one of the device's. */
int index_lookup(struct index *x, unsigned int dev_id, uint64_t cluster,
		 struct index_entry *entry, struct vma_error *err);

struct index_extent {
	uint64_t number;		/* from 0 */
	uint64_t at;			/* of its header, in the stream */
	uint32_t size;			/* with its header */
	bool summed;			/* it has a sum of its data */
};

/* The extent that holds a byte where an entry said that data is. */
int index_extent(struct index *x, uint64_t at, struct index_extent *extent,
		 struct vma_error *err);

/* From this cluster on, how many are known at once to have no data; 0: look it up. */
uint64_t index_zero_run(const struct index *x, unsigned int dev_id, uint64_t cluster);

struct index_totals {
	uint64_t zero_clusters;
	uint64_t blocks;		/* of 4 KiB that have data */
};

uint64_t index_extents(const struct index *x);
uint64_t index_summed(const struct index *x);	/* of them, with sums: the last ones */
struct index_totals index_device(const struct index *x, unsigned int dev_id);

/* Its bytes, to be kept as a file. */
int index_copy(const struct index *x, codec_write_fn write, void *ctx, struct vma_error *err);

#endif /* ARCHIVE_INDEX_H */
