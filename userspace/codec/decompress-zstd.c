// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A frame that says how large its content is, and is not too large, is decompressed as
 * a whole by the pipeline, several at once if there are threads. Any other
 * is decompressed as a stream, in the caller's thread.
 *
 * Damage is a job of its own, or goes with that of the frame, and so is told where it
 * stands between the frames. Behind it the next frame is looked for: in a file with seals
 * the next seal, which tells what it sealed, else the next magic number.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "codec/decompressor.h"
#include "codec/pipeline.h"
#include "codec/zstd-frame.h"
#include "codec/zstd-table.h"
#include "libvma/text.h"

/*
 * A frame says how much memory its decoder needs. 128 MiB is what zstd itself
 * allows unless asked, so archives beyond it could not be restored elsewhere.
 */
#define WINDOW_LOG_MAX	27

/* Compressed bytes of a frame that is taken as a whole: its content and a hundredth more. */
#define PACKED_MAX	(ZSTD_WHOLE_MAX + ZSTD_WHOLE_MAX / 100)

#define BLOCK_MAX	(128u << 10)	/* of the format */

/* What tells what comes next: a header, or a seal. */
#define LOOK	ZSTD_SEAL_SIZE

/* As the encoder: frames that are waited for beside those that are worked on. */
#define EXTRA_JOBS	2

struct frame {
	uint8_t *in, *out;
	size_t in_room, in_len;
	size_t out_room, out_len, out_pos;
	bool checksum;		/* the frame has one of its own */
	bool sealed;
	bool seal_broken;	/* there is something else in its place */
	struct seal seal;
	int damage;		/* a negative errno if loss is filled in and not told yet */
	struct vma_loss loss;
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
	uint64_t stream_at, stream_in, stream_out;

	bool ended;
	bool hold;			/* a seek table is next: first all frames before it */
	bool lossy;			/* frames were lost: a table can't be compared */
	bool closed;			/* a file with seals had its end */
	/* An I/O error found while reading ahead, to be told after the frames before it. */
	int ahead_failed;
	struct vma_error ahead_failure;

	struct zstd_seen seen;		/* sealed: the file has seals */
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

#define TRUNCATED	"truncated: the archive ends within a zstd frame"

/* ---- the pipeline ----------------------------------------------------- */

static bool intact(const struct frame *f)
{
	return !f->sealed || (!f->seal_broken &&
			      zstd_seal_hash(f->in, f->in + f->in_len) == f->seal.hash);
}

/* In a thread of the pipeline's. */
static int decompress_frame(void *ctx, unsigned int worker, unsigned int job,
			    struct vma_error *err)
{
	struct zstd *z = ctx;
	struct frame *f = &z->frames[job];
	bool as_written;
	size_t n;

