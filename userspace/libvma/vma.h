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
#define VMA_EXTENT_CLUSTERS	59u		/* to read */
#define VMA_EXTENT_FILL		58u		/* written; then a checksum */
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
 *
 * Extents carry checksums of their data (data-sum.h). A cluster is summed when it is added,
 * while the search for zeroes has it in the cache: 0.04 s of CPU time for a GiB, where
 * a copy of it in memory takes 0.055 s.
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

/* Clusters in the extent being built, 0..VMA_EXTENT_FILL. */
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
	/*
	 * How many bytes just before this place came out of the same piece before it was
	 * found damaged: they may be wrong, too. 0 if bytes is.
	 */
	uint64_t unproven;
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

/*
 * Of the bytes read last, how many come from a piece that has not been read to its checksum:
 * a loss may still say that they are unproven.
 */
typedef uint64_t (*vma_unproven_fn)(void *ctx);

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
 * archive: so one beyond VMA_HEADER_MAX, which no format's blobs fill) or -EPROTONOSUPPORT
 * (version).
 */
int vma_reader_open(struct vma_reader **r, vma_read_fn read, void *ctx, struct vma_error *err);
const struct vma_header *vma_reader_header(const struct vma_reader *r);

/* Next cluster: 1, or 0 at the good end of the stream, or a negative errno. */
int vma_reader_next(struct vma_reader *r, struct vma_cluster *c, struct vma_error *err);

/* After vma_reader_next() gave 0: -ENODATA naming device and offset if clusters are missing. */
int vma_reader_finish(struct vma_reader *r, struct vma_error *err);

/* So far: extents, those of them with checksums of their data, and bytes of the stream. */
struct vma_reader_stats {
	uint64_t extents;
	uint64_t summed;
	uint64_t bytes;
};
void vma_reader_stats(const struct vma_reader *r, struct vma_reader_stats *stats);
void vma_reader_free(struct vma_reader *r);

/* ---- a reader that goes on behind damage ------------------------------ */

/* Something that is not as it was written. Places are the best that is known. */
struct vma_fault {
	unsigned int dev_id;		/* 0: which device can't be told, or it is about none */
	uint64_t offset, length;	/* of the device, bytes */
	uint64_t begin, end;		/* of the archive, decompressed; both 0: not known */
	/* Of the file, as it is stored; 0 and UINT64_MAX: not known. Only what a decoder found. */
	bool stored;
	uint64_t stored_begin, stored_end;
	bool likely;			/* the bits of these clusters' own sums are right */
	bool harmless;			/* nothing of the archive's content is lost by it */
	struct vma_error what;		/* one clause, without those places */
};

typedef void (*vma_fault_fn)(void *ctx, const struct vma_fault *f);

/* Where in the archive that is: "bytes 100-149 of the file". As long as the buffer is. */
void vma_fault_place(const struct vma_fault *f, char *buf, size_t size);

/*
 * All of it in words: "disk a, offset 65536, length 4096: ..."; for all kinds of faults. As
 * long as the buffer is.
 */
void vma_fault_text(const struct vma_header *h, const struct vma_fault *f, char *buf, size_t size);

struct vma_tolerance {
	vma_loss_fn loss;	/* of the stream, with the ctx of read; NULL: it does not go on */
	vma_unproven_fn unproven;	/* likewise; NULL: no loss ever says so */
	vma_fault_fn fault;
	void *ctx;		/* of fault */
	/*
	 * Give out clusters of a damaged extent, too, whose own 8 bits of sum are right:
	 * of 256 that are damaged, one is among them.
	 */
	bool likely;
};

/*
 * As vma_reader_open(), but what is damaged is told to t->fault, before the next cluster
 * is given out, and left out. Behind a damaged extent's header the next extent is searched
 * for. A header of the archive with a wrong checksum is used if it can be understood. What
 * vma_reader_next() fails with then is no damage.
 *
 * Given out is what is proven by its checksum; of an archive or an extent without one, what
 * the stream gave without a loss; and clusters that are zero, which the extent's header says.
 * What a loss then says is unproven was given out: it is in VMA_CLUSTERS_LIKELY at the end, as is
 * an extent without a sum of which what follows does not tell whether bytes of it are gone.
 */
int vma_reader_open_damaged(struct vma_reader **r, vma_read_fn read, void *ctx,
			    const struct vma_tolerance *t, struct vma_error *err);

/*
 * Which clusters: those that were not given out; of these, those that no fault named, so
 * that they are in no extent that can be read; those that were given out though not proven.
 */
enum vma_clusters { VMA_CLUSTERS_MISSING, VMA_CLUSTERS_ABSENT, VMA_CLUSTERS_LIKELY };

/*
 * A run of them, from byte *offset of the device on: false if there is none, else *offset
 * and *length are those of the run. After the end.
 */
bool vma_reader_run(const struct vma_reader *r, enum vma_clusters which, unsigned int dev_id,
		    uint64_t *offset, uint64_t *length);

#endif /* VMA_H */
