/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Archives for tests, made byte by byte from the description of the format.
 *
 * Shares nothing with libvma but the types of its interface, and checks nothing:
 * each field can be given any value, and the sums be set right or left wrong.
 */
#ifndef ARCHIVE_BUILDER_H
#define ARCHIVE_BUILDER_H

#include <md5.h>
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "libvma/vma.h"

#define UNUSED __attribute__((unused))

struct built {
	uint8_t *p;
	size_t len;
	size_t room;		/* bytes at p: sanitizers copy at each realloc() */
	size_t blob;		/* where the next blob goes, from the start */
	size_t header;		/* size of the header, once sealed */
	size_t extent;		/* where the last extent begins */
	size_t pos;		/* for built_read() */
	size_t reads;
};

static void put(uint8_t *p, uint64_t v, unsigned int bytes)
{
	while (bytes--) {
		p[bytes] = v & 0xff;
		v >>= 8;
	}
}

static UNUSED uint64_t get(const uint8_t *p, unsigned int bytes)
{
	uint64_t v = 0;

	while (bytes--)
		v = v << 8 | *p++;
	return v;
}

static UNUSED void grow(struct built *b, size_t bytes)
{
	if (b->room < b->len + bytes) {
		b->room = 2 * (b->len + bytes);
		b->p = realloc(b->p, b->room);
	}
	assert_non_null(b->p);
	memset(b->p + b->len, 0, bytes);
	b->len += bytes;
}

static UNUSED void seal_at(struct built *b, size_t at, size_t len, size_t field)
{
	MD5_CTX ctx;

	memset(b->p + at + field, 0, 16);
	MD5Init(&ctx);
	MD5Update(&ctx, b->p + at, len);
	MD5Final(b->p + at + field, &ctx);
}

/* A header with room for so many bytes of blobs. */
static UNUSED void build_header(struct built *b, size_t room)
{
	memset(b, 0, sizeof(*b));
	grow(b, 12288 + room);
	memcpy(b->p, "VMA", 4);
	put(b->p + 4, 1, 4);
	memset(b->p + 8, 0xab, 16);
	put(b->p + 24, 1700000000, 8);
	put(b->p + 48, 12288, 4);
	put(b->p + 52, room, 4);
	put(b->p + 56, 12288 + room, 4);
	b->header = b->len;
	b->blob = 12288 + 1;
}

static UNUSED uint32_t build_blob(struct built *b, const void *data, size_t len)
{
	size_t at = b->blob;

	assert_true(at + 2 + len <= b->header);
	b->p[at] = len & 0xff;
	b->p[at + 1] = len >> 8;
	memcpy(b->p + at + 2, data, len);
	b->blob += 2 + len;
	return at - 12288;
}

static UNUSED void build_device(struct built *b, unsigned int id, const char *name, uint64_t size)
{
	put(b->p + 4096 + 32 * id, build_blob(b, name, strlen(name) + 1), 4);
	put(b->p + 4096 + 32 * id + 8, size, 8);
}

static UNUSED void build_config(struct built *b, unsigned int i, const char *name,
				const void *data, size_t len)
{
	put(b->p + 2044 + 4 * i, build_blob(b, name, strlen(name) + 1), 4);
	put(b->p + 3068 + 4 * i, build_blob(b, data, len), 4);
}

static UNUSED void seal_header(struct built *b)
{
	seal_at(b, 0, b->header, 32);
}

static UNUSED void build_extent(struct built *b)
{
	b->extent = b->len;
	grow(b, 512);
	memcpy(b->p + b->extent, "VMAE", 4);
	memset(b->p + b->extent + 8, 0xab, 16);
}

static UNUSED void build_info(struct built *b, unsigned int slot, unsigned int dev,
			      uint32_t cluster, uint16_t mask)
{
	put(b->p + b->extent + 40 + 8 * slot,
	    (uint64_t)mask << 48 | (uint64_t)dev << 32 | cluster, 8);
}

/* One block of data, full of one byte. */
static UNUSED void build_block(struct built *b, int byte)
{
	grow(b, 4096);
	memset(b->p + b->len - 4096, byte, 4096);
}

static UNUSED void seal_extent(struct built *b, unsigned int blocks)
{
	put(b->p + b->extent + 6, blocks, 2);
	seal_at(b, b->extent, 512, 24);
}

/* An extent with one all-zero cluster. */
static UNUSED void build_zero_cluster(struct built *b, unsigned int dev, uint32_t cluster)
{
	build_extent(b);
	build_info(b, 0, dev, cluster, 0);
	seal_extent(b, 0);
}

static UNUSED ssize_t built_read(void *ctx, void *buf, size_t len, struct vma_error *err)
{
	struct built *b = ctx;

	(void)err;
	b->reads++;
	if (len > b->len - b->pos)
		len = b->len - b->pos;
	memcpy(buf, b->p + b->pos, len);
	b->pos += len;
	return len;
}

static UNUSED void built_free(struct built *b)
{
	free(b->p);
	memset(b, 0, sizeof(*b));
}

#endif /* ARCHIVE_BUILDER_H */
