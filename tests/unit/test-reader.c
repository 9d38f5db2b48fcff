// SPDX-License-Identifier: GPL-2.0-or-later
/* libvma/reader: what a robust reader must take, and what it must refuse, in extents. */
#include <errno.h>
#include <stdio.h>

#include "archive-builder.h"

#define CLUSTER 65536

/* One device of three clusters, the last of them 4 KiB and 512 bytes: blocks 0 and 1 only. */
#define SIZE (2 * CLUSTER + 4096 + 512)

static void with_device(struct built *b)
{
	build_header(b, 512);
	build_device(b, 1, "drive-scsi0", SIZE);
	seal_header(b);
}

static struct vma_reader *open_good(struct built *b)
{
	struct vma_reader *r = NULL;
	struct vma_error err = { "" };

	if (vma_reader_open(&r, built_read, b, &err) != 0)
		fail_msg("%s", err.text);
	return r;
}

/* Reads to the end; returns what ended it, vma_reader_finish() included. */
static int read_to_end(struct vma_reader *r, unsigned int *clusters, struct vma_error *err)
{
	struct vma_cluster c;
	int ret;

	*clusters = 0;
	while ((ret = vma_reader_next(r, &c, err)) == 1)
		++*clusters;
	return ret ? ret : vma_reader_finish(r, err);
}

static void take(struct built *b, unsigned int want)
{
	struct vma_reader *r = open_good(b);
	struct vma_error err = { "" };
	unsigned int clusters;

	if (read_to_end(r, &clusters, &err) != 0)
		fail_msg("%s", err.text);
	assert_int_equal(clusters, want);
	vma_reader_free(r);
	built_free(b);
}

/* After `good` clusters comes the failure, with these words, and it stays. */
static void refuse_as(struct built *b, unsigned int good, int code, const char *words)
{
	struct vma_reader *r = open_good(b);
	struct vma_error err = { "" }, again = { "" };
	struct vma_cluster c;
	unsigned int clusters;

	assert_int_equal(read_to_end(r, &clusters, &err), code);
	assert_int_equal(clusters, good);
	if (!strstr(err.text, words))
		fail_msg("\"%s\" lacks \"%s\"", err.text, words);
	assert_null(strchr(err.text, '\n'));
	if (code != -ENODATA) {
		assert_int_equal(vma_reader_next(r, &c, &again), code);
		assert_string_equal(again.text, err.text);
	}
	assert_int_equal(vma_reader_finish(r, &again), code);
	vma_reader_free(r);
	built_free(b);
}

static void refuse(struct built *b, unsigned int good, const char *words)
{
	refuse_as(b, good, -EBADMSG, words);
}

/* ---- content ---------------------------------------------------------- */

/* Every mask bit alone, and all of them: data must come from and go to the right place. */
static void placement(void **state)
{
	static const uint16_t masks[] = {
		0x0000, 0x0001, 0x8000, 0x8001, 0x5555, 0xaaaa, 0x7fff, 0xfffe, 0xffff, 0x00ff,
	};
	enum { NR = sizeof(masks) / sizeof(masks[0]) };
	struct vma_reader *r;
	struct vma_cluster c;
	struct built b;
	int byte = 1;

	(void)state;
	build_header(&b, 512);
	build_device(&b, 7, "disk", NR * CLUSTER);
	seal_header(&b);
	build_extent(&b);
	/* From the last to the first. */
	for (int i = NR; i--;)
		build_info(&b, NR - 1 - i, 7, i, masks[i]);
	for (int i = NR; i--;)
		for (int bit = 0; bit < 16; bit++)
			if (masks[i] & 1 << bit)
				build_block(&b, byte++ & 0xff);
	seal_extent(&b, byte - 1);
	r = open_good(&b);
	byte = 1;
	for (int i = NR; i--;) {
		assert_int_equal(vma_reader_next(r, &c, NULL), 1);
		assert_int_equal(c.dev_id, 7);
		assert_int_equal(c.cluster, i);
		assert_int_equal(c.offset, i * CLUSTER);
		assert_int_equal(c.length, CLUSTER);
		assert_int_equal(c.mask, masks[i]);
		for (int bit = 0; bit < 16; bit++) {
			int want = masks[i] & 1 << bit ? byte++ & 0xff : 0;

			for (int k = 0; k < 4096; k++)
				assert_int_equal(c.data[bit * 4096 + k], want);
		}
	}
	assert_int_equal(vma_reader_next(r, &c, NULL), 0);
	assert_int_equal(vma_reader_next(r, &c, NULL), 0);
	assert_int_equal(vma_reader_finish(r, NULL), 0);
	vma_reader_free(r);
	built_free(&b);
}

