/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An archive of two devices and what is in it, for tests: as bytes, compressed in frames with a
 * seek table, as a file in memory, its index; an index with wrong fields and right sums.
 */
#ifndef ARCHIVE_MODEL_H
#define ARCHIVE_MODEL_H

#include <pthread.h>
#include <sha2.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zstd.h>

#include "archive/archive.h"
#include "summed-archive.h"

#define BLOCK	4096
#define CLUSTER	65536

#define INDEX_END	152	/* bytes at the end of an index */

/* ---- files in memory --------------------------------------------------- */

struct file {
	int fd;
	char path[32];
};

static UNUSED struct file file_of(const void *p, size_t len)
{
	struct file f = { .fd = memfd_create("test", 0) };

	assert_true(f.fd >= 0);
	assert_int_equal(write(f.fd, p, len), len);
	snprintf(f.path, sizeof(f.path), "/proc/self/fd/%d", f.fd);
	return f;
}

static UNUSED void put_le(uint8_t *p, uint64_t v)
{
	for (int i = 0; i < 4; i++)
		p[i] = v >> 8 * i;
}

/* Compresses in frames of so many bytes, and adds a seek table. */
static UNUSED struct built seekable(const struct built *b, size_t frame)
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

static UNUSED struct archive *open_with(const char *path, const struct archive_options *o)
{
	struct archive *a = NULL;
	struct vma_error err = { "" };

	if (archive_open(&a, path, o, &err) != 0)
		fail_msg("%s", err.text);
	return a;
}

static UNUSED int append(void *ctx, const struct iovec *iov, int iovcnt, struct vma_error *err)
{
	struct built *b = ctx;

	(void)err;
	for (int i = 0; i < iovcnt; i++) {
		grow(b, iov[i].iov_len);
		memcpy(b->p + b->len - iov[i].iov_len, iov[i].iov_base, iov[i].iov_len);
	}
	return 0;
}

static UNUSED struct built index_of(const char *path)
{
	struct archive *a = open_with(path, NULL);
	struct built x = { 0 };

	assert_int_equal(archive_index_state(a), ARCHIVE_INDEX_MADE);
	assert_int_equal(archive_save_index(a, append, &x, NULL), 0);
	archive_close(a);
	return x;
}

/* ---- an index, changed --------------------------------------------------- */

static void sha(const uint8_t *p, size_t len, uint8_t *sum)
{
	SHA2_CTX ctx;

	SHA256Init(&ctx);
	SHA256Update(&ctx, p, len);
	SHA256Final(sum, &ctx);
}

/* All sums right, one field wrong. */
static UNUSED void reseal(struct built *x)
{
	uint8_t *end = x->p + x->len - INDEX_END;

	if (get(end + 64, 8) == x->len - INDEX_END - get(end + 56, 8))
		sha(x->p + get(end + 56, 8), get(end + 64, 8), end + 88);
	sha(end, 120, end + 120);
}

/* ---- an archive and what is in it ------------------------------------- */

struct model {
	bool summed;			/* set before it is made */
	struct built b;
	uint64_t sizes[3];		/* by dev_id */
	uint8_t *content[3];
	uint8_t *map[3];		/* 1 for each block that is stored */
};

/* A step of a repeatable shuffle. */
static UNUSED uint32_t next_random(uint32_t *state)
{
	*state = *state * 1664525u + 1013904223u;
	return *state >> 8;
}

static UNUSED void model_cluster(struct model *m, unsigned int slot, unsigned int dev,
				 uint32_t cluster, uint16_t mask)
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

static void model_seal(struct model *m)
{
	if (m->summed)
		sum_extent(&m->b);
	else
		seal_extent(&m->b, (m->b.len - m->b.extent - 512) / BLOCK);
}

/*
 * Device 1 has more clusters than a page of an index; most hold nothing, and its third page is
 * all zero. The clusters of both come in an order of their own, `step` apart.
 */
static UNUSED void model_make(struct model *m, uint64_t clusters, uint32_t step)
{
	static const uint16_t masks[] = { 0xffff, 0, 0x8001, 0x00f0, 0x7fff, 0, 0x5555 };
	uint32_t random = 7, at = 0;
	unsigned int full = m->summed ? 58 : 59, slot = full;

	m->b = (struct built){ 0 };
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
		if (slot == full) {
			if (n)
				model_seal(m);
			build_extent(&m->b);
			slot = 0;
		}
		/* An entry that is not in use, now and then. */
		if (slot < full - 1 && n % 50 == 3)
			slot++;
		model_cluster(m, slot++, small ? 2 : 1, cluster, mask);
		at = (at + step) % clusters;
	}
	model_seal(m);
}

