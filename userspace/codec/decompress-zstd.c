// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A frame that says how large its content is, and is not too large, is decompressed as
 * a whole by the pipeline, several at once if there are threads. Any other
 * is decompressed as a stream, in the caller's thread. A seek table is compared with
 * the frames that were really there: so it is never wrong in an archive that was read
 * without complaint.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "codec/decompressor.h"
#include "codec/pipeline.h"
#include "codec/zstd-frame.h"
#include "libvma/text.h"

/*
 * A frame says how much memory its decoder needs. 128 MiB is what zstd itself
 * allows unless asked, so archives beyond it could not be restored elsewhere.
 */
#define WINDOW_LOG_MAX	27

/* Compressed bytes of a frame that is taken as a whole: its content and a hundredth more. */
#define PACKED_MAX	(ZSTD_WHOLE_MAX + ZSTD_WHOLE_MAX / 100)

#define BLOCK_MAX	(128u << 10)	/* of the format */

/* As the encoder: frames that are waited for beside those that are worked on. */
#define EXTRA_JOBS	2

struct frame {
	uint8_t *in, *out;
	size_t in_room, in_len;
	size_t out_room, out_len, out_pos;
};

struct zstd {
	struct input *in;

	struct pipeline *pipeline;
	ZSTD_DCtx **workers;
	unsigned int nr_workers;
	struct frame *frames;		/* by job */
	unsigned int nr_frames;
	/* Frames to have under way: grows as they are used, for some only want the first. */
	unsigned int depth;

	/* The frame that is decompressed as a stream. */
	ZSTD_DCtx *stream;
	bool streaming;
	uint64_t stream_in, stream_out;

	bool ended;
	/* What was found while reading ahead, to be told after the frames before it. */
	int ahead_failed;
	struct vma_error ahead_failure;

	/* Of the frames so far, for the seek table. */
	uint64_t nr_seen;
	uint64_t sizes_hash, sums_hash;
	bool no_sums;			/* one had no checksum, or it was not looked at */
	bool too_large;			/* one does not fit into a seek table */
};

static bool is(const uint8_t *p, size_t len)
{
	return len >= 4 && (zstd_is_frame(p) || zstd_is_skippable(p));
}

static int refusal(size_t code, struct vma_error *err)
{
	switch (ZSTD_getErrorCode(code)) {
	case ZSTD_error_memory_allocation:
		return vma_fail(err, -ENOMEM, "out of memory");
	case ZSTD_error_frameParameter_windowTooLarge:
		return vma_fail(err, -EFBIG,
				"the zstd stream needs a window above 128 MiB: compress it again without --long");
	case ZSTD_error_checksum_wrong:
		return vma_fail(err, -EBADMSG, "damaged: a zstd frame has a wrong checksum");
	default:
		return vma_fail(err, -EBADMSG, "damaged zstd stream: %s", ZSTD_getErrorName(code));
	}
}

static int truncated(struct vma_error *err)
{
	return vma_fail(err, -EBADMSG, "truncated: the archive ends within a zstd frame");
}

/* ---- the pipeline ----------------------------------------------------- */

/* In a thread of the pipeline's. */
static int decompress_frame(void *ctx, unsigned int worker, unsigned int job,
			    struct vma_error *err)
{
	struct zstd *z = ctx;
	struct frame *f = &z->frames[job];
	size_t n = ZSTD_decompressDCtx(z->workers[worker], f->out, f->out_len, f->in, f->in_len);

	if (ZSTD_isError(n))
		return refusal(n, err);
	if (n != f->out_len)
		return vma_fail(err, -EBADMSG, "damaged: a zstd frame has another size than it says");
	return 0;
}

static void stop_pipeline(struct zstd *z)
{
	pipeline_free(z->pipeline);
	for (unsigned int i = 0; z->frames && i < z->nr_frames; i++) {
		free(z->frames[i].in);
		free(z->frames[i].out);
	}
	for (unsigned int i = 0; z->workers && i < z->nr_workers; i++)
		ZSTD_freeDCtx(z->workers[i]);
	free(z->frames);
	free(z->workers);
	z->pipeline = NULL;
	z->frames = NULL;
	z->workers = NULL;
}

