// SPDX-License-Identifier: GPL-2.0-or-later
/* libvma/writer: the bytes of extents, judged by a parser of the test's own. */
#include <errno.h>
#include <stdio.h>
#include <sys/uio.h>

#include "archive-builder.h"

#define CLUSTER 65536

static const uint8_t uuid[16] = { 9, 8, 7, 6, 5, 4, 3, 2, 1 };

struct fixture {
	struct vma_header *h;
	struct vma_writer *w;
};

static struct fixture with_devices(uint64_t first, uint64_t second)
{
	struct fixture f;

	f.h = vma_header_new(uuid, 1);
	assert_int_equal(vma_header_add_device(f.h, "a", first, NULL), 1);
	if (second)
		assert_int_equal(vma_header_add_device(f.h, "b", second, NULL), 2);
	assert_int_equal(vma_writer_new(&f.w, f.h, NULL), 0);
	return f;
}

static void done(struct fixture *f)
{
	vma_writer_free(f->w);
	vma_header_free(f->h);
}

/* Takes the extent as one piece of memory, checks what all extents have in common. */
static uint8_t *taken(struct vma_writer *w, size_t *len)
{
	struct iovec *iov;
	uint8_t copy[512], *p;
	unsigned int bits = 0;
	MD5_CTX ctx;
	uint8_t sum[16];
	size_t at = 0;
	ssize_t bytes;
	int cnt;

	bytes = vma_writer_take(w, &iov, &cnt);
	assert_in_range(bytes, 512, 512 + 59 * CLUSTER);
	p = malloc(bytes);
	assert_non_null(p);
	/* One system call takes all of it. */
	assert_in_range(cnt, 1, 1024);
	for (int i = 0; i < cnt; i++) {
		assert_true(at + iov[i].iov_len <= (size_t)bytes);
		memcpy(p + at, iov[i].iov_base, iov[i].iov_len);
		at += iov[i].iov_len;
	}
	assert_int_equal(at, bytes);

	assert_memory_equal(p, "VMAE\0\0", 6);
	assert_memory_equal(p + 8, uuid, 16);
	memcpy(copy, p, 512);
	memset(copy + 24, 0, 16);
	MD5Init(&ctx);
	MD5Update(&ctx, copy, 512);
	MD5Final(sum, &ctx);
	assert_memory_equal(p + 24, sum, 16);
	for (int i = 0; i < 58; i++)
		bits += __builtin_popcount(get(p + 40 + 8 * i, 2));
	/* The last one names no device. */
	assert_int_equal(p[40 + 8 * 58 + 3], 0);
	assert_int_equal(get(p + 6, 2), bits);
	assert_int_equal(bytes, 512 + bits * 4096);
	*len = bytes;
	return p;
}

/* Without the byte that other readers ignore: test-data-sum.c looks at that. */
static uint64_t info(const uint8_t *extent, unsigned int slot)
{
	return get(extent + 40 + 8 * slot, 8) & ~(0xffull << 40);
}

static void masks_and_order(void **state)
{
	static const uint16_t masks[] = { 0xffff, 0x0000, 0x0001, 0x8000, 0x5555, 0xaaaa, 0x7ffe };
	enum { NR = sizeof(masks) / sizeof(masks[0]) };
	static uint8_t data[NR][CLUSTER];
	struct fixture f = with_devices(NR * CLUSTER, 0);
	uint8_t *p, *at;
	size_t len;

	(void)state;
	for (int i = 0; i < NR; i++) {
		memset(data[i], 0, CLUSTER);
		for (int bit = 0; bit < 16; bit++)
			/* One byte at a place of its own makes a block worth storing. */
			if (masks[i] & 1 << bit)
				data[i][bit * 4096 + (i * 16 + bit) * 31] = 1 + i * 16 + bit;
		assert_int_equal(vma_writer_add(f.w, 1, NR - 1 - i, data[i], NULL), 0);
		assert_int_equal(vma_writer_pending(f.w), i + 1);
	}
	p = taken(f.w, &len);
	assert_int_equal(vma_writer_pending(f.w), 0);
	at = p + 512;
	for (int i = 0; i < NR; i++) {
		assert_int_equal(info(p, i),
				 (uint64_t)masks[i] << 48 | 1ull << 32 | (NR - 1 - i));
		for (int bit = 0; bit < 16; bit++) {
			if (!(masks[i] & 1 << bit))
				continue;
			assert_memory_equal(at, data[i] + bit * 4096, 4096);
			at += 4096;
		}
	}
	for (int i = NR; i < 58; i++)
		assert_int_equal(info(p, i), 0);
	assert_int_equal(at - p, len);
	free(p);
	assert_int_equal(vma_writer_finish(f.w, NULL), 0);
	done(&f);
}

