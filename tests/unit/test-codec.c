// SPDX-License-Identifier: GPL-2.0-or-later
/* codec: judged by the library's one-shot functions and by streams with known faults. */
#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#include "codec/codec.h"

struct memory {
	uint8_t *p;
	size_t len, pos;
	int fail;		/* negative errno: the next write fails so */
	ssize_t fail_read_at;	/* reads fail from here on; -1: never */
};

static int memory_write(void *ctx, const struct iovec *iov, int iovcnt, struct vma_error *err)
{
	struct memory *m = ctx;

	if (m->fail) {
		strcpy(err->text, "no more");
		return m->fail;
	}
	for (int i = 0; i < iovcnt; i++) {
		m->p = realloc(m->p, m->len + iov[i].iov_len + 1);
		assert_non_null(m->p);
		memcpy(m->p + m->len, iov[i].iov_base, iov[i].iov_len);
		m->len += iov[i].iov_len;
	}
	return 0;
}

static ssize_t memory_read(void *ctx, void *buf, size_t len, struct vma_error *err)
{
	struct memory *m = ctx;

	if (m->fail_read_at >= 0 && m->pos >= (size_t)m->fail_read_at) {
		strcpy(err->text, "unreadable");
		return -EIO;
	}
	if (len > m->len - m->pos)
		len = m->len - m->pos;
	memcpy(buf, m->p + m->pos, len);
	m->pos += len;
	return len;
}

static struct memory memory_of(const void *p, size_t len)
{
	struct memory m = { .p = malloc(len + 1), .len = len, .fail_read_at = -1 };

	assert_non_null(m.p);
	if (len)
		memcpy(m.p, p, len);
	return m;
}

static void append(struct memory *m, const void *p, size_t len)
{
	struct iovec iov = { (void *)p, len };

	memory_write(m, &iov, 1, NULL);
}

/* Half noise, half runs: more than one buffer of output, and of input. */
static uint8_t *sample(size_t len)
{
	uint8_t *p = malloc(len);
	uint32_t random = 1;

	assert_non_null(p);
	for (size_t i = 0; i < len; i++) {
		random = random * 1664525 + 1013904223;
		p[i] = i & 0x10000 ? random >> 24 : i >> 17;
	}
	return p;
}

static struct memory one_frame(const void *p, size_t len)
{
	struct memory m = { .fail_read_at = -1 };
	size_t size = ZSTD_compressBound(len);

	m.p = malloc(size);
	assert_non_null(m.p);
	m.len = ZSTD_compress(m.p, size, p, len, 1);
	assert_false(ZSTD_isError(m.len));
	return m;
}

/* ---- parsing ----------------------------------------------------------- */

static void parsing(void **state)
{
	static const char *const bad[] = {
		"", "bzip2", "gzip:10", "gzip:0", "lzo:10", "lzo:", "zstd:", "zstd:0", "zstd:-1", "zstd:23", "zstd:1x", "zstd: 1", "zstd:+1",
		"zstd:99999999999999999999", "zstd1", "None", "none:1", "zstd:1:2",
	};
	struct codec_options o = { .threads = 7 };
	struct vma_error err;

	(void)state;
	assert_int_equal(codec_parse("none", &o, NULL), 0);
	assert_int_equal(o.kind, CODEC_NONE);
	assert_int_equal(codec_parse("zstd:19", &o, NULL), 0);
	assert_int_equal(o.kind, CODEC_ZSTD);
	assert_int_equal(o.level, 19);
	assert_int_equal(codec_parse("zstd", &o, NULL), 0);
	assert_int_equal(o.level, 0);
	assert_int_equal(codec_parse("zstd:22", &o, NULL), 0);
	assert_int_equal(o.level, 22);
	assert_int_equal(codec_parse("gzip:9", &o, NULL), 0);
	assert_int_equal(o.kind, CODEC_GZIP);
	assert_int_equal(o.level, 9);
	assert_int_equal(codec_parse("lzo", &o, NULL), 0);
	assert_int_equal(o.kind, CODEC_LZO);
	assert_int_equal(o.level, 0);
	assert_int_equal(codec_parse("zstd:22", &o, NULL), 0);
	assert_int_equal(o.threads, 7);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		err.text[0] = '\0';
		assert_int_equal(codec_parse(bad[i], &o, &err), -EINVAL);
		assert_true(strlen(err.text) > 0);
	}
	assert_int_equal(o.level, 22);
}

