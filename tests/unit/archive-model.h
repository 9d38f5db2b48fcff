/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An archive of two devices and what is in it, for tests: as bytes, compressed in frames with a
 * seek table, as a file in memory, and its index.
 */
#ifndef ARCHIVE_MODEL_H
#define ARCHIVE_MODEL_H

#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zstd.h>

#include "archive-builder.h"
#include "archive/archive.h"

#define BLOCK	4096
#define CLUSTER	65536

/* ---- files in memory --------------------------------------------------- */

struct file {
	int fd;
	char path[32];
};

static struct file file_of(const void *p, size_t len)
{
	struct file f = { .fd = memfd_create("test", 0) };

	assert_true(f.fd >= 0);
	assert_int_equal(write(f.fd, p, len), len);
	snprintf(f.path, sizeof(f.path), "/proc/self/fd/%d", f.fd);
	return f;
}

static void put_le(uint8_t *p, uint64_t v)
{
	for (int i = 0; i < 4; i++)
		p[i] = v >> 8 * i;
}

/* Compresses in frames of so many bytes, and adds a seek table. */
static struct built seekable(const struct built *b, size_t frame)
{
	struct built z = { 0 };
	size_t nr = (b->len + frame - 1) / frame, room = ZSTD_compressBound(frame);
	uint8_t *table = calloc(nr, 8), tail[17];
	ZSTD_CCtx *zstd = ZSTD_createCCtx();

	assert_non_null(table);
	ZSTD_CCtx_setParameter(zstd, ZSTD_c_checksumFlag, 1);
	for (size_t i = 0; i < nr; i++) {
		size_t n = b->len - i * frame < frame ? b->len - i * frame : frame, at = z.len, got;

		grow(&z, room);
		got = ZSTD_compress2(zstd, z.p + at, room, b->p + i * frame, n);
		assert_false(ZSTD_isError(got));
		z.len = at + got;
		put_le(table + 8 * i, got);
		put_le(table + 8 * i + 4, n);
	}
	grow(&z, 8 + 8 * nr + 9);
	put_le(tail, 0x184d2a5e);
	put_le(tail + 4, 8 * nr + 9);
	put_le(tail + 8, nr);
	tail[12] = 0;
	put_le(tail + 13, 0x8f92eab1);
	memcpy(z.p + z.len - 9 - 8 * nr - 8, tail, 8);
	memcpy(z.p + z.len - 9 - 8 * nr, table, 8 * nr);
	memcpy(z.p + z.len - 9, tail + 8, 9);
	free(table);
	ZSTD_freeCCtx(zstd);
	return z;
}

static struct archive *open_with(const char *path, const struct archive_options *o)
{
	struct archive *a = NULL;
	struct vma_error err = { "" };

	if (archive_open(&a, path, o, &err) != 0)
		fail_msg("%s", err.text);
	return a;
}

static int append(void *ctx, const struct iovec *iov, int iovcnt, struct vma_error *err)
{
	struct built *b = ctx;

	(void)err;
	for (int i = 0; i < iovcnt; i++) {
		grow(b, iov[i].iov_len);
		memcpy(b->p + b->len - iov[i].iov_len, iov[i].iov_base, iov[i].iov_len);
	}
	return 0;
}

static struct built index_of(const char *path)
{
	struct archive *a = open_with(path, NULL);
	struct built x = { 0 };

	assert_int_equal(archive_index_state(a), ARCHIVE_INDEX_MADE);
	assert_int_equal(archive_save_index(a, append, &x, NULL), 0);
	archive_close(a);
	return x;
}

/* ---- an archive and what is in it ------------------------------------- */

struct model {
	struct built b;
	uint64_t sizes[3];		/* by dev_id */
	uint8_t *content[3];
	uint8_t *map[3];		/* 1 for each block that is stored */
};

/* A step of a repeatable shuffle. */
static uint32_t next_random(uint32_t *state)
{
	*state = *state * 1664525u + 1013904223u;
	return *state >> 8;
}

static void model_cluster(struct model *m, unsigned int slot, unsigned int dev, uint32_t cluster,
			  uint16_t mask)
{
	build_info(&m->b, slot, dev, cluster, mask);
	for (int i = 0; i < 16; i++) {
		uint64_t at = (uint64_t)cluster * CLUSTER + i * BLOCK;
		int byte = 1 + (cluster * 16 + i) % 251;

		if (!(mask & 1u << i))
			continue;
		build_block(&m->b, byte);
		if (at >= m->sizes[dev])
			continue;
		memset(m->content[dev] + at, byte,
		       m->sizes[dev] - at < BLOCK ? m->sizes[dev] - at : BLOCK);
		m->map[dev][at / BLOCK] = 1;
	}
}

/*
 * Device 1 has more clusters than a page of an index; most hold nothing, and its third page is
 * all zero. The clusters of both come in an order of their own, `step` apart.
 */
static void model_make(struct model *m, uint64_t clusters, uint32_t step)
{
	static const uint16_t masks[] = { 0xffff, 0, 0x8001, 0x00f0, 0x7fff, 0, 0x5555 };
	uint32_t random = 7, at = 0;
	unsigned int slot = 59, blocks = 0;

	memset(m, 0, sizeof(*m));
	m->sizes[1] = clusters * CLUSTER - 3 * BLOCK - 512;
	m->sizes[2] = 3 * CLUSTER + 512;
	for (int i = 1; i < 3; i++) {
		m->content[i] = calloc(1, m->sizes[i] + BLOCK);
		m->map[i] = calloc(1, m->sizes[i] / BLOCK + 2);
	}
	build_header(&m->b, 512);
	build_device(&m->b, 1, "large", m->sizes[1]);
	build_device(&m->b, 2, "small", m->sizes[2]);
	seal_header(&m->b);
	for (uint32_t n = 0; n < clusters + 4; n++) {
		bool small = n >= clusters;
		uint32_t cluster = small ? n - clusters : at;
		uint16_t mask = masks[next_random(&random) % 7];

		if (!small && ((cluster >> 10 == 2) || (cluster >> 10 && cluster % 64)))
			mask = 0;
		if (slot == 59) {
			if (n)
				seal_extent(&m->b, blocks);
			build_extent(&m->b);
			slot = blocks = 0;
		}
		/* An entry that is not in use, now and then. */
		if (slot < 58 && n % 50 == 3)
			slot++;
		model_cluster(m, slot++, small ? 2 : 1, cluster, mask);
		blocks += __builtin_popcount(mask);
		at = (at + step) % clusters;
	}
	seal_extent(&m->b, blocks);
}

static void model_free(struct model *m)
{
	built_free(&m->b);
	for (int i = 1; i < 3; i++) {
		free(m->content[i]);
		free(m->map[i]);
	}
}

#endif
