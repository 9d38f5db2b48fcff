/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * lzop-file: the file form of lzop(1), in which lzo data travels.
 *
 * All numbers are big-endian. A header (magic, versions, method, flags, mode, time,
 * name, a checksum of all this), then blocks: decompressed size, compressed size,
 * checksums as the flags say, data; equal sizes mean that it is stored. A
 * decompressed size of 0 is the end, after which another file may begin.
 */
#ifndef CODEC_LZOP_FILE_H
#define CODEC_LZOP_FILE_H

#include <stdint.h>

#define LZOP_MAGIC		"\x89LZO\0\r\n\x1a\n"
#define LZOP_MAGIC_SIZE		9u

#define LZOP_VERSION		0x1040u		/* of the lzop whose form this is */
#define LZOP_VERSION_NEEDED	0x0940u		/* the first one to have it */

/* Decompressed bytes of a block: what lzop writes, and the most that it reads. */
#define LZOP_BLOCK		(256u << 10)
#define LZOP_BLOCK_MAX		(64u << 20)

enum {
	LZOP_F_ADLER_DATA	= 0x00000001,	/* of the decompressed bytes */
	LZOP_F_ADLER_PACKED	= 0x00000002,	/* of the compressed ones */
	LZOP_F_STDIN		= 0x00000004,
	LZOP_F_STDOUT		= 0x00000008,
	LZOP_F_EXTRA		= 0x00000040,	/* an extra field after the header */
	LZOP_F_CRC_DATA		= 0x00000100,
	LZOP_F_CRC_PACKED	= 0x00000200,
	LZOP_F_FILTER		= 0x00000800,	/* data was filtered first */
	LZOP_F_CRC_HEADER	= 0x00001000,	/* instead of adler32 */
	LZOP_F_OS_UNIX		= 0x03000000,
};

/*
 * What ours have. Checksums of both, so that no bit may flip: a match as good as another
 * decompresses alike.
 */
#define LZOP_F_OURS	(LZOP_F_ADLER_DATA | LZOP_F_ADLER_PACKED | \
			 LZOP_F_STDIN | LZOP_F_STDOUT | LZOP_F_OS_UNIX)

enum { LZOP_M_LZO1X_1 = 1, LZOP_M_LZO1X_1_15 = 2, LZOP_M_LZO1X_999 = 3 };

static inline uint32_t lzop_be32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | p[1] << 16 | p[2] << 8 | p[3];
}

static inline void lzop_put_be32(uint8_t *p, uint32_t v)
{
	p[0] = v >> 24;
	p[1] = v >> 16;
	p[2] = v >> 8;
	p[3] = v;
}

#endif /* CODEC_LZOP_FILE_H */
