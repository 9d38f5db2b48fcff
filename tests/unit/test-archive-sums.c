// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * archive: what is read of an archive that is not compressed is proven by its extents'
 * sums, and never wrong; one without sums is read only where it is asked for.
 */
#include <errno.h>
#include <sys/syscall.h>
#include <zstd.h>

#include "archive-model.h"

#define HEADER	12800	/* of all archives here */

/* Takes the C library's place: what the archive layer reads is counted. */
static uint64_t bytes_read;

ssize_t pread64(int fd, void *buf, size_t len, off64_t at)
{
	ssize_t n = syscall(SYS_pread64, fd, buf, len, at);

	if (n > 0)
		__atomic_add_fetch(&bytes_read, n, __ATOMIC_RELAXED);
	return n;
}

static struct archive *open_index(const struct file *f, const struct built *index, struct file *i)
{
	struct archive_options o = { 0 };
	struct archive *a;

	*i = file_of(index->p, index->len);
	o.index = i->path;
	a = open_with(f->path, &o);
	close(i->fd);
	return a;
}

static int read_one(struct archive *a, uint32_t cluster, uint8_t *byte, struct vma_error *err)
{
	return archive_read(a, 1, (uint64_t)cluster * CLUSTER, byte, 1, err);
}

static void expect(const struct vma_error *err, const char *words)
{
	if (!strstr(err->text, words))
		fail_msg("\"%s\" lacks \"%s\"", err->text, words);
}

static void ranges(void **state)
{
	static const size_t caches[] = { 0, ARCHIVE_CACHE_MIN, 5 << 20 };

	(void)state;
	for (uint32_t i = 0; i < 3; i++) {
		struct archive_options o = { .cache = caches[i] };
		struct model m = { .summed = true };
		struct archive *a;
		struct file f;

		model_make(&m, 2100, i == 1 ? 1 : 1237);
		f = file_of(m.b.p, m.b.len);
		a = open_with(f.path, &o);
		/* Neighbours are in other extents each: with little memory each read is one. */
		if (i != 1)
			check_all(a, &m);
		check_map(a, &m);
		check_whole(a, &m, 1);
		check_whole(a, &m, 2);
		archive_close(a);
		close(f.fd);
		model_free(&m);
	}
}

/* More threads than the cache has room for extents. */
static void threads(void **state)
{
	struct archive_options o = { .cache = 3 << 20 };
	struct model m = { .summed = true };
	struct archive *a;
	struct file f;

	(void)state;
	model_make(&m, 2100, 1);
	f = file_of(m.b.p, m.b.len);
	a = open_with(f.path, &o);
	check_threads(a, &m);
	archive_close(a);
	close(f.fd);
	model_free(&m);
}

/* An extent is read once; without sums, what is asked for. */
static void how_much(void **state)
{
	(void)state;
	for (int summed = 0; summed < 2; summed++) {
		static uint8_t buf[3 * CLUSTER];
		uint64_t extent, before;
		struct archive *a;
		struct built b;
		struct file f;

		build_header(&b, 512);
		build_device(&b, 1, "disk", 58 * CLUSTER);
		seal_header(&b);
		build_extent(&b);
		for (int i = 0; i < 58; i++)
			build_info(&b, i, 1, i, 0xffff);
		for (int i = 0; i < 58 * 16; i++)
			build_block(&b, 1 + i % 255);
		extent = b.len - b.extent;
		if (summed)
			sum_extent(&b);
		else
			seal_extent(&b, 58 * 16);
		f = file_of(b.p, b.len);
		before = bytes_read;
		a = open_with(f.path, NULL);
		/* Its magic, its header, the extent's, an index in memory. */
		assert_true(bytes_read - before < HEADER + 512 + 1024);
		before = bytes_read;
		assert_int_equal(archive_read(a, 1, 5, buf, 1, NULL), 0);
		/* Pages of the index, and the extent's header, are read once. */
		assert_in_range(bytes_read - before, summed ? extent : 512 + 1,
				(summed ? extent : 512 + 1) + 512);
		before = bytes_read;
		assert_int_equal(archive_read(a, 1, 4 * CLUSTER - 100, buf, CLUSTER, NULL), 0);
		assert_int_equal(archive_read(a, 1, 57 * CLUSTER + 100, buf, 100, NULL), 0);
		assert_int_equal(bytes_read - before, summed ? 0 : CLUSTER + 100);
		archive_close(a);
		close(f.fd);
		built_free(&b);
	}
}

/*
 * Any bit behind the header, the index being right: an error that names the place, for all
 * that has data in that extent, and nothing else.
 */
