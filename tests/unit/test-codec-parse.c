// SPDX-License-Identifier: GPL-2.0-or-later
/* codec: names of compressions, levels and suffixes. */
#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "codec/codec.h"

static void parsing(void **state)
{
	static const char *const bad[] = {
		"", "bzip2", "gzip:10", "gzip:0", "lzo:10", "lzo:", "zstd:", "zstd:0", "zstd:-1", "zstd:23", "zstd:1x", "zstd: 1", "zstd:+1",
		"zstd:99999999999999999999", "zstd1", "None", "none:1", "zstd:1:2",
	};
	struct codec_options o = { .threads = 7 };
	struct vma_error err;

	(void)state;
	assert_int_equal(codec_parse("none", &o, NULL), 0);
	assert_int_equal(o.kind, CODEC_NONE);
	assert_int_equal(codec_parse("zstd:19", &o, NULL), 0);
	assert_int_equal(o.kind, CODEC_ZSTD);
	assert_int_equal(o.level, 19);
	assert_int_equal(codec_parse("zstd", &o, NULL), 0);
	assert_int_equal(o.level, 0);
	assert_int_equal(codec_parse("zstd:22", &o, NULL), 0);
	assert_int_equal(o.level, 22);
	assert_int_equal(codec_parse("gzip:9", &o, NULL), 0);
	assert_int_equal(o.kind, CODEC_GZIP);
	assert_int_equal(o.level, 9);
	assert_int_equal(codec_parse("lzo", &o, NULL), 0);
	assert_int_equal(o.kind, CODEC_LZO);
	assert_int_equal(o.level, 0);
	assert_int_equal(codec_parse("zstd:22", &o, NULL), 0);
	assert_int_equal(o.threads, 7);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		err.text[0] = '\0';
		assert_int_equal(codec_parse(bad[i], &o, &err), -EINVAL);
		assert_true(strlen(err.text) > 0);
	}
	assert_int_equal(o.level, 22);
}

static void suffixes(void **state)
{
	(void)state;
	assert_int_equal(codec_of_path("a.vma.zst"), CODEC_ZSTD);
	assert_int_equal(codec_of_path("/x.gz/a.zstd"), CODEC_ZSTD);
	assert_int_equal(codec_of_path("a.gz"), CODEC_GZIP);
	assert_int_equal(codec_of_path("a.lzo"), CODEC_LZO);
	assert_int_equal(codec_of_path("a.lzo.vma"), CODEC_NONE);
	assert_int_equal(codec_of_path("zst"), CODEC_NONE);
	assert_int_equal(codec_of_path(".zst"), CODEC_NONE);
	assert_int_equal(codec_of_path("-"), CODEC_NONE);
	assert_int_equal(codec_of_path(""), CODEC_NONE);
	assert_string_equal(codec_name(CODEC_LZO), "lzo");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parsing),
		cmocka_unit_test(suffixes),
	};

	return cmocka_run_group_tests_name("codec-parse", tests, NULL, NULL);
}
