// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * archive: what is hostile in an index, a seek table or a header is refused, and nothing that
 * is read is wrong.
 */
#include <errno.h>

#include "archive-model.h"
#include "archive/frames.h"

/* Opens, reads all, closes: 0 if all is right, else the error; never wrong data. */
static int use(const char *path, const char *index, const struct model *m, struct vma_error *err)
{
	struct archive_options o = { .index = index, .cache = 1 << 20 };
	static uint8_t buf[7 * CLUSTER];
	struct archive *a;
	int ret;

	assert_true(m->sizes[1] <= sizeof(buf) && m->sizes[2] <= sizeof(buf));
	ret = archive_open(&a, path, &o, err);
	for (int dev = 1; dev < 3 && !ret; dev++) {
		ret = archive_read(a, dev, 0, buf, m->sizes[dev], err);
		if (!ret)
			assert_true(memcmp(buf, m->content[dev], m->sizes[dev]) == 0);
		if (ret || dev == 2)
			archive_close(a);
	}
	return ret;
}

static void flip_index(void **state)
{
	unsigned int refused = 0, harmless = 0;
	struct vma_error err;
	struct built x;
	struct model m = { 0 };
	struct file f;

	(void)state;
	model_make(&m, 7, 3);
	f = file_of(m.b.p, m.b.len);
	x = index_of(f.path);
	/* Every third: each byte two or three times, and valgrind is slow. */
	for (size_t bit = 0; bit < 8 * x.len; bit += 3) {
		struct file i;

		x.p[bit / 8] ^= 1 << bit % 8;
		i = file_of(x.p, x.len);
		if (use(f.path, i.path, &m, &err))
			refused++;
		else
			harmless++;
		close(i.fd);
		x.p[bit / 8] ^= 1 << bit % 8;
	}
	/* Only the beginning's version and reserved bytes, and bits that zstd ignores. */
	assert_true(refused > 2 * x.len);
	assert_true(harmless < 100);
	for (size_t len = 0; len < x.len; len++) {
		struct file i = file_of(x.p, len);

		assert_int_not_equal(use(f.path, i.path, &m, &err), 0);
		close(i.fd);
	}
	close(f.fd);
	built_free(&x);
	model_free(&m);
}

static void hostile_index(void **state)
{
	static const struct {
		bool directory;		/* else the end */
		unsigned int at;
		uint64_t value;
		unsigned int size;
	} cases[] = {
		{ false, 8, 1, 4 }, { false, 8, 3, 4 },		/* version */
		{ false, 12, 1 << 20, 4 },			/* clusters per page */
		{ false, 32, 1, 8 }, { false, 40, 1, 8 },	/* sizes of the archive */
		{ false, 56, 0, 8 }, { false, 56, 1ull << 63, 8 }, { false, 56, 17, 8 },
		{ false, 64, 0, 8 }, { false, 64, 1ull << 63, 8 },
		{ false, 72, 3, 4 }, { false, 76, 1, 4 },
		{ true, 0, 2, 4 }, { true, 4, 1, 4 }, { true, 8, 1ull << 40, 8 },
		{ true, 32, UINT64_MAX, 8 },			/* a page outside of the file */
		{ true, 32, 16ull << 16, 8 },			/* without bytes */
		{ true, 32, 1ull << 16 | 100, 8 },		/* in the beginning */
		{ true, 32, 16ull << 16 | 1, 8 },		/* too short */
		{ false, 48, 0, 8 }, { false, 48, 4096, 8 },	/* extents: none, too many */
		{ false, 48, 4097, 8 }, { false, 48, UINT64_MAX, 8 },
		{ false, 80, 2, 8 },				/* more sums than extents */
		{ true, 80, 0, 8 }, { true, 80, 12801, 8 },	/* the first extent's place */
		{ true, 88, UINT64_MAX, 8 }, { true, 88, 0, 8 },	/* its page's */
	};
	struct vma_error err;
	struct built x;
	struct model m = { 0 };
	struct file f;

	(void)state;
	model_make(&m, 7, 3);
	f = file_of(m.b.p, m.b.len);
	x = index_of(f.path);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct built y = { 0 };
		struct iovec iov = { .iov_base = x.p, .iov_len = x.len };
		size_t base = x.len - INDEX_END;
		struct file bad;

		append(&y, &iov, 1, NULL);
		if (cases[i].directory)
			base = get(y.p + base + 56, 8);
		put(y.p + base + cases[i].at, cases[i].value, cases[i].size);
		reseal(&y);
		bad = file_of(y.p, y.len);
		if (use(f.path, bad.path, &m, &err) == 0)
			fail_msg("case %zu was taken", i);
		close(bad.fd);
		built_free(&y);
	}
	close(f.fd);
	built_free(&x);
	model_free(&m);
}

