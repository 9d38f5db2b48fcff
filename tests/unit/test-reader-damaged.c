// SPDX-License-Identifier: GPL-2.0-or-later
/* libvma/reader: data that differs from its sums, and a reader that goes on behind damage. */
#include "lossy-stream.h"

/* Strictly: what the refusal says. */
static void refused(struct built *b, const char *words)
{
	struct vma_error err = { "" };
	struct vma_reader *r;
	struct vma_cluster c;
	int ret;

	b->pos = 0;
	assert_int_equal(vma_reader_open(&r, built_read, b, &err), 0);
	while ((ret = vma_reader_next(r, &c, &err)) > 0)
		;
	assert_int_equal(ret, -EBADMSG);
	if (!strstr(err.text, words))
		fail_msg("\"%s\" lacks \"%s\"", err.text, words);
	vma_reader_free(r);
}

static void undamaged(void **state)
{
	struct built b;
	struct lossy l = { .b = &b };
	struct vma_reader_stats stats;
	uint64_t offset = 0, length;
	struct seen s;

	(void)state;
	build_summed(&b);
	read_damaged(&s, &l, false);
	assert_int_equal(s.told.nr, 0);
	assert_int_equal(s.clusters, 0x1ff);
	assert_false(vma_reader_run(s.r, VMA_CLUSTERS_MISSING, 1, &offset, &length));
	vma_reader_stats(s.r, &stats);
	assert_int_equal(stats.summed, 3);
	assert_int_equal(stats.bytes, b.len);
	vma_reader_free(s.r);
	built_free(&b);
}

static void a_bit_of_data(void **state)
{
	struct built b;
	struct lossy l = { .b = &b };
	uint64_t offset = 0, length;
	char words[96];
	struct seen s;
	size_t at;

	(void)state;
	build_summed(&b);
	at = b.extent + 512 + 4096 + 100;
	b.p[at] ^= 4;
	snprintf(words, sizeof(words), "disk disk, offset 131072, length 65536: its data differs");
	refused(&b, words);
	read_damaged(&s, &l, false);
	/* Cluster 0 is not proven either; 1 is zero, which its header says. */
	assert_int_equal(s.clusters, 0x1ff & ~5u);
	assert_int_equal(s.told.nr, 2);
	assert_true(s.told.faults[0].likely);
	assert_false(s.told.faults[1].likely);
	text_has(&s, 0, "offset 0, length 65536");
	text_has(&s, 1, words);
	assert_true(s.told.faults[1].begin <= at && at < s.told.faults[1].end);
	assert_true(vma_reader_run(s.r, VMA_CLUSTERS_MISSING, 1, &offset, &length));
	offset = 0;
	/* The faults name all that is missing. */
	assert_false(vma_reader_run(s.r, VMA_CLUSTERS_ABSENT, 1, &offset, &length));
	vma_reader_free(s.r);

	read_damaged(&s, &l, true);
	assert_int_equal(s.clusters, 0x1ff & ~4u);
	missing_is(&s, 2, 1);
	offset = 0;
	assert_true(vma_reader_run(s.r, VMA_CLUSTERS_LIKELY, 1, &offset, &length));
	assert_int_equal(offset, 0);
	assert_int_equal(length, CLUSTER);
	vma_reader_free(s.r);
	built_free(&b);
}

/* Damage that a cluster's own 8 bits do not show: of all that could be it, nothing is given. */
static void eight_bits_may_agree(void **state)
{
	struct built b;
	struct lossy l = { .b = &b };
	struct seen s;
	uint8_t *block, kept;

	(void)state;
	build_summed(&b);
	block = b.p + b.extent + 512;
	kept = XXH3_64bits(block, 4096) & 0xff;
	do
		block[7]++;
	while ((XXH3_64bits(block, 4096) & 0xff) != kept || block[7] == 0x11);
	refused(&b, "not known which");
	read_damaged(&s, &l, true);
	assert_int_equal(s.clusters, 0x1ff & ~5u);
	vma_reader_free(s.r);
	built_free(&b);
}

