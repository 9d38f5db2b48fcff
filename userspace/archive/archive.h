/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * archive: a finished archive, read at any place of any of its devices.
 *
 * Owns the file, the index and the cache. The index beside the archive is used if
 * there is one that fits; else one is made in memory, which reads the headers of all
 * extents (and so decompresses what is compressed). Only files that can be entered in
 * the middle are taken: bare ones, and zstd files with a seek table.
 *
 * All functions may be called by any number of threads at once, but for opening and
 * closing. Return values and *err as in vma.h.
 */
#ifndef ARCHIVE_H
#define ARCHIVE_H

#include "codec/codec.h"
#include "libvma/vma.h"

/* The index of ARCHIVE is the file ARCHIVE.idx. */
#define ARCHIVE_INDEX_SUFFIX	".idx"

/*
 * Bytes that are kept: decompressed frames (and as many again while they are read), or extents
 * that were checked.
 */
#define ARCHIVE_CACHE_DEFAULT	(64u << 20)
#define ARCHIVE_CACHE_MIN	(1u << 20)

enum archive_index {
	ARCHIVE_INDEX_READ,	/* from a file */
	ARCHIVE_INDEX_MADE,	/* in memory: there was none */
	ARCHIVE_INDEX_REFUSED,	/* in memory: the one beside the archive does not fit */
	ARCHIVE_INDEX_NONE,	/* archive_open_bare() */
};

struct archive_options {
	const char *index;	/* NULL: beside the archive, if there is one */
	size_t cache;		/* bytes; 0: ARCHIVE_CACHE_DEFAULT */
};

struct archive;

/*
 * -EBADMSG damaged, -ENODATA incomplete, -EPROTONOSUPPORT, -EFBIG beyond a limit;
 * -EOPNOTSUPP, -ESPIPE not to be entered in the middle; an index was given that is damaged
 * (-EUCLEAN), or of another archive (-ESTALE).
 */
int archive_open(struct archive **a, const char *path, const struct archive_options *o,
		 struct vma_error *err);
void archive_close(struct archive *a);

/* Without an index: all but reading and mapping works. */
int archive_open_bare(struct archive **a, const char *path, struct vma_error *err);

const struct vma_header *archive_header(const struct archive *a);

/* Where the index comes from; why it was refused, if it was. */
enum archive_index archive_index_state(const struct archive *a);
const char *archive_index_fault(const struct archive *a);

/*
 * offset + len is within the device. Where the index says that data is, its extent must say so,
 * too; data of a bare archive's extents that have sums is checked: -EBADMSG instead of any that is
 * not proven. That there is no data is not checked: an index beside the archive is believed there.
 */
int archive_read(struct archive *a, unsigned int dev_id, uint64_t offset, void *buf, size_t len,
		 struct vma_error *err);

/*
 * Whether there is data at an offset of a device, and for how many bytes (*run, at most
 * len and at least 1) that goes on; where there is none, all is zero.
 */
int archive_map(struct archive *a, unsigned int dev_id, uint64_t offset, uint64_t len, bool *data,
		uint64_t *run, struct vma_error *err);

/* The index that is in use, as the bytes of an index file; write is a codec_write_fn. */
int archive_save_index(struct archive *a, codec_write_fn write, void *ctx, struct vma_error *err);

/* Whether a file is an index, if a damaged or foreign one; false also if there is none. */
bool archive_is_index(const char *path);

struct archive_facts {
	uint64_t file_size;		/* as stored */
	uint64_t stream_size;		/* decompressed */
	uint32_t frames;		/* of zstd; 0: not compressed */
	uint32_t frame_largest;		/* bytes, decompressed */
	uint64_t extents;
};

struct archive_facts archive_facts(const struct archive *a);

struct archive_device_facts {
	uint64_t zero_clusters;
	uint64_t data_bytes;		/* 4 KiB blocks that are in the archive */
};

struct archive_device_facts archive_device_facts(const struct archive *a, unsigned int dev_id);

#endif /* ARCHIVE_H */
