// SPDX-License-Identifier: GPL-2.0-or-later
#include "codec/zstd-scan.h"

#include <errno.h>
#include <string.h>
#include <zstd.h>

#include "libvma/text.h"

/* Compressed bytes of a frame that is taken as a whole: its content and a hundredth more. */
#define PACKED_MAX	(ZSTD_WHOLE_MAX + ZSTD_WHOLE_MAX / 100)

#define BLOCK_MAX	(128u << 10)	/* of the format */

/* What tells what comes next: a header, or a seal. */
#define LOOK	ZSTD_SEAL_SIZE

#define TRUNCATED	ZSTD_TRUNCATED

static const char behind_end[] = "damaged: bytes behind the end of the zstd file";

/* Takes a frame off the input, and the seal behind it if there is one. */
static int take_frame(struct zstd_scan *s, size_t packed, const struct zstd_header *h,
		      const struct seal *seal, bool seal_broken, struct vma_error *err)
{
	const uint8_t *p = input_at(s->in);
	int ret = zstd_queue_frame(s->queue, p, s->in->skipped, packed, h, seal, seal_broken, err);

	if (ret)
		return ret;
	zstd_seen_add(&s->seen, packed, h->content, h->checksum ? p + packed - 4 : NULL);
	if (seal)
		zstd_seen_skippable(&s->seen, ZSTD_SEAL_SIZE);
	input_skip(s->in, packed + (seal ? ZSTD_SEAL_SIZE : 0));
	return 0;
}

/* A loss that ends where the input is now. */
static int lose_with(struct zstd_scan *s, int code, struct vma_loss loss, const char *what)
{
	loss.end = s->in->skipped;
	vma_error_set(&loss.what, "%s", what);
	zstd_queue_loss(s->queue, code, &loss);
	return 0;
}

static int lose(struct zstd_scan *s, uint64_t begin, uint64_t bytes, const char *what)
{
	return lose_with(s, -EBADMSG, (struct vma_loss){ .begin = begin, .bytes = bytes }, what);
}

/* All that is left of the input is lost. */
static int lose_rest(struct zstd_scan *s, uint64_t begin, uint64_t bytes, const char *what,
		     struct vma_error *err)
{
	int ret = input_drop_rest(s->in, err);

	s->closed = true;
	s->judged = s->in->skipped;
	return ret ? ret : lose(s, begin, bytes, what);
}

/* Whether a frame can begin there, or the file ends. */
static bool boundary(const uint8_t *p, size_t len)
{
	return !len || (len >= 4 && (zstd_is_frame(p) || zstd_is_skippable(p)));
}

/* ---- files without seals ---------------------------------------------- */

int zstd_scan_damaged(struct zstd_scan *s, uint64_t begin, uint64_t unproven, int code,
		      const char *what, struct vma_error *err)
{
	static const uint8_t magic[] = { 0x28, 0xb5, 0x2f, 0xfd };
	struct vma_loss loss = {
		.begin = begin, .bytes = VMA_LOSS_UNKNOWN, .unproven = unproven,
	};
	int ret;

	/* Refused, not damaged: nobody goes on. */
	if (code != -EBADMSG && (code != -EFBIG || !begin))
		input_give_up(s->in);
	ret = input_find(s->in, magic, sizeof(magic), err);
	if (ret < 0)
		return ret;
	return lose_with(s, code, loss, what);
}

/*
 * Bytes of the frame, all of them peeked at; 0: it can't be taken as a whole, because of
 * *why, or with NULL because it is more than PACKED_MAX.
 */
static ssize_t frame_length(struct zstd_scan *s, const struct zstd_header *h, const char **why,
			    struct vma_error *err)
{
	bool last = false, found = false;
	size_t at = h->size;
	ssize_t have;

