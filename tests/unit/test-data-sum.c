// SPDX-License-Identifier: GPL-2.0-or-later
/* libvma/data-sum: where the sums lie and what they are, byte by byte. */
#include <stdio.h>
#include <sys/uio.h>
#include <xxhash.h>

#include "archive-builder.h"
#include "libvma/data-sum.h"
#include "summed-archive.h"

#define CLUSTER 65536

static void empty_cluster(void **state)
{
	struct data_sum *s = data_sum_new();

	(void)state;
	assert_non_null(s);
	/* XXH3's published value of no bytes. */
	data_sum_begin(s);
	assert_true(data_sum_end(s) == 0x2d06800538d394c2);
	data_sum_free(s);
}

/* What the writer makes is what the description says, computed by other means. */
static void written_sums(void **state)
{
	static const uint8_t uuid[16] = { 1 };
	static uint8_t data[CLUSTER];
	struct vma_header *h = vma_header_new(uuid, 1);
	uint8_t extent[512 + 3 * CLUSTER], *at = extent, sums[3 * 8];
	struct vma_writer *w;
	struct iovec *iov;
	uint64_t sum;
	int cnt;

	(void)state;
	assert_int_equal(vma_header_add_device(h, "a", 2 * CLUSTER + 4096 + 512, NULL), 1);
	assert_int_equal(vma_writer_new(&w, h, NULL), 0);
	for (int i = 0; i < CLUSTER; i++)
		data[i] = i / 4096 == 3 ? 0 : i * 7 + i / 4096 + 1;
	assert_int_equal(vma_writer_add(w, 1, 0, data, NULL), 0);
	assert_int_equal(vma_writer_add(w, 1, 1, NULL, NULL), 0);
	assert_int_equal(vma_writer_add(w, 1, 2, data, NULL), 0);
	vma_writer_take(w, &iov, &cnt);
	for (int i = 0; i < cnt; i++) {
		memcpy(at, iov[i].iov_base, iov[i].iov_len);
		at += iov[i].iov_len;
	}
	assert_int_equal(at - extent, 512 + 17 * 4096);

	put(sums, XXH3_64bits(extent + 512, 15 * 4096), 8);
	put(sums + 8, XXH3_64bits("", 0), 8);
	put(sums + 16, XXH3_64bits(extent + 512 + 15 * 4096, 2 * 4096), 8);
	sum = XXH3_64bits(sums, sizeof(sums));
	for (int i = 0; i < 3; i++)
		assert_int_equal(extent[40 + 8 * i + 2], sums[8 * i + 7]);
	/* Mask and cluster hold 48 bits of it, between them the tag and no device. */
	assert_int_equal(get(extent + 40 + 8 * 58, 2), sum >> 32 & 0xffff);
	assert_int_equal(extent[40 + 8 * 58 + 2], 0x58);
	assert_int_equal(extent[40 + 8 * 58 + 3], 0);
	assert_int_equal(get(extent + 40 + 8 * 58 + 4, 4), sum & 0xffffffff);
	for (int i = 3; i < 58; i++)
		assert_int_equal(get(extent + 40 + 8 * i, 8), 0);
	vma_writer_free(w);
	vma_header_free(h);
}

static void check_tells_the_cluster(void **state)
{
	struct built b;
	struct data_check check;

	(void)state;
	build_summed(&b);
	assert_true(data_sum_there(b.p + b.extent));
	check = data_sum_check(b.p + b.extent, b.p + b.extent + 512);
	assert_true(check.there && check.right && !check.differs);

	b.p[b.extent + 512 + 4096 + 17] ^= 0x10;
	check = data_sum_check(b.p + b.extent, b.p + b.extent + 512);
	assert_true(check.there && !check.right);
	/* Its second cluster with data, of blockinfo 2. */
	assert_true(check.differs == 1u << 2);
	built_free(&b);
}

static void other_tags_are_no_sums(void **state)
{
	struct built b;
	struct data_check check;

	(void)state;
	build_summed(&b);
	b.p[b.extent + 40 + 8 * 58 + 2] = 0x59;
	check = data_sum_check(b.p + b.extent, b.p + b.extent + 512);
	assert_false(check.there);
	b.p[b.extent + 40 + 8 * 58 + 2] = 0x58;
	b.p[b.extent + 40 + 8 * 58 + 3] = 1;
	assert_false(data_sum_there(b.p + b.extent));
	built_free(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(empty_cluster),
		cmocka_unit_test(written_sums),
		cmocka_unit_test(check_tells_the_cluster),
		cmocka_unit_test(other_tags_are_no_sums),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
