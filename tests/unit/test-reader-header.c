// SPDX-License-Identifier: GPL-2.0-or-later
/* libvma/header-decode, through the reader: which headers are taken, and which are refused. */
#include <errno.h>
#include <stdio.h>

#include "archive-builder.h"

static struct vma_reader *take(struct built *b)
{
	struct vma_reader *r = NULL;
	struct vma_error err = { "" };

	if (vma_reader_open(&r, built_read, b, &err) != 0)
		fail_msg("%s", err.text);
	return r;
}

static void done(struct vma_reader *r, struct built *b)
{
	vma_reader_free(r);
	built_free(b);
}

static void refuse_as(struct built *b, int code, const char *words)
{
	struct vma_reader *r = NULL;
	struct vma_error err = { "" };

	assert_int_equal(vma_reader_open(&r, built_read, b, &err), code);
	assert_null(r);
	if (!strstr(err.text, words))
		fail_msg("\"%s\" lacks \"%s\"", err.text, words);
	assert_null(strchr(err.text, '\n'));
	built_free(b);
}

static void refuse(struct built *b, const char *words)
{
	refuse_as(b, -EBADMSG, words);
}

static void good(struct built *b)
{
	build_header(b, 1024);
	build_device(b, 1, "drive-scsi0", 1 << 20);
	build_device(b, 3, "vmstate", 512);
	build_config(b, 0, "qemu-server.conf", "cores: 1\n", 9);
	build_config(b, 1, "qemu-server.fw", "", 0);
	seal_header(b);
}

static void fields(void **state)
{
	const struct vma_header *h;
	struct vma_reader *r;
	struct built b;

	(void)state;
	good(&b);
	r = take(&b);
	h = vma_reader_header(r);
	for (int i = 0; i < 16; i++)
		assert_int_equal(h->uuid[i], 0xab);
	assert_int_equal(h->ctime, 1700000000);
	assert_int_equal(h->header_size, 12288 + 1024);
	assert_string_equal(h->devices[1].name, "drive-scsi0");
	assert_int_equal(h->devices[1].size, 1 << 20);
	assert_int_equal(h->devices[1].nr_clusters, 16);
	assert_null(h->devices[2].name);
	assert_string_equal(h->devices[3].name, "vmstate");
	assert_int_equal(vma_header_find_device(h, "vmstate"), 3);
	assert_int_equal(h->nr_configs, 2);
	assert_string_equal(h->configs[0].name, "qemu-server.conf");
	assert_int_equal(h->configs[0].size, 9);
	assert_memory_equal(h->configs[0].data, "cores: 1\n", 9);
	assert_string_equal(h->configs[1].name, "qemu-server.fw");
	assert_int_equal(h->configs[1].size, 0);
	done(r, &b);
}

static void identity(void **state)
{
	struct built b;

	(void)state;
	for (int i = 0; i < 4; i++) {
		good(&b);
		b.p[i] ^= 0x20;
		seal_header(&b);
		refuse(&b, "magic");
	}
	good(&b);
	put(b.p + 4, 2, 4);
	seal_header(&b);
	refuse_as(&b, -EPROTONOSUPPORT, "version 2");
	good(&b);
	put(b.p + 4, 0, 4);
	seal_header(&b);
	refuse_as(&b, -EPROTONOSUPPORT, "version 0");
}

/* Any byte of the header counts for the sum, those of the blobs too. */
static void checksum(void **state)
{
	static const size_t places[] = {
		8, 24, 32, 47, 60, 2043, 4095, 12287, 12288, 12288 + 1023,
	};
	struct built b;

	(void)state;
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		good(&b);
		b.p[places[i]] ^= 1;
		refuse(&b, "checksum");
	}
}

static void truncated(void **state)
{
	static const size_t cuts[] = { 4, 100, 12287, 12288, 12289, 12288 + 1023 };
	struct built b;

	(void)state;
	good(&b);
	b.len = 0;
	refuse(&b, "empty");
	good(&b);
	b.len = 3;
	refuse(&b, "magic");
	for (size_t i = 0; i < sizeof(cuts) / sizeof(cuts[0]); i++) {
		good(&b);
		b.len = cuts[i];
		refuse(&b, "truncated");
	}
}

static void sizes(void **state)
{
	static const uint32_t small[] = { 0, 1, 512, 12287, 12288 };
	static const uint32_t large[] = { (32 << 20) + 1, 0x7fffffff, 0x80000000, 0xffffffff };
	struct built b;

	(void)state;
	for (size_t i = 0; i < sizeof(small) / sizeof(small[0]); i++) {
		good(&b);
		put(b.p + 56, small[i], 4);
		seal_header(&b);
		refuse(&b, "too small");
	}
	for (size_t i = 0; i < sizeof(large) / sizeof(large[0]); i++) {
		good(&b);
		put(b.p + 56, large[i], 4);
		seal_header(&b);
		/* Refused for its claim alone: nothing of that size was asked for. */
		refuse(&b, "limit");
	}
	/* The largest that is allowed, and one that is no multiple of 512. */
	build_header(&b, (32 << 20) - 12288);
	seal_header(&b);
	done(take(&b), &b);
	build_header(&b, 513);
	seal_header(&b);
	done(take(&b), &b);
}

