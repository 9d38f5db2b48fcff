// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Frames that can be decompressed as a whole come out of the queue; what is read ahead goes
 * into it. Any other frame is decompressed as a stream, here, in the caller's thread, once the
 * queue is empty.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "codec/decompressor.h"
#include "codec/zstd-scan.h"
#include "libvma/text.h"

struct zstd {
	struct zstd_queue queue;
	struct zstd_scan scan;

	/* The frame that is decompressed as a stream, if scan.stream. */
	ZSTD_DCtx *stream;
	uint64_t stream_at, stream_in, stream_out;
	size_t stream_want;		/* bytes that the decoder would like to have next */
	bool stream_full;		/* more may come out of it without input */
	bool stream_sum;		/* it ends with a checksum, of these bytes in the end */
	uint8_t stream_tail[4];

	/* An I/O error found while reading ahead, to be told after the frames before it. */
	int ahead_failed;
	struct vma_error ahead_failure;
};

static bool is(const uint8_t *p, size_t len)
{
	return len >= 4 && (zstd_is_frame(p) || zstd_is_skippable(p));
}

static int start_stream(struct zstd *z, struct vma_error *err)
{
	ssize_t have = input_peek(z->scan.in, ZSTD_HEADER_MAX, err);
	struct zstd_header h;
	size_t ret;

	if (have < 0)
		return have;
	z->stream_sum = zstd_header_parse(input_at(z->scan.in), have, &h) && h.checksum;
	if (!z->stream) {
		z->stream = ZSTD_createDCtx();
		if (!z->stream)
			return vma_fail(err, -ENOMEM, "out of memory");
		ret = ZSTD_DCtx_setParameter(z->stream, ZSTD_d_windowLogMax, ZSTD_WINDOW_LOG_MAX);
		if (ZSTD_isError(ret))
			return vma_fail(err, -EINVAL, "zstd: %s", ZSTD_getErrorName(ret));
	}
	/* After an error it would stay within the damaged frame. */
	z->stream_want = ZSTD_initDStream(z->stream);
	z->stream_full = false;
	z->stream_at = z->scan.in->skipped;
	z->stream_in = 0;
	z->stream_out = 0;
	return 0;
}

static void keep_tail(struct zstd *z, const uint8_t *p, size_t len)
{
	const size_t room = sizeof(z->stream_tail);
	size_t n = len < room ? len : room;

	memmove(z->stream_tail, z->stream_tail + n, room - n);
	memcpy(z->stream_tail + room - n, p + len - n, n);
}

static void read_ahead(struct zstd *z)
{
	if (!zstd_queue_pending(&z->queue))
		z->scan.hold = false;
	while (!z->scan.ended && !z->ahead_failed && !z->scan.stream && !z->scan.hold &&
	       zstd_queue_has_room(&z->queue)) {
		z->ahead_failed = zstd_scan_next(&z->scan, &z->ahead_failure);
		if (z->scan.stream)
			z->ahead_failed = start_stream(z, &z->ahead_failure);
	}
}

/* What came out of the stream came out; where to go on is looked for. */
static int stream_damaged(struct zstd *z, int code, const struct vma_error *what,
			  struct vma_error *err)
{
	z->scan.stream = false;
	return zstd_scan_damaged(&z->scan, z->stream_at, z->stream_out, code, what->text, err);
}

/*
 * What the decoder would like takes in the header of the next block. One that is damaged would
 * take this block with it: with an error, the decoder does not tell what it gave in that call.
 */
static size_t one_step(const struct zstd *z)
{
	return z->stream_want > ZSTD_BLOCK_HEADER ? z->stream_want - ZSTD_BLOCK_HEADER :
						    z->stream_want;
}

/* One block at a time, and its output to the end before the next one. */
static ssize_t read_stream(struct zstd *z, uint8_t *buf, size_t len, struct vma_error *err)
{
	ZSTD_outBuffer out = { .dst = buf, .size = len };
	ssize_t have = input_peek(z->scan.in, 1, err);
	struct vma_error what;
	ZSTD_inBuffer in;
	size_t hint;
	int ret;

	if (have < 0)
		return have;
	in = (ZSTD_inBuffer){ .src = have ? input_at(z->scan.in) : NULL, .size = have };
	if (z->stream_full)
		in.size = 0;
	else if (in.size > one_step(z))
		in.size = one_step(z);
	hint = ZSTD_decompressStream(z->stream, &out, &in);
	if (ZSTD_isError(hint)) {
		ret = zstd_refusal(hint, &what);
		/* A header may be refused before a byte of it was taken: look behind it. */
		if (z->scan.in->skipped == z->stream_at)
			input_skip(z->scan.in, 1);
		return ret == -ENOMEM ? vma_fail(err, ret, "out of memory") :
					stream_damaged(z, ret, &what, err);
	}
	/* Without input, only what the decoder still holds can come out. */
	if (hint && !have && !out.pos)
		return stream_damaged(z, vma_fail(&what, -EBADMSG, ZSTD_TRUNCATED), &what, err);
	if (in.pos)
		keep_tail(z, input_at(z->scan.in), in.pos);
	input_skip(z->scan.in, in.pos);
	z->stream_in += in.pos;
	z->stream_out += out.pos;
	z->stream_want = hint;
	z->stream_full = out.pos == out.size;
	if (!hint) {
		zstd_seen_add(&z->scan.seen, z->stream_in, z->stream_out,
			      z->stream_sum ? z->stream_tail : NULL);
		z->scan.stream = false;
	}
	return out.pos;
}

static ssize_t read_state(void *state, uint8_t *buf, size_t len, struct vma_loss *loss,
			  struct vma_error *err)
{
	struct zstd *z = state;
	ssize_t n = 0;

	while (!n) {
		read_ahead(z);
		if (zstd_queue_pending(&z->queue))
			n = zstd_queue_read(&z->queue, buf, len, loss, err);
		else if (z->ahead_failed)
			return vma_fail(err, z->ahead_failed, "%s", z->ahead_failure.text);
		else if (z->scan.stream)
			n = read_stream(z, buf, len, err);
		else if (z->scan.ended)
			break;
	}
	return n;
}

static int start_threads(void *state, unsigned int threads, struct vma_error *err)
{
	struct zstd *z = state;

	return zstd_queue_start(&z->queue, threads, err);
}

static uint64_t unproven(void *state)
{
	const struct zstd *z = state;

	return z->scan.stream ? z->stream_out : 0;
}

static void go_on(void *state)
{
	struct zstd *z = state;

	z->scan.go_on = true;
}

static void close_state(void *state)
{
	struct zstd *z = state;

	zstd_queue_stop(&z->queue);
	ZSTD_freeDCtx(z->stream);
	free(z);
}

static int open_state(void **state, struct input *in, struct vma_error *err)
{
	struct zstd *z = calloc(1, sizeof(*z));
	int ret;

	if (!z)
		return vma_fail(err, -ENOMEM, "out of memory");
	z->scan.in = in;
	z->scan.queue = &z->queue;
	zstd_seen_init(&z->scan.seen);
	ret = zstd_queue_start(&z->queue, 0, err);
	if (ret) {
		close_state(z);
		return ret;
	}
	*state = z;
	return 0;
}

const struct decompressor decompressor_zstd = {
	.is = is,
	.open = open_state,
	.start_threads = start_threads,
	.go_on = go_on,
	.read = read_state,
	.unproven = unproven,
	.close = close_state,
};
