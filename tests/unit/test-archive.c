// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * archive: any range of any device is right, with whatever index, cache and number of
 * threads.
 */
#include <errno.h>
#include <pthread.h>

#include "archive-model.h"
#include "archive/frames.h"

/* ---- what is read is what was written ------------------------------- */

static void check_range(struct archive *a, const struct model *m, int dev, uint64_t offset,
			size_t len)
{
	static uint8_t buf[200001];
	struct vma_error err = { "" };

	memset(buf, 0xee, len + 1);
	if (archive_read(a, dev, offset, buf, len, &err) != 0)
		fail_msg("%d %ju %zu: %s", dev, (uintmax_t)offset, len, err.text);
	assert_true(memcmp(buf, m->content[dev] + offset, len) == 0);
	assert_int_equal(buf[len], 0xee);
}

/* memcmp(): the loops of assert_memory_equal() take minutes under valgrind. */
static void check_whole(struct archive *a, const struct model *m, int dev)
{
	static uint8_t buf[1 << 20];

	for (uint64_t at = 0; at < m->sizes[dev]; at += sizeof(buf)) {
		uint64_t left = m->sizes[dev] - at;
		size_t len = left < sizeof(buf) ? left : sizeof(buf);

		assert_int_equal(archive_read(a, dev, at, buf, len, NULL), 0);
		assert_true(memcmp(buf, m->content[dev] + at, len) == 0);
	}
}

static void check_all(struct archive *a, const struct model *m)
{
	static const size_t lengths[] = { 1, 511, 512, 4097, 65536, 70000, 200000 };
	uint32_t random = 99;

	for (int dev = 1; dev < 3; dev++) {
		check_whole(a, m, dev);
		check_range(a, m, dev, m->sizes[dev], 0);
		for (int i = 0; i < 350; i++) {
			size_t len = lengths[i % 7];
			uint64_t at = ((uint64_t)next_random(&random) << 8) % m->sizes[dev];

			if (i % 3)
				at -= at % BLOCK;
			if (len <= m->sizes[dev] - at)
				check_range(a, m, dev, at, len);
		}
	}
}

/* From block to block and from within blocks: the runs are exactly those of the model. */
static void check_map(struct archive *a, const struct model *m)
{
	struct vma_error err;

	for (int dev = 1; dev < 3; dev++) {
		uint64_t at = 0;

		while (at < m->sizes[dev]) {
			uint8_t want = m->map[dev][at / BLOCK];
			uint64_t run, end = at;
			bool data;

			while (end < m->sizes[dev] && m->map[dev][end / BLOCK] == want)
				end += BLOCK;
			if (end > m->sizes[dev])
				end = m->sizes[dev];
			for (int off = 0; off < 1024; off += 512) {
				if (at + off >= end)
					continue;
				assert_int_equal(archive_map(a, dev, at + off,
							     m->sizes[dev] - at - off, &data, &run,
							     &err), 0);
				assert_int_equal(data, want);
				assert_int_equal(run, end - at - off);
				assert_int_equal(archive_map(a, dev, at + off, 1, &data, &run,
							     &err), 0);
				assert_int_equal(run, 1);
			}
			at = end;
		}
	}
}

/* ---- tests ------------------------------------------------------------ */

static void bare(void **state)
{
	(void)state;
	for (uint32_t step = 1; step < 2000; step += 1236) {
		struct model m;
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
		struct model m;
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
	struct model m;
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

struct job {
	struct archive *a;
	const struct model *m;
	uint32_t seed;
	int wrong;
};

static void *reader(void *arg)
{
	struct job *j = arg;
	uint8_t *buf = malloc(100000);

	for (int i = 0; i < 200; i++) {
		uint64_t at = ((uint64_t)next_random(&j->seed) << 8) % (j->m->sizes[1] - 100000);
		size_t len = 1 + next_random(&j->seed) % 100000;

		if (archive_read(j->a, 1, at, buf, len, NULL) != 0 ||
		    memcmp(buf, j->m->content[1] + at, len) != 0)
			j->wrong++;
	}
	free(buf);
	return NULL;
}

/* More threads than the cache has room for frames. */
static void threads(void **state)
{
	struct archive_options o = { .cache = 150000 };
	pthread_t ids[8];
	struct job jobs[8];
	struct built z;
	struct model m;
	struct file f;

	(void)state;
	model_make(&m, 2100, 1);
	z = seekable(&m.b, 50000);
	f = file_of(z.p, z.len);
	jobs[0].a = open_with(f.path, &o);
	for (int i = 0; i < 8; i++) {
		jobs[i] = (struct job){ .a = jobs[0].a, .m = &m, .seed = i };
		assert_int_equal(pthread_create(&ids[i], NULL, reader, &jobs[i]), 0);
	}
	for (int i = 0; i < 8; i++) {
		pthread_join(ids[i], NULL);
		assert_int_equal(jobs[i].wrong, 0);
	}
	archive_close(jobs[0].a);
	close(f.fd);
	built_free(&z);
	model_free(&m);
}

static void ranges_outside(void **state)
{
	struct archive *a;
	struct vma_error err;
	struct model m;
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