/* Rule 3: no bits past the end, the rest of the last block is zero, memory behind is not read. */
static void short_last_cluster(void **state)
{
	static const struct {
		uint32_t length;
		uint16_t mask;
	} cases[] = {
		{ 512, 0x0001 }, { 4096, 0x0001 }, { 4608, 0x0003 }, { 8192, 0x0003 },
		{ 61440, 0x7fff }, { 61952, 0xffff }, { 65024, 0xffff },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint32_t length = cases[i].length, padded = (length + 4095) / 4096 * 4096;
		struct fixture f = with_devices(CLUSTER + length, 0);
		uint8_t *data = malloc(length), *p;
		size_t len;

		assert_non_null(data);
		memset(data, 0xee, length);
		assert_int_equal(vma_writer_add(f.w, 1, 1, data, NULL), 0);
		p = taken(f.w, &len);
		assert_int_equal(info(p, 0), (uint64_t)cases[i].mask << 48 | 1ull << 32 | 1);
		assert_int_equal(len, 512 + padded);
		assert_memory_equal(p + 512, data, length);
		for (uint32_t k = length; k < padded; k++)
			assert_int_equal(p[512 + k], 0);
		free(p);
		free(data);
		done(&f);
	}
}

static void zero_clusters(void **state)
{
	static const uint8_t zeroes[CLUSTER];
	struct fixture f = with_devices(2 * CLUSTER + 512, 0);
	struct vma_writer_stats stats;
	uint8_t *p;
	size_t len;

	(void)state;
	assert_int_equal(vma_writer_add(f.w, 1, 0, NULL, NULL), 0);
	assert_int_equal(vma_writer_add(f.w, 1, 1, zeroes, NULL), 0);
	assert_int_equal(vma_writer_add(f.w, 1, 2, zeroes, NULL), 0);
	p = taken(f.w, &len);
	assert_int_equal(len, 512);
	for (int i = 0; i < 3; i++)
		assert_int_equal(info(p, i), 1ull << 32 | i);
	free(p);
	vma_writer_stats(f.w, &stats);
	assert_int_equal(stats.clusters, 3);
	assert_int_equal(stats.zero_clusters, 3);
	assert_int_equal(stats.data_bytes, 0);
	assert_int_equal(stats.bytes, 512);
	done(&f);
}

static void full_extents(void **state)
{
	static uint8_t data[58][CLUSTER];
	struct fixture f = with_devices(59 * CLUSTER, 0);
	struct vma_writer_stats stats;
	struct vma_error err = { "" };
	uint8_t *p;
	size_t len;

	(void)state;
	/* Every other block: as many pieces as there can be. */
	for (int i = 0; i < 58; i++) {
		for (int bit = 0; bit < 16; bit += 2)
			memset(data[i] + bit * 4096, i + 1, 4096);
		assert_int_equal(vma_writer_add(f.w, 1, i, data[i], NULL), i == 57);
	}
	assert_int_equal(vma_writer_add(f.w, 1, 58, NULL, &err), -ENOBUFS);
	assert_true(strlen(err.text) > 0);
	p = taken(f.w, &len);
	assert_int_equal(len, 512 + 58 * 8 * 4096);
	for (int i = 0; i < 58; i++) {
		assert_int_equal(info(p, i), 0x5555ull << 48 | 1ull << 32 | i);
		assert_int_equal(p[512 + i * 8 * 4096], i + 1);
	}
	free(p);
	/* What was refused may be added now: nothing had been noted. */
	assert_int_equal(vma_writer_add(f.w, 1, 58, NULL, NULL), 0);
	p = taken(f.w, &len);
	assert_int_equal(info(p, 0), 1ull << 32 | 58);
	assert_int_equal(info(p, 1), 0);
	free(p);
	assert_int_equal(vma_writer_finish(f.w, NULL), 0);
	vma_writer_stats(f.w, &stats);
	assert_int_equal(stats.clusters, 59);
	assert_int_equal(stats.zero_clusters, 1);
	assert_int_equal(stats.data_bytes, 58 * 8 * 4096);
	assert_int_equal(stats.bytes, 2 * 512 + 58 * 8 * 4096);
	done(&f);
}