static void full_extent_of_59_clusters(void **state)
{
	struct vma_reader *r;
	struct vma_cluster c;
	struct built b;

	(void)state;
	build_header(&b, 512);
	build_device(&b, 254, "disk", 59 * CLUSTER);
	seal_header(&b);
	build_extent(&b);
	for (int i = 0; i < 59; i++)
		build_info(&b, i, 254, i, 0xffff);
	for (int i = 0; i < 944; i++)
		build_block(&b, i % 251);
	seal_extent(&b, 944);
	r = open_good(&b);
	for (int i = 0; i < 59; i++) {
		assert_int_equal(vma_reader_next(r, &c, NULL), 1);
		for (int bit = 0; bit < 16; bit++) {
			assert_int_equal(c.data[bit * 4096], (i * 16 + bit) % 251);
			assert_int_equal(c.data[bit * 4096 + 4095], (i * 16 + bit) % 251);
		}
	}
	assert_int_equal(vma_reader_next(r, &c, NULL), 0);
	assert_int_equal(vma_reader_finish(r, NULL), 0);
	vma_reader_free(r);
	built_free(&b);
}

/* Mask 0xffff on the short last cluster, and rubbish past the end of its last block. */
static void short_last_cluster_is_clipped(void **state)
{
	struct vma_reader *r;
	struct vma_cluster c;
	struct built b;

	(void)state;
	with_device(&b);
	build_extent(&b);
	build_info(&b, 0, 1, 2, 0xffff);
	build_info(&b, 1, 1, 0, 0x0001);
	for (int i = 0; i < 16; i++)
		build_block(&b, 0x10 + i);
	build_block(&b, 0x77);
	seal_extent(&b, 17);
	build_zero_cluster(&b, 1, 1);
	r = open_good(&b);
	assert_int_equal(vma_reader_next(r, &c, NULL), 1);
	assert_int_equal(c.cluster, 2);
	assert_int_equal(c.length, 4096 + 512);
	assert_int_equal(c.mask, 0x0003);
	assert_int_equal(c.data[0], 0x10);
	assert_int_equal(c.data[4095], 0x10);
	assert_int_equal(c.data[4096], 0x11);
	assert_int_equal(c.data[4096 + 511], 0x11);
	for (int i = 4096 + 512; i < CLUSTER; i++)
		assert_int_equal(c.data[i], 0);
	assert_int_equal(vma_reader_next(r, &c, NULL), 1);
	assert_int_equal(c.cluster, 0);
	assert_int_equal(c.data[0], 0x77);
	assert_int_equal(vma_reader_next(r, &c, NULL), 1);
	assert_int_equal(vma_reader_next(r, &c, NULL), 0);
	assert_int_equal(vma_reader_finish(r, NULL), 0);
	vma_reader_free(r);
	built_free(&b);
}

/* Only bits past the end: nothing of the device is stored, but the block must be passed over. */
static void mask_wholly_past_the_end(void **state)
{
	struct vma_reader *r;
	struct vma_cluster c;
	struct built b;

	(void)state;
	with_device(&b);
	build_extent(&b);
	build_info(&b, 0, 1, 2, 0x8000);
	build_info(&b, 1, 1, 0, 0x0001);
	build_block(&b, 0x66);
	build_block(&b, 0x55);
	seal_extent(&b, 2);
	build_zero_cluster(&b, 1, 1);
	r = open_good(&b);
	assert_int_equal(vma_reader_next(r, &c, NULL), 1);
	assert_int_equal(c.mask, 0);
	for (int i = 0; i < CLUSTER; i++)
		assert_int_equal(c.data[i], 0);
	assert_int_equal(vma_reader_next(r, &c, NULL), 1);
	assert_int_equal(c.data[0], 0x55);
	vma_reader_free(r);
	built_free(&b);
}

/* ---- must take --------------------------------------------------------- */

static void header_only_extents(void **state)
{
	struct built b;

	(void)state;
	with_device(&b);
	build_extent(&b);
	seal_extent(&b, 0);
	for (int i = 0; i < 3; i++)
		build_zero_cluster(&b, 1, i);
	build_extent(&b);
	seal_extent(&b, 0);
	take(&b, 3);
}

static void no_devices_no_extents(void **state)
{
	struct built b;

	(void)state;
	build_header(&b, 512);
	seal_header(&b);
	take(&b, 0);
}

static void unused_blockinfo_between(void **state)
{
	struct built b;

	(void)state;
	with_device(&b);
	build_extent(&b);
	build_info(&b, 5, 1, 0, 0);
	build_info(&b, 30, 1, 1, 0x0100);
	build_info(&b, 58, 1, 2, 0);
	/* Not in use, whatever else it holds. */
	build_info(&b, 17, 0, 99, 0xffff);
	build_block(&b, 3);
	seal_extent(&b, 1);
	take(&b, 3);
}