/* A disk of one cluster, and the extent with its first block; blocks follow. */
static void begin_one_block(struct built *b)
{
	build_header(b, 512);
	build_device(b, 1, "disk", CLUSTER);
	seal_header(b);
	build_extent(b);
	build_info(b, 0, 1, 0, 1);
}

/* Its own 8 bits show it, and there is no other. */
static void the_only_data_of_an_extent(void **state)
{
	struct built b;

	(void)state;
	begin_one_block(&b);
	build_block(&b, 0x11);
	sum_extent(&b);
	b.p[b.extent + 512 + 5] ^= 1;
	refused(&b, "its data differs from its checksum");
	built_free(&b);
}

/* The cluster that differs is of a device that the header does not have. */
static void damage_of_no_disk(void **state)
{
	struct built b;
	struct lossy l = { .b = &b };
	struct seen s;

	(void)state;
	begin_one_block(&b);
	build_info(&b, 1, 2, 0, 1);
	build_block(&b, 0x11);
	build_block(&b, 0x22);
	sum_extent(&b);
	b.p[b.extent + 512 + 4096 + 5] ^= 1;
	refused(&b, "its data differs from its checksum");
	read_damaged(&s, &l, false);
	assert_int_equal(s.clusters, 0);
	text_has(&s, 0, "likely intact");
	text_has(&s, 1, "the unknown device 2");
	vma_reader_free(s.r);
	built_free(&b);
}

static void an_extent_header(void **state)
{
	struct built b;
	struct lossy l = { .b = &b };
	struct seen s;
	size_t second;

	(void)state;
	build_summed(&b);
	second = b.extent + 512 + 3 * 4096;
	b.p[second + 300] ^= 1;
	refused(&b, "wrong checksum");
	read_damaged(&s, &l, false);
	assert_int_equal(s.clusters, 0x1ff & ~0x38u);
	assert_int_equal(s.told.nr, 1);
	assert_int_equal(s.told.faults[0].begin, second);
	assert_int_equal(s.told.faults[0].end, second + 512 + 3 * 4096);
	text_has(&s, 0, "cannot tell which disk: bytes");
	missing_is(&s, 3, 3);
	vma_reader_free(s.r);
	built_free(&b);
}

/* Bytes that went without a trace: what follows stands at odd places, and is found. */
static void dropped_bytes(void **state)
{
	(void)state;
	for (int sums = 0; sums < 2; sums++) {
		struct built b;
		struct lossy l = { .b = &b };
		struct seen s;
		size_t at;

		build_summed(&b);
		for (size_t e = b.extent; !sums && e < b.len; e += 512 + 3 * 4096) {
			memset(b.p + e + 40 + 8 * 58, 0, 8);
			seal_at(&b, e, 512, 24);
		}
		/* 1001 bytes of the second extent's data. */
		at = b.extent + 2 * 512 + 4 * 4096;
		memmove(b.p + at, b.p + at + 1001, b.len - at - 1001);
		b.len -= 1001;
		read_damaged(&s, &l, false);
		assert_int_equal(s.clusters, 0x1ff & ~0x38u);
		missing_is(&s, 3, 3);
		text_has(&s, s.told.nr - 1, "bytes within it are gone");
		vma_reader_free(s.r);
		built_free(&b);
	}
}

static void ignore(void *ctx, const struct vma_fault *f)
{
	(void)ctx;
	(void)f;
}

/*
 * Nothing but headers of full extents, one byte too far apart: each stands in what the one
 * before it says is its data. That is not read again for each of them.
 */
