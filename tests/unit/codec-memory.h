/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What tests of the codec share: streams in memory, there and back. */
#ifndef CODEC_MEMORY_H
#define CODEC_MEMORY_H

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

static inline int memory_write(void *ctx, const struct iovec *iov, int iovcnt,
			       struct vma_error *err)
{
	struct memory *m = ctx;

	if (m->fail) {
		if (err)
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

static inline ssize_t memory_read(void *ctx, void *buf, size_t len, struct vma_error *err)
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

static inline struct memory memory_of(const void *p, size_t len)
{
	struct memory m = { .p = malloc(len + 1), .len = len, .fail_read_at = -1 };

	assert_non_null(m.p);
	if (len)
		memcpy(m.p, p, len);
	return m;
}

static inline void append(struct memory *m, const void *p, size_t len)
{
	struct iovec iov = { (void *)p, len };

	memory_write(m, &iov, 1, NULL);
}

/* Half noise, half runs: more than one buffer of output, and of input. */
static inline uint8_t *sample(size_t len)
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

static inline struct memory one_frame(const void *p, size_t len)
{
	struct memory m = { .fail_read_at = -1 };
	size_t size = ZSTD_compressBound(len);

	m.p = malloc(size);
	assert_non_null(m.p);
	m.len = ZSTD_compress(m.p, size, p, len, 1);
	assert_false(ZSTD_isError(m.len));
	return m;
}

/* As gzip(1) makes it: without seals. */
static inline struct memory one_member(const void *p, size_t len)
{
	struct memory m = { .fail_read_at = -1 };
	size_t size = compressBound(len) + 12;
	z_stream z = { .next_in = (void *)p, .avail_in = len };

	m.p = malloc(size);
	assert_non_null(m.p);
	z.next_out = m.p;
	z.avail_out = size;
	assert_int_equal(deflateInit2(&z, 1, Z_DEFLATED, 15 + 16, 8, 0), Z_OK);
	assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
	deflateEnd(&z);
	m.len = z.total_out;
	return m;
}

static inline struct memory encode(const struct codec_options *o, const uint8_t *p, size_t len)
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

/* A stream of one piece, as a first write makes it. */
static inline struct memory one_piece(enum codec_kind kind, uint8_t *p, size_t len)
{
	struct codec_options o = { .kind = kind };
	struct memory m = { .fail_read_at = -1 };
	struct iovec iov = { p, len };
	struct encoder *e;

	assert_int_equal(encoder_new(&e, &o, memory_write, &m, NULL), 0);
	assert_int_equal(encoder_write(e, &iov, 1, NULL), 0);
	assert_int_equal(encoder_finish(e, NULL), 0);
	encoder_free(e);
	return m;
}

/* Everything that comes out, in reads of odd sizes; *ret is the last read's answer. */
static unsigned int decode_threads;

static inline struct memory decode(struct memory *m, enum codec_kind kind, ssize_t *ret,
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

static inline void take(struct memory *m, enum codec_kind kind, const void *want, size_t len)
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

static inline void refuse_kind(struct memory *m, enum codec_kind kind, int code, const char *words)
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

#endif /* CODEC_MEMORY_H */