static void flips(void **state)
{
	static const unsigned int extent_of[] = { 0, 9, 0, 1, 1, 1, 2, 2, 2 };
	size_t begins[4] = { HEADER };
	struct built b, x;
	struct file f;

	(void)state;
	build_summed(&b);
	for (int i = 0; i < 3; i++)
		begins[i + 1] = begins[i] + 512 + 3 * BLOCK;
	assert_int_equal(begins[3], b.len);
	f = file_of(b.p, b.len);
	x = index_of(f.path);
	for (size_t bit = 8 * HEADER; bit < 8 * b.len; bit += 37) {
		uint8_t changed = b.p[bit / 8] ^ 1 << bit % 8;
		unsigned int hit = (bit / 8 - HEADER) / (begins[1] - begins[0]);
		bool in_header = bit / 8 - begins[hit] < 512;
		struct archive *a;
		struct file i;

		assert_int_equal(pwrite(f.fd, &changed, 1, bit / 8), 1);
		a = open_index(&f, &x, &i);
		for (uint32_t cluster = 0; cluster < 9; cluster++) {
			struct vma_error err = { "" };
			uint8_t byte = 0xee;
			char words[64];
			int ret = read_one(a, cluster, &byte, &err);

			if (extent_of[cluster] != hit) {
				assert_int_equal(ret, 0);
				assert_int_equal(byte, cluster == 0 ? 0x11 : cluster == 1 ? 0 :
						 cluster == 2 ? 0x22 : cluster + 1);
				continue;
			}
			assert_int_equal(ret, -EBADMSG);
			assert_int_equal(byte, 0xee);
			snprintf(words, sizeof(words), "disk disk, offset %u", cluster * CLUSTER);
			expect(&err, words);
			snprintf(words, sizeof(words), in_header ? "at byte %zu" : "bytes %zu-",
				 in_header ? begins[hit] : begins[hit] + 512 +
				 (cluster % 3 - (cluster == 2)) * BLOCK);
			expect(&err, words);
		}
		archive_close(a);
		assert_int_equal(pwrite(f.fd, b.p + bit / 8, 1, bit / 8), 1);
	}
	close(f.fd);
	built_free(&x);
	built_free(&b);
}

/* Which of an extent's clusters is damaged is said; the others are not proven either. */
static void whose(void **state)
{
	struct vma_error err;
	struct archive *a;
	struct built b;
	struct file f;
	uint8_t byte;

	(void)state;
	build_summed(&b);
	b.p[b.extent + 512 + BLOCK + 7] ^= 2;
	f = file_of(b.p, b.len);
	a = open_with(f.path, NULL);
	assert_int_equal(read_one(a, 2, &byte, &err), -EBADMSG);
	expect(&err, "offset 131072, length 65536: its data differs from its checksum");
	expect(&err, "(bytes 17408-25599 of the archive)");
	assert_int_equal(read_one(a, 0, &byte, &err), -EBADMSG);
	expect(&err, "offset 0, length 65536: not proven, for other data of its extent is damaged");
	/* What has no data stands in the headers. */
	assert_int_equal(read_one(a, 1, &byte, &err), 0);
	assert_int_equal(archive_read(a, 1, BLOCK, &byte, 1, &err), 0);
	/* Twice: what failed is not kept. */
	assert_int_equal(read_one(a, 2, &byte, &err), -EBADMSG);
	/* Nor is the failure, if the disk comes to its senses. */
	b.p[b.extent + 512 + BLOCK + 7] ^= 2;
	assert_int_equal(pwrite(f.fd, b.p, b.len, 0), b.len);
	assert_int_equal(read_one(a, 2, &byte, &err), 0);
	assert_int_equal(byte, 0x22);
	archive_close(a);
	close(f.fd);
	built_free(&b);
}

/* Sums that begin in the middle: what is before has none. Sums that end there are damage. */
static void sums_of_some(void **state)
{
	(void)state;
	for (int last = 0; last < 2; last++) {
		struct vma_error err = { "" };
		struct archive *a;
		struct built b;
		struct file f;
		uint8_t byte;

		build_header(&b, 512);
		build_device(&b, 1, "disk", 6 * CLUSTER);
		seal_header(&b);
		for (int i = 0; i < 2; i++) {
			build_clusters(&b, 1, 3 * i, 3);
			if (i == last)
				sum_extent(&b);
			else
				seal_extent(&b, 3);
			b.p[b.extent + 512] ^= 1;
		}
		f = file_of(b.p, b.len);
		if (last) {
			a = open_with(f.path, NULL);
			assert_int_equal(read_one(a, 0, &byte, &err), 0);
			assert_int_equal(byte, 1 ^ 1);
			assert_int_equal(read_one(a, 3, &byte, &err), -EBADMSG);
			archive_close(a);
		} else {
			assert_int_equal(archive_open(&a, f.path, NULL, &err), -EBADMSG);
			expect(&err, "at byte 25600 lacks the checksum of its data");
		}
		close(f.fd);
		built_free(&b);
	}
}

