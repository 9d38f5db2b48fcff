// SPDX-License-Identifier: GPL-2.0-or-later
/* output past the page cache: every length, and file systems that do not take it. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "output/output.h"

#define MIB	(1u << 20)

static char dir[] = "/tmp/test-output-direct-XXXXXX";
static char path[sizeof(dir) + 16];

/* What the file system is made to do. */
static bool no_direct;		/* it has none */
static bool no_blocks;		/* it has, but takes no such blocks */
static bool halves;		/* it takes half of what it is given, in whole sectors */
static off_t full_at;		/* it has no space behind that; 0: it has */
static atomic_ullong past_cache, through_cache;	/* bytes */

int open(const char *name, int flags, ...)
{
	va_list args;
	mode_t mode;

	va_start(args, flags);
	mode = flags & O_CREAT ? va_arg(args, mode_t) : 0;
	va_end(args);
	if (no_direct && flags & O_DIRECT) {
		errno = EINVAL;
		return -1;
	}
	return (int)syscall(SYS_openat, AT_FDCWD, name, flags, mode);
}

ssize_t pwrite(int fd, const void *buf, size_t len, off_t offset)
{
	bool direct = fcntl(fd, F_GETFL) & O_DIRECT;
	ssize_t n;

	if (direct && no_blocks) {
		errno = EINVAL;
		return -1;
	}
	if (full_at && offset + (off_t)len > full_at) {
		errno = ENOSPC;
		return -1;
	}
	if (halves && len > 1024)
		len = len / 2 & ~511u;
	n = syscall(SYS_pwrite64, fd, buf, len, offset);
	if (n > 0)
		atomic_fetch_add(direct ? &past_cache : &through_cache, n);
	return n;
}

static int in_new_directory(void **state)
{
	(void)state;
	no_direct = no_blocks = halves = false;
	full_at = 0;
	past_cache = through_cache = 0;
	strcpy(dir + strlen(dir) - 6, "XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	snprintf(path, sizeof(path), "%s/archive.vma", dir);
	return 0;
}

static int without_directory(void **state)
{
	(void)state;
	unlink(path);
	/* Fails if a test left anything else behind. */
	return rmdir(dir);
}

static uint8_t *pattern(size_t len)
{
	uint8_t *p = malloc(len + 1);

	assert_non_null(p);
	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)(i * 2654435761u >> 13);
	return p;
}

/* In pieces of many lengths, some of them two at once. */
static int write_all(struct output *o, const uint8_t *data, size_t len, struct vma_error *err)
{
	static const size_t lens[] = { 512, 1, 65536, 4096, 3 * MIB + 17, 4095, 777777 };
	size_t done = 0;

	for (unsigned int i = 0; done < len; i++) {
		size_t n = lens[i % 7], half;
		struct iovec iov[2];
		int ret;

		if (n > len - done)
			n = len - done;
		half = i % 3 ? n / 3 : 0;
		iov[0] = (struct iovec){ (void *)(data + done), half };
		iov[1] = (struct iovec){ (void *)(data + done + half), n - half };
		ret = output_write(o, iov, 2, err);
		if (ret)
			return ret;
		done += n;
		assert_int_equal(output_bytes(o), done);
	}
	return 0;
}

static void check_file(const uint8_t *want, size_t len)
{
	uint8_t *got = malloc(len + 1);
	FILE *f = fopen(path, "r");

	assert_non_null(got);
	assert_non_null(f);
	assert_int_equal(fread(got, 1, len + 1, f), len);
	fclose(f);
	assert_int_equal(memcmp(got, want, len), 0);
	free(got);
}

static void round_trip(size_t len)
{
	uint8_t *data = pattern(len);
	struct vma_error err = { "" };
	struct output *o;

	assert_int_equal(output_open(&o, path, NULL), 0);
	assert_int_equal(output_keep_disk_busy(o, &err), 0);
	assert_int_equal(write_all(o, data, len, &err), 0);
	assert_int_equal(output_commit(o, &err), 0);
	check_file(data, len);
	free(data);
	assert_int_equal(unlink(path), 0);
}

static void every_length(void **state)
{
	static const size_t lens[] = { 0, 1, 511, 512, 4095, 4096, 4097, 2 * MIB - 1, 2 * MIB,
				       2 * MIB + 1, 8 * MIB, 8 * MIB + 513, 21 * MIB + 7 };

	(void)state;
	for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++)
		round_trip(lens[i]);
	if (!past_cache)
		skip();
	/* The ends only, less than a block each. */
	assert_true(through_cache < 4096 * sizeof(lens) / sizeof(lens[0]));
}

static void where_there_is_none(void **state)
{
	(void)state;
	no_direct = true;
	round_trip(21 * MIB + 7);
	assert_int_equal(past_cache, 0);
}

static void where_blocks_are_larger(void **state)
{
	(void)state;
	no_blocks = true;
	round_trip(9 * MIB + 7);
	assert_int_equal(past_cache, 0);
}

static void short_writes(void **state)
{
	(void)state;
	halves = true;
	round_trip(9 * MIB + 7);
}

static void no_space(size_t len)
{
	uint8_t *data = pattern(len);
	struct vma_error err = { "" };
	struct output *o;
	int ret;

	full_at = 5 * MIB;
	assert_int_equal(output_open(&o, path, NULL), 0);
	assert_int_equal(output_keep_disk_busy(o, &err), 0);
	ret = write_all(o, data, len, &err);
	if (ret)
		output_abort(o);
	else
		ret = output_commit(o, &err);
	free(data);
	assert_int_equal(ret, -ENOSPC);
	assert_non_null(strstr(err.text, "no space left"));
	assert_int_equal(access(path, F_OK), -1);
}

static void full_while_writing(void **state)
{
	(void)state;
	no_space(64 * MIB);
}

/* Known only when all was handed in. */
static void full_at_the_end(void **state)
{
	(void)state;
	no_space(5 * MIB + 1);
}

static void given_up_half_way(void **state)
{
	uint8_t *data = pattern(3 * MIB);
	struct output *o;

	(void)state;
	assert_int_equal(output_open(&o, path, NULL), 0);
	assert_int_equal(output_keep_disk_busy(o, NULL), 0);
	assert_int_equal(write_all(o, data, 3 * MIB, NULL), 0);
	output_abort(o);
	free(data);
}

#define test(f) cmocka_unit_test_setup_teardown(f, in_new_directory, without_directory)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(every_length),
		test(where_there_is_none),
		test(where_blocks_are_larger),
		test(short_writes),
		test(full_while_writing),
		test(full_at_the_end),
		test(given_up_half_way),
	};

	return cmocka_run_group_tests_name("output-direct", tests, NULL, NULL);
}