	*why = "damaged zstd stream";
	if (!input_may_try(s->in))
		return 0;
	*why = NULL;
	while (!last) {
		uint32_t size;

		if (at > PACKED_MAX)
			break;
		have = input_peek(s->in, at + ZSTD_BLOCK_HEADER, err);
		if (have < 0)
			return have;
		*why = TRUNCATED;
		if ((size_t)have < at + ZSTD_BLOCK_HEADER)
			break;
		size = zstd_block_size(input_at(s->in) + at, &last);
		*why = "damaged zstd stream: a block is too large";
		if (size > BLOCK_MAX)
			break;
		*why = NULL;
		at += ZSTD_BLOCK_HEADER + size;
		found = last;
	}
	if (!found) {
		input_tried(s->in, at);
		return 0;
	}
	at += h->checksum ? 4 : 0;
	have = input_peek(s->in, at, err);
	if (have < 0)
		return have;
	if ((size_t)have >= at)
		return at;
	*why = TRUNCATED;
	input_tried(s->in, at);
	return 0;
}

static int want_stream(struct zstd_scan *s)
{
	s->stream = true;
	return 0;
}

static int foreign_frame(struct zstd_scan *s, size_t have, struct vma_error *err)
{
	uint64_t begin = s->in->skipped;
	struct zstd_header h;
	const char *why;
	ssize_t length;

	if (!zstd_header_parse(input_at(s->in), have, &h))
		return lose_rest(s, begin, VMA_LOSS_UNKNOWN, TRUNCATED, err);
	/* The archive's header is in the first: of a stream what comes before damage stays. */
	if (h.content > ZSTD_WHOLE_MAX || h.window > 1ull << ZSTD_WINDOW_LOG_MAX ||
	    (!begin && s->go_on))
		return want_stream(s);
	length = frame_length(s, &h, &why, err);
	if (length < 0)
		return length;
	if (length)
		return take_frame(s, length, &h, NULL, false, err);
	if (!why)
		return want_stream(s);
	input_skip(s->in, 4);
	return zstd_scan_damaged(s, begin, 0, -EBADMSG, why, err);
}

/* ---- files with seals ------------------------------------------------- */

/* 1: the next seal of a piece is what comes next; 0: there is none. */
static int look_for_piece(struct zstd_scan *s, struct vma_error *err)
{
	uint8_t fixed[ZSTD_SEAL_FIXED];

	zstd_seal_put_fixed(fixed, SEAL_PIECE);
	return input_find(s->in, fixed, sizeof(fixed), err);
}

/* All up to this seal of a piece is lost. */
static int lose_piece(struct zstd_scan *s, uint64_t begin, const char *why, struct vma_error *err)
{
	ssize_t have = input_peek(s->in, ZSTD_SEAL_SIZE, err);
	uint64_t bytes = VMA_LOSS_UNKNOWN;
	struct seal seal;

	if (have < 0)
		return have;
	if (have < (ssize_t)ZSTD_SEAL_SIZE || !zstd_seal_get(input_at(s->in), &seal))
		return lose_rest(s, begin, VMA_LOSS_UNKNOWN, why, err);
	/* The seal of another frame, if there is more than what it sealed can take. */
	if (seal.count <= ZSTD_WHOLE_MAX &&
	    s->in->skipped - begin <= ZSTD_compressBound(seal.count))
		bytes = seal.count;
	input_skip(s->in, ZSTD_SEAL_SIZE);
	return lose(s, begin, bytes,
		    strcmp(why, TRUNCATED) == 0 ? "damaged zstd stream" : why);
}

/* A frame that can't be told from what follows. */
static int find_seal(struct zstd_scan *s, const char *why, struct vma_error *err)
{
	uint64_t begin = s->in->skipped;
	int ret = look_for_piece(s, err);

	return ret < 0 ? ret : lose_piece(s, begin, why, err);
}

static int sealed_frame(struct zstd_scan *s, size_t have, struct vma_error *err)
{
	const char *why = "damaged: no zstd frame where one has to be";
	const uint8_t *p = input_at(s->in);
	struct zstd_header h;
	struct seal seal = { 0 };
	ssize_t length = 0, got;
	bool good;

	if (have < 4)
		why = TRUNCATED;
	else if (zstd_is_frame(p) && !zstd_header_parse(p, have, &h))
		why = TRUNCATED;
	else if (zstd_is_frame(p) && h.content <= ZSTD_WHOLE_MAX)
		length = frame_length(s, &h, &why, err);
	if (length < 0)
		return length;
	if (!length)
		return find_seal(s, why ? why : "damaged zstd stream", err);
	got = input_peek(s->in, length + ZSTD_SEAL_SIZE + 4, err);
	if (got < 0)
		return got;
	if (got < length + (ssize_t)ZSTD_SEAL_SIZE)
		return find_seal(s, TRUNCATED, err);
	p = input_at(s->in) + length;
	good = zstd_seal_get(p, &seal) && seal.kind == SEAL_PIECE && seal.count == h.content;
	if (good || boundary(p + ZSTD_SEAL_SIZE, got - length - ZSTD_SEAL_SIZE))
		return take_frame(s, length, &h, &seal, !good, err);
	input_tried(s->in, length);
	return find_seal(s, "damaged: a zstd frame without a seal", err);
}

