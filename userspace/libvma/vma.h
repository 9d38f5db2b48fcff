/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libvma: the VMA archive format.
 *
 * Owns the meaning of the archive's bytes: header, blobs, extents.  It knows no
 * files, devices, compression or threads: the writer fills buffers that the
 * caller writes, the reader pulls bytes through a function of the caller's.
 *
 * Functions return 0 (or a count) or a negative errno, and then say in *err
 * what was wrong in one sentence without a newline.  None prints, exits or
 * keeps global state; objects may be used by one thread at a time.
 */
#ifndef VMA_H
#define VMA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#define VMA_BLOCK_SIZE		4096u
#define VMA_CLUSTER_SIZE	65536u
#define VMA_BLOCKS_PER_CLUSTER	16u
#define VMA_HEADER_MIN		12288u		/* fixed part, before the blobs */
#define VMA_HEADER_MAX		(32u << 20)	/* to read; see vma_header_decode() */
#define VMA_HEADER_MAX_WRITE	524288u		/* what official writers stay within */
#define VMA_EXTENT_HEADER	512u
#define VMA_EXTENT_CLUSTERS	59u
#define VMA_MAX_DEVICES		254u		/* dev_id 1..254 */
#define VMA_MAX_DEVICE_SIZE	(1ull << 48)	/* bytes: cluster numbers have 32 bits */
#define VMA_MAX_CONFIGS		256u
#define VMA_MAX_BLOB		65535u
#define VMA_MAX_NAME		255u		/* of a device or config, without NUL */

struct vma_error {
	char text[512];
};

/* ---- header ---------------------------------------------------------- */

struct vma_device {
	char *name;		/* NULL: dev_id not in use */
	uint64_t size;		/* bytes, > 0, multiple of 512 */
	uint64_t nr_clusters;
};

struct vma_config {
	char *name;		/* a checked basename */
	uint8_t *data;
	size_t size;
};

struct vma_header {
	uint8_t uuid[16];
	int64_t ctime;				/* seconds since the epoch */
	uint32_t header_size;			/* decoded or encoded size, bytes */
	struct vma_device devices[256];		/* by dev_id */
	struct vma_config configs[256];		/* nr_configs in use, packed */
	unsigned int nr_configs;
};

/* A new, empty header for writing; free with vma_header_free(). NULL: no memory. */
struct vma_header *vma_header_new(const uint8_t uuid[16], int64_t ctime);
void vma_header_free(struct vma_header *h);

/*
 * Adds a device. The name must be unique, 1..VMA_MAX_NAME bytes, printable,
 * without white space, '=', ':' and '/'. Returns the dev_id (1..254).
 * -EINVAL bad name or size, -EEXIST name twice, -ENOSPC too many, -ENOMEM.
 */
int vma_header_add_device(struct vma_header *h, const char *name, uint64_t size,
			  struct vma_error *err);

/*
 * Adds a configuration file; data is copied. The name must be a basename, not
 * "." or "..", printable, unique. Errors as above, -E2BIG beyond VMA_MAX_BLOB.
 */
int vma_header_add_config(struct vma_header *h, const char *name, const void *data, size_t size,
			  struct vma_error *err);

/* Encodes into *buf (caller frees), *len bytes, a multiple of 512. -E2BIG, -ENOMEM. */
int vma_header_encode(struct vma_header *h, uint8_t **buf, size_t *len, struct vma_error *err);

/* dev_id of a device name, or -ENOENT. */
int vma_header_find_device(const struct vma_header *h, const char *name);

/* ---- writer ---------------------------------------------------------- */

/*
 * Builds extents. The data of a cluster is not copied: the writer keeps
 * pointers into the caller's memory until the extent was taken, so the caller
 * decides when the memory may be used again. It enforces rule 1 of the format:
 * each cluster of each device exactly once.
 */
struct vma_writer;

/* h must outlive the writer. */
int vma_writer_new(struct vma_writer **w, const struct vma_header *h, struct vma_error *err);
void vma_writer_free(struct vma_writer *w);

/*
 * Adds one cluster. data points to min(65536, size - cluster * 65536) bytes
 * that stay as they are until vma_writer_take(); NULL means all zero. All-zero
 * 4 KiB blocks are found here and left out. Returns 1 if the extent is full
 * now (take it before adding more), 0 if not.
 * -EEXIST cluster twice, -ERANGE past the end, -ENOENT unknown dev_id,
 * -ENOBUFS the extent was full.
 */
