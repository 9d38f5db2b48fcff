// SPDX-License-Identifier: GPL-2.0-or-later
/* libvma/reader: damaged archives without sums of the data: only where things stand tells. */
#include "lossy-stream.h"

/*
 * Without sums: three extents of clusters 3 to 62, each cluster with one block, as check_content()
 * wants it. The places of their headers, and of the end.
 */
#define PER_EXTENT	20

static void build_unsummed(struct built *b, size_t at[4])
{
	build_header(b, 512);
	build_device(b, 1, "disk", 63 * CLUSTER);
	seal_header(b);
	for (unsigned int e = 0; e < 3; e++) {
		at[e] = b->len;
		build_clusters(b, 1, 3 + e * PER_EXTENT, PER_EXTENT);
		seal_extent(b, PER_EXTENT);
	}
	at[3] = b->len;
}

/* The clusters of an extent from one of its blocks on, as bits. */
static uint64_t clusters_from(unsigned int extent, unsigned int block)
{
	return ((1ull << (PER_EXTENT - block)) - 1) << (3 + extent * PER_EXTENT + block);
}

#define UNSUMMED_ALL	(((1ull << 60) - 1) << 3)

/* The size of a loss comes from what is damaged, and is believed if what follows fits it. */
static void losses_of_a_wrong_size(void **state)
{
	static const struct {
		size_t skip;
		uint64_t bytes;
	} wrong[] = {
		{ 4096, 4096 + 65536 }, { 4096 + 65536, 4096 }, { 1000, 1000 + 65536 },
		{ 4096, 8192 }, { 8192, 4096 }, { 0, 4096 }, { 99, 100 }, { 100, 99 },
	};
	struct built b;
	size_t at[4];

	(void)state;
	build_unsummed(&b, at);
	for (unsigned int e = 0; e < 3; e++) {
		struct lossy l = { .b = &b };
		struct seen s;

		for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
			l.next = 0;
			l.losses[0].there = true;
			l.losses[0].at = at[e] + 512 + 2 * 4096 + 50;
			l.losses[0].skip = wrong[i].skip;
			l.losses[0].bytes = wrong[i].bytes;
			read_damaged(&s, &l, false);
			assert_int_equal(s.clusters, UNSUMMED_ALL & ~clusters_from(e, 2));
			vma_reader_free(s.r);
		}
		/* One that is right: of its extent nothing else is lost. */
		l.next = 0;
		l.losses[0].skip = l.losses[0].bytes = 4096;
		read_damaged(&s, &l, false);
		assert_int_equal(s.clusters, UNSUMMED_ALL &
				 ~(clusters_from(e, 2) & ~clusters_from(e, 4)));
		vma_reader_free(s.r);
	}
	built_free(&b);
}

/* What was done to the archive, and how many bytes it has then. */
enum change { GONE, PUT_IN, TWICE };

static void change(struct built *b, enum change what, size_t at, size_t bytes)
{
	if (what == GONE) {
		memmove(b->p + at, b->p + at + bytes, b->len - at - bytes);
		b->len -= bytes;
		return;
	}
	grow(b, bytes);
	memmove(b->p + at + bytes, b->p + at, b->len - at - bytes);
	if (what == TWICE)
		memcpy(b->p + at, b->p + at - bytes, bytes);
	else
		memset(b->p + at, 0xee, bytes);
}

struct shifted {
	uint64_t given, wrong, likely;
};

/* The clusters that are likely, as bits. */
static uint64_t likely_of(const struct vma_reader *r)
{
	uint64_t offset = 0, length, likely = 0;

	for (; vma_reader_run(r, VMA_CLUSTERS_LIKELY, 1, &offset, &length); offset += length)
		for (uint64_t i = offset; i < offset + length; i += CLUSTER)
			likely |= 1ull << i / CLUSTER;
	return likely;
}

/* What was given out wrong must be among what is likely. */
static struct shifted read_shifted(struct built *b)
{
	struct told told = { .nr = 0 };
	struct vma_tolerance t = { .fault = tell, .ctx = &told };
	struct vma_error err = { "" };
	struct shifted s = { 0 };
	struct vma_reader *r;
	struct vma_cluster c;

