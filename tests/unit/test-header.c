// SPDX-License-Identifier: GPL-2.0-or-later
/* libvma/header, for writing: the rules, and every byte that the encoder makes. */
#include <errno.h>
#include <stdio.h>

#include "archive-builder.h"

static const uint8_t uuid[16] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16 };

static struct vma_header *fresh(void)
{
	struct vma_header *h = vma_header_new(uuid, 0x1122334455667788);

	assert_non_null(h);
	return h;
}

static void refuse_device(struct vma_header *h, const char *name, uint64_t size, int code)
{
	struct vma_error err = { "" };

	assert_int_equal(vma_header_add_device(h, name, size, &err), code);
	assert_true(strlen(err.text) > 0);
	assert_null(strchr(err.text, '\n'));
}

static void device_names(void **state)
{
	static const char *const bad[] = {
		"", "a b", "a\tb", "a\nb", "a=b", "a:b", "a/b", "a\x7f", "\x01", "\xff", "a\x80" "b",
	};
	struct vma_header *h = fresh();
	char name[258];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		refuse_device(h, bad[i], 512, -EINVAL);
	memset(name, 'x', 256);
	name[256] = '\0';
	refuse_device(h, name, 512, -EINVAL);
	name[255] = '\0';
	assert_int_equal(vma_header_add_device(h, name, 512, NULL), 1);
	assert_int_equal(vma_header_add_device(h, "drive-scsi0", 512, NULL), 2);
	refuse_device(h, "drive-scsi0", 1024, -EEXIST);
	assert_int_equal(vma_header_find_device(h, "drive-scsi0"), 2);
	assert_int_equal(vma_header_find_device(h, "drive-scsi1"), -ENOENT);
	vma_header_free(h);
}

static void device_sizes(void **state)
{
	struct vma_header *h = fresh();

	(void)state;
	refuse_device(h, "d", 0, -EINVAL);
	refuse_device(h, "d", 1, -EINVAL);
	refuse_device(h, "d", 513, -EINVAL);
	refuse_device(h, "d", (1ull << 48) + 512, -EINVAL);
	refuse_device(h, "d", UINT64_MAX - 511, -EINVAL);
	assert_int_equal(vma_header_add_device(h, "a", 512, NULL), 1);
	assert_int_equal(vma_header_add_device(h, "b", 65536, NULL), 2);
	assert_int_equal(vma_header_add_device(h, "c", 65536 + 512, NULL), 3);
	assert_int_equal(vma_header_add_device(h, "d", 1ull << 48, NULL), 4);
	assert_int_equal(h->devices[1].nr_clusters, 1);
	assert_int_equal(h->devices[2].nr_clusters, 1);
	assert_int_equal(h->devices[3].nr_clusters, 2);
	assert_int_equal(h->devices[4].nr_clusters, 1ull << 32);
	vma_header_free(h);
}

static void as_many_devices_as_there_are(void **state)
{
	struct vma_header *h = fresh();
	char name[16];

	(void)state;
	for (int i = 1; i <= 254; i++) {
		snprintf(name, sizeof(name), "d%d", i);
		assert_int_equal(vma_header_add_device(h, name, 512, NULL), i);
	}
	refuse_device(h, "one-more", 512, -ENOSPC);
	vma_header_free(h);
}

static void refuse_config(struct vma_header *h, const char *name, size_t size, int code)
{
	static const uint8_t data[65536];
	struct vma_error err = { "" };

	assert_int_equal(vma_header_add_config(h, name, data, size, &err), code);
	assert_true(strlen(err.text) > 0);
	assert_null(strchr(err.text, '\n'));
}

static void configs(void **state)
{
	static const char *const bad[] = { "", ".", "..", "a/b", "/a", "../a", "a\nb", "\x7f", "\xc3" };
	static const uint8_t data[65535];
	struct vma_header *h = fresh();
	char name[257];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		refuse_config(h, bad[i], 1, -EINVAL);
	memset(name, 'x', 256);
	name[256] = '\0';
	refuse_config(h, name, 1, -EINVAL);
	refuse_config(h, "big", 65536, -E2BIG);
	assert_int_equal(vma_header_add_config(h, "qemu-server.conf", data, 65535, NULL), 0);
	refuse_config(h, "qemu-server.conf", 1, -EEXIST);
	assert_int_equal(vma_header_add_config(h, "empty", NULL, 0, NULL), 0);
	assert_int_equal(h->nr_configs, 2);
	for (int i = 2; i < 256; i++) {
		snprintf(name, sizeof(name), "c%d", i);
		assert_int_equal(vma_header_add_config(h, name, "x", 1, NULL), 0);
	}
	refuse_config(h, "one-more", 1, -ENOSPC);
	vma_header_free(h);
}