static void headers_only(void **state)
{
	enum { UNITS = 8000, FULL = 59 * 16 };
	struct vma_tolerance t = { .fault = ignore };
	struct vma_reader_stats stats;
	struct vma_error err = { "" };
	struct vma_reader *r;
	struct vma_cluster c;
	struct built b;
	size_t first;
	int ret;

	(void)state;
	build_header(&b, 1024);
	build_device(&b, 1, "a", 59 * CLUSTER);
	seal_header(&b);
	build_extent(&b);
	first = b.extent;
	for (unsigned int i = 0; i < 59; i++)
		build_info(&b, i, 1, i, 0xffff);
	seal_extent(&b, FULL);
	for (unsigned int i = 1; i < UNITS; i++) {
		grow(&b, 1 + 512);
		memcpy(b.p + b.len - 512, b.p + first, 512);
	}
	assert_int_equal(vma_reader_open_damaged(&r, built_read, &b, &t, &err), 0);
	while ((ret = vma_reader_next(r, &c, &err)) > 0)
		;
	assert_int_equal(ret, 0);
	vma_reader_stats(r, &stats);
	/* Each was read and summed, and is as large as the archive but for the last ones. */
	assert_true(stats.extents > 1);
	assert_true(stats.extents < UNITS / 8);
	vma_reader_free(r);
	built_free(&b);
}

static void cut_off(void **state)
{
	struct built b;
	struct lossy l = { .b = &b };
	struct seen s;

	(void)state;
	build_summed(&b);
	b.len -= 4097;
	refused(&b, "truncated");
	read_damaged(&s, &l, false);
	/* Nothing of the last extent is proven. */
	assert_int_equal(s.clusters, 0x3f);
	missing_is(&s, 6, 3);
	text_has(&s, 0, "likely intact");
	vma_reader_free(s.r);
	b.len = b.extent + 512 + 3 * 4096 + 100;
	read_damaged(&s, &l, false);
	assert_int_equal(s.clusters, 7);
	text_has(&s, 0, "truncated");
	vma_reader_free(s.r);
	built_free(&b);
}

static void a_sum_that_is_missing(void **state)
{
	struct built b;
	struct lossy l = { .b = &b };
	struct seen s;
	size_t second;

	(void)state;
	build_summed(&b);
	second = b.extent + 512 + 3 * 4096;
	b.p[second + 40 + 8 * 58 + 2] = 0x59;
	seal_at(&b, second, 512, 24);
	refused(&b, "the checksum of its data is missing");
	read_damaged(&s, &l, true);
	assert_int_equal(s.clusters, 0x1ff & ~0x38u);
	text_has(&s, 0, "offset 196608, length 196608");
	vma_reader_free(s.r);
	built_free(&b);
}

/* A wrong checksum of the archive's header, and its uuid wrong of all things. */
static void the_header(void **state)
{
	struct built b;
	struct lossy l = { .b = &b };
	struct seen s;

	(void)state;
	build_summed(&b);
	b.p[10] ^= 0x40;
	read_damaged(&s, &l, false);
	assert_int_equal(s.clusters, 0x1ff);
	assert_int_equal(s.told.nr, 1);
	text_has(&s, 0, "damaged header");
	vma_reader_free(s.r);
	built_free(&b);
}

/* Whatever a header says of its own size, it ends where the first extent begins. */
static void the_size_of_the_header(void **state)
{
	struct built b;
	struct lossy l = { .b = &b };
	struct seen s;
	size_t size;

	(void)state;
	build_summed(&b);
	size = b.extent;
	/* One is larger than the archive, one larger than headers may be, some too small. */
	for (unsigned int bit = 0; bit < 32; bit++) {
		b.p[59 - bit / 8] ^= 1 << bit % 8;
		read_damaged(&s, &l, false);
		assert_int_equal(s.clusters, 0x1ff);
		assert_int_equal(vma_reader_header(s.r)->header_size, size);
		assert_int_equal(s.told.nr, 1);
		assert_true(s.told.faults[0].harmless);
		text_has(&s, 0, "damaged header: it says that it has");
		vma_reader_free(s.r);
		b.p[59 - bit / 8] ^= 1 << bit % 8;
	}
	/* None at all, as one flipped bit makes it of a power of two. */
	memset(b.p + 56, 0, 4);
	read_damaged(&s, &l, false);
	assert_int_equal(s.clusters, 0x1ff);
	assert_int_equal(s.told.nr, 1);
	assert_true(s.told.faults[0].harmless);
	text_has(&s, 0, "damaged header: it says that it has 0 bytes");
	vma_reader_free(s.r);
	for (unsigned int i = 0; i < 4; i++)
		b.p[59 - i] = size >> 8 * i;
	/* Not alone: of what else it says nothing is proven. */
	b.p[30] ^= 1;
	for (unsigned int bit = 0; bit < 22; bit++) {
		b.p[59 - bit / 8] ^= 1 << bit % 8;
		read_damaged(&s, &l, false);
		assert_int_equal(s.clusters, 0x1ff);
		assert_int_equal(s.told.nr, 1);
		assert_false(s.told.faults[0].harmless);
		text_has(&s, 0, "damaged header: wrong checksum");
		vma_reader_free(s.r);
		b.p[59 - bit / 8] ^= 1 << bit % 8;
	}
	/* The first extent is lost as well: the header is taken to reach to the second. */
	b.p[30] ^= 1;
	b.p[57] ^= 1;
	b.p[size + 300] ^= 1;
	read_damaged(&s, &l, false);
	assert_int_equal(s.clusters, 0x1ff & ~7u);
	vma_reader_free(s.r);
	built_free(&b);
}