	b->pos = 0;
	assert_int_equal(vma_reader_open_damaged(&r, built_read, b, &t, &err), 0);
	while (vma_reader_next(r, &c, &err) > 0) {
		s.given |= 1ull << c.cluster;
		for (unsigned int i = 0; i < 4096; i++)
			if (c.data[i] != c.cluster + 1)
				s.wrong |= 1ull << c.cluster;
	}
	s.likely = likely_of(r);
	assert_true(told.nr);
	assert_int_equal(s.wrong & ~s.likely, 0);
	vma_reader_free(r);
	return s;
}

/* Without sums only where the next extent stands can tell it. */
static void shifted_data(void **state)
{
	static const struct {
		enum change what;
		size_t bytes;
	} changes[] = {
		{ GONE, 1 }, { GONE, 100 }, { GONE, 511 }, { GONE, 512 }, { GONE, 513 },
		{ GONE, 4096 }, { GONE, 10000 }, { PUT_IN, 1 }, { PUT_IN, 100 }, { PUT_IN, 511 },
		{ PUT_IN, 512 }, { PUT_IN, 4096 }, { PUT_IN, 4608 }, { PUT_IN, 10000 },
		{ TWICE, 512 }, { TWICE, 4096 }, { TWICE, 8192 },
	};
	struct shifted s;
	struct built b;
	size_t at[4];

	(void)state;
	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		for (unsigned int e = 0; e < 3; e++) {
			uint64_t others = UNSUMMED_ALL & ~clusters_from(e, 0);

			build_unsummed(&b, at);
			change(&b, changes[i].what, at[e] + 512 + 4 * 4096 + 777, changes[i].bytes);
			s = read_shifted(&b);
			assert_int_equal(s.given & ~s.likely, others);
			built_free(&b);
		}
	}
}

/* A header is gone with bytes on both sides of it: two extents, of which one is not seen. */
static void shifted_across_a_header(void **state)
{
	static const size_t bytes[] = { 513, 1000, 4096, 16384, 40000 };
	struct shifted s;
	struct built b;
	size_t at[4];

	(void)state;
	for (size_t i = 0; i < sizeof(bytes) / sizeof(bytes[0]); i++) {
		build_unsummed(&b, at);
		change(&b, GONE, at[1] - bytes[i] / 2, bytes[i]);
		s = read_shifted(&b);
		assert_int_equal(s.given & ~s.likely, clusters_from(2, 0));
		built_free(&b);
	}
}

/* That a header is damaged says nothing of the data before it, if it can be seen there. */
static void before_a_damaged_header(void **state)
{
	struct shifted s;
	struct built b;
	size_t at[4];

	(void)state;
	build_unsummed(&b, at);
	for (unsigned int byte = 0; byte < 512; byte += 7) {
		b.p[at[1] + byte] ^= 0x80;
		s = read_shifted(&b);
		assert_int_equal(s.given, UNSUMMED_ALL & ~clusters_from(1, 0));
		assert_int_equal(s.likely, 0);
		b.p[at[1] + byte] ^= 0x80;
	}
	/* Nothing of it is left: bytes may be gone before it as well. */
	memset(b.p + at[1], 0, 512);
	s = read_shifted(&b);
	assert_int_equal(s.given, UNSUMMED_ALL & ~clusters_from(1, 0));
	assert_int_equal(s.likely, clusters_from(0, 0));
	built_free(&b);
	/* Cut off: the last one's data may be what is missing, or other bytes are. */
	build_unsummed(&b, at);
	b.len -= 5000;
	s = read_shifted(&b);
	assert_int_equal(s.likely, clusters_from(2, 0) & ~clusters_from(2, PER_EXTENT - 2));
	assert_int_equal(s.given, UNSUMMED_ALL & ~clusters_from(2, PER_EXTENT - 2));
	built_free(&b);
}

