// SPDX-License-Identifier: GPL-2.0-or-later
/* codec: what is written, judged by the libraries' own functions. */
#include <xxhash.h>
#include <zlib.h>

#include "codec-memory.h"

static void none_passes_through(void **state)
{
	struct codec_options o = { .kind = CODEC_NONE };
	size_t len = 1 << 20;
	uint8_t *p = sample(len);
	struct memory m = encode(&o, p, len);

	(void)state;
	assert_int_equal(m.len, len);
	assert_memory_equal(m.p, p, len);
	free(m.p);
	free(p);
}

static uint32_t le32(const uint8_t *p)
{
	return p[0] | p[1] << 8 | p[2] << 16 | (uint32_t)p[3] << 24;
}

static uint64_t le64(const uint8_t *p)
{
	return le32(p) | (uint64_t)le32(p + 4) << 32;
}

/* 24 bytes at p that seal all from `from` on. */
static void is_seal(const uint8_t *p, int kind, uint64_t count, const uint8_t *from)
{
	assert_memory_equal(p, "VMsl\1", 5);
	assert_int_equal(p[5], kind);
	assert_memory_equal(p + 6, "\0\0", 2);
	assert_int_equal(le64(p + 8), count);
	assert_int_equal(le64(p + 16), XXH3_64bits(from, p + 16 - from));
}

/* Each frame that the table at the end lists, alone; the same bytes whatever the threads. */
static void zstd_encoding(void **state)
{
	size_t len = 19 << 20;
	uint8_t *p = sample(len), *back = malloc(len + 1), *table;
	struct memory first = { .fail_read_at = -1 };

	(void)state;
	for (unsigned int threads = 0; threads <= 3; threads += 3) {
		struct codec_options o = { .kind = CODEC_ZSTD, .level = 2, .threads = threads };
		struct memory m = encode(&o, p, len);
		size_t in = 0, out = 0, nr, last = 0, sealed = 0;

		assert_in_range(m.len, 1000, len * 2 / 3);
		assert_int_equal(ZSTD_decompress(back, len + 1, m.p, m.len), len);
		assert_memory_equal(back, p, len);

		assert_int_equal(le32(m.p + m.len - 4), 0x8f92eab1);
		assert_int_equal(m.p[m.len - 5], 0x80);
		nr = le32(m.p + m.len - 9);
		/* The first seal, and one after each piece. */
		assert_in_range(nr, 2 * len / CODEC_PIECE_MAX + 3, 2 * len / CODEC_PIECE_MIN + 3);
		assert_int_equal(nr % 2, 1);
		table = m.p + m.len - 9 - 12 * nr;
		assert_int_equal(le32(table - 4), 12 * nr + 9);
		assert_int_equal(le32(table - 8), 0x184d2a5e);
		for (size_t i = 0; i < nr; i++, table += 12) {
			size_t packed = le32(table), content = le32(table + 4);

			if (i % 2 == 0) {
				assert_int_equal(packed, 32);
				assert_int_equal(content, 0);
				assert_int_equal(le32(table + 8), XXH64("", 0, 0) & 0xffffffff);
				assert_memory_equal(m.p + in, "\x5c\x2a\x4d\x18\x18\0\0", 8);
				is_seal(m.p + in + 8, i ? 2 : 1, last, m.p + sealed);
				in += packed;
				sealed = in;
				continue;
			}
			last = content;
			/* The checksum flag, and the checksum that the table has, too. */
			assert_true(m.p[in + 4] & 4);
			assert_memory_equal(m.p + in + packed - 4, table + 8, 4);
			assert_int_equal(ZSTD_getFrameContentSize(m.p + in, packed), content);
			assert_int_equal(ZSTD_decompress(back, len, m.p + in, packed), content);
			assert_memory_equal(back, p + out, content);
			in += packed;
			out += content;
		}
		assert_int_equal(out, len);
		assert_int_equal(in, m.len - 8 - 12 * nr - 9);
		if (first.p) {
			assert_int_equal(m.len, first.len);
			assert_memory_equal(m.p, first.p, m.len);
			free(m.p);
		} else {
			first = m;
		}
	}
	free(first.p);
	free(back);
	free(p);
}

/* What one call wrote is in one frame, if it fits. */
static void writes_are_not_cut(void **state)
{
	static const size_t sizes[] = {
		12800, 3867136, 3867136, 500000, 3867136, 4 << 20, 300, 1 << 20, 1,
	};
	struct codec_options o = { .kind = CODEC_ZSTD, .level = 1 };
	struct memory m = { .fail_read_at = -1 };
	uint8_t *p = sample(4 << 20);
	size_t at = 0, start = 0, n = sizeof(sizes) / sizeof(sizes[0]);
	struct encoder *e;
	unsigned int frames = 0;

	(void)state;
	assert_int_equal(encoder_new(&e, &o, memory_write, &m, NULL), 0);
	for (size_t i = 0; i < n; i++) {
		struct iovec iov = { p, sizes[i] };

		assert_int_equal(encoder_write(e, &iov, 1, NULL), 0);
	}
	assert_int_equal(encoder_finish(e, NULL), 0);
	encoder_free(e);
	for (size_t i = 0; i < n;) {
		size_t content;

		if ((le32(m.p + at) & 0xfffffff0) == 0x184d2a50) {
			at += ZSTD_findFrameCompressedSize(m.p + at, m.len - at);
			continue;
		}
		content = ZSTD_getFrameContentSize(m.p + at, m.len - at);
		start += content;
		while (i < n && start >= sizes[i])
			start -= sizes[i++];
		assert_int_equal(start, 0);
		at += ZSTD_findFrameCompressedSize(m.p + at, m.len - at);
		frames++;
	}
	assert_int_equal(ZSTD_getFrameContentSize(m.p + 32, m.len - 32), sizes[0]);
	assert_in_range(frames, 5, 9);
	free(m.p);
	free(p);
}

