/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * zstd-frame: how a zstd stream is made up, as far as that can be told without
 * decompressing (RFC 8878), and zstd's seekable format on top of it.
 *
 * A seek table is a skippable frame at the end of the stream, all numbers
 * little-endian: for each frame before it its compressed and decompressed size and
 * the low 32 bits of the content's XXH64, then the number of frames, a byte of flags
 * and a magic number. It is ignored by whoever just decompresses.
 *
 * A seal is a skippable frame, too, with a magic number of its own, and is listed in the
 * seek table as a frame without content, as that format wants it.
 */
#ifndef CODEC_ZSTD_FRAME_H
#define CODEC_ZSTD_FRAME_H

#include "codec/seal.h"
#include "libvma/vma.h"

#define ZSTD_SKIP_HEADER	8u		/* magic number and size */
#define ZSTD_SEEK_SKIP_MAGIC	0x184d2a5eu	/* the skippable frame's */
#define ZSTD_SEEK_MAGIC		0x8f92eab1u	/* the last four bytes of the stream */
#define ZSTD_SEEK_FOOTER	9u
#define ZSTD_SEEK_CHECKSUMS	0x80u		/* flag: entries have checksums */
#define ZSTD_SEEK_RESERVED	0x7cu		/* flags that must not be set */
#define ZSTD_SEEK_MAX_FRAMES	0x8000000u

/* Of no content: the checksum of an entry, low half of XXH64. */
#define ZSTD_SEEK_EMPTY_SUM	0x51d8e999u

/* Not zstd's own tools', nor the seek table's: those are 0x184d2a50 and ...5e. */
#define ZSTD_SEAL_SKIP_MAGIC	0x184d2a5cu
#define ZSTD_SEAL_SIZE		(ZSTD_SKIP_HEADER + SEAL_SIZE)
/* Of its first bytes: those that are the same in all of a kind. */
#define ZSTD_SEAL_FIXED		(ZSTD_SKIP_HEADER + SEAL_FIXED)

/*
 * A frame says how much memory its decoder needs. 128 MiB is what zstd itself
 * allows unless asked, so archives beyond it could not be restored elsewhere.
 */
#define ZSTD_WINDOW_LOG_MAX	27

/* A frame with more content than this is decompressed as a stream, in one thread. */
#define ZSTD_WHOLE_MAX		(8u << 20)

/* The longest header of a frame. */
#define ZSTD_HEADER_MAX		18u
#define ZSTD_UNKNOWN		UINT64_MAX

struct zstd_header {
	unsigned int size;		/* of the header itself, bytes */
	uint64_t content;		/* decompressed bytes, or ZSTD_UNKNOWN */
	uint64_t window;		/* bytes that its decoder has to keep */
	bool checksum;			/* four bytes after the last block */
};

/* Of at least 4 bytes. */
bool zstd_is_frame(const uint8_t *p);
bool zstd_is_skippable(const uint8_t *p);

/* False: len bytes are too few to tell. p begins with a frame's magic number. */
bool zstd_header_parse(const uint8_t *p, size_t len, struct zstd_header *h);

/* A block's header is 3 bytes; returns the bytes that follow it. */
#define ZSTD_BLOCK_HEADER	3u
uint32_t zstd_block_size(const uint8_t *p, bool *last);

void zstd_seal_put_fixed(uint8_t *p, enum seal_kind kind);
/* Seals what is from `from` to p, and itself. */
void zstd_seal_put(uint8_t *p, enum seal_kind kind, uint64_t count, const uint8_t *from);
/* Of ZSTD_SEAL_SIZE bytes. */
bool zstd_seal_get(const uint8_t *p, struct seal *s);
/* Whether these ZSTD_SEAL_SIZE bytes were a file's first seal before they were damaged a little. */
bool zstd_seal_like_first(const uint8_t *p);
/* What a seal at p has to say of all from `from` on. */
uint64_t zstd_seal_hash(const uint8_t *from, const uint8_t *p);

static inline uint32_t zstd_le32(const uint8_t *p)
{
	return p[0] | p[1] << 8 | p[2] << 16 | (uint32_t)p[3] << 24;
}

static inline void zstd_put_le32(uint8_t *p, uint32_t v)
{
	p[0] = v;
	p[1] = v >> 8;
	p[2] = v >> 16;
	p[3] = v >> 24;
}

#endif /* CODEC_ZSTD_FRAME_H */
