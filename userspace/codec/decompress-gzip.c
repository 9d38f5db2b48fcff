// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Members one after the other; zeroes behind the last one, as tapes leave them, are allowed.
 *
 * A member that is not too large is decompressed as a whole before any of it is handed
 * out, so that it is known to be right: all of ours are. Of a larger one the bytes come
 * as they come. Who goes on behind damage gets what there is of a damaged one that the file
 * begins with, for without the archive's header all would be lost. Behind damage the next seal is
 * looked for, in files that have none the next member.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "codec/decompressor.h"
#include "codec/gzip-file.h"
#include "libvma/text.h"

/* Bytes of a member that is taken as a whole, compressed or not. */
#define WHOLE_MAX	(8u << 20)
/* The content of a member is given so much room first, and twice as much when it is full. */
#define WHOLE_FIRST	(1u << 20)

#define TRUNCATED	"truncated: the archive ends within a gzip member"

static const char behind_end[] = "damaged: bytes behind the end of the gzip file";

struct gzip {
	struct input *in;
	z_stream z;
	uint8_t *out;			/* of a member that was taken as a whole */
	size_t room, out_len, out_pos;
	bool streaming;			/* within a member that is too large for that */
	bool go_on;			/* as the decoder does */
	bool doubtful;			/* what is in out is of a damaged member */
	struct vma_error why;		/* it is */
	uint64_t begin;			/* of this member */
	uint64_t unproven;		/* bytes given out of one that is not read to its end */
	bool any;			/* a member was read */
	uint64_t members;		/* good and large ones, while the file has no seals */
	bool sealed, closed;		/* the file has seals; and its last one was seen */
	bool lossy;			/* pieces can't be counted any more */
	bool ended;
	uint64_t pieces;
};

static bool is(const uint8_t *p, size_t len)
{
	return len >= 2 && p[0] == 0x1f && p[1] == 0x8b;
}

/* With its method, of which there is one. */
static const uint8_t member_magic[] = { 0x1f, 0x8b, 8 };

/* 1: a member stands where one must behind the first seal, if the file begins with one. */
static int first_piece(struct gzip *g, struct vma_error *err)
{
	ssize_t have = input_peek(g->in, GZIP_SEAL_SIZE + sizeof(member_magic), err);

	if (have < (ssize_t)(GZIP_SEAL_SIZE + sizeof(member_magic)))
		return have < 0 ? (int)have : 0;
	return !memcmp(input_at(g->in) + GZIP_SEAL_SIZE, member_magic, sizeof(member_magic));
}

static int open_state(void **state, struct input *in, struct vma_error *err)
{
	struct gzip *g = calloc(1, sizeof(*g));

	if (!g || inflateInit2(&g->z, GZIP_WINDOW) != Z_OK) {
		free(g);
		return vma_fail(err, -ENOMEM, "out of memory");
	}
	g->in = in;
	*state = g;
	return 0;
}

static uint64_t unproven(void *state)
{
	const struct gzip *g = state;

	return g->unproven;
}

static void go_on(void *state)
{
	struct gzip *g = state;

	g->go_on = true;
}

static void close_state(void *state)
{
	struct gzip *g = state;

	inflateEnd(&g->z);
	free(g->out);
	free(g);
}

/* ---- damage ----------------------------------------------------------- */

/* What is lost begins at `begin` and ends where the input is now. */
static int lost(struct gzip *g, uint64_t begin, uint64_t bytes, const char *what,
		struct vma_loss *loss)
{
	*loss = (struct vma_loss){
		.begin = begin, .end = g->in->skipped, .bytes = bytes, .unproven = g->unproven,
	};
	g->unproven = 0;
	return vma_fail(&loss->what, -EBADMSG, "%s", what);
}

static int lost_rest(struct gzip *g, uint64_t begin, uint64_t bytes, const char *what,
		     struct vma_loss *loss, struct vma_error *err)
{
	int ret = input_drop_rest(g->in, err);

	g->ended = true;
	return ret ? ret : lost(g, begin, bytes, what, loss);
}

/* Goes on behind the next seal of a piece; it tells how much was lost. */
static int find_seal(struct gzip *g, uint64_t begin, const char *what, struct vma_loss *loss,
		     struct vma_error *err)
{
	uint64_t bytes = VMA_LOSS_UNKNOWN;
	uint8_t fixed[GZIP_SEAL_FIXED];
	struct seal seal;
	ssize_t have;
	int ret;