	if (f->damage)
		return 0;
	as_written = intact(f);
	n = ZSTD_decompressDCtx(z->workers[worker], f->out, f->out_len, f->in, f->in_len);
	if (ZSTD_isError(n))
		f->damage = refusal(n, &f->loss.what);
	else if (n != f->out_len)
		f->damage = vma_fail(&f->loss.what, -EBADMSG,
				     "damaged: a zstd frame has another size than it says");
	else if (!as_written)
		f->damage = vma_fail(&f->loss.what, -EBADMSG,
				     "damaged: a zstd frame differs from its seal");
	if (f->damage == -ENOMEM)
		return vma_fail(err, -ENOMEM, "out of memory");
	/* Without the frame's checksum nothing says that the content is what it was. */
	if (f->damage && !ZSTD_isError(n) && n == f->out_len && f->checksum)
		f->loss.bytes = 0;
	else if (f->damage)
		f->out_len = 0;
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

/*
 * Takes a frame off the input, and the seal behind it if there is one; NULL: the file has
 * no seals.
 */
static int submit_frame(struct zstd *z, size_t packed, const struct zstd_header *h,
			const struct seal *seal, bool seal_broken, struct vma_error *err)
{
	struct frame *f = &z->frames[pipeline_next(z->pipeline)];
	size_t all = packed + (seal ? ZSTD_SEAL_SIZE : 0);

	if (!make_room(&f->in, &f->in_room, all) ||
	    !make_room(&f->out, &f->out_room, h->content))
		return vma_fail(err, -ENOMEM, "out of memory");
	memcpy(f->in, input_at(z->in), all);
	f->in_len = packed;
	f->out_len = h->content;
	f->out_pos = 0;
	f->checksum = h->checksum;
	f->sealed = seal;
	f->seal_broken = seal_broken;
	if (seal)
		f->seal = *seal;
	f->damage = 0;
	f->loss = (struct vma_loss){
		.begin = z->in->skipped, .end = z->in->skipped + all, .bytes = h->content,
	};
	zstd_seen_add(&z->seen, packed, h->content, h->checksum ? f->in + packed - 4 : NULL);
	if (seal)
		zstd_seen_skippable(&z->seen, ZSTD_SEAL_SIZE);
	input_skip(z->in, all);
	pipeline_submit(z->pipeline);
	return 0;
}

/* A loss that begins at `begin` and ends where the input is now. */
__attribute__((format(printf, 4, 5)))
static int lose(struct zstd *z, uint64_t begin, uint64_t bytes, const char *format, ...)
{
	struct frame *f = &z->frames[pipeline_next(z->pipeline)];
	va_list args;

	f->loss = (struct vma_loss){ .begin = begin, .end = z->in->skipped, .bytes = bytes };
	va_start(args, format);
	vsnprintf(f->loss.what.text, sizeof(f->loss.what.text), format, args);
	va_end(args);
	f->damage = -EBADMSG;
	f->out_len = 0;
	f->out_pos = 0;
	z->lossy = z->lossy || bytes;
	pipeline_submit(z->pipeline);
	return 0;
}

/* All that is left of the input is lost. */
static int lose_rest(struct zstd *z, uint64_t begin, uint64_t bytes, const char *what,
		     struct vma_error *err)
{
	int ret;

	do
		ret = input_drop(z->in, UINT32_MAX, err);
	while (ret > 0);
	z->closed = true;
	return ret ? ret : lose(z, begin, bytes, "%s", what);
}

/* Whether a frame can begin there, or the file ends. */
static bool boundary(const uint8_t *p, size_t len)
{
	return !len || (len >= 4 && (zstd_is_frame(p) || zstd_is_skippable(p)));
}

/* ---- files without seals ---------------------------------------------- */

/* On to the next magic number, wherever that is. */
static int find_frame(struct zstd *z, uint64_t begin, const char *what, struct vma_error *err)
{
	static const uint8_t magic[] = { 0x28, 0xb5, 0x2f, 0xfd };
	int ret = input_find(z->in, magic, sizeof(magic), err);

	if (ret < 0)
		return ret;
	return lose(z, begin, VMA_LOSS_UNKNOWN, "%s", what);
}

/*
 * Bytes of the frame, all of them peeked at; 0: it can't be taken as a whole, because of
 * *why, or with NULL because it is more than PACKED_MAX.
 */
static ssize_t frame_length(struct zstd *z, const struct zstd_header *h, const char **why,
			    struct vma_error *err)
{
	size_t at = h->size;
	bool last = false;
	ssize_t have;