/* The expected bytes are put down one field after the other. */
static void encoding(void **state)
{
	struct vma_header *h = fresh();
	struct built want;
	uint8_t *buf;
	size_t len;

	(void)state;
	assert_int_equal(vma_header_add_device(h, "drive-scsi0", 0x123456789a00, NULL), 1);
	assert_int_equal(vma_header_add_device(h, "vmstate", 512, NULL), 2);
	assert_int_equal(vma_header_add_config(h, "qemu-server.conf", "cores: 2\n", 9, NULL), 0);
	assert_int_equal(vma_header_add_config(h, "qemu-server.fw", "", 0, NULL), 0);
	assert_int_equal(vma_header_encode(h, &buf, &len, NULL), 0);

	build_header(&want, 512);
	memcpy(want.p + 8, uuid, 16);
	put(want.p + 24, 0x1122334455667788, 8);
	build_device(&want, 1, "drive-scsi0", 0x123456789a00);
	build_device(&want, 2, "vmstate", 512);
	build_config(&want, 0, "qemu-server.conf", "cores: 2\n", 9);
	build_config(&want, 1, "qemu-server.fw", "", 0);
	put(want.p + 52, want.blob - 12288, 4);
	seal_header(&want);

	assert_int_equal(len, want.len);
	assert_int_equal(h->header_size, len);
	assert_memory_equal(buf, want.p, len);
	/* A blob's length is the one field that is little-endian. */
	assert_int_equal(buf[12289], 12);
	assert_int_equal(buf[12290], 0);
	free(buf);
	built_free(&want);
	vma_header_free(h);
}

/* The table grows in steps of 512, is never empty, and blobs follow each other from 1 on. */
static void table_sizes(void **state)
{
	static const uint8_t data[1024];

	(void)state;
	/* 1 byte, then 2 + 2 for the name "c", then 2 + size. */
	for (size_t size = 500; size < 510; size++) {
		struct vma_header *h = fresh();
		size_t used = 1 + 4 + 2 + size, len;
		uint8_t *buf;

		assert_int_equal(vma_header_add_config(h, "c", data, size, NULL), 0);
		assert_int_equal(vma_header_encode(h, &buf, &len, NULL), 0);
		assert_int_equal(len, 12288 + (used <= 512 ? 512 : 1024));
		assert_int_equal(get(buf + 52, 4), used);
		assert_int_equal(get(buf + 56, 4), len);
		assert_int_equal(get(buf + 2044, 4), 1);
		assert_int_equal(get(buf + 3068, 4), 5);
		free(buf);
		vma_header_free(h);
	}
}

static void empty(void **state)
{
	struct vma_header *h = fresh();
	uint8_t *buf;
	size_t len;

	(void)state;
	assert_int_equal(vma_header_encode(h, &buf, &len, NULL), 0);
	assert_int_equal(len, 12800);
	free(buf);
	vma_header_free(h);
}

static void too_much(void **state)
{
	static const uint8_t data[65535];
	struct vma_header *h = fresh();
	struct vma_error err = { "" };
	uint8_t *buf = NULL;
	char name[8];
	size_t len;

	(void)state;
	for (int i = 0; i < 8; i++) {
		snprintf(name, sizeof(name), "c%d", i);
		assert_int_equal(vma_header_add_config(h, name, data, sizeof(data), NULL), 0);
	}
	assert_int_equal(vma_header_encode(h, &buf, &len, &err), -E2BIG);
	assert_null(buf);
	assert_true(strlen(err.text) > 0);
	vma_header_free(h);

	/* The most that fits: 524288 exactly. */
	h = fresh();
	for (int i = 0; i < 7; i++) {
		snprintf(name, sizeof(name), "c%d", i);
		assert_int_equal(vma_header_add_config(h, name, data, sizeof(data), NULL), 0);
	}
	len = 524288 - 12288 - 1 - 7 * (5 + 2 + 65535) - (5 + 2);
	assert_int_equal(vma_header_add_config(h, "c7", data, len, NULL), 0);
	assert_int_equal(vma_header_encode(h, &buf, &len, NULL), 0);
	assert_int_equal(len, 524288);
	free(buf);
	vma_header_free(h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(device_names),
		cmocka_unit_test(device_sizes),
		cmocka_unit_test(as_many_devices_as_there_are),
		cmocka_unit_test(configs),
		cmocka_unit_test(encoding),
		cmocka_unit_test(table_sizes),
		cmocka_unit_test(empty),
		cmocka_unit_test(too_much),
	};

	return cmocka_run_group_tests_name("header", tests, NULL, NULL);
}
