/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * index-out: the index of an archive that is being written, made on the way.
 *
 * Owns the file beside the archive. No failure is the archive's: the first one is
 * said as a warning, and there is no index then; "vmactl index" can make it later.
 */
#ifndef INDEX_OUT_H
#define INDEX_OUT_H

#include "codec/codec.h"
#include "libvma/vma.h"

struct index_out;

/*
 * Whether an archive of this compression and path can have one: it is a file, and can be
 * entered in the middle. -EINVAL with the reason if not.
 */
int index_out_allowed(const char *archive, enum codec_kind kind, struct vma_error *err);

/* stream_at: of the first extent. NULL if it failed; all others do nothing with NULL. */
struct index_out *index_out_open(const char *archive, const struct vma_header *h,
				 uint64_t stream_at);

/* What vma_writer_take() gave: the header of an extent comes first. */
void index_out_extent(struct index_out *x, const struct iovec *iov, int iovcnt);

/* Once the archive, of so many bytes, has its name; frees x. */
void index_out_commit(struct index_out *x, uint64_t archive_bytes);

/* Leaves nothing; frees x. */
void index_out_abort(struct index_out *x);

#endif /* INDEX_OUT_H */
