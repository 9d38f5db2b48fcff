// SPDX-License-Identifier: GPL-2.0-or-later
/* codec: what is read of streams of any origin. */
#include "codec-memory.h"

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
			/* Ours have an end, behind which nothing is taken. */
			whole = kind == CODEC_GZIP ? one_member(p, len) : encode(&o, p, len);
			m = memory_of(whole.p, whole.len);
			append(&m, whole.p, whole.len);
			take(&m, kind, twice, 2 * len);
			free(whole.p);
			whole = encode(&o, p, len);
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
	struct memory whole = one_member("abc", 3), sealed, m;

	(void)state;
	sealed = encode(&o, (const uint8_t *)"abc", 3);
	append(&sealed, "\0\0\0\0", 4);
	take(&sealed, CODEC_GZIP, "abc", 3);
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
		cmocka_unit_test(plain),
		cmocka_unit_test(frames),
		cmocka_unit_test(frames_in_threads),
		cmocka_unit_test(others),
		cmocka_unit_test(gzip_padding),
		cmocka_unit_test(windows),
		cmocka_unit_test(read_failures_pass_through),
	};

	return cmocka_run_group_tests_name("codec-decode", tests, NULL, NULL);
}