static int start_pipeline(struct zstd *z, unsigned int threads, struct vma_error *err)
{
	bool room = true;

	z->nr_workers = threads ? threads : 1;
	z->nr_frames = threads ? threads + EXTRA_JOBS : 1;
	z->workers = calloc(z->nr_workers, sizeof(*z->workers));
	z->frames = calloc(z->nr_frames, sizeof(*z->frames));
	if (!z->workers || !z->frames)
		return vma_fail(err, -ENOMEM, "out of memory");
	for (unsigned int i = 0; i < z->nr_workers && room; i++) {
		z->workers[i] = ZSTD_createDCtx();
		room = z->workers[i];
	}
	if (!room)
		return vma_fail(err, -ENOMEM, "out of memory");
	return pipeline_new(&z->pipeline, threads, z->nr_frames, decompress_frame, z, err);
}

static int start_threads(void *state, unsigned int threads, struct vma_error *err)
{
	struct zstd *z = state;

	stop_pipeline(z);
	return start_pipeline(z, threads, err);
}

/* The old content is not wanted, so no realloc(). */
static bool make_room(uint8_t **p, size_t *room, size_t size)
{
	if (*room >= size && *p)
		return true;
	free(*p);
	*p = malloc(size ? size : 1);
	*room = *p ? size : 0;
	return *p;
}

static int submit_frame(struct zstd *z, size_t packed, size_t content, struct vma_error *err)
{
	struct frame *f = &z->frames[pipeline_next(z->pipeline)];

	if (!make_room(&f->in, &f->in_room, packed) || !make_room(&f->out, &f->out_room, content))
		return vma_fail(err, -ENOMEM, "out of memory");
	memcpy(f->in, input_at(z->in), packed);
	f->in_len = packed;
	f->out_len = content;
	f->out_pos = 0;
	input_skip(z->in, packed);
	pipeline_submit(z->pipeline);
	return 0;
}

/* ---- the seek table --------------------------------------------------- */

#define HASH_START	0xcbf29ce484222325u
#define HASH_FACTOR	0x100000001b3u

/* FNV-1a: tells one damaged table from a good one; nobody gains from forging it. */
static uint64_t hash(uint64_t h, uint32_t v)
{
	for (int i = 0; i < 4; i++)
		h = (h ^ (v >> 8 * i & 0xff)) * HASH_FACTOR;
	return h;
}

static void saw_frame(struct zstd *z, uint64_t packed, uint64_t content, const uint8_t *sum)
{
	z->nr_seen++;
	if (packed > UINT32_MAX || content > UINT32_MAX)
		z->too_large = true;
	z->sizes_hash = hash(hash(z->sizes_hash, packed), content);
	if (sum)
		z->sums_hash = hash(z->sums_hash, zstd_le32(sum));
	else
		z->no_sums = true;
}

static int wrong_table(struct vma_error *err)
{
	return vma_fail(err, -EBADMSG, "damaged: the seek table differs from the zstd frames");
}