static void suffixes(void **state)
{
	(void)state;
	assert_int_equal(codec_of_path("a.vma.zst"), CODEC_ZSTD);
	assert_int_equal(codec_of_path("/x.gz/a.zstd"), CODEC_ZSTD);
	assert_int_equal(codec_of_path("a.gz"), CODEC_GZIP);
	assert_int_equal(codec_of_path("a.lzo"), CODEC_LZO);
	assert_int_equal(codec_of_path("a.lzo.vma"), CODEC_NONE);
	assert_int_equal(codec_of_path("zst"), CODEC_NONE);
	assert_int_equal(codec_of_path(".zst"), CODEC_NONE);
	assert_int_equal(codec_of_path("-"), CODEC_NONE);
	assert_int_equal(codec_of_path(""), CODEC_NONE);
	assert_string_equal(codec_name(CODEC_LZO), "lzo");
}

/* ---- encoding ---------------------------------------------------------- */

static struct memory encode(const struct codec_options *o, const uint8_t *p, size_t len)
{
	struct memory m = { .fail_read_at = -1 };
	struct encoder *e;
	uint8_t *scratch = malloc(300000);
	size_t at = 0;

	assert_non_null(scratch);
	assert_int_equal(encoder_new(&e, o, memory_write, &m, NULL), 0);
	for (size_t n = 1; at < len; n = n * 3 % 130001) {
		struct iovec iov[3];
		size_t parts[3] = { n, 0, n / 2 }, used = 0;

		for (int i = 0; i < 3; i++) {
			if (parts[i] > len - at)
				parts[i] = len - at;
			memcpy(scratch + used, p + at, parts[i]);
			iov[i] = (struct iovec){ scratch + used, parts[i] };
			used += parts[i];
			at += parts[i];
		}
		assert_int_equal(encoder_write(e, iov, 3, NULL), 0);
		/* The memory is the caller's again. */
		memset(scratch, 0x5a, used);
	}
	assert_int_equal(encoder_finish(e, NULL), 0);
	encoder_free(e);
	free(scratch);
	return m;
}

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
		size_t in = 0, out = 0, nr;

		assert_in_range(m.len, 1000, len * 2 / 3);
		assert_int_equal(ZSTD_decompress(back, len + 1, m.p, m.len), len);
		assert_memory_equal(back, p, len);

		assert_int_equal(le32(m.p + m.len - 4), 0x8f92eab1);
		assert_int_equal(m.p[m.len - 5], 0x80);
		nr = le32(m.p + m.len - 9);
		assert_in_range(nr, len / CODEC_PIECE_MAX, len / CODEC_PIECE_MIN);
		table = m.p + m.len - 9 - 12 * nr;
		assert_int_equal(le32(table - 4), 12 * nr + 9);
		assert_int_equal(le32(table - 8), 0x184d2a5e);
		for (size_t i = 0; i < nr; i++, table += 12) {
			size_t packed = le32(table), content = le32(table + 4);

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
		size_t content = ZSTD_getFrameContentSize(m.p + at, m.len - at);

		start += content;
		while (i < n && start >= sizes[i])
			start -= sizes[i++];
		assert_int_equal(start, 0);
		at += ZSTD_findFrameCompressedSize(m.p + at, m.len - at);
		frames++;
	}
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
		unsigned int members = 0;

		z.next_out = back;
		z.avail_out = len + 1;
		assert_int_equal(inflateInit2(&z, 15 + 16), Z_OK);
		while (z.avail_in) {
			assert_int_equal(inflate(&z, Z_FINISH), Z_STREAM_END);
			assert_int_equal(inflateReset(&z), Z_OK);
			members++;
		}
		inflateEnd(&z);
		assert_in_range(members, 3, 9);
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
	for (int kind = CODEC_NONE; kind <= CODEC_GZIP; kind++) {
		struct codec_options o = { .kind = kind };
		struct memory m = { .fail = -ENOSPC };
		struct vma_error err = { "" };
		size_t len = 4 << 20;
		uint8_t *p = sample(len);
		struct iovec iov = { p, len };
		struct encoder *e;

		assert_int_equal(encoder_new(&e, &o, memory_write, &m, NULL), 0);
		assert_int_equal(encoder_write(e, &iov, 1, &err), -ENOSPC);
		assert_string_equal(err.text, "no more");
		m.fail = 0;
		assert_int_equal(encoder_write(e, &iov, 1, &err), -ENOSPC);
		assert_int_equal(encoder_finish(e, &err), -ENOSPC);
		assert_int_equal(m.len, 0);
		encoder_free(e);
		free(p);
	}
}