	g->lossy = true;
	gzip_seal_put_fixed(fixed, SEAL_PIECE);
	ret = input_find(g->in, fixed, sizeof(fixed), err);
	if (ret < 0)
		return ret;
	have = input_peek(g->in, GZIP_SEAL_SIZE, err);
	if (have < 0)
		return have;
	if (have < (ssize_t)GZIP_SEAL_SIZE)
		return lost_rest(g, begin, VMA_LOSS_UNKNOWN, what, loss, err);
	/* The seal of another piece, if there is more than what it sealed can take. */
	if (gzip_seal_get(input_at(g->in), &seal) && seal.count <= WHOLE_MAX &&
	    g->in->skipped - begin <= compressBound(seal.count) + 12)
		bytes = seal.count;
	input_skip(g->in, GZIP_SEAL_SIZE);
	return lost(g, begin, bytes, strcmp(what, TRUNCATED) == 0 ? "damaged gzip stream" : what,
		    loss);
}

static int find_member(struct gzip *g, uint64_t begin, const char *what, struct vma_loss *loss,
		       struct vma_error *err)
{
	int ret;

	g->lossy = true;
	ret = input_find(g->in, member_magic, sizeof(member_magic), err);

	g->ended = !ret;
	return ret < 0 ? ret : lost(g, begin, VMA_LOSS_UNKNOWN, what, loss);
}

static int damaged(struct gzip *g, const char *what, struct vma_loss *loss, struct vma_error *err)
{
	g->streaming = false;
	if (g->sealed)
		return find_seal(g, g->begin, what, loss, err);
	/* Not the same member again. */
	if (g->in->skipped == g->begin)
		input_skip(g->in, 1);
	return find_member(g, g->begin, what, loss, err);
}

/* ---- members ---------------------------------------------------------- */

static bool make_room(struct gzip *g)
{
	size_t size = g->room ? 2 * g->room : WHOLE_FIRST;
	uint8_t *larger = realloc(g->out, size);

	if (!larger)
		return false;
	g->out = larger;
	g->room = size;
	return true;
}

/* What comes next may be within what was taken for a member of so many bytes, and is none. */
static int gone_over(struct gzip *g, size_t used, const char *what, struct vma_loss *loss,
		     struct vma_error *err)
{
	uint64_t end = g->in->skipped + used, work = used + g->out_len;
	int ret;

	g->out_len = 0;
	ret = damaged(g, what, loss, err);
	if (g->in->skipped < end)
		input_tried(g->in, work);
	return ret;
}

enum member { MEMBER_WHOLE, MEMBER_LARGE, MEMBER_DAMAGED };

/*
 * Into memory, and nothing off the input: *used bytes of it were looked at. Or a
 * negative errno.
 */
static int inflate_member(struct gzip *g, size_t *used, struct vma_error *what,
			  struct vma_error *err)
{
	*used = 0;
	g->out_len = 0;
	inflateReset(&g->z);
	while (*used < WHOLE_MAX) {
		ssize_t have = input_peek(g->in, *used + 1, err);
		int ret;

		if (have < 0)
			return have;
		if (g->out_len == g->room) {
			if (g->room == WHOLE_MAX)
				break;
			if (!make_room(g))
				return vma_fail(err, -ENOMEM, "out of memory");
		}
		g->z.next_in = (void *)(input_at(g->in) + *used);
		g->z.avail_in = have - *used;
		g->z.next_out = g->out + g->out_len;
		g->z.avail_out = g->room - g->out_len;
		ret = inflate(&g->z, Z_NO_FLUSH);
		g->out_len = g->room - g->z.avail_out;
		if (ret == Z_MEM_ERROR)
			return vma_fail(err, -ENOMEM, "out of memory");
		if (ret == Z_BUF_ERROR && (size_t)have == *used) {
			vma_error_set(what, TRUNCATED);
			return MEMBER_DAMAGED;
		}
		*used = have - g->z.avail_in;
		if (ret == Z_STREAM_END)
			return MEMBER_WHOLE;
		if (ret == Z_OK || ret == Z_BUF_ERROR)
			continue;
		vma_error_set(what, "damaged gzip stream: %s",
			      g->z.msg ? g->z.msg : "not understood");
		return MEMBER_DAMAGED;
	}
	return MEMBER_LARGE;
}