static int check_table(struct zstd *z, unsigned int entry_size, struct vma_error *err)
{
	uint64_t sizes = HASH_START, sums = HASH_START;
	const uint8_t *p;
	ssize_t have;

	for (uint64_t i = 0; i < z->nr_seen; i++) {
		have = input_peek(z->in, entry_size, err);
		if (have < 0)
			return have;
		if (have < (ssize_t)entry_size)
			return truncated(err);
		p = input_at(z->in);
		sizes = hash(hash(sizes, zstd_le32(p)), zstd_le32(p + 4));
		if (entry_size == 12)
			sums = hash(sums, zstd_le32(p + 8));
		input_skip(z->in, entry_size);
	}
	have = input_peek(z->in, ZSTD_SEEK_FOOTER, err);
	if (have < 0)
		return have;
	if (have < (ssize_t)ZSTD_SEEK_FOOTER)
		return truncated(err);
	p = input_at(z->in);
	if (sizes != z->sizes_hash || (entry_size == 12 && !z->no_sums && sums != z->sums_hash) ||
	    zstd_le32(p) != z->nr_seen || (p[4] & (ZSTD_SEEK_CHECKSUMS | ZSTD_SEEK_RESERVED)) !=
	    (entry_size == 12 ? ZSTD_SEEK_CHECKSUMS : 0) || zstd_le32(p + 5) != ZSTD_SEEK_MAGIC)
		return wrong_table(err);
	input_skip(z->in, ZSTD_SEEK_FOOTER);
	return 0;
}

static int skippable(struct zstd *z, struct vma_error *err)
{
	ssize_t have = input_peek(z->in, ZSTD_SKIP_HEADER, err);
	uint32_t magic, size;
	int ret;

	if (have < 0)
		return have;
	if (have < (ssize_t)ZSTD_SKIP_HEADER)
		return truncated(err);
	magic = zstd_le32(input_at(z->in));
	size = zstd_le32(input_at(z->in) + 4);
	input_skip(z->in, ZSTD_SKIP_HEADER);
	/* Something else that has a table's magic number and size is not expected. */
	if (magic == ZSTD_SEEK_SKIP_MAGIC && size >= ZSTD_SEEK_FOOTER && !z->too_large) {
		for (unsigned int entry = 8; entry <= 12; entry += 4)
			if (size - ZSTD_SEEK_FOOTER == z->nr_seen * entry)
				return check_table(z, z->nr_seen ? entry : 12, err);
	}
	ret = input_drop(z->in, size, err);
	return ret == 0 ? truncated(err) : ret < 0 ? ret : 0;
}

/* ---- frames ----------------------------------------------------------- */

/* Bytes of the frame, all of them peeked at; 0: more than PACKED_MAX. */
static ssize_t frame_length(struct zstd *z, const struct zstd_header *h, struct vma_error *err)
{
	size_t at = h->size;
	bool last = false;
	ssize_t have;

	while (!last) {
		uint32_t size;

		if (at > PACKED_MAX)
			return 0;
		have = input_peek(z->in, at + ZSTD_BLOCK_HEADER, err);
		if (have < 0)
			return have;
		if ((size_t)have < at + ZSTD_BLOCK_HEADER)
			return truncated(err);
		size = zstd_block_size(input_at(z->in) + at, &last);
		if (size > BLOCK_MAX)
			return vma_fail(err, -EBADMSG, "damaged zstd stream: a block is too large");
		at += ZSTD_BLOCK_HEADER + size;
	}
	at += h->checksum ? 4 : 0;
	have = input_peek(z->in, at, err);
	if (have < 0)
		return have;
	return (size_t)have < at ? truncated(err) : (ssize_t)at;
}

static int start_stream(struct zstd *z, struct vma_error *err)
{
	size_t ret;

	if (!z->stream) {
		z->stream = ZSTD_createDCtx();
		if (!z->stream)
			return vma_fail(err, -ENOMEM, "out of memory");
		ret = ZSTD_DCtx_setParameter(z->stream, ZSTD_d_windowLogMax, WINDOW_LOG_MAX);
		if (ZSTD_isError(ret))
			return vma_fail(err, -EINVAL, "zstd: %s", ZSTD_getErrorName(ret));
	}
	z->streaming = true;
	z->stream_in = 0;
	z->stream_out = 0;
	return 0;
}