/* Of a file too long for a seek table. */
static int last_seal(struct zstd_scan *s, const struct seal *seal)
{
	uint64_t begin = s->in->skipped;
	bool good = seal->hash == zstd_seal_hash(input_at(s->in), input_at(s->in));
	bool all = s->queue->lossy || seal->count == (s->seen.nr - 1) / 2;

	input_skip(s->in, ZSTD_SEAL_SIZE);
	s->closed = true;
	if (good && all)
		return 0;
	/* A good one tells that frames are missing, or too many. */
	return lose(s, begin, good ? VMA_LOSS_UNKNOWN : 0,
		    "damaged: the last seal does not fit the file");
}

/* ---- skippable frames ------------------------------------------------- */

static const char differs[] = "damaged: the seek table differs from the zstd frames";

/* A table is listed by one behind it, as any other skippable frame. */
static void table_done(struct zstd_scan *s, uint64_t size)
{
	zstd_seen_skippable(&s->seen, ZSTD_SKIP_HEADER + size);
	s->judged = s->in->skipped;
}

/*
 * Damage may have led into the data, where another archive may be, and its table: the file's own
 * is one with nothing behind it.
 */
static int table_behind_damage(struct zstd_scan *s, uint32_t size, struct vma_error *err)
{
	uint64_t begin = s->in->skipped, end = begin + ZSTD_SKIP_HEADER + size;
	int ret;

	input_skip(s->in, ZSTD_SKIP_HEADER);
	ret = look_for_piece(s, err);
	if (ret)
		return ret < 0 ? ret : lose_piece(s, begin, behind_end, err);
	s->closed = true;
	if (s->in->skipped < end)
		return lose(s, begin, VMA_LOSS_UNKNOWN, TRUNCATED);
	return s->in->skipped == end ? 0 : lose(s, end, 0, behind_end);
}

static int table(struct zstd_scan *s, uint32_t size, struct vma_error *err)
{
	unsigned int entry = zstd_table_entry(&s->seen, size);
	uint64_t begin = s->in->skipped;
	int ret;

	if (s->queue->lossy && s->seen.sealed)
		return table_behind_damage(s, size, err);
	if (s->queue->lossy || !entry || (s->seen.sealed && entry != 12)) {
		/* Something else with a table's magic number and size is not expected. */
		if (s->seen.sealed)
			return lose_rest(s, begin, 0, differs, err);
		/* Of others it may be anything, but at the end of the file: see at_end(). */
		zstd_seen_skippable(&s->seen, ZSTD_SKIP_HEADER + (uint64_t)size);
		input_skip(s->in, ZSTD_SKIP_HEADER);
		ret = input_drop(s->in, size, err);
		if (ret)
			return ret < 0 ? ret : 0;
		return lose(s, begin, VMA_LOSS_UNKNOWN, TRUNCATED);
	}
	input_skip(s->in, ZSTD_SKIP_HEADER);
	ret = zstd_table_check(&s->seen, s->in, entry, err);
	s->closed = s->seen.sealed;
	switch (ret) {
	case ZSTD_TABLE_CUT:
		return lose_rest(s, begin, VMA_LOSS_UNKNOWN, TRUNCATED, err);
	case ZSTD_TABLE_DIFFERS:
		table_done(s, size);
		return lose(s, begin, 0, differs);
	case ZSTD_TABLE_FITS:
		table_done(s, size);
		return 0;
	default:
		return ret;
	}
}