	*why = NULL;
	while (!last) {
		uint32_t size;

		if (at > PACKED_MAX)
			return 0;
		have = input_peek(z->in, at + ZSTD_BLOCK_HEADER, err);
		if (have < 0)
			return have;
		*why = TRUNCATED;
		if ((size_t)have < at + ZSTD_BLOCK_HEADER)
			return 0;
		size = zstd_block_size(input_at(z->in) + at, &last);
		*why = "damaged zstd stream: a block is too large";
		if (size > BLOCK_MAX)
			return 0;
		*why = NULL;
		at += ZSTD_BLOCK_HEADER + size;
	}
	at += h->checksum ? 4 : 0;
	have = input_peek(z->in, at, err);
	if (have < 0)
		return have;
	if ((size_t)have >= at)
		return at;
	*why = TRUNCATED;
	return 0;
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
	z->stream_at = z->in->skipped;
	z->stream_in = 0;
	z->stream_out = 0;
	return 0;
}

static int foreign_frame(struct zstd *z, size_t have, struct vma_error *err)
{
	uint64_t begin = z->in->skipped;
	struct zstd_header h;
	const char *why;
	ssize_t length;

	if (!zstd_header_parse(input_at(z->in), have, &h))
		return lose_rest(z, begin, VMA_LOSS_UNKNOWN, TRUNCATED, err);
	if (h.content > ZSTD_WHOLE_MAX)
		return start_stream(z, err);
	length = frame_length(z, &h, &why, err);
	if (length < 0)
		return length;
	if (length)
		return submit_frame(z, length, &h, NULL, false, err);
	if (!why)
		return start_stream(z, err);
	input_skip(z->in, 4);
	return find_frame(z, begin, why, err);
}

/* ---- files with seals ------------------------------------------------- */

/* A frame that can't be told from what follows: all up to the next seal is lost. */
static int find_seal(struct zstd *z, const char *why, struct vma_error *err)
{
	uint64_t begin = z->in->skipped, bytes = VMA_LOSS_UNKNOWN;
	uint8_t fixed[ZSTD_SEAL_FIXED];
	struct seal seal;
	ssize_t have;
	int ret;

	zstd_seal_put_fixed(fixed, SEAL_PIECE);
	ret = input_find(z->in, fixed, sizeof(fixed), err);
	if (ret < 0)
		return ret;
	have = input_peek(z->in, ZSTD_SEAL_SIZE, err);
	if (have < 0)
		return have;
	if (have < (ssize_t)ZSTD_SEAL_SIZE || !zstd_seal_get(input_at(z->in), &seal))
		return lose_rest(z, begin, VMA_LOSS_UNKNOWN, why, err);
	/* The seal of another frame, if there is more than what it sealed can take. */
	if (seal.count <= ZSTD_WHOLE_MAX &&
	    z->in->skipped - begin <= ZSTD_compressBound(seal.count))
		bytes = seal.count;
	input_skip(z->in, ZSTD_SEAL_SIZE);
	return lose(z, begin, bytes, "%s",
		    strcmp(why, TRUNCATED) == 0 ? "damaged zstd stream" : why);
}

static int sealed_frame(struct zstd *z, size_t have, struct vma_error *err)
{
	const char *why = "damaged: no zstd frame where one has to be";
	const uint8_t *p = input_at(z->in);
	struct zstd_header h;
	struct seal seal = { 0 };
	ssize_t length = 0, got;
	bool good;

	if (have < 4)
		why = TRUNCATED;
	else if (zstd_is_frame(p) && !zstd_header_parse(p, have, &h))
		why = TRUNCATED;
	else if (zstd_is_frame(p) && h.content <= ZSTD_WHOLE_MAX)
		length = frame_length(z, &h, &why, err);
	if (length < 0)
		return length;
	if (!length)
		return find_seal(z, why ? why : "damaged zstd stream", err);
	got = input_peek(z->in, length + ZSTD_SEAL_SIZE + 4, err);
	if (got < 0)
		return got;
	if (got < length + (ssize_t)ZSTD_SEAL_SIZE)
		return find_seal(z, TRUNCATED, err);
	p = input_at(z->in) + length;
	good = zstd_seal_get(p, &seal) && seal.kind == SEAL_PIECE && seal.count == h.content;
	if (good || boundary(p + ZSTD_SEAL_SIZE, got - length - ZSTD_SEAL_SIZE))
		return submit_frame(z, length, &h, &seal, !good, err);
	return find_seal(z, "damaged: a zstd frame without a seal", err);
}

/* Of a file too long for a seek table. */
static int last_seal(struct zstd *z, const struct seal *seal)
{
	uint64_t begin = z->in->skipped;
	bool good = seal->hash == zstd_seal_hash(input_at(z->in), input_at(z->in)) &&
		    (z->lossy || seal->count == (z->seen.nr - 1) / 2);

	input_skip(z->in, ZSTD_SEAL_SIZE);
	z->closed = true;
	return good ? 0 : lose(z, begin, 0, "damaged: the last seal does not fit the file");
}

/* ---- skippable frames ------------------------------------------------- */

static int table(struct zstd *z, uint32_t size, struct vma_error *err)
{
	static const char differs[] = "damaged: the seek table differs from the zstd frames";
	unsigned int entry = zstd_table_entry(&z->seen, size);
	uint64_t begin = z->in->skipped;
	int ret;

	if (z->lossy || !entry || (z->seen.sealed && entry != 12)) {
		/* Something else with a table's magic number and size is not expected. */
		if (z->seen.sealed && !z->lossy)
			return lose_rest(z, begin, 0, differs, err);
		input_skip(z->in, ZSTD_SKIP_HEADER);
		ret = input_drop(z->in, size, err);
		z->closed = z->seen.sealed;
		if (ret)
			return ret < 0 ? ret : 0;
		return lose(z, begin, VMA_LOSS_UNKNOWN, TRUNCATED);
	}
	input_skip(z->in, ZSTD_SKIP_HEADER);
	ret = zstd_table_check(&z->seen, z->in, entry, err);
	z->closed = z->seen.sealed;
	switch (ret) {
	case ZSTD_TABLE_CUT:
		return lose_rest(z, begin, VMA_LOSS_UNKNOWN, TRUNCATED, err);
	case ZSTD_TABLE_DIFFERS:
		return lose(z, begin, 0, differs);
	default:
		return ret < 0 ? ret : 0;
	}
}

/* The first seal, or one that shows that it was damaged. */
static int begin_sealed(struct zstd *z, const struct seal *seal)
{
	const uint8_t *p = input_at(z->in);
	uint64_t begin = z->in->skipped;
	bool good = !begin && seal->kind == SEAL_BEGIN && !seal->count &&
		    seal->hash == zstd_seal_hash(p, p);

	z->seen.sealed = true;
	zstd_seen_skippable(&z->seen, ZSTD_SEAL_SIZE);
	input_skip(z->in, ZSTD_SEAL_SIZE);
	return good ? 0 : lose(z, begin, 0, "damaged: the file's first seal is not as written");
}

/* Which is damaged, perhaps; where a foreign file's own would not look like it by chance. */
static bool like_first_seal(const uint8_t *p)
{
	uint8_t fixed[ZSTD_SEAL_FIXED];

	zstd_seal_put_fixed(fixed, SEAL_BEGIN);
	return (memcmp(p, fixed, 4) == 0) + (memcmp(p + 4, fixed + 4, 4) == 0) +
	       (memcmp(p + ZSTD_SKIP_HEADER, fixed + ZSTD_SKIP_HEADER, SEAL_FIXED) == 0) >= 2;
}

static int skippable(struct zstd *z, size_t have, struct vma_error *err)
{
	uint64_t begin = z->in->skipped;
	const uint8_t *p = input_at(z->in);
	struct seal seal;
	uint32_t size;
	int ret;

	if (have < ZSTD_SKIP_HEADER)
		return lose_rest(z, begin, VMA_LOSS_UNKNOWN, TRUNCATED, err);
	if (have >= ZSTD_SEAL_SIZE && !begin && like_first_seal(p)) {
		if (!zstd_seal_get(p, &seal))
			seal.kind = SEAL_PIECE;
		return begin_sealed(z, &seal);
	}
	if (have >= ZSTD_SEAL_SIZE && zstd_seal_get(p, &seal)) {
		if (!z->seen.sealed)
			return begin_sealed(z, &seal);
		if (seal.kind == SEAL_END)
			return last_seal(z, &seal);
	}
	size = zstd_le32(p + 4);
	if (zstd_le32(p) == ZSTD_SEEK_SKIP_MAGIC) {
		z->hold = pipeline_pending(z->pipeline);
		return z->hold ? 0 : table(z, size, err);
	}
	if (z->seen.sealed)
		return sealed_frame(z, have, err);
	zstd_seen_skippable(&z->seen, ZSTD_SKIP_HEADER + (uint64_t)size);
	ret = input_drop(z->in, ZSTD_SKIP_HEADER + (uint64_t)size, err);
	if (ret)
		return ret < 0 ? ret : 0;
	return lose(z, begin, VMA_LOSS_UNKNOWN, TRUNCATED);
}

/* ---- frames ----------------------------------------------------------- */

/* Takes the next frame up, of whatever kind, or notes the end. */
static int next_frame(struct zstd *z, struct vma_error *err)
{
	ssize_t have = input_peek(z->in, LOOK, err);
	uint64_t begin = z->in->skipped;
	const uint8_t *p;

	if (have < 0)
		return have;
	if (!have) {
		z->ended = true;
		if (!z->seen.sealed || z->closed)
			return 0;
		return lose(z, begin, VMA_LOSS_UNKNOWN, "truncated: the end of the zstd file is missing");
	}
	if (z->closed)
		return lose_rest(z, begin, 0, "damaged: bytes behind the end of the zstd file", err);
	p = input_at(z->in);
	if (have >= 4 && zstd_is_skippable(p))
		return skippable(z, have, err);
	if (z->seen.sealed)
		return sealed_frame(z, have, err);
	if (have >= 4 && zstd_is_frame(p))
		return foreign_frame(z, have, err);
	return find_frame(z, begin, have < 4 ? TRUNCATED :
			  "damaged: what follows a zstd frame is not a zstd frame", err);
}

static void read_ahead(struct zstd *z)
{
	if (!pipeline_pending(z->pipeline))
		z->hold = false;
	while (!z->ended && !z->ahead_failed && !z->streaming && !z->hold &&
	       pipeline_next(z->pipeline) >= 0 && pipeline_pending(z->pipeline) < z->depth)
		z->ahead_failed = next_frame(z, &z->ahead_failure);
}

/* What came out of the stream came out; where to go on is looked for. */
static int stream_damaged(struct zstd *z, int code, const struct vma_error *what,
			  struct vma_error *err)
{
	struct frame *f = &z->frames[pipeline_next(z->pipeline)];
	int ret;

