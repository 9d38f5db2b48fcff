// SPDX-License-Identifier: GPL-2.0-or-later
/* libvma/zero: a single bit anywhere is seen, at each length and alignment. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "libvma/zero.h"

static void every_length_and_place(void **state)
{
	(void)state;
	for (size_t len = 0; len <= 80; len++) {
		/* Exact allocations: a look past the end is an error under ASan and valgrind. */
		uint8_t *p = calloc(1, len + 1);

		assert_non_null(p);
		p[len] = 0xff;
		assert_true(vma_is_zero(p, len));
		for (size_t i = 0; i < len; i++) {
			p[i] = 0x80;
			assert_false(vma_is_zero(p, len));
			p[i] = 0;
		}
		assert_true(vma_is_zero(p, len));
		free(p);
	}
}

static void block_sizes(void **state)
{
	static const size_t sizes[] = { 512, 4096, 65536 };

	(void)state;
	for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
		uint8_t *p = calloc(1, sizes[s]);

		assert_non_null(p);
		assert_true(vma_is_zero(p, sizes[s]));
		for (size_t i = 0; i < sizes[s]; i += i < 64 || i > sizes[s] - 66 ? 1 : 61) {
			p[i] = 1;
			assert_false(vma_is_zero(p, sizes[s]));
			p[i] = 0;
		}
		free(p);
	}
}

static void unaligned(void **state)
{
	uint8_t buf[200] = { 0 };

	(void)state;
	for (size_t at = 0; at < 16; at++) {
		memset(buf, 0xff, sizeof(buf));
		memset(buf + at + 1, 0, 100);
		assert_true(vma_is_zero(buf + at + 1, 100));
		assert_false(vma_is_zero(buf + at, 101));
		assert_false(vma_is_zero(buf + at + 1, 101));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_length_and_place),
		cmocka_unit_test(block_sizes),
		cmocka_unit_test(unaligned),
	};

	return cmocka_run_group_tests_name("zero", tests, NULL, NULL);
}
