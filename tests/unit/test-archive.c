// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * archive: any range of any device is right, with whatever index, cache and number of
 * threads.
 */
#include <errno.h>

#include "archive-model.h"
#include "archive/frames.h"

/* ---- tests ------------------------------------------------------------ */

static void bare(void **state)
{
	(void)state;
	for (uint32_t step = 1; step < 2000; step += 1236) {
		struct model m = { 0 };
		struct file f;
		struct archive *a;

		model_make(&m, 2100, step);
		f = file_of(m.b.p, m.b.len);
		a = open_with(f.path, NULL);
		check_all(a, &m);
		check_map(a, &m);
		archive_close(a);
		close(f.fd);
		model_free(&m);
	}
}

static void compressed(void **state)
{
	static const size_t frames[] = { 10000, CLUSTER, 1 << 20, 1 << 30 };

	(void)state;
	for (int i = 0; i < 4; i++) {
		struct archive_options o = { .cache = 200000 };
		struct archive *a;
		struct built z;
		struct model m = { 0 };
		struct file f;

		model_make(&m, 2100, 1);
		if (frames[i] > FRAME_MAX)
			assert_true(m.b.len < FRAME_MAX);
		z = seekable(&m.b, frames[i] > m.b.len ? m.b.len : frames[i]);
		f = file_of(z.p, z.len);
		a = open_with(f.path, &o);
		assert_int_equal(archive_facts(a).stream_size, m.b.len);
		check_map(a, &m);
		/* With frames that large each read is one of them. */
		if (frames[i] <= CLUSTER)
			check_all(a, &m);
		check_whole(a, &m, 1);
		archive_close(a);
		close(f.fd);
		built_free(&z);
		model_free(&m);
	}
}

static void kept_index(void **state)
{
	struct archive_options o = { 0 };
	struct archive_facts facts;
	struct built x;
	struct archive *a;
	struct model m = { 0 };
	struct file f, i;

	(void)state;
	model_make(&m, 2100, 1237);
	f = file_of(m.b.p, m.b.len);
	x = index_of(f.path);
	i = file_of(x.p, x.len);
	o.index = i.path;
	a = open_with(f.path, &o);
	assert_int_equal(archive_index_state(a), ARCHIVE_INDEX_READ);
	check_all(a, &m);
	check_map(a, &m);
	facts = archive_facts(a);
	assert_int_equal(facts.file_size, m.b.len);
	assert_int_equal(facts.frames, 0);
	archive_close(a);
	close(i.fd);
	close(f.fd);
	built_free(&x);
	model_free(&m);
}

/* More threads than the cache has room for frames. */
static void threads(void **state)
{
	struct archive_options o = { .cache = 150000 };
	struct archive *a;
	struct built z;
	struct model m = { 0 };
	struct file f;

	(void)state;
	model_make(&m, 2100, 1);
	z = seekable(&m.b, 50000);
	f = file_of(z.p, z.len);
	a = open_with(f.path, &o);
	check_threads(a, &m);
	archive_close(a);
	close(f.fd);
	built_free(&z);
	model_free(&m);
}

static void ranges_outside(void **state)
{
	struct archive *a;
	struct vma_error err;
	struct model m = { 0 };
	uint64_t run;
	uint8_t byte;
	struct file f;
	bool data;

	(void)state;
	model_make(&m, 7, 3);
	f = file_of(m.b.p, m.b.len);
	a = open_with(f.path, NULL);
	assert_int_equal(archive_read(a, 1, m.sizes[1], &byte, 1, &err), -EINVAL);
	assert_int_equal(archive_read(a, 1, UINT64_MAX, &byte, 1, &err), -EINVAL);
	assert_int_equal(archive_read(a, 3, 0, &byte, 1, &err), -EINVAL);
	assert_int_equal(archive_read(a, 255, 0, &byte, 1, &err), -EINVAL);
	assert_int_equal(archive_map(a, 1, m.sizes[1], 1, &data, &run, &err), -EINVAL);
	assert_int_equal(archive_map(a, 1, 0, 0, &data, &run, &err), -EINVAL);
	archive_close(a);
	close(f.fd);
	model_free(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bare),
		cmocka_unit_test(compressed),
		cmocka_unit_test(kept_index),
		cmocka_unit_test(threads),
		cmocka_unit_test(ranges_outside),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