static void blob_buffer(void **state)
{
	static const struct {
		uint32_t offset, size;
	} bad[] = {
		{ 0, 1024 }, { 12287, 1024 }, { 12288, 1025 }, { 12289, 1024 }, { 13313, 0 },
		{ 0xffffffff, 2 }, { 12288, 0xffffffff }, { 0x80000000, 0x80000000 },
	};
	struct built b;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		good(&b);
		put(b.p + 48, bad[i].offset, 4);
		put(b.p + 52, bad[i].size, 4);
		seal_header(&b);
		refuse(&b, "blob buffer");
	}
	/* Used bytes only, not rounded up. */
	good(&b);
	put(b.p + 52, b.blob - 12288, 4);
	seal_header(&b);
	done(take(&b), &b);
	/* One byte fewer: the last blob has no room for its length now. */
	good(&b);
	put(b.p + 52, b.blob - 12288 - 1, 4);
	seal_header(&b);
	refuse(&b, "blob buffer");
}

static void blobs_past_the_buffer(void **state)
{
	static const uint32_t pointers[] = { 1023, 1024, 1025, 0x7fffffff, 0xfffffffe, 0xffffffff };
	static const size_t fields_of[] = { 2044, 3068, 4096 + 32 };
	struct built b;

	(void)state;
	for (size_t f = 0; f < sizeof(fields_of) / sizeof(fields_of[0]); f++) {
		for (size_t i = 0; i < sizeof(pointers) / sizeof(pointers[0]); i++) {
			good(&b);
			put(b.p + fields_of[f], pointers[i], 4);
			seal_header(&b);
			refuse(&b, "outside the blob buffer");
		}
		/* Its length is within, its bytes are not. */
		good(&b);
		b.p[12288 + 1020] = 3;
		put(b.p + fields_of[f], 1020, 4);
		seal_header(&b);
		refuse(&b, "runs past the blob buffer");
		good(&b);
		b.p[12288 + 1020] = 0xff;
		b.p[12288 + 1021] = 0xff;
		put(b.p + fields_of[f], 1020, 4);
		seal_header(&b);
		refuse(&b, "runs past the blob buffer");
	}
	/* Exactly to the end is good; the length is little-endian. */
	good(&b);
	b.p[12288 + 1020] = 2;
	put(b.p + 3068, 1020, 4);
	seal_header(&b);
	done(take(&b), &b);
}

static void entries_to_skip(void **state)
{
	const struct vma_header *h;
	struct vma_reader *r;
	struct built b;

	(void)state;
	good(&b);
	put(b.p + 2044, 0, 4);		/* config 0 without a name */
	put(b.p + 3068 + 4, 0, 4);	/* config 1 without data */
	put(b.p + 4096 + 32 * 9 + 8, 1 << 20, 8);	/* device 9: a size, no name */
	put(b.p + 4096 + 32 * 10 + 8, 1, 8);		/* device 10: likewise, a strange one */
	build_config(&b, 200, "late", "x", 1);
	seal_header(&b);
	r = take(&b);
	h = vma_reader_header(r);
	assert_int_equal(h->nr_configs, 1);
	assert_string_equal(h->configs[0].name, "late");
	assert_null(h->devices[9].name);
	assert_int_equal(h->devices[9].size, 0);
	assert_null(h->devices[10].name);
	done(r, &b);
}

/* Number 0 is "not in use" whatever it holds; 255 is beyond what other readers can check. */
static void device_numbers(void **state)
{
	struct vma_reader *r;
	struct built b;

	(void)state;
	good(&b);
	build_device(&b, 0, "nothing", 512);
	build_device(&b, 254, "last", 512);
	seal_header(&b);
	r = take(&b);
	assert_null(vma_reader_header(r)->devices[0].name);
	assert_string_equal(vma_reader_header(r)->devices[254].name, "last");
	done(r, &b);
	good(&b);
	build_device(&b, 255, "beyond", 512);
	seal_header(&b);
	refuse(&b, "out of range");
}

static void device_sizes(void **state)
{
	static const uint64_t bad[] = {
		0, 1, 511, 513, (1ull << 48) + 512, 1ull << 63, UINT64_MAX, UINT64_MAX - 511,
	};
	struct vma_reader *r;
	struct built b;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		good(&b);
		put(b.p + 4096 + 32 + 8, bad[i], 8);
		seal_header(&b);
		refuse(&b, "drive-scsi0");
	}
	good(&b);
	put(b.p + 4096 + 32 + 8, 1ull << 48, 8);
	seal_header(&b);
	r = take(&b);
	assert_int_equal(vma_reader_header(r)->devices[1].nr_clusters, 1ull << 32);
	done(r, &b);
}

