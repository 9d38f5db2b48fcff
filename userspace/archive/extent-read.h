/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * extent-read: clusters held against their extents, whose headers say what is where: an
 * index is not believed. In an archive that is not compressed, data is proven by sums, too.
 *
 * An extent with a sum is read as a whole, checked once, and kept in a cache for whoever wants
 * more of it. Nothing of one that is not right is given out: one sum is of all its data. Of others
 * only the header is read. For any number of threads.
 */
#ifndef ARCHIVE_EXTENT_READ_H
#define ARCHIVE_EXTENT_READ_H

#include "archive/index.h"
#include "archive/stream.h"

struct cached;
struct extent_reader;

/* stream, header and index outlive it. cache: bytes, see frame-cache.h. */
int extent_reader_new(struct extent_reader **r, struct stream *stream,
		      const struct vma_header *h, struct index *x, size_t cache,
		      struct vma_error *err);
void extent_reader_free(struct extent_reader *r);

struct extent_cluster {
	struct cached *held;	/* NULL: the data is not checked here, and was not read */
	const uint8_t *blocks;	/* those of the entry's mask, one behind the other */
};

/*
 * A cluster that has data, as the index says in *e. -EBADMSG names the disk, the offset and
 * the bytes of the archive. Let go before the next one is asked for, see frame-cache.h.
 */
int extent_reader_get(struct extent_reader *r, unsigned int dev_id, uint64_t cluster,
		      const struct index_entry *e, struct extent_cluster *c,
		      struct vma_error *err);
void extent_reader_put(struct extent_reader *r, struct extent_cluster *c);

#endif /* ARCHIVE_EXTENT_READ_H */