/* What is a sector of the disk may hold eight headers, or one of which nothing is left. */
static void headers_of_a_lost_sector(void **state)
{
	struct shifted s;
	struct built b;
	size_t at[4];

	(void)state;
	build_header(&b, 512);
	build_device(&b, 1, "disk", 63 * CLUSTER);
	seal_header(&b);
	build_clusters(&b, 1, 3, PER_EXTENT);
	seal_extent(&b, PER_EXTENT);
	at[0] = b.len;
	for (unsigned int i = 0; i < 9; i++) {
		build_extent(&b);
		seal_extent(&b, 0);
	}
	build_clusters(&b, 1, 3 + PER_EXTENT, PER_EXTENT);
	seal_extent(&b, PER_EXTENT);
	memset(b.p + at[0], 0, 4096);
	s = read_shifted(&b);
	assert_int_equal(s.given, clusters_from(0, 0) | clusters_from(1, 0));
	assert_int_equal(s.likely, clusters_from(0, 0));
	built_free(&b);

	build_unsummed(&b, at);
	change(&b, GONE, at[1], 512);
	s = read_shifted(&b);
	assert_int_equal(s.given, UNSUMMED_ALL & ~clusters_from(1, 0));
	assert_int_equal(s.likely, clusters_from(0, 0));
	built_free(&b);
}

/* A piece that ended well is proven, though the next one, in the same extent, does not. */
static void pieces(void **state)
{
	struct built b;
	size_t at[4];

	(void)state;
	build_unsummed(&b, at);
	for (unsigned int e = 0; e < 3; e++) {
		struct lossy l = { .b = &b };
		struct seen s;

		l.losses[0].there = true;
		l.losses[0].at = at[1] + 512 + 10 * 4096;
		l.losses[0].skip = l.losses[0].bytes = 4096;
		/* Within the extent before it, where that one ends, within its own. */
		l.second = at[1] + (e < 1 ? -4096 : e < 2 ? 0 : 512 + 2 * 4096);
		read_damaged(&s, &l, false);
		assert_int_equal(s.clusters, UNSUMMED_ALL &
				 ~(clusters_from(1, 10) & ~clusters_from(1, 11)));
		assert_int_equal(likely_of(s.r), (e ? 0 : clusters_from(0, 0)) |
				 (clusters_from(1, 0) & s.clusters));
		vma_reader_free(s.r);
	}
	built_free(&b);
}

static void overlook(void *ctx, const struct vma_fault *f)
{
	(void)ctx;
	(void)f;
}

/*
 * Forged: each header's data is all the headers behind it, and would be looked through for each
 * of them. That much was lost before, as it says, makes no difference.
 */
static void nothing_but_headers(void **state)
{
	enum { HEADERS = 1500, ENOUGH = 60 };

	(void)state;
	for (unsigned int lost = 0; lost < 2; lost++) {
		struct vma_tolerance t = { .loss = lossy_loss, .fault = overlook };
		struct built b;
		struct lossy l = { .b = &b };
		struct vma_error err = { "" };
		struct vma_reader_stats stats;
		struct vma_reader *r;
		struct vma_cluster c;

		build_header(&b, 512);
		build_device(&b, 1, "disk", 63 * CLUSTER);
		seal_header(&b);
		l.losses[0].there = lost;
		l.losses[0].at = b.len;
		l.losses[0].bytes = 1ull << 50;
		for (unsigned int i = 0; i < HEADERS; i++) {
			build_extent(&b);
			for (unsigned int k = 0; k < 59; k++)
				build_info(&b, k, 1, k, 0xffff);
			seal_extent(&b, 59 * 16);
		}
		t.ctx = &l;
		assert_int_equal(vma_reader_open_damaged(&r, lossy_read, &l, &t, &err), 0);
		while (vma_reader_next(r, &c, &err) > 0)
			;
		vma_reader_stats(r, &stats);
		assert_in_range(stats.extents, 2, ENOUGH);
		vma_reader_free(r);
		built_free(&b);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(losses_of_a_wrong_size),
		cmocka_unit_test(shifted_data),
		cmocka_unit_test(shifted_across_a_header),
		cmocka_unit_test(before_a_damaged_header),
		cmocka_unit_test(headers_of_a_lost_sector),
		cmocka_unit_test(pieces),
		cmocka_unit_test(nothing_but_headers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