static UNUSED void model_free(struct model *m)
{
	built_free(&m->b);
	for (int i = 1; i < 3; i++) {
		free(m->content[i]);
		free(m->map[i]);
	}
}

static UNUSED void check_range(struct archive *a, const struct model *m, int dev, uint64_t offset,
			size_t len)
{
	static uint8_t buf[200001];
	struct vma_error err = { "" };

	memset(buf, 0xee, len + 1);
	if (archive_read(a, dev, offset, buf, len, &err) != 0)
		fail_msg("%d %ju %zu: %s", dev, (uintmax_t)offset, len, err.text);
	assert_true(memcmp(buf, m->content[dev] + offset, len) == 0);
	assert_int_equal(buf[len], 0xee);
}

/* memcmp(): the loops of assert_memory_equal() take minutes under valgrind. */
static UNUSED void check_whole(struct archive *a, const struct model *m, int dev)
{
	static uint8_t buf[1 << 20];

	for (uint64_t at = 0; at < m->sizes[dev]; at += sizeof(buf)) {
		uint64_t left = m->sizes[dev] - at;
		size_t len = left < sizeof(buf) ? left : sizeof(buf);

		assert_int_equal(archive_read(a, dev, at, buf, len, NULL), 0);
		assert_true(memcmp(buf, m->content[dev] + at, len) == 0);
	}
}

static UNUSED void check_all(struct archive *a, const struct model *m)
{
	static const size_t lengths[] = { 1, 511, 512, 4097, 65536, 70000, 200000 };
	uint32_t random = 99;

	for (int dev = 1; dev < 3; dev++) {
		check_whole(a, m, dev);
		check_range(a, m, dev, m->sizes[dev], 0);
		for (int i = 0; i < 350; i++) {
			size_t len = lengths[i % 7];
			uint64_t at = ((uint64_t)next_random(&random) << 8) % m->sizes[dev];

			if (i % 3)
				at -= at % BLOCK;
			if (len <= m->sizes[dev] - at)
				check_range(a, m, dev, at, len);
		}
	}
}

/* From block to block and from within blocks: the runs are exactly those of the model. */
static UNUSED void check_map(struct archive *a, const struct model *m)
{
	struct vma_error err;

	for (int dev = 1; dev < 3; dev++) {
		uint64_t at = 0;

		while (at < m->sizes[dev]) {
			uint8_t want = m->map[dev][at / BLOCK];
			uint64_t run, end = at;
			bool data;

			while (end < m->sizes[dev] && m->map[dev][end / BLOCK] == want)
				end += BLOCK;
			if (end > m->sizes[dev])
				end = m->sizes[dev];
			for (int off = 0; off < 1024; off += 512) {
				if (at + off >= end)
					continue;
				assert_int_equal(archive_map(a, dev, at + off,
							     m->sizes[dev] - at - off, &data, &run,
							     &err), 0);
				assert_int_equal(data, want);
				assert_int_equal(run, end - at - off);
				assert_int_equal(archive_map(a, dev, at + off, 1, &data, &run,
							     &err), 0);
				assert_int_equal(run, 1);
			}
			at = end;
		}
	}
}

/* ---- many readers ------------------------------------------------------ */

struct job {
	struct archive *a;
	const struct model *m;
	uint32_t seed;
	int wrong;
};

static UNUSED void *model_reader(void *arg)
{
	struct job *j = arg;
	uint8_t *buf = malloc(100000);

	for (int i = 0; i < 200; i++) {
		uint64_t at = ((uint64_t)next_random(&j->seed) << 8) % (j->m->sizes[1] - 100000);
		size_t len = 1 + next_random(&j->seed) % 100000;

		if (archive_read(j->a, 1, at, buf, len, NULL) != 0 ||
		    memcmp(buf, j->m->content[1] + at, len) != 0)
			j->wrong++;
	}
	free(buf);
	return NULL;
}

/* Eight of them, of device 1. */
static UNUSED void check_threads(struct archive *a, const struct model *m)
{
	pthread_t ids[8];
	struct job jobs[8];

	for (int i = 0; i < 8; i++) {
		jobs[i] = (struct job){ .a = a, .m = m, .seed = i };
		assert_int_equal(pthread_create(&ids[i], NULL, model_reader, &jobs[i]), 0);
	}
	for (int i = 0; i < 8; i++) {
		pthread_join(ids[i], NULL);
		assert_int_equal(jobs[i].wrong, 0);
	}
}

#endif /* ARCHIVE_MODEL_H */