static void losses_of_the_stream(void **state)
{
	struct built b;
	struct lossy l = { .b = &b };
	struct seen s;
	size_t second;

	(void)state;
	build_summed(&b);
	second = b.extent + 512 + 3 * 4096;

	/* A whole extent, and it is known how much that is. */
	l.losses[0].there = true;
	l.losses[0].at = second;
	l.losses[0].skip = l.losses[0].bytes = 512 + 3 * 4096;
	read_damaged(&s, &l, false);
	assert_int_equal(s.clusters, 0x1ff & ~0x38u);
	assert_int_equal(s.told.nr, 1);
	text_has(&s, 0, "bytes 100-149 of the file: a frame is damaged");
	vma_reader_free(s.r);

	/* From the middle of its data to the middle of the next header, of unknown length. */
	l.next = 0;
	l.losses[0].at = second + 512 + 5000;
	l.losses[0].skip = 7700;
	l.losses[0].bytes = VMA_LOSS_UNKNOWN;
	read_damaged(&s, &l, false);
	assert_int_equal(s.clusters, 7);
	vma_reader_free(s.r);

	/* Within data, known: what lies around is likely good, for the sum can't be made. */
	l.next = 0;
	l.losses[0].skip = l.losses[0].bytes = 100;
	read_damaged(&s, &l, true);
	assert_int_equal(s.clusters, 0x1ff & ~0x10u);
	missing_is(&s, 4, 1);
	vma_reader_free(s.r);

	/* Nothing but a checksum of the stream's. */
	l.next = 0;
	l.losses[0].skip = 0;
	l.losses[0].bytes = 0;
	read_damaged(&s, &l, false);
	assert_int_equal(s.clusters, 0x1ff);
	assert_int_equal(s.told.nr, 1);
	assert_true(s.told.faults[0].harmless);
	text_has(&s, 0, "bytes 100-149 of the file: a frame is damaged; the data is intact");
	vma_reader_free(s.r);

	/* The archive's header. */
	l = (struct lossy){ .b = &b };
	l.losses[0].there = true;
	l.losses[0].at = 5000;
	l.losses[0].skip = l.losses[0].bytes = 100;
	{
		struct told told = { .nr = 0 };
		struct vma_tolerance t = { .loss = lossy_loss, .fault = tell, .ctx = &told };
		struct vma_error err = { "" };

		b.pos = 0;
		assert_int_equal(vma_reader_open_damaged(&s.r, lossy_read, &l, &t, &err),
				 -EBADMSG);
		assert_non_null(strstr(err.text, "its header is lost"));
	}
	built_free(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(undamaged),
		cmocka_unit_test(a_bit_of_data),
		cmocka_unit_test(eight_bits_may_agree),
		cmocka_unit_test(the_only_data_of_an_extent),
		cmocka_unit_test(damage_of_no_disk),
		cmocka_unit_test(an_extent_header),
		cmocka_unit_test(dropped_bytes),
		cmocka_unit_test(headers_only),
		cmocka_unit_test(cut_off),
		cmocka_unit_test(a_sum_that_is_missing),
		cmocka_unit_test(the_header),
		cmocka_unit_test(the_size_of_the_header),
		cmocka_unit_test(losses_of_the_stream),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
