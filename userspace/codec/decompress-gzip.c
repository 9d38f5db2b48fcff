// SPDX-License-Identifier: GPL-2.0-or-later
/* Members one after the other; zeroes behind the last one, as tapes leave them, are allowed. */
#include <errno.h>
#include <stdlib.h>
#include <zlib.h>

#include "codec/decompressor.h"
#include "libvma/text.h"

#define GZIP_WINDOW	(15 + 16)	/* see compress-gzip.c */

struct gzip {
	struct input *in;
	z_stream z;
	bool in_member;
	bool any;		/* a member was read */
	bool padding;		/* zeroes were seen: nothing else may follow */
};

static bool is(const uint8_t *p, size_t len)
{
	return len >= 2 && p[0] == 0x1f && p[1] == 0x8b;
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

static void close_state(void *state)
{
	struct gzip *g = state;

	inflateEnd(&g->z);
	free(g);
}

static int truncated(struct vma_error *err)
{
	return vma_fail(err, -EBADMSG, "truncated: the archive ends within a gzip member");
}

/* 1: a member begins, 0: the end. */
static int next_member(struct gzip *g, struct vma_error *err)
{
	ssize_t have = input_peek(g->in, 2, err);

	if (have < 0)
		return have;
	while (have > 0 && g->any && !*input_at(g->in)) {
		g->padding = true;
		input_skip(g->in, 1);
		have = input_peek(g->in, 2, err);
		if (have < 0)
			return have;
	}
	if (!have)
		return 0;
	if (have == 1 && *input_at(g->in) == 0x1f && !g->padding)
		return truncated(err);
	if (g->padding || !is(input_at(g->in), have))
		return vma_fail(err, -EBADMSG,
				"damaged: what follows a gzip member is not a gzip member");
	inflateReset(&g->z);
	g->in_member = true;
	g->any = true;
	return 1;
}

static int inflate_some(struct gzip *g, struct vma_error *err)
{
	ssize_t have = input_peek(g->in, 1, err);
	int ret;

	if (have < 0)
		return have;
	g->z.next_in = (void *)input_at(g->in);
	g->z.avail_in = have;
	ret = inflate(&g->z, Z_NO_FLUSH);
	input_skip(g->in, have - g->z.avail_in);
	switch (ret) {
	case Z_STREAM_END:
		g->in_member = false;
		return 0;
	case Z_OK:
		return 0;
	case Z_BUF_ERROR:
		return have ? 0 : truncated(err);
	case Z_MEM_ERROR:
		return vma_fail(err, -ENOMEM, "out of memory");
	default:
		return vma_fail(err, -EBADMSG, "damaged gzip stream: %s",
				g->z.msg ? g->z.msg : "not understood");
	}
}

/* zlib counts in unsigned int. */
#define READ_MAX	(1u << 30)

static ssize_t read_state(void *state, uint8_t *buf, size_t len, struct vma_error *err)
{
	struct gzip *g = state;
	size_t done = 0;
	int ret;

	while (done < len) {
		size_t n = len - done < READ_MAX ? len - done : READ_MAX;

		if (!g->in_member) {
			ret = next_member(g, err);
			if (ret < 0)
				return ret;
			if (!ret)
				break;
		}
		g->z.next_out = buf + done;
		g->z.avail_out = n;
		ret = inflate_some(g, err);
		if (ret)
			return ret;
		done += n - g->z.avail_out;
	}
	return done;
}

const struct decompressor decompressor_gzip = {
	.is = is,
	.open = open_state,
	.read = read_state,
	.close = close_state,
};