static void reserved_byte_of_blockinfo(void **state)
{
	struct built b;

	(void)state;
	with_device(&b);
	for (int i = 0; i < 3; i++) {
		build_zero_cluster(&b, 1, i);
		b.p[b.extent + 40 + 2] = 0xee;
		seal_extent(&b, 0);
	}
	take(&b, 3);
}

static void devices_interleaved(void **state)
{
	struct built b;

	(void)state;
	build_header(&b, 512);
	build_device(&b, 1, "a", 3 * CLUSTER);
	build_device(&b, 200, "b", 2 * CLUSTER);
	seal_header(&b);
	build_zero_cluster(&b, 200, 1);
	build_zero_cluster(&b, 1, 2);
	build_zero_cluster(&b, 1, 0);
	build_zero_cluster(&b, 200, 0);
	build_zero_cluster(&b, 1, 1);
	take(&b, 5);
}

/* ---- must refuse ------------------------------------------------------- */

static void all_zero(struct built *b)
{
	with_device(b);
	for (int i = 0; i < 3; i++)
		build_zero_cluster(b, 1, i);
}

static void bad_extent_headers(void **state)
{
	struct built b;

	(void)state;
	all_zero(&b);
	take(&b, 3);

	all_zero(&b);
	b.p[b.extent + 3] = 'X';
	seal_extent(&b, 0);
	refuse(&b, 2, "magic");

	all_zero(&b);
	b.p[b.extent + 24] ^= 1;
	refuse(&b, 2, "checksum");

	all_zero(&b);
	b.p[b.extent + 511] ^= 1;
	refuse(&b, 2, "checksum");

	all_zero(&b);
	b.p[b.extent + 8] ^= 1;
	seal_extent(&b, 0);
	refuse(&b, 2, "uuid");

	all_zero(&b);
	b.p[b.extent + 23] ^= 1;
	seal_extent(&b, 0);
	refuse(&b, 2, "uuid");

	all_zero(&b);
	b.p[b.extent + 4] = 1;
	seal_extent(&b, 0);
	refuse(&b, 2, "reserved");

	all_zero(&b);
	b.p[b.extent + 5] = 1;
	seal_extent(&b, 0);
	refuse(&b, 2, "reserved");
}

static void wrong_clusters(void **state)
{
	struct built b;

	(void)state;
	all_zero(&b);
	build_zero_cluster(&b, 1, 1);
	refuse(&b, 3, "twice");

	with_device(&b);
	build_extent(&b);
	build_info(&b, 0, 1, 1, 0);
	build_info(&b, 58, 1, 1, 0);
	seal_extent(&b, 0);
	refuse(&b, 1, "twice");

	with_device(&b);
	build_zero_cluster(&b, 1, 3);
	refuse(&b, 0, "past its end");

	with_device(&b);
	build_zero_cluster(&b, 1, UINT32_MAX);
	refuse(&b, 0, "past its end");

	with_device(&b);
	build_zero_cluster(&b, 2, 0);
	refuse(&b, 0, "unknown device 2");

	with_device(&b);
	build_zero_cluster(&b, 255, 0);
	refuse(&b, 0, "unknown device 255");
}

static void mask_and_count_differ(void **state)
{
	struct built b;

	(void)state;
	with_device(&b);
	build_extent(&b);
	build_info(&b, 0, 1, 0, 0x0003);
	build_block(&b, 1);
	seal_extent(&b, 1);
	refuse(&b, 0, "masks say 2");

	with_device(&b);
	build_extent(&b);
	build_info(&b, 0, 1, 0, 0x0001);
	build_block(&b, 1);
	build_block(&b, 1);
	seal_extent(&b, 2);
	refuse(&b, 0, "masks say 1");

	with_device(&b);
	build_extent(&b);
	seal_extent(&b, 65535);
	refuse(&b, 0, "masks say 0");
}

static void truncated(void **state)
{
	static const size_t cuts[] = { 1, 100, 511, 512, 513, 4096, 512 + 4096, 512 + 8191 };
	struct built b;

	(void)state;
	for (size_t i = 0; i < sizeof(cuts) / sizeof(cuts[0]); i++) {
		with_device(&b);
		build_zero_cluster(&b, 1, 0);
		build_extent(&b);
		build_info(&b, 0, 1, 1, 0x0003);
		build_info(&b, 1, 1, 2, 0);
		build_block(&b, 1);
		build_block(&b, 2);
		seal_extent(&b, 2);
		b.len = b.extent + cuts[i];
		refuse(&b, 1, "truncated");
	}
}

