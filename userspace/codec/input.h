/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * input: the bytes that a decoder reads, some of which it has looked at already.
 *
 * The buffer grows to what is peeked at, so whoever peeks bounds it.
 */
#ifndef CODEC_INPUT_H
#define CODEC_INPUT_H

#include "libvma/vma.h"

/* Compressed bytes are read so many at a time. */
#define INPUT_AHEAD	(512u << 10)

/* Of the end of a file: what a seek table is known by. */
#define INPUT_TAIL	4u

struct input {
	vma_read_fn read;
	void *ctx;
	uint8_t *buf;
	size_t room, pos, used;
	uint64_t skipped;	/* bytes of the input before pos */
	size_t ahead;		/* read at least so much at a time */
	bool ended;
	bool go_on;		/* as the decoder does: what is behind damage is wanted */
	uint64_t in_vain;	/* bytes looked at for what was not there, see input_may_try() */
	uint8_t tail[INPUT_TAIL];	/* the last bytes read, zeroes before the first */
};

/* Sees to it that want bytes lie at input_at(); fewer only at the end. How many do, or an error. */
ssize_t input_peek(struct input *in, size_t want, struct vma_error *err);
void input_skip(struct input *in, size_t len);
/* Skips more than is to be in memory: 0 if the input ends before. */
int input_drop(struct input *in, uint64_t len, struct vma_error *err);
/* Skips all that is left; as input_give_up() unless somebody goes on. 0, or a negative errno. */
int input_drop_rest(struct input *in, struct vma_error *err);
/*
 * Skips to the next place that begins with these bytes: 1, or 0 and all is skipped. To find where
 * to go on: unless somebody does, as input_give_up().
 */
int input_find(struct input *in, const void *what, size_t len, struct vma_error *err);

/* As if it ended here: the rest may be hours long, or a pipe without an end. */
void input_give_up(struct input *in);

/*
 * Whether what may begin here is to be tried; input_tried() says how many bytes that took in
 * vain. Behind damage anything may look like a beginning, and a forged file can have one at
 * every few bytes that is megabytes long: some multiple of what was gone over is enough for any
 * other.
 */
#define INPUT_TRY_FACTOR	8u
#define INPUT_TRY_FREE		(128u << 20)
bool input_may_try(const struct input *in);
void input_tried(struct input *in, uint64_t bytes);

void input_free(struct input *in);

static inline const uint8_t *input_at(const struct input *in)
{
	return in->buf + in->pos;
}

#endif /* CODEC_INPUT_H */