/* Little data stays inside until the end, which must tell as well. */
static void failure_at_the_end(void **state)
{
	struct codec_options o = { .kind = CODEC_ZSTD };
	struct memory m = { .fail = -EPIPE };
	struct vma_error err = { "" };
	struct iovec iov = { (void *)"abc", 3 };
	struct encoder *e;

	(void)state;
	assert_int_equal(encoder_new(&e, &o, memory_write, &m, NULL), 0);
	assert_int_equal(encoder_write(e, &iov, 1, &err), 0);
	assert_int_equal(encoder_finish(e, &err), -EPIPE);
	encoder_free(e);
}

/* ---- decoding ---------------------------------------------------------- */

/* Everything that comes out, in reads of odd sizes; *ret is the last read's answer. */
static unsigned int decode_threads;

static struct memory decode(struct memory *m, enum codec_kind kind, ssize_t *ret,
			    struct vma_error *err)
{
	struct memory out = { .fail_read_at = -1 };
	uint8_t *buf = malloc(200001);
	struct decoder *d = NULL;
	size_t want = 1;
	int r;

	assert_non_null(buf);
	r = decoder_new(&d, memory_read, m, err);
	if (r)
		fail_msg("%s", err->text);
	assert_int_equal(decoder_kind(d), kind);
	assert_int_equal(decoder_start_threads(d, decode_threads, err), 0);
	do {
		want = want * 7 % 200001 + 1;
		*ret = decoder_read(d, buf, want, err);
		if (*ret > 0)
			append(&out, buf, *ret);
		if (*ret >= 0)
			assert_in_range(*ret, 0, want);
	} while (*ret == (ssize_t)want);
	/* The end stays the end, a failure stays that failure. */
	if (*ret >= 0) {
		assert_int_equal(decoder_read(d, buf, 10, err), 0);
	} else {
		char text[512];

		strcpy(text, err->text);
		err->text[0] = '\0';
		assert_int_equal(decoder_read(d, buf, 10, err), *ret);
		assert_string_equal(err->text, text);
	}
	decoder_free(d);
	free(buf);
	return out;
}

static void take(struct memory *m, enum codec_kind kind, const void *want, size_t len)
{
	struct vma_error err = { "" };
	struct memory out;
	ssize_t ret;

	out = decode(m, kind, &ret, &err);
	if (ret < 0)
		fail_msg("%s", err.text);
	assert_int_equal(out.len, len);
	if (len)
		assert_memory_equal(out.p, want, len);
	free(out.p);
	free(m->p);
}

static void refuse_kind(struct memory *m, enum codec_kind kind, int code, const char *words)
{
	struct vma_error err = { "" };
	struct memory out;
	ssize_t ret;

	out = decode(m, kind, &ret, &err);
	assert_int_equal(ret, code);
	if (!strstr(err.text, words))
		fail_msg("\"%s\" lacks \"%s\"", err.text, words);
	free(out.p);
	free(m->p);
}

static void refuse(struct memory *m, int code, const char *words)
{
	refuse_kind(m, CODEC_ZSTD, code, words);
}

static void plain(void **state)
{
	size_t len = 1 << 20;
	uint8_t *p = sample(len);
	struct memory m;

	(void)state;
	m = memory_of(p, len);
	take(&m, CODEC_NONE, p, len);
	for (size_t tiny = 0; tiny < 6; tiny++) {
		m = memory_of("VMA\0xx", tiny);
		take(&m, CODEC_NONE, "VMA\0xx", tiny);
	}
	/* Too short to be a frame's magic number. */
	m = memory_of("\x28\xb5\x2f", 3);
	take(&m, CODEC_NONE, "\x28\xb5\x2f", 3);
	free(p);
}

