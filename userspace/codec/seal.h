/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * seal: the proof that a compressed file is as it was written, bit for bit.
 *
 * The checksums of zstd and gzip are of the data: bits that mean nothing may flip, and a
 * file may end after any frame or member. So a file of ours begins with a seal, has one after
 * each piece, and can't end without its last part (zstd: the seek table, gzip: a seal).
 * A seal travels in what every decompressor passes over: zstd-frame.h, gzip-file.h.
 *
 * Numbers are little-endian: tag, version, kind, 2 bytes of zero, a count of 8 bytes,
 * and XXH3-64 (seed 0) of all bytes of the file from the end of the seal before (or the
 * beginning) up to there, headers around the seal included.
 */
#ifndef CODEC_SEAL_H
#define CODEC_SEAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SEAL_SIZE	24u
#define SEAL_HASH_AT	16u		/* the hash covers what is before it */
#define SEAL_FIXED	8u		/* bytes that are the same in all of a kind */
#define SEAL_TAG	"VMsl"
#define SEAL_VERSION	1u

enum seal_kind {
	SEAL_BEGIN = 1,		/* count: 0 */
	SEAL_PIECE = 2,		/* count: bytes of the piece, decompressed */
	SEAL_END = 3,		/* count: pieces of the file */
};

struct seal {
	enum seal_kind kind;
	uint64_t count, hash;
};

/* The first SEAL_FIXED bytes. */
void seal_put_fixed(uint8_t *p, enum seal_kind kind);
/* A seal at p, of all from `from` on, which is before p in the same memory. */
void seal_put(uint8_t *p, enum seal_kind kind, uint64_t count, const uint8_t *from);
/* False: these SEAL_SIZE bytes are none, or none that is known. */
bool seal_get(const uint8_t *p, struct seal *s);
/* What the hash of a seal at p has to be. */
uint64_t seal_hash(const uint8_t *from, const uint8_t *p);

#endif /* CODEC_SEAL_H */