int vma_writer_add(struct vma_writer *w, unsigned int dev_id, uint64_t cluster, const void *data,
		   struct vma_error *err);

/* Clusters in the extent being built, 0..VMA_EXTENT_CLUSTERS. */
unsigned int vma_writer_pending(const struct vma_writer *w);

/*
 * Finishes the extent: *iov and *iovcnt describe its bytes (header first;
 * valid until the next vma_writer_add() or vma_writer_free()). Returns the
 * number of bytes, 0 if there was no cluster to write.
 */
ssize_t vma_writer_take(struct vma_writer *w, struct iovec **iov, int *iovcnt);

/* -ENODATA, naming device and first cluster, unless every cluster was added and taken. */
int vma_writer_finish(struct vma_writer *w, struct vma_error *err);

/* Counters, for summaries. */
struct vma_writer_stats {
	uint64_t clusters;	/* added */
	uint64_t zero_clusters;	/* of them without any data */
	uint64_t data_bytes;	/* 4 KiB blocks stored, bytes */
	uint64_t bytes;		/* archive bytes taken, extents only */
};
void vma_writer_stats(const struct vma_writer *w, struct vma_writer_stats *stats);

/* ---- reader ---------------------------------------------------------- */

/*
 * Reads up to len bytes; fewer only at the end of the stream. Negative errno
 * on failure, with err filled in.
 */
typedef ssize_t (*vma_read_fn)(void *ctx, void *buf, size_t len, struct vma_error *err);

/*
 * What a stream that goes on behind damage could not give. The stream's own bytes (frames,
 * members, blocks) and not the archive's are what is known here.
 */
#define VMA_LOSS_UNKNOWN	UINT64_MAX

struct vma_loss {
	/*
	 * Of the file, as it is stored: the first damaged byte, and the first one behind;
	 * 0 and UINT64_MAX if that can't be told.
	 */
	uint64_t begin, end;
	/*
	 * How many bytes of the stream are missing at this place; VMA_LOSS_UNKNOWN if that
	 * can't be told. 0: none, only what goes with them (a checksum, a seek table) is
	 * not as written.
	 */
	uint64_t bytes;
	struct vma_error what;		/* without begin and end */
};

/*
 * Called after a read that gave fewer bytes than it was asked for: 1 if the stream lost
 * something at this very place, which *loss then tells, and reading goes on behind it; 0
 * at the end. Losses in a row, and one at the end (a cut), come one by one. In a stream that goes
 * on, damage is never an error of the read function: only what has nothing to do with the
 * content of the file is (-EIO, -ENOMEM, -EINTR).
 */
typedef int (*vma_loss_fn)(void *ctx, struct vma_loss *loss);

struct vma_reader;

struct vma_cluster {
	unsigned int dev_id;
	uint64_t cluster;
	uint64_t offset;	/* bytes, cluster * 65536 */
	uint32_t length;	/* bytes of the device in this cluster, 1..65536 */
	uint16_t mask;		/* stored blocks, clipped to the device's end */
	/* 65536 bytes, zeroes where mask has no bit; valid until the next call. */
	const uint8_t *data;
};

/*
 * Reads and checks the header. Refusals are -EBADMSG (damaged, or not a VMA
 * archive) or -EPROTONOSUPPORT (version), -EFBIG beyond VMA_HEADER_MAX.
 */
int vma_reader_open(struct vma_reader **r, vma_read_fn read, void *ctx, struct vma_error *err);
const struct vma_header *vma_reader_header(const struct vma_reader *r);

/* Next cluster: 1, or 0 at the good end of the stream, or a negative errno. */
int vma_reader_next(struct vma_reader *r, struct vma_cluster *c, struct vma_error *err);

/* After vma_reader_next() gave 0: -ENODATA naming device and offset if clusters are missing. */
int vma_reader_finish(struct vma_reader *r, struct vma_error *err);

/* So far: extents, and bytes of the stream. */
struct vma_reader_stats {
	uint64_t extents;
	uint64_t bytes;
};
void vma_reader_stats(const struct vma_reader *r, struct vma_reader_stats *stats);
void vma_reader_free(struct vma_reader *r);

#endif /* VMA_H */
