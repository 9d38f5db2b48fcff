// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * archive: any range of any device is right, with whatever index, cache and number of
 * threads; what is hostile in an index or a seek table is refused.
 */
#include <errno.h>
#include <pthread.h>
#include <sha2.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zstd.h>

#include "archive-builder.h"
#include "archive/archive.h"
#include "archive/frames.h"

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

static void check_range(struct archive *a, const struct model *m, int dev, uint64_t offset,
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
static void check_whole(struct archive *a, const struct model *m, int dev)
{
	static uint8_t buf[1 << 20];

	for (uint64_t at = 0; at < m->sizes[dev]; at += sizeof(buf)) {
		uint64_t left = m->sizes[dev] - at;
		size_t len = left < sizeof(buf) ? left : sizeof(buf);

		assert_int_equal(archive_read(a, dev, at, buf, len, NULL), 0);
		assert_true(memcmp(buf, m->content[dev] + at, len) == 0);
	}
}

static void check_all(struct archive *a, const struct model *m)
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
static void check_map(struct archive *a, const struct model *m)
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

/* ---- tests ------------------------------------------------------------ */

static void bare(void **state)
{
	(void)state;
	for (uint32_t step = 1; step < 2000; step += 1236) {
		struct model m;
		struct file f;
		struct archive *a;

		model_make(&m, 2100, step);
		f = file_of(m.b.p, m.b.len);
		a = open_with(f.path, NULL);
		check_all(a, &m);
		check_map(a, &m);
		archive_close(a);
		close(f.fd);
		model_free(&m);
	}
}

static void compressed(void **state)
{
	static const size_t frames[] = { 10000, CLUSTER, 1 << 20, 1 << 30 };

	(void)state;
	for (int i = 0; i < 4; i++) {
		struct archive_options o = { .cache = 200000 };
		struct archive *a;
		struct built z;
		struct model m;
		struct file f;

		model_make(&m, 2100, 1);
		if (frames[i] > FRAME_MAX)
			assert_true(m.b.len < FRAME_MAX);
		z = seekable(&m.b, frames[i] > m.b.len ? m.b.len : frames[i]);
		f = file_of(z.p, z.len);
		a = open_with(f.path, &o);
		assert_int_equal(archive_facts(a).stream_size, m.b.len);
		check_map(a, &m);
		/* With frames that large each read is one of them. */
		if (frames[i] <= CLUSTER)
			check_all(a, &m);
		check_whole(a, &m, 1);
		archive_close(a);
		close(f.fd);
		built_free(&z);
		model_free(&m);
	}
}

static void kept_index(void **state)
{
	struct archive_options o = { 0 };
	struct archive_facts facts;
	struct built x;
	struct archive *a;
	struct model m;
	struct file f, i;

	(void)state;
	model_make(&m, 2100, 1237);
	f = file_of(m.b.p, m.b.len);
	x = index_of(f.path);
	i = file_of(x.p, x.len);
	o.index = i.path;
	a = open_with(f.path, &o);
	assert_int_equal(archive_index_state(a), ARCHIVE_INDEX_READ);
	check_all(a, &m);
	check_map(a, &m);
	facts = archive_facts(a);
	assert_int_equal(facts.file_size, m.b.len);
	assert_int_equal(facts.frames, 0);
	archive_close(a);
	close(i.fd);
	close(f.fd);
	built_free(&x);
	model_free(&m);
}

struct job {
	struct archive *a;
	const struct model *m;
	uint32_t seed;
	int wrong;
};

static void *reader(void *arg)
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

/* More threads than the cache has room for frames. */
static void threads(void **state)
{
	struct archive_options o = { .cache = 150000 };
	pthread_t ids[8];
	struct job jobs[8];
	struct built z;
	struct model m;
	struct file f;

	(void)state;
	model_make(&m, 2100, 1);
	z = seekable(&m.b, 50000);
	f = file_of(z.p, z.len);
	jobs[0].a = open_with(f.path, &o);
	for (int i = 0; i < 8; i++) {
		jobs[i] = (struct job){ .a = jobs[0].a, .m = &m, .seed = i };
		assert_int_equal(pthread_create(&ids[i], NULL, reader, &jobs[i]), 0);
	}
	for (int i = 0; i < 8; i++) {
		pthread_join(ids[i], NULL);
		assert_int_equal(jobs[i].wrong, 0);
	}
	archive_close(jobs[0].a);
	close(f.fd);
	built_free(&z);
	model_free(&m);
}

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
	struct model m;
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

static void sha(const uint8_t *p, size_t len, uint8_t *sum)
{
	SHA2_CTX ctx;

	SHA256Init(&ctx);
	SHA256Update(&ctx, p, len);
	SHA256Final(sum, &ctx);
}

/* All sums right, one field wrong. */
static void reseal(struct built *x)
{
	uint8_t *end = x->p + x->len - 144;

	if (get(end + 64, 8) == x->len - 144 - get(end + 56, 8))
		sha(x->p + get(end + 56, 8), get(end + 64, 8), end + 80);
	sha(end, 112, end + 112);
}

static void hostile_index(void **state)
{
	static const struct {
		bool directory;		/* else the end */
		unsigned int at;
		uint64_t value;
		unsigned int size;
	} cases[] = {
		{ false, 8, 2, 4 },				/* version */
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
	};
	struct vma_error err;
	struct built x;
	struct model m;
	struct file f;

	(void)state;
	model_make(&m, 7, 3);
	f = file_of(m.b.p, m.b.len);
	x = index_of(f.path);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct built y = { 0 };
		struct iovec iov = { .iov_base = x.p, .iov_len = x.len };
		size_t base = x.len - 144;
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
		uint8_t raw[10], byte, *end;
		struct vma_error err = { "" };
		struct archive *a;
		struct iovec iov;
		struct file f, bad;
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
		iov = (struct iovec){ x.p, 16 };
		append(&y, &iov, 1, NULL);
		grow(&y, 100);
		packed = ZSTD_compress(y.p + 16, 100, raw, sizeof(raw), 1);
		y.len = 16 + packed;
		iov = (struct iovec){ x.p + x.len - 144 - 40, 144 + 40 };
		append(&y, &iov, 1, NULL);
		end = y.p + y.len - 144;
		put(end - 8, 16ull << 16 | packed, 8);
		put(end + 56, 16 + packed, 8);
		reseal(&y);
		bad = file_of(y.p, y.len);
		o.index = bad.path;
		a = open_with(f.path, &o);
		assert_int_equal(archive_read(a, 1, 0, &byte, 1, &err), -EBADMSG);
		if (!strstr(err.text, cases[i].words))
			fail_msg("\"%s\" lacks \"%s\"", err.text, cases[i].words);
		archive_close(a);
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
	struct model m;

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

static void ranges_outside(void **state)
{
	struct archive *a;
	struct vma_error err;
	struct model m;
	uint64_t run;
	uint8_t byte;
	struct file f;
	bool data;

	(void)state;
	model_make(&m, 7, 3);
	f = file_of(m.b.p, m.b.len);
	a = open_with(f.path, NULL);
	assert_int_equal(archive_read(a, 1, m.sizes[1], &byte, 1, &err), -EINVAL);
	assert_int_equal(archive_read(a, 1, UINT64_MAX, &byte, 1, &err), -EINVAL);
	assert_int_equal(archive_read(a, 3, 0, &byte, 1, &err), -EINVAL);
	assert_int_equal(archive_read(a, 255, 0, &byte, 1, &err), -EINVAL);
	assert_int_equal(archive_map(a, 1, m.sizes[1], 1, &data, &run, &err), -EINVAL);
	assert_int_equal(archive_map(a, 1, 0, 0, &data, &run, &err), -EINVAL);
	archive_close(a);
	close(f.fd);
	model_free(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bare),
		cmocka_unit_test(compressed),
		cmocka_unit_test(kept_index),
		cmocka_unit_test(threads),
		cmocka_unit_test(flip_index),
		cmocka_unit_test(hostile_index),
		cmocka_unit_test(hostile_page),
		cmocka_unit_test(hostile_table),
		cmocka_unit_test(huge_claims),
		cmocka_unit_test(ranges_outside),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
