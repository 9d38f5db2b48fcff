// SPDX-License-Identifier: GPL-2.0-or-later
/* libvma/cluster-set: against a plain bitmap, and its memory against hostile patterns. */
#include <errno.h>
#include <malloc.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdbool.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>

#include "libvma/cluster-set.h"

#define SPACE	200000u		/* clusters: three groups and a bit */

static void in_order(void **state)
{
	struct cluster_set *s = cluster_set_new();

	(void)state;
	assert_non_null(s);
	for (uint32_t i = 0; i < SPACE; i++) {
		assert_int_equal(cluster_set_first_missing(s, SPACE), i);
		assert_int_equal(cluster_set_add(s, i), 0);
		assert_int_equal(cluster_set_add(s, i), -EEXIST);
	}
	assert_int_equal(cluster_set_count(s), SPACE);
	assert_int_equal(cluster_set_first_missing(s, SPACE), SPACE);
	assert_int_equal(cluster_set_first_missing(s, SPACE + 1), SPACE);
	assert_int_equal(cluster_set_first_missing(s, 17), 17);
	cluster_set_free(s);
}

static void backwards(void **state)
{
	struct cluster_set *s = cluster_set_new();

	(void)state;
	for (uint32_t i = SPACE; i--;) {
		assert_int_equal(cluster_set_first_missing(s, SPACE), 0);
		assert_int_equal(cluster_set_add(s, i), 0);
	}
	for (uint32_t i = 0; i < SPACE; i++)
		assert_int_equal(cluster_set_add(s, i), -EEXIST);
	assert_int_equal(cluster_set_count(s), SPACE);
	assert_int_equal(cluster_set_first_missing(s, SPACE), SPACE);
	cluster_set_free(s);
}

static void at_random_against_a_bitmap(void **state)
{
	struct cluster_set *s = cluster_set_new();
	bool *model = calloc(SPACE, sizeof(*model));
	uint64_t count = 0, first = 0;
	uint32_t random = 12345;

	(void)state;
	assert_non_null(model);
	for (unsigned int i = 0; i < 3 * SPACE; i++) {
		uint32_t n;

		random = random * 1664525 + 1013904223;
		n = (random >> 8) % SPACE;
		assert_int_equal(cluster_set_add(s, n), model[n] ? -EEXIST : 0);
		count += !model[n];
		model[n] = true;
		while (first < SPACE && model[first])
			first++;
		if (i % 1000 == 0) {
			assert_int_equal(cluster_set_count(s), count);
			assert_int_equal(cluster_set_first_missing(s, SPACE), first);
		}
	}
	assert_in_range(count, SPACE / 2, SPACE - 1);
	free(model);
	cluster_set_free(s);
}

/* Each size around the change from a list to a bitmap, with one gap in it. */
static void gaps(void **state)
{
	(void)state;
	for (uint32_t gap = 505; gap < 520; gap++) {
		struct cluster_set *s = cluster_set_new();

		for (uint32_t i = 0; i < 65536; i++)
			if (i != gap)
				assert_int_equal(cluster_set_add(s, i), 0);
		assert_int_equal(cluster_set_first_missing(s, 65536), gap);
		assert_int_equal(cluster_set_add(s, gap), 0);
		assert_int_equal(cluster_set_first_missing(s, 65536), 65536);
		cluster_set_free(s);
	}
}

static void the_ends(void **state)
{
	struct cluster_set *s = cluster_set_new();

	(void)state;
	assert_int_equal(cluster_set_add(s, UINT32_MAX), 0);
	assert_int_equal(cluster_set_add(s, UINT32_MAX), -EEXIST);
	assert_int_equal(cluster_set_first_missing(s, 1ull << 32), 0);
	assert_int_equal(cluster_set_add(s, 0), 0);
	assert_int_equal(cluster_set_first_missing(s, 1ull << 32), 1);
	assert_int_equal(cluster_set_first_missing(s, 1ull << 62), 1);
	assert_int_equal(cluster_set_first_missing(s, 0), 0);
	cluster_set_free(s);
}

static size_t used(void)
{
	struct mallinfo2 m = mallinfo2();

	return m.uordblks + m.hblkhd;
}

/* ASan and valgrind bring their own malloc, whose mallinfo2() tells nothing. */
static bool can_measure(void)
{
	size_t before = used();
	void *volatile p = malloc(10000);
	bool can = used() >= before + 10000;

	free(p);
	return can;
}

static void memory(void **state)
{
	struct cluster_set *s;
	size_t before = used();

	(void)state;
	if (!can_measure())
		skip();
	/* One cluster in each group of 65536: the worst there is per cluster. */
	s = cluster_set_new();
	for (uint64_t i = 0; i < 1ull << 32; i += 65536)
		assert_int_equal(cluster_set_add(s, i), 0);
	assert_in_range(used() - before, 1, 65536 * 80 + (600 << 10));
	cluster_set_free(s);

	/* A disk of 16 TiB, whole. */
	before = used();
	s = cluster_set_new();
	for (uint32_t i = 0; i < 1u << 24; i++)
		assert_int_equal(cluster_set_add(s, i), 0);
	assert_in_range(used() - before, 1 << 21, 3 << 20);
	cluster_set_free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(in_order),
		cmocka_unit_test(backwards),
		cmocka_unit_test(at_random_against_a_bitmap),
		cmocka_unit_test(gaps),
		cmocka_unit_test(the_ends),
		cmocka_unit_test(memory),
	};

	return cmocka_run_group_tests_name("cluster-set", tests, NULL, NULL);
}