/* More extents than a page of their table has, of many sizes. */
static void many(void **state)
{
	enum { NR = 4096 * 2 + 5 };
	struct vma_error err;
	struct archive *a;
	struct built b, x;
	struct file f, i;
	uint8_t byte;

	(void)state;
	build_header(&b, 512);
	build_device(&b, 1, "disk", (uint64_t)NR * CLUSTER);
	seal_header(&b);
	for (uint32_t n = 0; n < NR; n++) {
		uint16_t mask = n % 5 ? 0 : (1u << (1 + n / 5 % 3)) - 1;

		build_extent(&b);
		build_info(&b, n % 58, 1, n, mask);
		for (int k = 0; k < __builtin_popcount(mask); k++)
			build_block(&b, 1 + n % 255);
		sum_extent(&b);
	}
	f = file_of(b.p, b.len);
	x = index_of(f.path);
	a = open_index(&f, &x, &i);
	assert_int_equal(archive_facts(a).extents, NR);
	for (uint32_t n = NR; n-- > 0;) {
		assert_int_equal(read_one(a, n, &byte, &err), 0);
		assert_int_equal(byte, n % 5 ? 0 : 1 + n % 255);
	}
	archive_close(a);
	close(f.fd);
	built_free(&x);
	built_free(&b);
}

/* ---- an index that lies, with sums that are right ----------------------- */

/*
 * Of the archive of build_summed(): the page of clusters or of extents is another one. One
 * device, so the directory is 40 bytes of it and 16 of the table.
 */
static struct built index_with(const struct built *x, bool table, const uint8_t *raw, size_t len)
{
	const uint8_t *directory = x->p + get(x->p + x->len - INDEX_END + 56, 8);
	size_t field = table ? 48 : 32, size;
	struct built y = { 0 };
	struct iovec iov[2] = {
		{ x->p, directory - x->p },
		{ (void *)directory, x->p + x->len - directory },
	};

	append(&y, iov, 1, NULL);
	grow(&y, ZSTD_compressBound(len));
	size = ZSTD_compress(y.p + iov[0].iov_len, ZSTD_compressBound(len), raw, len, 1);
	assert_false(ZSTD_isError(size));
	y.len = iov[0].iov_len + size;
	append(&y, iov + 1, 1, NULL);
	directory = y.p + iov[0].iov_len + size;
	put((uint8_t *)directory + field, (uint64_t)iov[0].iov_len << 16 | size, 8);
	put(y.p + y.len - INDEX_END + 56, directory - y.p, 8);
	reseal(&y);
	return y;
}

static void check_lie(const struct file *f, const struct built *x, bool table, const uint8_t *raw,
		      size_t len, uint32_t cluster, const char *words)
{
	struct built y = index_with(x, table, raw, len);
	struct vma_error err = { "" };
	uint8_t byte = 0xee;
	struct archive *a;
	struct file i;
	int ret;

	i = file_of(y.p, y.len);
	ret = archive_open(&a, f->path, &(struct archive_options){ .index = i.path }, &err);
	if (!ret) {
		ret = read_one(a, cluster, &byte, &err);
		archive_close(a);
		assert_int_equal(ret, -EBADMSG);
	}
	/* What can't be is seen at once. */
	assert_true(ret == -EBADMSG || ret == -EUCLEAN);
	assert_int_equal(byte, 0xee);
	expect(&err, words);
	close(i.fd);
	built_free(&y);
}

static void lying_table(void **state)
{
	static const struct {
		uint16_t blocks[4];
		unsigned int nr;
		uint32_t cluster;
		const char *words;
	} cases[] = {
		{ { 3, 3, 2 }, 3, 0, "do not end where the next ones begin" },
		{ { 3, 3, 4 }, 3, 0, "do not end where the next ones begin" },
		{ { 945, 3, 3 }, 3, 0, "larger than any can be" },
		{ { 3, 3, 3, 0 }, 4, 0, "cannot be decompressed" },
		{ { 3, 3 }, 2, 0, "cannot be decompressed" },
		/* They add up, and are others. */
		{ { 4, 2, 3 }, 3, 0, "not as the index says" },
		{ { 4, 2, 3 }, 3, 5, "no extent at byte" },
		{ { 0, 3, 6 }, 3, 0, "no extent at byte" },
		{ { 3, 6, 0 }, 3, 3, "not as the index says" },
	};
	struct built b, x;
	struct file f;

	(void)state;
	build_summed(&b);
	f = file_of(b.p, b.len);
	x = index_of(f.path);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint8_t raw[8];

		for (unsigned int k = 0; k < 4; k++)
			put(raw + (size_t)2 * k, cases[i].blocks[k], 2);
		check_lie(&f, &x, true, raw, (size_t)2 * cases[i].nr, cases[i].cluster,
			  cases[i].words);
	}
	close(f.fd);
	built_free(&x);
	built_free(&b);
}

