// SPDX-License-Identifier: GPL-2.0-or-later
/* The target's status and table lines: what is taken, and what is not. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/sysmacros.h>

#include <cmocka.h>

#include "devices/target.h"

static void info_is_read(void **state)
{
	struct target_info i;
	struct vma_error err;

	(void)state;
	assert_int_equal(target_parse_info("armed 128 7/1024 guest 1 fetched 2 forgotten 3 held 4 5 wait_us 6 7 reason none 0 -",
					   &i, &err), 0);
	assert_int_equal(i.state, TARGET_ARMED);
	assert_int_equal(i.chunk_sectors, 128);
	assert_int_equal(i.chunks_left, 7);
	assert_int_equal(i.chunks_total, 1024);
	assert_int_equal(i.chunks_guest, 1);
	assert_int_equal(i.chunks_fetched, 2);
	assert_int_equal(i.chunks_forgotten, 3);
	assert_int_equal(i.held_now, 4);
	assert_int_equal(i.held_ever, 5);
	assert_int_equal(i.wait_longest_us, 6);
	assert_int_equal(i.wait_total_us, 7);
	assert_string_equal(i.reason, "none");
	assert_int_equal(i.error, 0);
	assert_false(i.has_sector);
}

static void broken_info_is_read(void **state)
{
	struct target_info i;
	struct vma_error err;

	(void)state;
	assert_int_equal(target_parse_info("broken 2048 0/18446744073709551615 guest 0 fetched 0 forgotten 0 held 0 0 wait_us 0 0 reason read-error 5 18446744073709551615 and more",
					   &i, &err), 0);
	assert_int_equal(i.state, TARGET_BROKEN);
	assert_int_equal(i.chunks_total, UINT64_MAX);
	assert_string_equal(i.reason, "read-error");
	assert_int_equal(i.error, 5);
	assert_true(i.has_sector);
	assert_int_equal(i.sector, UINT64_MAX);
}

static void bad_info_is_refused(void **state)
{
	static const char *const lines[] = {
		"",
		"idle",
		"asleep 128 0/1 guest 0 fetched 0 forgotten 0 held 0 0 wait_us 0 0 reason none 0 -",
		"idle 128 0 guest 0 fetched 0 forgotten 0 held 0 0 wait_us 0 0 reason none 0 -",
		"idle 128 0/1 guest -1 fetched 0 forgotten 0 held 0 0 wait_us 0 0 reason none 0 -",
		"idle 128 0/1 guest +1 fetched 0 forgotten 0 held 0 0 wait_us 0 0 reason none 0 -",
		"idle 128 0/1 guest 0x1 fetched 0 forgotten 0 held 0 0 wait_us 0 0 reason none 0 -",
		"idle 128 0/1 host 0 fetched 0 forgotten 0 held 0 0 wait_us 0 0 reason none 0 -",
		"idle 128 0/1 guest 0 fetched 0 forgotten 0 held 0 wait_us 0 0 reason none 0 -",
		"idle 128 0/1 guest 0 fetched 0 forgotten 0 held 0 0 wait_us 0 0 reason none 0",
		"idle 128 0/1 guest 0 fetched 0 forgotten 0 held 0 0 wait_us 0 0 reason a-very-long-reason 0 -",
		"idle 128 0/18446744073709551616 guest 0 fetched 0 forgotten 0 held 0 0 wait_us 0 0 reason none 0 -",
		"idle 4294967296 0/1 guest 0 fetched 0 forgotten 0 held 0 0 wait_us 0 0 reason none 0 -",
	};
	struct target_info i;
	struct vma_error err;
	unsigned int n;

	(void)state;
	for (n = 0; n < sizeof(lines) / sizeof(lines[0]); n++) {
		err.text[0] = '\0';
		if (target_parse_info(lines[n], &i, &err) != -EPROTO)
			fail_msg("taken: %s", lines[n]);
		assert_non_null(strstr(err.text, "cannot understand"));
	}
}

static void table_is_read(void **state)
{
	struct target_table t;
	struct vma_error err;

	(void)state;
	assert_int_equal(target_parse_table("254:16", &t, &err), 0);
	assert_true(t.origin == makedev(254, 16));
	assert_int_equal(t.chunk_sectors, 0);
	assert_int_equal(t.cbw_timeout_ms, 0);
	assert_int_equal(target_parse_table("8:1 4 cbw_timeout 2000 chunk_size 256", &t, &err), 0);
	assert_true(t.origin == makedev(8, 1));
	assert_int_equal(t.chunk_sectors, 256);
	assert_int_equal(t.cbw_timeout_ms, 2000);
	/* Features of a newer module are passed over. */
	assert_int_equal(target_parse_table("8:1 4 fleece 8:2 chunk_size 128", &t, &err), 0);
	assert_int_equal(t.chunk_sectors, 128);
}

static void bad_table_is_refused(void **state)
{
	static const char *const lines[] = {
		"", "8", "8:", ":1", "8:1 2 chunk_size", "8:1 x", "8:1 2 chunk_size 1k", "a:b",
		"4294967296:1", "8:1 5 chunk_size 128",
	};
	struct target_table t;
	struct vma_error err;
	unsigned int n;

	(void)state;
	for (n = 0; n < sizeof(lines) / sizeof(lines[0]); n++)
		if (target_parse_table(lines[n], &t, &err) != -EPROTO)
			fail_msg("taken: %s", lines[n]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(info_is_read),
		cmocka_unit_test(broken_info_is_read),
		cmocka_unit_test(bad_info_is_refused),
		cmocka_unit_test(table_is_read),
		cmocka_unit_test(bad_table_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