/* A page whose sums are all right, with one cluster that says this. */
static void hostile_page(void **state)
{
	static const struct {
		uint16_t mask;
		uint64_t at;
		const char *words;
	} cases[] = {
		{ 0x0002, 12800, "past the end of its device" },
		{ 0x0001, 0, "outside of the archive" },
		{ 0x0001, UINT64_MAX, "outside of the archive" },
		{ 0x0001, 1ull << 62, "outside of the archive" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct built b, x, y = { 0 };
		struct archive_options o = { 0 };
		uint8_t raw[10], *end, *directory;
		struct vma_error err = { "" };
		struct iovec iov[2];
		struct archive *a;
		struct file f, bad;
		uint64_t table;
		size_t packed;

		build_header(&b, 512);
		build_device(&b, 1, "d", 512);
		seal_header(&b);
		build_extent(&b);
		build_info(&b, 0, 1, 0, 1);
		build_block(&b, 5);
		seal_extent(&b, 1);
		f = file_of(b.p, b.len);
		x = index_of(f.path);

		put(raw, cases[i].mask, 2);
		put(raw + 2, cases[i].at, 8);
		/* The page in the place of the first one; that of the extents stays behind it. */
		directory = x.p + get(x.p + x.len - INDEX_END + 56, 8);
		table = get(directory + 40 + 8, 8);
		iov[0] = (struct iovec){ x.p, 16 };
		append(&y, iov, 1, NULL);
		grow(&y, 100);
		packed = ZSTD_compress(y.p + 16, 100, raw, sizeof(raw), 1);
		y.len = 16 + packed;
		iov[0] = (struct iovec){ x.p + (table >> 16), table & 0xffff };
		iov[1] = (struct iovec){ directory, x.p + x.len - directory };
		append(&y, iov, 2, NULL);
		end = y.p + y.len - INDEX_END;
		put(end - 24, 16ull << 16 | packed, 8);
		put(end - 8, (16 + packed) << 16 | (table & 0xffff), 8);
		put(end + 56, 16 + packed + (table & 0xffff), 8);
		reseal(&y);
		bad = file_of(y.p, y.len);
		o.index = bad.path;
		assert_int_equal(archive_open(&a, f.path, &o, &err), -EUCLEAN);
		if (!strstr(err.text, cases[i].words))
			fail_msg("\"%s\" lacks \"%s\"", err.text, cases[i].words);
		close(bad.fd);
		close(f.fd);
		built_free(&y);
		built_free(&x);
		built_free(&b);
	}
}

static void hostile_table(void **state)
{
	/* Bytes of the table's entries, counted from the end of the file. */
	static const struct {
		int back;
		uint32_t value;
		int code;
	} cases[] = {
		{ 9, 0xffffffff, -EBADMSG }, { 9, 0, -EBADMSG }, { 9, 1, -EBADMSG },
		{ 4, 0x8f92eab0, -EOPNOTSUPP },
		{ 17, 0, -EBADMSG }, { 17, 0xffffffff, -EBADMSG },
		{ 13, 0xffffffff, -EFBIG }, { 13, FRAME_MAX + 1, -EFBIG },
	};
	struct vma_error err;
	struct built z;
	struct model m = { 0 };

	(void)state;
	model_make(&m, 7, 3);
	z = seekable(&m.b, 100000);
	for (size_t bit = 0; bit < 8 * 60; bit++) {
		uint8_t *p = z.p + z.len - 1 - bit / 8;
		struct file f;

		*p ^= 1 << bit % 8;
		f = file_of(z.p, z.len);
		use(f.path, NULL, &m, &err);
		close(f.fd);
		*p ^= 1 << bit % 8;
	}
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint8_t *p = z.p + z.len - cases[i].back, kept[4];
		struct file f;

		memcpy(kept, p, 4);
		put_le(p, cases[i].value);
		f = file_of(z.p, z.len);
		assert_int_equal(use(f.path, NULL, &m, &err), cases[i].code);
		close(f.fd);
		memcpy(p, kept, 4);
	}
	/* Damage in a frame is found by zstd, and named. */
	z.p[z.len / 2] ^= 0x10;
	{
		struct file f = file_of(z.p, z.len);

		assert_int_equal(use(f.path, NULL, &m, &err), -EBADMSG);
		assert_non_null(strstr(err.text, "zstd frame"));
		close(f.fd);
	}
	built_free(&z);
	model_free(&m);
}