/* Takes what is in memory off the input with the seal behind it. */
static int check_seal(struct gzip *g, size_t used, struct vma_loss *loss, struct vma_error *err)
{
	ssize_t have = input_peek(g->in, used + GZIP_SEAL_SIZE + 2, err);
	const uint8_t *p = input_at(g->in);
	struct seal seal;

	if (have < 0)
		return have;
	if ((size_t)have < used + GZIP_SEAL_SIZE)
		return lost_rest(g, g->begin, VMA_LOSS_UNKNOWN, TRUNCATED, loss, err);
	g->pieces++;
	if (gzip_seal_get(p + used, &seal) && seal.kind == SEAL_PIECE &&
	    seal.count == g->out_len && seal.hash == seal_hash(p, p + used + GZIP_SEAL_AT)) {
		input_skip(g->in, used + GZIP_SEAL_SIZE);
		return 0;
	}
	/* The member's own CRC and size are right. */
	if ((size_t)have == used + GZIP_SEAL_SIZE ||
	    is(p + used + GZIP_SEAL_SIZE, have - used - GZIP_SEAL_SIZE)) {
		input_skip(g->in, used + GZIP_SEAL_SIZE);
		return lost(g, g->begin, 0, "damaged: a gzip member differs from its seal", loss);
	}
	return gone_over(g, used, "damaged: a gzip member without a seal", loss, err);
}

/* Nothing of it is off the input: another may begin within what was taken for its bytes. */
static int damaged_member(struct gzip *g, size_t used, const struct vma_error *what,
			  struct vma_loss *loss, struct vma_error *err)
{
	int ret = 0;

	if (!g->begin && !g->sealed && g->go_on) {
		/* Unless it is a seal of which nothing is left. */
		ret = first_piece(g, err);
		if (!ret && g->out_len) {
			g->doubtful = true;
			g->why = *what;
			return 0;
		}
	}
	/* What came out of it may be anything. */
	if (ret >= 0)
		return gone_over(g, used, what->text, loss, err);
	g->out_len = 0;
	return ret;
}

static int next_member(struct gzip *g, struct vma_loss *loss, struct vma_error *err)
{
	struct vma_error what;
	size_t used;
	int ret;

	g->begin = g->in->skipped;
	g->out_pos = 0;
	if (!input_may_try(g->in)) {
		g->out_len = 0;
		return damaged(g, "damaged gzip stream", loss, err);
	}
	ret = inflate_member(g, &used, &what, err);
	switch (ret) {
	case MEMBER_WHOLE:
		if (g->sealed)
			return check_seal(g, used, loss, err);
		g->members++;
		input_skip(g->in, used);
		return 0;
	case MEMBER_LARGE:
		if (g->sealed) {
			return gone_over(g, used, "damaged: a gzip member larger than one of ours",
					 loss, err);
		}
		input_skip(g->in, used);
		g->members++;
		g->streaming = true;
		return 0;
	case MEMBER_DAMAGED:
		return damaged_member(g, used, &what, loss, err);
	default:
		g->out_len = 0;
		return ret;
	}
}

/* ---- seals at the beginning and the end ------------------------------- */

/* 1: it was one of these. */
static int lone_seal(struct gzip *g, struct vma_loss *loss, struct vma_error *err)
{
	ssize_t have = input_peek(g->in, GZIP_SEAL_SIZE, err);
	uint64_t begin = g->in->skipped;
	struct seal seal = { 0 };
	const uint8_t *p;
	int followed = 0;
	bool good;

	if (have < 0)
		return have;
	if (have < (ssize_t)GZIP_SEAL_SIZE)
		return 0;
	if (!begin)
		followed = first_piece(g, err);
	if (followed < 0)
		return followed;
	p = input_at(g->in);
	if (!gzip_seal_get(p, &seal)) {
		if (begin || !gzip_seal_like_first(p, followed))
			return 0;
		seal.kind = SEAL_PIECE;
	}
	if (g->sealed && seal.kind != SEAL_END)
		return 0;
	/* What is within the data may have seals, too, and damage lead into it. */
	if (!g->sealed && g->members > 1 && g->lossy)
		return 0;
	good = seal.hash == seal_hash(p, p + GZIP_SEAL_AT);
	input_skip(g->in, GZIP_SEAL_SIZE);
	if (!g->sealed) {
		g->sealed = true;
		/* Of no other kind if the first one is as it was. */
		if (!good || begin || seal.kind != SEAL_BEGIN || seal.count)
			return lost(g, begin, 0, "damaged: the file's first seal is not as written",
				    loss);
		return 1;
	}
	g->closed = true;
	if (good && (g->lossy || seal.count == g->pieces))
		return 1;
	/* A good one tells that members are missing, or too many. */
	return lost(g, begin, good ? VMA_LOSS_UNKNOWN : 0,
		    "damaged: the last seal does not fit the file", loss);
}