/* The first seal, or one that shows that it was damaged. */
static int begin_sealed(struct zstd_scan *s, const struct seal *seal)
{
	const uint8_t *p = input_at(s->in);
	uint64_t begin = s->in->skipped;
	bool good = !begin && seal->kind == SEAL_BEGIN && !seal->count &&
		    seal->hash == zstd_seal_hash(p, p);

	s->seen.sealed = true;
	zstd_seen_skippable(&s->seen, ZSTD_SEAL_SIZE);
	input_skip(s->in, ZSTD_SEAL_SIZE);
	return good ? 0 : lose(s, begin, 0, "damaged: the file's first seal is not as written");
}

static int skippable(struct zstd_scan *s, size_t have, struct vma_error *err)
{
	uint64_t begin = s->in->skipped;
	const uint8_t *p = input_at(s->in);
	struct seal seal;
	uint32_t size;
	int ret;

	if (have < ZSTD_SKIP_HEADER)
		return lose_rest(s, begin, VMA_LOSS_UNKNOWN, TRUNCATED, err);
	if (have >= ZSTD_SEAL_SIZE && !begin && zstd_seal_like_first(p)) {
		if (!zstd_seal_get(p, &seal))
			seal.kind = SEAL_PIECE;
		return begin_sealed(s, &seal);
	}
	if (have >= ZSTD_SEAL_SIZE && zstd_seal_get(p, &seal)) {
		/* Later than that it may be one of what is within the data, where damage led. */
		if (!s->seen.sealed && (s->seen.nr <= 1 || !s->queue->lossy))
			return begin_sealed(s, &seal);
		if (s->seen.sealed && seal.kind == SEAL_END)
			return last_seal(s, &seal);
	}
	size = zstd_le32(p + 4);
	if (zstd_le32(p) == ZSTD_SEEK_SKIP_MAGIC) {
		s->hold = zstd_queue_pending(s->queue);
		return s->hold ? 0 : table(s, size, err);
	}
	if (s->seen.sealed)
		return sealed_frame(s, have, err);
	zstd_seen_skippable(&s->seen, ZSTD_SKIP_HEADER + (uint64_t)size);
	ret = input_drop(s->in, ZSTD_SKIP_HEADER + (uint64_t)size, err);
	if (ret)
		return ret < 0 ? ret : 0;
	return lose(s, begin, VMA_LOSS_UNKNOWN, TRUNCATED);
}

/* ---- frames ----------------------------------------------------------- */

/*
 * Whoever enters the file in the middle believes the table that the file's last bytes show,
 * whatever frame they are in. So it is one that was compared, or else it could lead to other
 * data than what was read here.
 */
static int at_end(struct zstd_scan *s)
{
	bool table = zstd_le32(s->in->tail) == ZSTD_SEEK_MAGIC;
	uint64_t end = s->in->skipped;

	if (table) {
		s->hold = zstd_queue_pending(s->queue);
		if (s->hold)
			return 0;
	}
	s->ended = true;
	if (table && !s->queue->lossy && s->judged != end)
		return lose(s, end, 0, differs);
	if (!s->seen.sealed || s->closed)
		return 0;
	return lose(s, end, VMA_LOSS_UNKNOWN, "truncated: the end of the zstd file is missing");
}

int zstd_scan_next(struct zstd_scan *s, struct vma_error *err)
{
	ssize_t have = input_peek(s->in, LOOK, err);
	uint64_t begin = s->in->skipped;
	const uint8_t *p;

	if (have < 0)
		return have;
	if (!have)
		return at_end(s);
	if (s->closed && !s->queue->lossy)
		return lose_rest(s, begin, 0, behind_end, err);
	if (s->closed) {
		/* That was the end of an archive within the data. */
		s->closed = false;
		return find_seal(s, behind_end, err);
	}
	p = input_at(s->in);
	if (have >= 4 && zstd_is_skippable(p))
		return skippable(s, have, err);
	if (s->seen.sealed)
		return sealed_frame(s, have, err);
	if (have >= 4 && zstd_is_frame(p))
		return foreign_frame(s, have, err);
	return zstd_scan_damaged(s, begin, 0, -EBADMSG, have < 4 ? TRUNCATED :
				 "damaged: what follows a zstd frame is not a zstd frame", err);
}