/* Members that zlib joins to the same bytes. */
static void gzip_encoding(void **state)
{
	size_t len = 9 << 20;
	uint8_t *p = sample(len), *back = malloc(len + 1);

	(void)state;
	for (unsigned int threads = 0; threads <= 2; threads += 2) {
		struct codec_options o = { .kind = CODEC_GZIP, .level = 1, .threads = threads };
		struct memory m = encode(&o, p, len);
		z_stream z = { .next_in = m.p, .avail_in = m.len };
		unsigned int members = 0, pieces = 0;
		const uint8_t *at = m.p, *sealed = m.p;
		size_t before = 0, out = 0;

		z.next_out = back;
		z.avail_out = len + 1;
		assert_int_equal(inflateInit2(&z, 15 + 16), Z_OK);
		while (z.avail_in) {
			assert_int_equal(inflate(&z, Z_FINISH), Z_STREAM_END);
			/* The first seal, one after each piece, the last. */
			if (members % 2 == 0 || !z.avail_in) {
				assert_int_equal(z.total_out, 0);
				assert_int_equal(z.next_in - at, 50);
				assert_memory_equal(at, "\x1f\x8b\x08\4\0\0\0\0\0\xff\x1c\0VM\x18", 16);
				is_seal(at + 16, members ? z.avail_in ? 2 : 3 : 1,
					z.avail_in ? out : pieces, sealed);
				sealed = z.next_in;
			} else {
				pieces++;
			}
			out = z.total_out;
			at = z.next_in;
			before += out;
			assert_int_equal(inflateReset(&z), Z_OK);
			members++;
		}
		inflateEnd(&z);
		assert_int_equal(before, len);
		assert_in_range(pieces, 4, 10);
		assert_int_equal(members, 2 * pieces + 2);
		assert_int_equal(z.avail_out, 1);
		assert_memory_equal(back, p, len);
		free(m.p);
	}
	free(back);
	free(p);
}

static void zstd_of_nothing(void **state)
{
	struct codec_options o = { .kind = CODEC_ZSTD };
	struct memory m = encode(&o, NULL, 0);
	uint8_t back[1];

	(void)state;
	/* An empty frame, and a table of one. */
	assert_true(m.len > 8 + 12 + 9);
	assert_int_equal(ZSTD_decompress(back, 1, m.p, m.len), 0);
	free(m.p);
}

static void write_failures_stay(void **state)
{
	(void)state;
	for (int kind = CODEC_NONE; kind <= CODEC_LZO; kind++) {
		struct codec_options o = { .kind = kind };
		struct memory m = { 0 };
		size_t first;
		struct vma_error err = { "" };
		size_t len = 4 << 20;
		uint8_t *p = sample(len);
		struct iovec iov = { p, len };
		struct encoder *e;

		assert_int_equal(encoder_new(&e, &o, memory_write, &m, NULL), 0);
		first = m.len;
		m.fail = -ENOSPC;
		assert_int_equal(encoder_write(e, &iov, 1, &err), -ENOSPC);
		assert_string_equal(err.text, "no more");
		m.fail = 0;
		assert_int_equal(encoder_write(e, &iov, 1, &err), -ENOSPC);
		assert_int_equal(encoder_finish(e, &err), -ENOSPC);
		assert_int_equal(m.len, first);
		encoder_free(e);
		free(m.p);
		free(p);
	}
}

/* Little data stays inside until the end, which must tell as well. */
static void failure_at_the_end(void **state)
{
	struct codec_options o = { .kind = CODEC_ZSTD };
	struct memory m = { 0 };
	struct vma_error err = { "" };
	struct iovec iov = { (void *)"abc", 3 };
	struct encoder *e;

	(void)state;
	assert_int_equal(encoder_new(&e, &o, memory_write, &m, NULL), 0);
	assert_int_equal(encoder_write(e, &iov, 1, &err), 0);
	m.fail = -EPIPE;
	assert_int_equal(encoder_finish(e, &err), -EPIPE);
	encoder_free(e);
	free(m.p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(none_passes_through),
		cmocka_unit_test(zstd_encoding),
		cmocka_unit_test(writes_are_not_cut),
		cmocka_unit_test(gzip_encoding),
		cmocka_unit_test(zstd_of_nothing),
		cmocka_unit_test(write_failures_stay),
		cmocka_unit_test(failure_at_the_end),
	};

	return cmocka_run_group_tests_name("codec-encode", tests, NULL, NULL);
}
