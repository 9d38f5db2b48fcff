// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * An archive without sums in one zstd frame or gzip member, as Proxmox VE writes it: what came
 * out before the damage was found may be wrong, and is told so, and all of it comes.
 */
#include "codec-memory.h"

#include "archive-builder.h"

#define CLUSTER		65536
#define EXTENTS		3
#define PER_EXTENT	59
#define CLUSTERS	(EXTENTS * PER_EXTENT)

/* Noise and runs, different in each cluster. */
static void build(struct built *b)
{
	uint8_t *noise = sample(CLUSTERS * CLUSTER);

	build_header(b, 512);
	build_device(b, 1, "disk", CLUSTERS * CLUSTER);
	seal_header(b);
	for (unsigned int i = 0; i < CLUSTERS; i++) {
		if (i % PER_EXTENT == 0) {
			build_extent(b);
			for (unsigned int k = 0; k < PER_EXTENT; k++)
				build_info(b, k, 1, i + k, 0xffff);
			seal_extent(b, PER_EXTENT * 16);
		}
		grow(b, CLUSTER);
		memcpy(b->p + b->len - CLUSTER, noise + (size_t)i * CLUSTER, CLUSTER);
		memset(b->p + b->len - CLUSTER, (int)(i + 1), 64);
	}
	free(noise);
}

static const uint8_t *cluster_of(const struct built *b, uint64_t i)
{
	return b->p + b->header + (i / PER_EXTENT + 1) * 512 + i * CLUSTER;
}

/* A frame that does not tell its size. */
static struct memory one_zstd_stream(const struct built *b)
{
	struct memory m = { .fail_read_at = -1 };
	ZSTD_CCtx *zstd = ZSTD_createCCtx();
	size_t room = ZSTD_compressBound(b->len);

	m.p = malloc(room);
	assert_non_null(m.p);
	ZSTD_CCtx_setParameter(zstd, ZSTD_c_contentSizeFlag, 0);
	ZSTD_CCtx_setParameter(zstd, ZSTD_c_checksumFlag, 1);
	m.len = ZSTD_compress2(zstd, m.p, room, b->p, b->len);
	assert_false(ZSTD_isError(m.len));
	ZSTD_freeCCtx(zstd);
	return m;
}

static void count(void *ctx, const struct vma_fault *f)
{
	unsigned int *faults = ctx;

	*faults += !f->harmless;
}

struct result {
	unsigned int faults, wrong, missing, likely;
};

/* Every cluster that is not as it was must be missing or likely. */
static struct result read_all(const struct built *b, struct memory *m)
{
	struct result res = { 0 };
	struct vma_tolerance t = {
		.loss = decoder_loss, .unproven = decoder_unproven,
		.fault = count, .ctx = &res.faults,
	};
	static bool wrong[CLUSTERS];
	struct vma_error err = { "" };
	struct vma_reader *r;
	struct vma_cluster c;
	struct decoder *d;
	uint64_t offset = 0, length;

	memset(wrong, 0, sizeof(wrong));
	m->pos = 0;
	assert_int_equal(decoder_new(&d, memory_read, m, &err), 0);
	decoder_go_on(d);
	if (vma_reader_open_damaged(&r, decoder_read, d, &t, &err))
		fail_msg("%s", err.text);
	while (vma_reader_next(r, &c, &err) > 0) {
		wrong[c.cluster] = memcmp(c.data, cluster_of(b, c.cluster), CLUSTER) != 0;
		res.wrong += wrong[c.cluster];
	}
	for (; vma_reader_run(r, VMA_CLUSTERS_LIKELY, 1, &offset, &length); offset += length) {
		res.likely += length / CLUSTER;
		for (uint64_t i = offset / CLUSTER; i < (offset + length) / CLUSTER; i++)
			wrong[i] = false;
	}
	for (offset = 0; vma_reader_run(r, VMA_CLUSTERS_MISSING, 1, &offset, &length);
	     offset += length)
		res.missing += length / CLUSTER;
	for (unsigned int i = 0; i < CLUSTERS; i++)
		if (wrong[i])
			fail_msg("cluster %u is wrong, and nothing says so", i);
	vma_reader_free(r);
	decoder_free(d);
	return res;
}

static void try(const struct built *b, struct memory whole)
{
	struct result res = read_all(b, &whole);
	struct memory m;

	assert_int_equal(res.faults + res.missing + res.likely, 0);
	/* Its checksum alone. */
	m = memory_of(whole.p, whole.len);
	m.p[m.len - 6] ^= m.p[0] == 0x1f ? 4 : 0;
	m.p[m.len - 2] ^= m.p[0] == 0x1f ? 0 : 4;
	res = read_all(b, &m);
	assert_int_equal(res.faults, 1);
	assert_int_equal(res.wrong + res.missing, 0);
	assert_int_equal(res.likely, CLUSTERS);
	free(m.p);
	/* Bits of the content, and what can't be decompressed. */
	for (unsigned int i = 1; i < 12; i++) {
		size_t at = whole.len / 12 * i + i;

		m = memory_of(whole.p, whole.len);
		if (i % 2)
			m.p[at] ^= 0xff;
		else
			memset(m.p + at, 0xff, 300000);
		res = read_all(b, &m);
		assert_true(res.faults);
		/* Half of the content is noise: to so much of it the damage stands behind. */
		assert_in_range(res.likely, CLUSTERS * i / 12 - 8, CLUSTERS);
		assert_int_equal(res.likely + res.missing, CLUSTERS);
		free(m.p);
	}
	free(whole.p);
}

static void zstd(void **state)
{
	struct built b;

	(void)state;
	build(&b);
	try(&b, one_zstd_stream(&b));
	built_free(&b);
}

static void gzip(void **state)
{
	struct built b;

	(void)state;
	build(&b);
	try(&b, one_member(b.p, b.len));
	built_free(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(zstd),
		cmocka_unit_test(gzip),
	};

	return cmocka_run_group_tests_name("one-stream", tests, NULL, NULL);
}
