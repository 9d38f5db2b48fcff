// SPDX-License-Identifier: GPL-2.0-or-later
#include "codec/input.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "libvma/text.h"

static int make_room(struct input *in, size_t want, struct vma_error *err)
{
	uint8_t *larger;

	if (in->room - in->pos >= want)
		return 0;
	if (in->used > in->pos)
		memmove(in->buf, in->buf + in->pos, in->used - in->pos);
	in->used -= in->pos;
	in->pos = 0;
	if (in->room >= want)
		return 0;
	larger = realloc(in->buf, want);
	if (!larger)
		return vma_fail(err, -ENOMEM, "out of memory");
	in->buf = larger;
	in->room = want;
	return 0;
}

static void keep_tail(struct input *in, const uint8_t *p, size_t len)
{
	size_t n = len < INPUT_TAIL ? len : INPUT_TAIL;

	memmove(in->tail, in->tail + n, INPUT_TAIL - n);
	memcpy(in->tail + INPUT_TAIL - n, p + len - n, n);
}

ssize_t input_peek(struct input *in, size_t want, struct vma_error *err)
{
	size_t have = in->used - in->pos, least = have + in->ahead;
	ssize_t got;
	int ret;

	if (have >= want || in->ended)
		return have;
	/* Whoever looks further and further ahead is not to get a byte at a time. */
	if (least < want)
		least = want;
	ret = make_room(in, least, err);
	if (ret)
		return ret;
	got = in->read(in->ctx, in->buf + in->used, least - have, err);
	if (got < 0)
		return got;
	in->ended = (size_t)got < least - have;
	keep_tail(in, in->buf + in->used, got);
	in->used += got;
	return in->used - in->pos;
}

void input_skip(struct input *in, size_t len)
{
	in->pos += len;
	in->skipped += len;
}

int input_drop(struct input *in, uint64_t len, struct vma_error *err)
{
	while (len) {
		ssize_t have = input_peek(in, 1, err);
		size_t n;

		if (have < 0)
			return have;
		if (!have)
			return 0;
		n = (uint64_t)have < len ? (size_t)have : len;
		input_skip(in, n);
		len -= n;
	}
	return 1;
}

void input_give_up(struct input *in)
{
	in->used = in->pos;
	in->ended = true;
}

int input_drop_rest(struct input *in, struct vma_error *err)
{
	int ret;

	if (!in->go_on)
		input_give_up(in);
	do
		ret = input_drop(in, UINT32_MAX, err);
	while (ret > 0);
	return ret;
}

int input_find(struct input *in, const void *what, size_t len, struct vma_error *err)
{
	if (!in->go_on)
		input_give_up(in);
	for (;;) {
		ssize_t have = input_peek(in, len, err);
		const uint8_t *at;

		if (have < 0)
			return have;
		if ((size_t)have < len) {
			input_skip(in, have);
			return 0;
		}
		at = memmem(input_at(in), have, what, len);
		if (at) {
			input_skip(in, at - input_at(in));
			return 1;
		}
		input_skip(in, have - len + 1);
	}
}

bool input_may_try(const struct input *in)
{
	return in->in_vain / INPUT_TRY_FACTOR <= INPUT_TRY_FREE / INPUT_TRY_FACTOR + in->skipped;
}

void input_tried(struct input *in, uint64_t bytes)
{
	in->in_vain += bytes;
}

void input_free(struct input *in)
{
	free(in->buf);
}
