// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * mixed FILE SIZE SEED: a file of which a third is zero, a third like text and a third
 * random, in runs, the same for the same SEED. Zeroes are written, as on a disk that was
 * in use, and are no holes.
 *
 * The text is made of 4096 words, of which the frequent ones are much more frequent, with
 * numbers and lines between them: zstd makes about a third of it at its usual level.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define UNIT		(64u << 10)	/* runs are multiples of this */
#define RUN_UNITS	64u		/* and at most so many of them: 4 MiB */
#define BUFFER		(4u << 20)	/* RUN_UNITS of them */

#define WORDS		4096u
#define WORD_MAX	16u

static uint64_t state;

static char words[WORDS][WORD_MAX];
static uint8_t lengths[WORDS];

/* xorshift64*: even enough for what is not a secret. */
static uint64_t draw(void)
{
	state ^= state >> 12;
	state ^= state << 25;
	state ^= state >> 27;
	return state * 0x2545f4914f6cdd1dull;
}

static unsigned int below(unsigned int n)
{
	return (draw() >> 32) % n;
}

static void make_words(void)
{
	static const char vowels[] = "aeiou", consonants[] = "bcdfghklmnprstvwyz";

	for (unsigned int i = 0; i < WORDS; i++) {
		unsigned int syllables = 1 + below(4);

		for (unsigned int s = 0; s < syllables; s++) {
			words[i][lengths[i]++] = consonants[below(sizeof(consonants) - 1)];
			words[i][lengths[i]++] = vowels[below(sizeof(vowels) - 1)];
			if (!below(3))
				words[i][lengths[i]++] = consonants[below(sizeof(consonants) - 1)];
		}
	}
}

static void fill_text(char *to, size_t len)
{
	size_t at = 0, line = 0;

	while (at + WORD_MAX + 12 < len) {
		uint64_t r = draw();
		/* The smallest of three: the first words come most often. */
		unsigned int a = r % WORDS, b = (r >> 16) % WORDS, c = (r >> 32) % WORDS;
		unsigned int w = a < b ? a : b;

		if (c < w)
			w = c;
		memcpy(to + at, words[w], lengths[w]);
		at += lengths[w];
		if (r >> 60 == 0)
			at += snprintf(to + at, 12, " %u", (unsigned int)(r >> 48) % 10000);
		to[at] = at - line > 90 ? '\n' : ' ';
		if (to[at++] == '\n')
			line = at;
	}
	memset(to + at, '\n', len - at);
}

static void fill_random(char *to, size_t len)
{
	for (size_t at = 0; at < len; at += sizeof(uint64_t)) {
		uint64_t r = draw();

		memcpy(to + at, &r, sizeof(r));
	}
}

static int put(int fd, const char *from, size_t len)
{
	while (len) {
		ssize_t n = write(fd, from, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return -1;
		from += n;
		len -= n;
	}
	return 0;
}

/* What has had the least so far, or one of them: so that each gets a third. */
static unsigned int choose(const uint64_t had[3])
{
	unsigned int kind = below(3);

	for (unsigned int i = 0; i < 3; i++)
		if (had[i] + BUFFER < had[kind])
			kind = i;
	return kind;
}

static int make(int fd, uint64_t size)
{
	static char buf[BUFFER] __attribute__((aligned(4096)));
	uint64_t had[3] = { 0 };

	for (uint64_t at = 0; at < size;) {
		unsigned int kind = choose(had);
		size_t len = (size_t)(1 + below(RUN_UNITS)) * UNIT;

		if (len > size - at)
			len = size - at;
		if (kind == 0)
			memset(buf, 0, len);
		else if (kind == 1)
			fill_text(buf, len);
		else
			fill_random(buf, len);
		if (put(fd, buf, len) != 0)
			return -1;
		had[kind] += len;
		at += len;
	}
	return fsync(fd);
}

int main(int argc, char **argv)
{
	uint64_t size = argc == 4 ? strtoull(argv[2], NULL, 10) : 0;
	int fd, ret;

	if (!size || size % UNIT) {
		fprintf(stderr, "usage: mixed FILE SIZE SEED; SIZE is a multiple of %u\n", UNIT);
		return 2;
	}
	/* 0 would stay 0. */
	state = strtoull(argv[3], NULL, 10) * 2 + 1;
	make_words();
	fd = open(argv[1], O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	ret = fd < 0 ? -1 : make(fd, size);
	if (ret == 0)
		ret = close(fd);
	if (ret != 0)
		fprintf(stderr, "mixed: %s: %s\n", argv[1], strerror(errno));
	return ret != 0;
}
