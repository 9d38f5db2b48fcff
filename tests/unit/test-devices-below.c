// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The walk below a file or device, over a made-up sysfs: partitions, stacks, loop
 * devices, loops in the data, and what cannot be read.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cmocka.h>

#include "devices/below.h"
#include "devices/mounts.h"

static char top[PATH_MAX / 4];
static struct below below;
static struct vma_error err;

__attribute__((format(printf, 2, 3)))
static void put(const char *text, const char *fmt, ...)
{
	char path[PATH_MAX], *slash;
	va_list args;
	size_t n;
	FILE *f;

	n = (size_t)snprintf(path, sizeof(path), "%s/", top);
	va_start(args, fmt);
	vsnprintf(path + n, sizeof(path) - n, fmt, args);
	va_end(args);
	for (slash = strchr(path + n, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		mkdir(path, 0755);
		*slash = '/';
	}
	if (!text) {
		assert_true(mkdir(path, 0755) == 0 || errno == EEXIST);
		return;
	}
	f = fopen(path, "w");
	assert_non_null(f);
	fprintf(f, "%s\n", text);
	assert_int_equal(fclose(f), 0);
}

static void link_to(const char *target, const char *name)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/%s", top, name);
	assert_int_equal(symlink(target, path), 0);
}

/* A disk, with /sys/dev/block/NUMBER a link to it as in sysfs. */
static void disk(const char *name, const char *number)
{
	char target[128], link[128];

	put(number, "devices/%s/dev", name);
	put(NULL, "devices/%s/slaves", name);
	put(NULL, "dev/block");
	snprintf(target, sizeof(target), "../../devices/%s", name);
	snprintf(link, sizeof(link), "dev/block/%s", number);
	link_to(target, link);
}

static void slave(const char *name, const char *of)
{
	char target[128], link[128];

	snprintf(target, sizeof(target), "../../%s", name);
	snprintf(link, sizeof(link), "devices/%s/slaves/%s", of, name);
	link_to(target, link);
}

static int setup(void **state)
{
	(void)state;
	snprintf(top, sizeof(top), "/tmp/vmactl-below.XXXXXX");
	if (!mkdtemp(top))
		return -1;
	below_init(&below);
	below.sys = top;
	return 0;
}

static int teardown(void **state)
{
	char command[PATH_MAX];

	(void)state;
	snprintf(command, sizeof(command), "rm -rf '%s'", top);
	return system(command);
}

static void a_disk_alone(void **state)
{
	(void)state;
	disk("sda", "8:0");
	assert_int_equal(below_add_device(&below, makedev(8, 0), &err), 0);
	assert_int_equal(below.n, 1);
	assert_true(below_has(&below, makedev(8, 0)));
	assert_false(below_has(&below, makedev(8, 1)));
}

static void a_stack(void **state)
{
	(void)state;
	/* dm-1 on md0 on a partition of sda, and sdb; dm-2 is beside it. */
	disk("sda", "8:0");
	disk("sdb", "8:16");
	disk("md0", "9:0");
	disk("dm-1", "253:1");
	disk("dm-2", "253:2");
	put("1", "devices/sda/sda1/partition");
	put("8:1", "devices/sda/sda1/dev");
	link_to("../../devices/sda/sda1", "dev/block/8:1");
	link_to("../../sda/sda1", "devices/md0/slaves/sda1");
	slave("sdb", "md0");
	slave("md0", "dm-1");
	slave("sdb", "dm-2");
	assert_int_equal(below_add_device(&below, makedev(253, 1), &err), 0);
	assert_int_equal(below.n, 5);
	assert_true(below_has(&below, makedev(8, 0)));
	assert_true(below_has(&below, makedev(8, 1)));
	assert_true(below_has(&below, makedev(8, 16)));
	assert_true(below_has(&below, makedev(9, 0)));
	assert_false(below_has(&below, makedev(253, 2)));
}

static void a_circle_ends(void **state)
{
	(void)state;
	disk("dm-1", "253:1");
	disk("dm-2", "253:2");
	slave("dm-1", "dm-2");
	slave("dm-2", "dm-1");
	assert_int_equal(below_add_device(&below, makedev(253, 1), &err), 0);
	assert_int_equal(below.n, 2);
}