static void frames(void **state)
{
	static const uint8_t skippable[] = { 0x5a, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 'x', 'y', 'z' };
	size_t len = 3 << 20;
	uint8_t *p = sample(len), *twice = malloc(2 * len);
	struct memory frame = one_frame(p, len), nothing = one_frame("", 0), m;

	(void)state;
	assert_non_null(twice);
	memcpy(twice, p, len);
	memcpy(twice + len, p, len);

	m = memory_of(frame.p, frame.len);
	take(&m, CODEC_ZSTD, p, len);

	m = memory_of(frame.p, frame.len);
	append(&m, frame.p, frame.len);
	take(&m, CODEC_ZSTD, twice, 2 * len);

	m = memory_of(skippable, sizeof(skippable));
	append(&m, frame.p, frame.len);
	append(&m, skippable, sizeof(skippable));
	append(&m, nothing.p, nothing.len);
	append(&m, frame.p, frame.len);
	append(&m, skippable, sizeof(skippable));
	take(&m, CODEC_ZSTD, twice, 2 * len);

	m = memory_of(skippable, sizeof(skippable));
	take(&m, CODEC_ZSTD, NULL, 0);

	m = memory_of(nothing.p, nothing.len);
	take(&m, CODEC_ZSTD, NULL, 0);

	free(frame.p);
	free(nothing.p);
	free(twice);
	free(p);
}

/* Whole frames, streamed ones and skippable ones by turns, in threads. */
static void frames_in_threads(void **state)
{
	static const uint8_t skippable[] = { 0x5e, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 'x', 'y', 'z' };
	size_t len = 30 << 20, part = 700001, at = 0;
	uint8_t *p = sample(len);
	struct memory m = { .fail_read_at = -1 }, copy;
	ZSTD_CCtx *c = ZSTD_createCCtx();

	(void)state;
	assert_non_null(c);
	for (unsigned int i = 0; at < len; i++) {
		size_t n = i % 7 == 5 ? 0 : part * (i % 3 + 1), room;
		uint8_t *out;

		if (n > len - at || i == 20)
			n = len - at;
		room = ZSTD_compressBound(n);
		out = malloc(room);
		assert_non_null(out);
		/* Without a size, and one that is too large, in between. */
		ZSTD_CCtx_setParameter(c, ZSTD_c_contentSizeFlag, i % 5 != 3);
		ZSTD_CCtx_setParameter(c, ZSTD_c_checksumFlag, i % 2);
		append(&m, out, ZSTD_compress2(c, out, room, p + at, n));
		free(out);
		at += n;
		if (i % 4 == 1)
			append(&m, skippable, sizeof(skippable));
	}
	ZSTD_freeCCtx(c);
	for (decode_threads = 0; decode_threads <= 3; decode_threads++) {
		copy = memory_of(m.p, m.len);
		take(&copy, CODEC_ZSTD, p, len);
	}
	decode_threads = 0;
	free(m.p);
	free(p);
}

/* What stands before the damage comes out, and nothing after it. */
static void damage_in_threads(void **state)
{
	struct vma_error err = { "" };
	size_t len = 1 << 20;
	uint8_t *p = sample(len);
	struct memory frame = one_frame(p, len), m = { .fail_read_at = -1 }, out;
	ssize_t ret;

	(void)state;
	for (int i = 0; i < 9; i++)
		append(&m, frame.p, frame.len);
	m.p[5 * frame.len + frame.len / 2] ^= 4;
	decode_threads = 3;
	out = decode(&m, CODEC_ZSTD, &ret, &err);
	decode_threads = 0;
	assert_int_equal(ret, -EBADMSG);
	assert_in_range(out.len, 4 * len, 5 * len);
	for (size_t i = 0; i < out.len; i += len)
		assert_memory_equal(out.p + i, p, out.len - i < len ? out.len - i : len);
	free(out.p);
	free(m.p);
	free(frame.p);
	free(p);
}

/* Where the seek table of a stream with one frame begins. */
static size_t table_at(const struct memory *m)
{
	return m->len - 8 - 12 - 9;
}

static void truncated(void **state)
{
	static const uint8_t skippable[] = { 0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 'x', 'y', 'z' };
	struct codec_options o = { .kind = CODEC_ZSTD };
	uint8_t *p = sample(300000);
	struct memory whole = encode(&o, p, 300000), m;

	(void)state;
	for (size_t cut = 4; cut < whole.len; cut += cut < 40 || cut > whole.len - 70 ? 1 : 997) {
		m = memory_of(whole.p, cut);
		/* All of the data is there, and no word of the table that is not. */
		if (cut == table_at(&whole))
			take(&m, CODEC_ZSTD, p, 300000);
		else
			refuse(&m, -EBADMSG, "truncated");
	}
	/* A second frame that has only begun. */
	for (size_t cut = 1; cut < 12; cut++) {
		m = memory_of(whole.p, whole.len);
		append(&m, whole.p, cut);
		refuse(&m, -EBADMSG, "truncated");
	}
	for (size_t cut = 4; cut < sizeof(skippable); cut++) {
		m = memory_of(skippable, cut);
		refuse(&m, -EBADMSG, "truncated");
	}
	free(whole.p);
	free(p);
}