	z->streaming = false;
	z->lossy = true;
	ret = find_frame(z, z->stream_at, what->text, err);
	if (!ret)
		f->damage = code;
	return ret;
}

static ssize_t read_stream(struct zstd *z, uint8_t *buf, size_t len, struct vma_error *err)
{
	ZSTD_outBuffer out = { .dst = buf, .size = len };
	ssize_t have = input_peek(z->in, 1, err);
	struct vma_error what;
	ZSTD_inBuffer in;
	size_t hint;
	int ret;

	if (have < 0)
		return have;
	in = (ZSTD_inBuffer){ .src = have ? input_at(z->in) : NULL, .size = have };
	hint = ZSTD_decompressStream(z->stream, &out, &in);
	if (ZSTD_isError(hint)) {
		ret = refusal(hint, &what);
		/* A header may be refused before a byte of it was taken: look behind it. */
		if (z->in->skipped == z->stream_at)
			input_skip(z->in, 1);
		return ret == -ENOMEM ? vma_fail(err, ret, "out of memory") :
					stream_damaged(z, ret, &what, err);
	}
	/* Without input, only what the decoder still holds can come out. */
	if (hint && !have && !out.pos)
		return stream_damaged(z, vma_fail(&what, -EBADMSG, TRUNCATED), &what, err);
	input_skip(z->in, in.pos);
	z->stream_in += in.pos;
	z->stream_out += out.pos;
	if (!hint) {
		zstd_seen_add(&z->seen, z->stream_in, z->stream_out, NULL);
		z->streaming = false;
	}
	return out.pos;
}

/* From the oldest frame, whose turn it is. */
static ssize_t read_frame(struct zstd *z, uint8_t *buf, size_t len, struct vma_loss *loss,
			  struct vma_error *err)
{
	struct frame *f = &z->frames[pipeline_oldest(z->pipeline, true)];
	int ret = pipeline_result(z->pipeline, err), damage = f->damage;

	if (ret)
		return ret;
	if (damage) {
		*loss = f->loss;
		z->lossy = z->lossy || loss->bytes;
		f->damage = 0;
		len = 0;
	}
	if (len > f->out_len - f->out_pos)
		len = f->out_len - f->out_pos;
	if (len)
		memcpy(buf, f->out + f->out_pos, len);
	f->out_pos += len;
	if (f->out_pos == f->out_len) {
		pipeline_retire(z->pipeline);
		if (z->depth < z->nr_frames)
			z->depth++;
	}
	return damage ? damage : (ssize_t)len;
}

static ssize_t read_state(void *state, uint8_t *buf, size_t len, struct vma_loss *loss,
			  struct vma_error *err)
{
	struct zstd *z = state;
	ssize_t n = 0;

	while (!n) {
		read_ahead(z);
		if (pipeline_pending(z->pipeline))
			n = read_frame(z, buf, len, loss, err);
		else if (z->ahead_failed)
			return vma_fail(err, z->ahead_failed, "%s", z->ahead_failure.text);
		else if (z->streaming)
			n = read_stream(z, buf, len, err);
		else if (z->ended)
			break;
	}
	return n;
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
	zstd_seen_init(&z->seen);
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