/* Clusters that are said to be where others are, or to have other blocks. */
static void lying_page(void **state)
{
	static const struct {
		uint16_t mask;
		uint64_t at;
		const char *words;
	} cases[] = {
		{ 1, HEADER + 512 + BLOCK, "does not have it where the index says" },
		{ 1, HEADER + 512 + 512 + 3 * BLOCK + 512, "does not have it where the index says" },
		{ 1, HEADER + 512 + 100, "does not have it where the index says" },
		{ 1, HEADER, "does not have it where the index says" },
		{ 3, HEADER + 512, "does not have it where the index says" },
		{ 0xffff, HEADER + 512, "outside of the archive" },
	};
	struct built b, x;
	struct file f;

	(void)state;
	build_summed(&b);
	f = file_of(b.p, b.len);
	x = index_of(f.path);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint8_t raw[9 * 10] = { 0 };

		put(raw, cases[i].mask, 2);
		put(raw + (size_t)9 * 2, cases[i].at, 8);
		check_lie(&f, &x, false, raw, sizeof(raw), 0, cases[i].words);
	}
	close(f.fd);
	built_free(&x);
	built_free(&b);
}

/*
 * Clusters 0 to 2 in an extent, 3 to 5 in the next one. What the index says of all six; steps are
 * from where the data before ended.
 */
static void lying(const struct file *f, const struct built *x, const int64_t steps[6],
		  uint64_t summed, const char *words)
{
	uint8_t raw[6 * 10], byte = 0xee;
	struct vma_error err = { "" };
	struct archive *a;
	struct built y;
	struct file i;

	for (int k = 0; k < 6; k++) {
		put(raw + (size_t)2 * k, 1, 2);
		put(raw + (size_t)12 + 8 * k, steps[k], 8);
	}
	y = index_with(x, false, raw, sizeof(raw));
	put(y.p + y.len - INDEX_END + 80, summed, 8);
	reseal(&y);
	a = open_index(f, &y, &i);
	if (!words) {
		for (uint32_t n = 0; n < 6; n++) {
			assert_int_equal(read_one(a, n, &byte, &err), 0);
			assert_int_equal(byte, n + 1);
		}
	} else {
		assert_int_equal(read_one(a, 1, &byte, &err), -EBADMSG);
		assert_int_equal(byte, 0xee);
		expect(&err, words);
	}
	archive_close(a);
	built_free(&y);
}

/*
 * Where no sums are looked at, in archives without and in compressed ones: clusters of an extent
 * or of two changed for each other. That there are none is not for the index to say.
 */
static void lying_without_sums(void **state)
{
	static const char place[] = "offset 65536, length 65536: its extent does not have it where";
	static const int64_t right[6] = { HEADER + 512, 0, 0, 512, 0, 0 };
	static const int64_t swapped[6] = { HEADER + 512 + BLOCK, -2 * BLOCK, BLOCK, 512, 0, 0 };
	static const int64_t across[6] = {
		HEADER + 512, 512 + 2 * BLOCK, -512 - 3 * BLOCK, 512, 0, 0
	};

	(void)state;
	for (int kind = 0; kind < 4; kind++) {
		bool summed = kind & 1, zstd = kind & 2;
		struct built b, x, z = { 0 };
		struct file f;

		build_header(&b, 512);
		build_device(&b, 1, "disk", 6 * CLUSTER);
		seal_header(&b);
		for (uint32_t i = 0; i < 2; i++) {
			build_clusters(&b, 1, 3 * i, 3);
			if (summed)
				sum_extent(&b);
			else
				seal_extent(&b, 3);
		}
		if (zstd)
			z = seekable(&b, 5000);
		f = zstd ? file_of(z.p, z.len) : file_of(b.p, b.len);
		x = index_of(f.path);
		lying(&f, &x, right, 2 * summed, NULL);
		lying(&f, &x, swapped, 2 * summed, place);
		lying(&f, &x, across, 2 * summed, place);
		if (summed && !zstd) {
			lying(&f, &x, right, 0, "its extent has a checksum, the index says");
			lying(&f, &x, swapped, 0, "its extent has a checksum, the index says");
			lying(&f, &x, right, 1, "its extent has a checksum, the index says");
		}
		if (!summed && !zstd)
			lying(&f, &x, right, 2, "the checksum of its data is missing");
		close(f.fd);
		built_free(&x);
		built_free(&z);
		built_free(&b);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ranges),
		cmocka_unit_test(threads),
		cmocka_unit_test(how_much),
		cmocka_unit_test(flips),
		cmocka_unit_test(whose),
		cmocka_unit_test(sums_of_some),
		cmocka_unit_test(many),
		cmocka_unit_test(lying_table),
		cmocka_unit_test(lying_page),
		cmocka_unit_test(lying_without_sums),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