static int at_end(struct gzip *g, struct vma_loss *loss)
{
	g->ended = true;
	if (g->sealed && !g->closed)
		return lost(g, g->in->skipped, VMA_LOSS_UNKNOWN,
			    "truncated: the end of the gzip file is missing", loss);
	return 0;
}

/* What comes next, of whatever kind. */
static int next(struct gzip *g, struct vma_loss *loss, struct vma_error *err)
{
	ssize_t have = input_peek(g->in, 2, err);
	uint64_t begin, zeroes = g->in->skipped;
	bool padding = false;		/* nothing else may follow */
	int ret;

	if (have < 0)
		return have;
	while (have > 0 && g->any && (!g->sealed || g->closed) && !*input_at(g->in)) {
		padding = true;
		input_skip(g->in, 1);
		have = input_peek(g->in, 2, err);
		if (have < 0)
			return have;
	}
	if (!have)
		return at_end(g, loss);
	begin = g->in->skipped;
	if (have == 1 && *input_at(g->in) == 0x1f && !padding)
		return lost_rest(g, begin, VMA_LOSS_UNKNOWN, TRUNCATED, loss, err);
	if (g->closed && !g->lossy)
		return lost_rest(g, begin, 0, behind_end, loss, err);
	if (g->closed) {
		/* That was the end of an archive within the data, into which damage has led. */
		g->closed = false;
		g->begin = zeroes;
		return find_seal(g, zeroes, behind_end, loss, err);
	}
	/* The zeroes are the damage, and a member behind them is good. */
	g->begin = padding ? zeroes : begin;
	if (padding || !is(input_at(g->in), have))
		return damaged(g, "damaged: what follows a gzip member is not a gzip member", loss,
			       err);
	ret = lone_seal(g, loss, err);
	g->any = true;
	return ret ? (ret < 0 ? ret : 0) : next_member(g, loss, err);
}

/* ---- large members ---------------------------------------------------- */

/* zlib counts in unsigned int. */
#define READ_MAX	(1u << 30)

static ssize_t read_stream(struct gzip *g, uint8_t *buf, size_t len, struct vma_loss *loss,
			   struct vma_error *err)
{
	ssize_t have = input_peek(g->in, 1, err);
	size_t n = len < READ_MAX ? len : READ_MAX;
	struct vma_error what;
	int ret;

	if (have < 0)
		return have;
	g->z.next_in = (void *)input_at(g->in);
	g->z.avail_in = have;
	g->z.next_out = buf;
	g->z.avail_out = n;
	ret = inflate(&g->z, Z_NO_FLUSH);
	input_skip(g->in, have - g->z.avail_in);
	switch (ret) {
	case Z_STREAM_END:
		g->streaming = false;
		break;
	case Z_OK:
		break;
	case Z_BUF_ERROR:
		if (have)
			break;
		g->streaming = false;
		g->ended = true;
		return lost(g, g->begin, VMA_LOSS_UNKNOWN, TRUNCATED, loss);
	case Z_MEM_ERROR:
		return vma_fail(err, -ENOMEM, "out of memory");
	default:
		/* Once more, it says the same and gives nothing. */
		if (g->z.avail_out < n)
			break;
		vma_error_set(&what, "damaged gzip stream: %s",
			      g->z.msg ? g->z.msg : "not understood");
		return damaged(g, what.text, loss, err);
	}
	n -= g->z.avail_out;
	g->unproven = g->streaming ? g->unproven + n : 0;
	return n;
}

static ssize_t read_state(void *state, uint8_t *buf, size_t len, struct vma_loss *loss,
			  struct vma_error *err)
{
	struct gzip *g = state;

	for (;;) {
		ssize_t n = g->out_len - g->out_pos;

		if (n) {
			n = (size_t)n < len ? n : (ssize_t)len;
			memcpy(buf, g->out + g->out_pos, n);
			g->out_pos += n;
			g->unproven += g->streaming || g->doubtful ? n : 0;
			return n;
		}
		if (g->doubtful) {
			g->doubtful = false;
			g->out_pos = 0;
			g->out_len = 0;
			return damaged(g, g->why.text, loss, err);
		}
		if (g->ended)
			return 0;
		if (g->streaming) {
			g->out_pos = 0;
			g->out_len = 0;
			n = read_stream(g, buf, len, loss, err);
		} else {
			n = next(g, loss, err);
		}
		if (n)
			return n;
	}
}

const struct decompressor decompressor_gzip = {
	.is = is,
	.open = open_state,
	.go_on = go_on,
	.read = read_state,
	.unproven = unproven,
	.close = close_state,
};
