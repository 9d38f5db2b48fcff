// SPDX-License-Identifier: GPL-2.0-or-later
/* archive: what the cache keeps stays within its limit, however small the frames are. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "archive/frame-cache.h"

#define LIMIT	(1u << 20)

/* What keeping a frame takes at least: its number, its size, its place among others. */
#define LEAST	64u

static unsigned int filled;

static int fill(void *ctx, uint8_t *data, struct vma_error *err)
{
	uint32_t size = *(uint32_t *)ctx;

	(void)err;
	filled++;
	memset(data, 0x5a, size);
	return 0;
}

static void ask(struct frame_cache *c, uint64_t number, uint32_t size)
{
	struct cached *held;

	assert_int_equal(frame_cache_hold(c, number, size, fill, &size, &held, NULL), 0);
	if (size)
		assert_int_equal(frame_cache_data(held)[size - 1], 0x5a);
	frame_cache_release(c, held);
}

static void limits(void **state)
{
	static const uint32_t sizes[] = { 0, 1, 4, 100, 4096, 200000 };

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		uint32_t size = sizes[i], most = LIMIT / (size + LEAST), kept = 0;
		struct frame_cache *c;

		assert_int_equal(frame_cache_new(&c, LIMIT, NULL), 0);
		for (uint32_t n = 0; n < 2 * most; n++)
			ask(c, n, size);
		/* From the newest one on, until one is not there any more. */
		for (filled = 0; kept < 2 * most; kept++) {
			ask(c, 2 * most - 1 - kept, size);
			if (filled)
				break;
		}
		/* It keeps what it can, too. */
		assert_in_range(kept, most / 4, most);
		frame_cache_free(c);
	}
}

/* One that is larger than the limit is kept alone. */
static void larger(void **state)
{
	struct frame_cache *c;

	(void)state;
	assert_int_equal(frame_cache_new(&c, LIMIT, NULL), 0);
	filled = 0;
	for (int i = 0; i < 2; i++) {
		ask(c, 1, 2 * LIMIT);
		ask(c, 1, 2 * LIMIT);
		ask(c, 2, 1);
	}
	assert_int_equal(filled, 4);
	frame_cache_free(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(limits),
		cmocka_unit_test(larger),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