static void too_deep(void **state)
{
	char name[32], number[32], lower[32] = "";
	unsigned int i;

	(void)state;
	for (i = 0; i < BELOW_MAX_DEPTH + 2; i++) {
		snprintf(name, sizeof(name), "dm-%u", i);
		snprintf(number, sizeof(number), "253:%u", i);
		disk(name, number);
		if (lower[0])
			slave(lower, name);
		strcpy(lower, name);
	}
	assert_int_equal(below_add_device(&below, makedev(253, BELOW_MAX_DEPTH + 1), &err), -ELOOP);
}

static void unknown_and_damaged(void **state)
{
	(void)state;
	assert_int_equal(below_add_device(&below, makedev(8, 0), &err), -ENOENT);
	assert_non_null(strstr(err.text, "8:0"));
	disk("dm-1", "253:1");
	put("nonsense", "devices/dm-1/slaves/x/dev");
	assert_int_equal(below_add_device(&below, makedev(253, 1), &err), -EPROTO);
}

static void a_loop_device(void **state)
{
	char image[PATH_MAX];
	struct stat st;

	(void)state;
	snprintf(image, sizeof(image), "%s/image", top);
	put("", "image");
	assert_int_equal(stat(image, &st), 0);
	disk("loop0", "7:0");
	put(image, "devices/loop0/loop/backing_file");
	if (major(st.st_dev)) {
		char number[64];

		snprintf(number, sizeof(number), "%u:%u", major(st.st_dev), minor(st.st_dev));
		disk("real", number);
	}
	assert_int_equal(below_add_device(&below, makedev(7, 0), &err), 0);
	assert_int_equal(below_has(&below, st.st_dev), major(st.st_dev) != 0);
	/* One whose file is gone can't be judged. */
	disk("loop1", "7:1");
	put("/nowhere/image (deleted)", "devices/loop1/loop/backing_file");
	assert_int_equal(below_add_device(&below, makedev(7, 1), &err), -ENOENT);
	assert_non_null(strstr(err.text, "/nowhere/image"));
}

static void a_pipe_lies_on_nothing(void **state)
{
	int fds[2];

	(void)state;
	assert_int_equal(pipe(fds), 0);
	assert_int_equal(below_add_file(&below, fds[1], &err), 0);
	assert_int_equal(below.n, 0);
	close(fds[0]);
	close(fds[1]);
}

static void mounts(void **state)
{
	struct mount *m;
	char path[PATH_MAX], value[64];

	(void)state;
	put("22 1 0:21 / /proc rw - proc proc rw\n"
	    "30 1 0:50 /a\\040b /mnt rw,relatime shared:1 master:2 - overlay over\\040lay rw,upperdir=/u\\040p,x=y\n"
	    "31 1 253:4 / /data rw - ext4 /dev/mapper/data rw", "mounts");
	snprintf(path, sizeof(path), "%s/mounts", top);
	assert_int_equal(mount_find(path, 30, 0, &m, &err), 0);
	assert_non_null(m);
	assert_string_equal(m->type, "overlay");
	assert_string_equal(m->source, "over lay");
	assert_true(mount_option(m, "upperdir", value, sizeof(value)));
	assert_string_equal(value, "/u p");
	assert_false(mount_option(m, "upper", value, sizeof(value)));
	assert_false(mount_option(m, "rw", value, sizeof(value)));
	assert_false(mount_option(m, "upperdir", value, 4));
	free(m);
	assert_int_equal(mount_find(path, -1, makedev(253, 4), &m, &err), 0);
	assert_non_null(m);
	assert_string_equal(m->source, "/dev/mapper/data");
	free(m);
	assert_int_equal(mount_find(path, 99, 0, &m, &err), 0);
	assert_null(m);
	put("not a mount table", "bad");
	snprintf(path, sizeof(path), "%s/bad", top);
	assert_int_equal(mount_find(path, 99, 0, &m, &err), -EPROTO);
	snprintf(path, sizeof(path), "%s/none", top);
	assert_int_equal(mount_find(path, 99, 0, &m, &err), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_disk_alone, setup, teardown),
		cmocka_unit_test_setup_teardown(a_stack, setup, teardown),
		cmocka_unit_test_setup_teardown(a_circle_ends, setup, teardown),
		cmocka_unit_test_setup_teardown(too_deep, setup, teardown),
		cmocka_unit_test_setup_teardown(unknown_and_damaged, setup, teardown),
		cmocka_unit_test_setup_teardown(a_loop_device, setup, teardown),
		cmocka_unit_test_setup_teardown(a_pipe_lies_on_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(mounts, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