/* 254 devices of 256 TiB in an archive of a few bytes: memory must not follow what they claim. */
static void huge_claims(void **state)
{
	struct vma_error err = { "" };
	struct archive *a;
	struct built b;
	struct file f;

	(void)state;
	build_header(&b, 8192);
	for (int i = 1; i < 255; i++) {
		char name[8];

		snprintf(name, sizeof(name), "d%d", i);
		build_device(&b, i, name, VMA_MAX_DEVICE_SIZE);
	}
	seal_header(&b);
	for (int i = 1; i < 255; i++)
		build_zero_cluster(&b, i, 0xffffffff);
	f = file_of(b.p, b.len);
	assert_int_equal(archive_open(&a, f.path, NULL, &err), -ENODATA);
	assert_non_null(strstr(err.text, "lacks 4294967295 of 4294967296"));
	close(f.fd);
	built_free(&b);
}

/*
 * An index whose directory is larger than it can be, a hole in the file: refused before memory is
 * taken for it, for then its sum, which is wrong as well, would be what is complained of.
 */
static void huge_directory(void **state)
{
	static const struct {
		uint64_t device;		/* its size */
		uint64_t extents, directory;	/* as the index says */
		const char *words;
	} cases[] = {
		{ CLUSTER, 1, 48 + (64 << 20), "its directory has a wrong size" },
		{ CLUSTER, 1, 0, "its directory has a wrong size" },
		{ CLUSTER, 3, 40 + 16, "more extents than the archive has room for" },
		{ CLUSTER, 4096ull << 20, 40 + (16 << 20), "more extents than the archive has" },
		{ CLUSTER, UINT64_MAX, 40, "more extents than the archive has room for" },
		{ 1ull << 46, 1, 32 + (8 << 20) + 16, "too few extents for the clusters" },
		{ 60ull * CLUSTER, 1, 40 + 16, "too few extents for the clusters" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct file f, x = { .fd = memfd_create("test", 0) };
		struct archive_options o = { .index = x.path };
		uint8_t begin[16] = "VMAINDEX\0\0\0\2", end[INDEX_END] = "VMAINDEX\0\0\0\2\0\0\4";
		uint64_t end_at = sizeof(begin) + cases[i].directory;
		struct vma_error err = { "" };
		struct archive *a;
		struct built b;

		build_header(&b, 512);
		build_device(&b, 1, "d", cases[i].device);
		seal_header(&b);
		build_zero_cluster(&b, 1, 0);
		f = file_of(b.p, b.len);
		memcpy(end + 16, b.p + 8, 16);
		put(end + 32, b.len, 8);
		put(end + 40, b.len, 8);
		put(end + 48, cases[i].extents, 8);
		put(end + 56, sizeof(begin), 8);
		put(end + 64, cases[i].directory, 8);
		put(end + 72, 1, 4);
		sha(end, 120, end + 120);
		snprintf(x.path, sizeof(x.path), "/proc/self/fd/%d", x.fd);
		assert_int_equal(pwrite(x.fd, begin, sizeof(begin), 0), sizeof(begin));
		assert_int_equal(pwrite(x.fd, end, sizeof(end), end_at), sizeof(end));
		assert_int_equal(archive_open(&a, f.path, &o, &err), -EUCLEAN);
		if (!strstr(err.text, cases[i].words))
			fail_msg("case %zu: \"%s\" lacks \"%s\"", i, err.text, cases[i].words);
		close(x.fd);
		close(f.fd);
		built_free(&b);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(flip_index),
		cmocka_unit_test(hostile_index),
		cmocka_unit_test(hostile_page),
		cmocka_unit_test(hostile_table),
		cmocka_unit_test(huge_claims),
		cmocka_unit_test(huge_directory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