static void device_names(void **state)
{
	static const char *const bad[] = { "", "../x", "a/b", "/" };
	char name[300];
	struct built b;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		good(&b);
		build_device(&b, 2, bad[i], 512);
		seal_header(&b);
		refuse(&b, "impossible name");
	}
	memset(name, 'x', sizeof(name));
	name[256] = '\0';
	good(&b);
	build_device(&b, 2, name, 512);
	seal_header(&b);
	refuse(&b, "impossible name");
	name[255] = '\0';
	good(&b);
	build_device(&b, 2, name, 512);
	seal_header(&b);
	done(take(&b), &b);
	good(&b);
	build_device(&b, 2, "drive-scsi0", 512);
	seal_header(&b);
	refuse(&b, "two devices");
}

static void config_names(void **state)
{
	static const char *const bad[] = { "", ".", "..", "/etc/passwd", "../x", "a/b", "a/" };
	char name[300];
	struct built b;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		good(&b);
		build_config(&b, 5, bad[i], "x", 1);
		seal_header(&b);
		refuse(&b, "name of configuration file");
	}
	memset(name, 'x', sizeof(name));
	name[256] = '\0';
	good(&b);
	build_config(&b, 5, name, "x", 1);
	seal_header(&b);
	refuse(&b, "longer than 255");
	good(&b);
	build_config(&b, 5, "qemu-server.conf", "x", 1);
	seal_header(&b);
	refuse(&b, "two configuration files");
	good(&b);
	build_config(&b, 5, "..a", "x", 1);
	build_config(&b, 6, "a..", "x", 1);
	build_config(&b, 7, "\xc3\xa4", "x", 1);
	seal_header(&b);
	done(take(&b), &b);
}

/* A name is as long as its blob says: no terminator, or one in the middle, is damage. */
static void name_terminators(void **state)
{
	static const size_t fields_of[] = { 2044, 4096 + 32 };
	struct built b;

	(void)state;
	for (size_t f = 0; f < 2; f++) {
		good(&b);
		put(b.p + fields_of[f], build_blob(&b, "abc", 3), 4);
		seal_header(&b);
		refuse(&b, "terminated");
		good(&b);
		put(b.p + fields_of[f], build_blob(&b, "abc\0d", 6), 4);
		seal_header(&b);
		refuse(&b, "terminated");
		good(&b);
		put(b.p + fields_of[f], build_blob(&b, "", 0), 4);
		seal_header(&b);
		refuse(&b, "terminated");
	}
}

static void messages_hold_no_control_characters(void **state)
{
	struct built b;

	(void)state;
	good(&b);
	build_config(&b, 5, "\x1b]0;x\x07/\n", "x", 1);
	seal_header(&b);
	refuse(&b, "\\x1b]0;x\\x07/\\x0a");
}

/* 256 configurations, each of them the same 64 KiB: the most a header can ask for. */
static void as_many_configs_as_there_are(void **state)
{
	static const uint8_t data[65535];
	struct vma_reader *r;
	struct built b;
	uint32_t at;

	(void)state;
	build_header(&b, 80000);
	at = build_blob(&b, data, sizeof(data));
	for (int i = 0; i < 256; i++) {
		char name[8];

		snprintf(name, sizeof(name), "c%d", i);
		put(b.p + 2044 + 4 * i, build_blob(&b, name, strlen(name) + 1), 4);
		put(b.p + 3068 + 4 * i, at, 4);
	}
	seal_header(&b);
	r = take(&b);
	assert_int_equal(vma_reader_header(r)->nr_configs, 256);
	assert_int_equal(vma_reader_header(r)->configs[255].size, 65535);
	done(r, &b);
}

/* Any single wrong byte, with a right sum: taken or refused, never worse (see ASan, valgrind). */
static void every_byte_changed(void **state)
{
	struct built b;

	(void)state;
	for (size_t at = 0; at < 12288 + 120; at += at >= 56 && at < 2044 ? 13 : 1) {
		struct vma_reader *r = NULL;
		struct vma_error err;

		/* The devices and configurations that are not in use are all alike. */
		if (at > 2060 && at < 3060)
			at = 3060;
		if (at > 3090 && at < 4096)
			at = 4096;
		if (at > 4096 + 160 && at < 12280)
			at = 12280;
		good(&b);
		b.p[at] ^= 0xff;
		seal_header(&b);
		if (vma_reader_open(&r, built_read, &b, &err) == 0)
			vma_reader_free(r);
		built_free(&b);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fields),
		cmocka_unit_test(identity),
		cmocka_unit_test(checksum),
		cmocka_unit_test(truncated),
		cmocka_unit_test(sizes),
		cmocka_unit_test(blob_buffer),
		cmocka_unit_test(blobs_past_the_buffer),
		cmocka_unit_test(entries_to_skip),
		cmocka_unit_test(device_numbers),
		cmocka_unit_test(device_sizes),
		cmocka_unit_test(device_names),
		cmocka_unit_test(config_names),
		cmocka_unit_test(name_terminators),
		cmocka_unit_test(messages_hold_no_control_characters),
		cmocka_unit_test(as_many_configs_as_there_are),
		cmocka_unit_test(every_byte_changed),
	};

	return cmocka_run_group_tests_name("reader-header", tests, NULL, NULL);
}