/* Clusters of both devices short: the pieces to fill up with must all find room. */
static void many_short_devices(void **state)
{
	struct vma_header *h = vma_header_new(uuid, 1);
	static uint8_t data[CLUSTER];
	struct vma_writer *w;
	uint8_t *p;
	size_t len;

	(void)state;
	for (int bit = 0; bit < 16; bit += 2)
		memset(data + bit * 4096, 1, 4096);
	for (int i = 1; i <= 58; i++) {
		char name[8];

		snprintf(name, sizeof(name), "d%d", i);
		assert_int_equal(vma_header_add_device(h, name, 14 * 4096 + 512, NULL), i);
	}
	assert_int_equal(vma_writer_new(&w, h, NULL), 0);
	for (int i = 1; i <= 58; i++)
		assert_int_equal(vma_writer_add(w, i, 0, data, NULL), i == 58);
	p = taken(w, &len);
	assert_int_equal(len, 512 + 58 * 8 * 4096);
	free(p);
	vma_writer_free(w);
	vma_header_free(h);
}

static void refused(struct vma_writer *w, unsigned int dev, uint64_t cluster, int code)
{
	struct vma_error err = { "" };

	assert_int_equal(vma_writer_add(w, dev, cluster, NULL, &err), code);
	assert_true(strlen(err.text) > 0);
}

static void each_cluster_once(void **state)
{
	struct fixture f = with_devices(3 * CLUSTER, 512);
	struct vma_error err = { "" };
	uint8_t *p;
	size_t len;

	(void)state;
	refused(f.w, 0, 0, -ENOENT);
	refused(f.w, 3, 0, -ENOENT);
	refused(f.w, 255, 0, -ENOENT);
	refused(f.w, 256, 0, -ENOENT);
	refused(f.w, 1, 3, -ERANGE);
	refused(f.w, 1, 1ull << 32, -ERANGE);
	refused(f.w, 1, UINT64_MAX, -ERANGE);
	refused(f.w, 2, 1, -ERANGE);
	assert_int_equal(vma_writer_pending(f.w), 0);

	assert_int_equal(vma_writer_finish(f.w, &err), -ENODATA);
	assert_int_equal(vma_writer_add(f.w, 1, 2, NULL, NULL), 0);
	refused(f.w, 1, 2, -EEXIST);
	assert_int_equal(vma_writer_add(f.w, 1, 0, NULL, NULL), 0);
	assert_int_equal(vma_writer_add(f.w, 2, 0, NULL, NULL), 0);
	assert_int_equal(vma_writer_pending(f.w), 3);
	p = taken(f.w, &len);
	free(p);
	refused(f.w, 1, 2, -EEXIST);
	assert_int_equal(vma_writer_finish(f.w, &err), -ENODATA);
	assert_non_null(strstr(err.text, "device a: cluster 1 "));

	/* Added, but still with the writer: not in the archive yet. */
	assert_int_equal(vma_writer_add(f.w, 1, 1, NULL, NULL), 0);
	assert_int_equal(vma_writer_finish(f.w, &err), -ENODATA);
	p = taken(f.w, &len);
	free(p);
	assert_int_equal(vma_writer_finish(f.w, &err), 0);
	done(&f);
}

static void nothing_to_take(void **state)
{
	struct fixture f = with_devices(512, 0);
	struct iovec *iov;
	uint8_t *p;
	size_t len;
	int cnt;

	(void)state;
	assert_int_equal(vma_writer_take(f.w, &iov, &cnt), 0);
	assert_int_equal(cnt, 0);
	assert_int_equal(vma_writer_add(f.w, 1, 0, NULL, NULL), 0);
	p = taken(f.w, &len);
	free(p);
	assert_int_equal(vma_writer_take(f.w, &iov, &cnt), 0);
	done(&f);
}

static void vmstate_comes_in_order(void **state)
{
	struct vma_header *h = vma_header_new(uuid, 1);
	struct vma_writer *w;

	(void)state;
	assert_int_equal(vma_header_add_device(h, "vmstate", 3 * CLUSTER, NULL), 1);
	assert_int_equal(vma_writer_new(&w, h, NULL), 0);
	refused(w, 1, 1, -EINVAL);
	assert_int_equal(vma_writer_add(w, 1, 0, NULL, NULL), 0);
	refused(w, 1, 2, -EINVAL);
	refused(w, 1, 0, -EEXIST);
	assert_int_equal(vma_writer_add(w, 1, 1, NULL, NULL), 0);
	assert_int_equal(vma_writer_add(w, 1, 2, NULL, NULL), 0);
	vma_writer_free(w);
	vma_header_free(h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(masks_and_order),
		cmocka_unit_test(short_last_cluster),
		cmocka_unit_test(zero_clusters),
		cmocka_unit_test(full_extents),
		cmocka_unit_test(many_short_devices),
		cmocka_unit_test(each_cluster_once),
		cmocka_unit_test(nothing_to_take),
		cmocka_unit_test(vmstate_comes_in_order),
	};

	return cmocka_run_group_tests_name("writer", tests, NULL, NULL);
}