static void flip(struct memory *m, size_t at)
{
	assert_true(at < m->len);
	m->p[at] ^= 1;
}

static void damaged(void **state)
{
	struct codec_options o = { .kind = CODEC_ZSTD };
	uint8_t *p = sample(300000);
	struct memory whole = encode(&o, p, 300000), m;

	(void)state;
	m = memory_of(whole.p, whole.len);
	flip(&m, table_at(&m) - 1);
	refuse(&m, -EBADMSG, "checksum");
	m = memory_of(whole.p, whole.len);
	append(&m, "garbage", 7);
	refuse(&m, -EBADMSG, "what follows");
	for (size_t at = 100; at < table_at(&whole); at += 4999) {
		m = memory_of(whole.p, whole.len);
		flip(&m, at);
		refuse(&m, -EBADMSG, "damaged");
	}
	/* All of the table but the kind of skippable frame that it is in. */
	for (size_t at = table_at(&whole) + 8; at < whole.len; at++) {
		m = memory_of(whole.p, whole.len);
		m.p[at] ^= at == whole.len - 5 ? 0x80 : 0x10;
		refuse(&m, -EBADMSG, "seek table");
	}
	free(whole.p);
	free(p);
}

/* Every bit: either refused, or the bit meant nothing, and the same bytes come out. */
static void every_bit(void **state)
{
	/*
	 * Bits that may flip: the magic number; of a zstd frame three that are reserved, of
	 * the kind of the skippable frame four, of the table's flags two; of gzip time,
	 * system, and codes that are not used; of lzo, a match as good as another.
	 */
	static const size_t harmless[] = {
		[CODEC_ZSTD] = 32 + 3 + 4 + 2, [CODEC_GZIP] = 80, [CODEC_LZO] = 80,
	};
	size_t len = 1000, refused;
	uint8_t *p = sample(len);

	(void)state;
	for (int kind = CODEC_ZSTD; kind <= CODEC_LZO; kind++) {
		struct codec_options o = { .kind = kind };
		struct memory whole = encode(&o, p, len);

		refused = 0;
		for (size_t bit = 0; bit < whole.len * 8; bit++) {
			struct memory m = memory_of(whole.p, whole.len), out;
			struct vma_error err = { "" };
			struct decoder *d = NULL;
			ssize_t ret;

			m.p[bit / 8] ^= 1 << bit % 8;
			ret = decoder_new(&d, memory_read, &m, &err);
			out = memory_of(NULL, 0);
			if (!ret && decoder_kind(d) != CODEC_NONE) {
				out.p = realloc(out.p, 4 * len);
				ret = decoder_read(d, out.p, 4 * len, &err);
				if (ret >= 0) {
					assert_int_equal(ret, len);
					assert_memory_equal(out.p, p, len);
				}
			}
			refused += ret < 0;
			assert_true(ret >= 0 || err.text[0]);
			decoder_free(d);
			free(out.p);
			free(m.p);
		}
		/* Without its magic number it is taken for an archive that is not compressed. */
		assert_in_range(whole.len * 8 - refused, 0, harmless[kind]);
		free(whole.p);
	}
	free(p);
}

/* gzip's and lzo's streams, there and back, joined, and cut off anywhere. */
static void others(void **state)
{
	size_t len = 5 << 20;
	uint8_t *p = sample(len), *twice = malloc(2 * len);

	(void)state;
	assert_non_null(twice);
	memcpy(twice, p, len);
	memcpy(twice + len, p, len);
	for (int kind = CODEC_GZIP; kind <= CODEC_LZO; kind++) {
		for (int level = 0; level <= 9; level += 9) {
			struct codec_options o = { .kind = kind, .level = level, .threads = 2 };
			struct memory whole, m;

			m = encode(&o, NULL, 0);
			take(&m, kind, NULL, 0);
			/* The best levels are slow, and a piece and a half tells as much. */
			whole = encode(&o, p, level ? len / 3 : len);
			m = memory_of(whole.p, whole.len);
			take(&m, kind, p, level ? len / 3 : len);
			free(whole.p);
			if (level)
				continue;
			whole = encode(&o, p, len);
			m = memory_of(whole.p, whole.len);
			append(&m, whole.p, whole.len);
			take(&m, kind, twice, 2 * len);
			for (size_t cut = 9; cut < whole.len;
			     cut += cut < 100 || cut > whole.len - 20 ? 1 : 99991) {
				m = memory_of(whole.p, cut);
				refuse_kind(&m, kind, -EBADMSG, "truncated");
			}
			m = memory_of(whole.p, whole.len);
			append(&m, "garbage", 7);
			refuse_kind(&m, kind, -EBADMSG, "damaged");
			free(whole.p);
		}
	}
	free(twice);
	free(p);
}

