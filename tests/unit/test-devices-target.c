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

static void all_of_info_is_read(void **state)
{
	struct target_info i;
	struct vma_error err;

	(void)state;
	assert_int_equal(target_parse_info("armed 128 7/1024 guest 1 fetched 2 forgotten 3 held 4 5 wait_us 6 7 copying 8 policy auto spilled 9 refetched 10 fleece_used 11 fleece_error 28 failed 12 dropped 13 reason fleece-error 28 14",
					   &i, &err), 0);
	assert_int_equal(i.wait_total_us, 7);
	assert_int_equal(i.copying, 8);
	assert_string_equal(i.policy, "auto");
	assert_int_equal(i.chunks_spilled, 9);
	assert_int_equal(i.chunks_refetched, 10);
	assert_int_equal(i.fleece_used_sectors, 11);
	assert_int_equal(i.fleece_error, 28);
	assert_int_equal(i.writes_failed, 12);
	assert_int_equal(i.discards_dropped, 13);
	assert_string_equal(i.reason, "fleece-error");
	assert_int_equal(i.error, 28);
	assert_int_equal(i.sector, 14);
}

/* Of the first release, of a later one, in another order. */
static void other_releases_are_read(void **state)
{
	struct target_info i;
	struct vma_error err;

	(void)state;
	assert_int_equal(target_parse_info("idle 128 0/1 guest 0 fetched 0 forgotten 0 held 0 0 wait_us 0 0 reason none 0 -",
					   &i, &err), 0);
	assert_string_equal(i.policy, "-");
	assert_int_equal(i.chunks_spilled, 0);
	assert_int_equal(target_parse_info("idle 128 0/1 reason none 0 - colour blue 3 4 guest 1 fetched 2 mood forgotten 3 wait_us 0 9 held 0 0 last",
					   &i, &err), 0);
	assert_int_equal(i.chunks_guest, 1);
	assert_int_equal(i.chunks_fetched, 2);
	assert_int_equal(i.chunks_forgotten, 3);
	assert_int_equal(i.wait_total_us, 9);
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
		"idle 128 0/1 guest 0 guest 0 fetched 0 forgotten 0 held 0 0 wait_us 0 0 reason none 0 -",
		"idle 128 0/1 guest 0 fetched 0 forgotten 0 held 0 0 wait_us 0 0 policy reason none 0 -",
		"idle 128 0/1 guest 0 fetched 0 forgotten 0 held 0 0 wait_us 0 0 spilled -1 reason none 0 -",
		"idle 128 0/1 guest 0 fetched 0 forgotten 0 held 0 0 wait_us 0 0 fleece_error 2147483648 reason none 0 -",
		"idle 128 0/1",
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
	assert_false(t.has_fleece);
	assert_string_equal(t.on_cbw_error, "");
	assert_int_equal(target_parse_table("8:1 6 fleece 8:2 on_cbw_error break-guest-write chunk_size 128",
					    &t, &err), 0);
	assert_true(t.has_fleece);
	assert_true(t.fleece == makedev(8, 2));
	assert_string_equal(t.on_cbw_error, "break-guest-write");
	assert_int_equal(t.chunk_sectors, 128);
	/* Features of a newer module are passed over. */
	assert_int_equal(target_parse_table("8:1 4 paint green chunk_size 128", &t, &err), 0);
	assert_int_equal(t.chunk_sectors, 128);
}

static void bad_table_is_refused(void **state)
{
	static const char *const lines[] = {
		"", "8", "8:", ":1", "8:1 2 chunk_size", "8:1 x", "8:1 2 chunk_size 1k", "a:b",
		"4294967296:1", "8:1 5 chunk_size 128", "8:1 2 fleece /dev/sda", "8:1 2 fleece 8",
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
		cmocka_unit_test(all_of_info_is_read),
		cmocka_unit_test(other_releases_are_read),
		cmocka_unit_test(broken_info_is_read),
		cmocka_unit_test(bad_info_is_refused),
		cmocka_unit_test(table_is_read),
		cmocka_unit_test(bad_table_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