static void garbage_at_the_end(void **state)
{
	struct built b;

	(void)state;
	all_zero(&b);
	grow(&b, 1);
	refuse(&b, 3, "truncated");

	all_zero(&b);
	grow(&b, 512);
	refuse(&b, 3, "magic");
}

static void missing_clusters(void **state)
{
	struct built b;

	(void)state;
	with_device(&b);
	refuse_as(&b, 0, -ENODATA, "drive-scsi0 lacks 3 of 3 clusters, the first at byte 0");

	with_device(&b);
	build_zero_cluster(&b, 1, 0);
	build_zero_cluster(&b, 1, 2);
	refuse_as(&b, 2, -ENODATA, "drive-scsi0 lacks 1 of 3 clusters, the first at byte 65536");

	with_device(&b);
	build_zero_cluster(&b, 1, 1);
	build_zero_cluster(&b, 1, 0);
	refuse_as(&b, 2, -ENODATA, "the first at byte 131072");
}

/* The largest device there can be: the answer must come at once, and without the memory. */
static void huge_device(void **state)
{
	struct built b;

	(void)state;
	build_header(&b, 8192);
	for (int i = 1; i <= 254; i++) {
		char name[16];

		snprintf(name, sizeof(name), "d%d", i);
		build_device(&b, i, name, 1ull << 48);
	}
	seal_header(&b);
	for (int i = 1; i <= 254; i++)
		build_zero_cluster(&b, i, UINT32_MAX);
	build_zero_cluster(&b, 1, 0);
	refuse_as(&b, 255, -ENODATA, "device d1 lacks 4294967294 of 4294967296 clusters, the first at byte 65536");
}

static void names_are_escaped(void **state)
{
	struct built b;

	(void)state;
	build_header(&b, 512);
	build_device(&b, 1, "\x1b[2J\n\xff\\", 512);
	seal_header(&b);
	refuse_as(&b, 0, -ENODATA, "device \\x1b[2J\\x0a\\xff\\x5c lacks");
}

static void not_read_to_the_end(void **state)
{
	struct vma_error err = { "" };
	struct vma_reader *r;
	struct built b;

	(void)state;
	all_zero(&b);
	r = open_good(&b);
	assert_int_equal(vma_reader_finish(r, &err), -EINVAL);
	vma_reader_free(r);
	built_free(&b);
}

/* ---- the bytes' source ------------------------------------------------- */

struct failing {
	struct built b;
	unsigned int after;	/* reads */
};

static ssize_t failing_read(void *ctx, void *buf, size_t len, struct vma_error *err)
{
	struct failing *f = ctx;

	if (f->b.reads == f->after) {
		strcpy(err->text, "the cable was pulled");
		return -EIO;
	}
	return built_read(&f->b, buf, len, err);
}

static void failures_to_read_pass_through(void **state)
{
	(void)state;
	for (unsigned int after = 0; after < 7; after++) {
		struct vma_error err = { "" };
		struct vma_reader *r = NULL;
		struct failing f = { .after = after };
		unsigned int clusters;
		int ret;

		with_device(&f.b);
		build_zero_cluster(&f.b, 1, 0);
		build_extent(&f.b);
		build_info(&f.b, 0, 1, 1, 1);
		build_info(&f.b, 1, 1, 2, 0);
		build_block(&f.b, 1);
		seal_extent(&f.b, 1);
		/* Reads: header, blobs, extent, extent, its data, end. */
		ret = vma_reader_open(&r, failing_read, &f, &err);
		if (!ret)
			ret = read_to_end(r, &clusters, &err);
		assert_int_equal(ret, after < 6 ? -EIO : 0);
		if (ret)
			assert_string_equal(err.text, "the cable was pulled");
		vma_reader_free(r);
		built_free(&f.b);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(placement),
		cmocka_unit_test(full_extent_of_59_clusters),
		cmocka_unit_test(short_last_cluster_is_clipped),
		cmocka_unit_test(mask_wholly_past_the_end),
		cmocka_unit_test(header_only_extents),
		cmocka_unit_test(no_devices_no_extents),
		cmocka_unit_test(unused_blockinfo_between),
		cmocka_unit_test(reserved_byte_of_blockinfo),
		cmocka_unit_test(devices_interleaved),
		cmocka_unit_test(bad_extent_headers),
		cmocka_unit_test(wrong_clusters),
		cmocka_unit_test(mask_and_count_differ),
		cmocka_unit_test(truncated),
		cmocka_unit_test(garbage_at_the_end),
		cmocka_unit_test(missing_clusters),
		cmocka_unit_test(huge_device),
		cmocka_unit_test(names_are_escaped),
		cmocka_unit_test(not_read_to_the_end),
		cmocka_unit_test(failures_to_read_pass_through),
	};

	return cmocka_run_group_tests_name("reader", tests, NULL, NULL);
}