static void gzip_padding(void **state)
{
	struct codec_options o = { .kind = CODEC_GZIP };
	struct memory whole = encode(&o, (const uint8_t *)"abc", 3), m;

	(void)state;
	m = memory_of(whole.p, whole.len);
	append(&m, "\0\0\0\0", 4);
	take(&m, CODEC_GZIP, "abc", 3);
	m = memory_of(whole.p, whole.len);
	append(&m, "\0", 1);
	append(&m, whole.p, whole.len);
	refuse_kind(&m, CODEC_GZIP, -EBADMSG, "what follows");
	free(whole.p);
}

/* Window descriptors: exponent * 8 + mantissa, window = 2^(10 + exponent) * (1 + mantissa / 8). */
static void windows(void **state)
{
	uint8_t frame[] = { 0x28, 0xb5, 0x2f, 0xfd, 0, 0, 1, 0, 0 };
	struct memory m;

	(void)state;
	frame[5] = 17 << 3;			/* 128 MiB */
	m = memory_of(frame, sizeof(frame));
	take(&m, CODEC_ZSTD, NULL, 0);
	frame[5] = 17 << 3 | 1;			/* 144 MiB */
	m = memory_of(frame, sizeof(frame));
	refuse(&m, -EFBIG, "128 MiB");
	frame[5] = 18 << 3;			/* 256 MiB */
	m = memory_of(frame, sizeof(frame));
	refuse(&m, -EFBIG, "128 MiB");
}

static void read_failures_pass_through(void **state)
{
	uint8_t *p = sample(2 << 20);
	struct vma_error err = { "" };
	struct decoder *d = NULL;
	struct memory m;

	(void)state;
	m = memory_of(p, 100);
	m.fail_read_at = 0;
	assert_int_equal(decoder_new(&d, memory_read, &m, &err), -EIO);
	assert_string_equal(err.text, "unreadable");
	free(m.p);

	m = memory_of(p, 2 << 20);
	m.fail_read_at = 1000;
	assert_int_equal(decoder_new(&d, memory_read, &m, NULL), 0);
	err.text[0] = '\0';
	m.len = 1500;
	assert_int_equal(decoder_read(d, p, 1400, &err), 1400);
	assert_int_equal(decoder_read(d, p, 1400, &err), -EIO);
	assert_string_equal(err.text, "unreadable");
	decoder_free(d);
	free(m.p);

	m = one_frame(p, 2 << 20);
	m.fail_read_at = 1000;
	assert_int_equal(decoder_new(&d, memory_read, &m, NULL), 0);
	err.text[0] = '\0';
	assert_int_equal(decoder_read(d, p, 2 << 20, &err), -EIO);
	assert_string_equal(err.text, "unreadable");
	decoder_free(d);
	free(m.p);
	free(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parsing),
		cmocka_unit_test(none_passes_through),
		cmocka_unit_test(suffixes),
		cmocka_unit_test(zstd_encoding),
		cmocka_unit_test(writes_are_not_cut),
		cmocka_unit_test(gzip_encoding),
		cmocka_unit_test(zstd_of_nothing),
		cmocka_unit_test(write_failures_stay),
		cmocka_unit_test(failure_at_the_end),
		cmocka_unit_test(plain),
		cmocka_unit_test(frames),
		cmocka_unit_test(frames_in_threads),
		cmocka_unit_test(damage_in_threads),
		cmocka_unit_test(every_bit),
		cmocka_unit_test(others),
		cmocka_unit_test(gzip_padding),
		cmocka_unit_test(truncated),
		cmocka_unit_test(damaged),
		cmocka_unit_test(windows),
		cmocka_unit_test(read_failures_pass_through),
	};

	return cmocka_run_group_tests_name("codec", tests, NULL, NULL);
}