/* Takes the next frame up, of whatever kind, or notes the end. */
static int next_frame(struct zstd *z, struct vma_error *err)
{
	ssize_t have = input_peek(z->in, ZSTD_HEADER_MAX, err);
	struct zstd_header h;
	const uint8_t *p;
	ssize_t length;

	if (have <= 0) {
		z->ended = true;
		return have;
	}
	p = input_at(z->in);
	if (have < 4)
		return truncated(err);
	if (zstd_is_skippable(p))
		return skippable(z, err);
	if (!zstd_is_frame(p))
		return vma_fail(err, -EBADMSG,
				"damaged: what follows a zstd frame is not a zstd frame");
	if (!zstd_header_parse(p, have, &h))
		return truncated(err);
	if (h.content > ZSTD_WHOLE_MAX)
		return start_stream(z, err);
	length = frame_length(z, &h, err);
	if (length < 0)
		return length;
	if (!length)
		return start_stream(z, err);
	saw_frame(z, length, h.content, h.checksum ? input_at(z->in) + length - 4 : NULL);
	return submit_frame(z, length, h.content, err);
}

static void read_ahead(struct zstd *z)
{
	while (!z->ended && !z->ahead_failed && !z->streaming &&
	       pipeline_next(z->pipeline) >= 0 && pipeline_pending(z->pipeline) < z->depth)
		z->ahead_failed = next_frame(z, &z->ahead_failure);
}

static ssize_t read_stream(struct zstd *z, uint8_t *buf, size_t len, struct vma_error *err)
{
	ZSTD_outBuffer out = { .dst = buf, .size = len };
	ssize_t have = input_peek(z->in, 1, err);
	ZSTD_inBuffer in;
	size_t hint;

	if (have < 0)
		return have;
	in = (ZSTD_inBuffer){ .src = have ? input_at(z->in) : NULL, .size = have };
	hint = ZSTD_decompressStream(z->stream, &out, &in);
	if (ZSTD_isError(hint))
		return refusal(hint, err);
	/* Without input, only what the decoder still holds can come out. */
	if (hint && !have && !out.pos)
		return truncated(err);
	input_skip(z->in, in.pos);
	z->stream_in += in.pos;
	z->stream_out += out.pos;
	if (!hint) {
		saw_frame(z, z->stream_in, z->stream_out, NULL);
		z->streaming = false;
	}
	return out.pos;
}

/* From the oldest frame, whose turn it is. */
static ssize_t read_frame(struct zstd *z, uint8_t *buf, size_t len, struct vma_error *err)
{
	struct frame *f = &z->frames[pipeline_oldest(z->pipeline, true)];
	int ret = pipeline_result(z->pipeline, err);

	if (ret)
		return ret;
	if (len > f->out_len - f->out_pos)
		len = f->out_len - f->out_pos;
	memcpy(buf, f->out + f->out_pos, len);
	f->out_pos += len;
	if (f->out_pos == f->out_len) {
		pipeline_retire(z->pipeline);
		if (z->depth < z->nr_frames)
			z->depth++;
	}
	return len;
}

static ssize_t read_state(void *state, uint8_t *buf, size_t len, struct vma_error *err)
{
	struct zstd *z = state;
	size_t done = 0;

	while (done < len) {
		ssize_t n;

		read_ahead(z);
		if (pipeline_pending(z->pipeline))
			n = read_frame(z, buf + done, len - done, err);
		else if (z->ahead_failed)
			return vma_fail(err, z->ahead_failed, "%s", z->ahead_failure.text);
		else if (z->streaming)
			n = read_stream(z, buf + done, len - done, err);
		else
			break;
		if (n < 0)
			return n;
		done += n;
	}
	return done;
}

static void close_state(void *state)
{
	struct zstd *z = state;

	stop_pipeline(z);
	ZSTD_freeDCtx(z->stream);
	free(z);
}

static int open_state(void **state, struct input *in, struct vma_error *err)
{
	struct zstd *z = calloc(1, sizeof(*z));
	int ret;

	if (!z)
		return vma_fail(err, -ENOMEM, "out of memory");
	z->in = in;
	z->depth = 1;
	z->sizes_hash = HASH_START;
	z->sums_hash = HASH_START;
	ret = start_pipeline(z, 0, err);
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
	.read = read_state,
	.close = close_state,
};
