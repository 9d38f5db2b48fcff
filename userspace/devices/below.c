// SPDX-License-Identifier: GPL-2.0-or-later
/* The walk from a file down to its block devices. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "devices/below.h"
#include "devices/mounts.h"
#include "libvma/text.h"

static int add_device(struct below *b, dev_t dev, unsigned int depth, struct vma_error *err);
static int add_fd(struct below *b, int fd, unsigned int depth, struct vma_error *err);

void below_init(struct below *b)
{
	memset(b, 0, sizeof(*b));
	b->sys = "/sys";
	b->mountinfo = "/proc/self/mountinfo";
}

bool below_has(const struct below *b, dev_t dev)
{
	unsigned int i;

	for (i = 0; i < b->n; i++)
		if (b->devices[i] == dev)
			return true;
	return false;
}

/* Reads a file of sysfs, without its newline. -ENOENT if there is none. */
static int read_text(const char *path, char *text, size_t size)
{
	FILE *f = fopen(path, "re");
	int r = 0;

	if (!f)
		return -errno;
	if (!fgets(text, (int)size, f))
		r = ferror(f) ? -EIO : -ENODATA;
	else
		text[strcspn(text, "\n")] = '\0';
	fclose(f);
	return r;
}

static int read_dev(const char *path, dev_t *dev)
{
	unsigned int major_number, minor_number;
	char text[64], rest;
	int r = read_text(path, text, sizeof(text));

	if (r)
		return r;
	if (sscanf(text, "%u:%u%c", &major_number, &minor_number, &rest) != 2)
		return -EPROTO;
	*dev = makedev(major_number, minor_number);
	return 0;
}

/* Adds the device whose number stands in dir/name/dev. */
static int add_from_sysfs(struct below *b, const char *dir, const char *name, unsigned int depth,
			  struct vma_error *err)
{
	char path[PATH_MAX];
	dev_t dev;
	int r;

	if (snprintf(path, sizeof(path), "%s/%s/dev", dir, name) >= (int)sizeof(path))
		return vma_fail(err, -ENAMETOOLONG, "path too long: %s/%s", dir, name);
	r = read_dev(path, &dev);
	if (r)
		return vma_fail(err, r, "cannot read %s: %s", path, strerror(-r));
	return add_device(b, dev, depth + 1, err);
}

/* Adds every device listed in dir, a directory of links; none if there is no dir. */
static int add_listed(struct below *b, const char *dir, unsigned int depth, struct vma_error *err)
{
	struct dirent *entry;
	DIR *d = opendir(dir);
	int r = 0;

	if (!d) {
		if (errno == ENOENT)
			return 0;
		return vma_fail(err, -errno, "cannot read %s: %s", dir, strerror(errno));
	}
	for (;;) {
		errno = 0;
		entry = readdir(d);
		if (!entry) {
			if (errno)
				r = vma_fail(err, -errno, "cannot read %s: %s", dir,
					     strerror(errno));
			break;
		}
		if (entry->d_name[0] == '.')
			continue;
		r = add_from_sysfs(b, dir, entry->d_name, depth, err);
		if (r)
			break;
	}
	closedir(d);
	return r;
}

static int add_path(struct below *b, const char *path, unsigned int depth, struct vma_error *err)
{
	int fd = open(path, O_PATH | O_CLOEXEC);
	int r;

	if (fd < 0)
		return vma_fail(err, -errno,
				"cannot tell which disk %s lies on: %s", path, strerror(errno));
	r = add_fd(b, fd, depth, err);
	close(fd);
	return r;
}

static int add_device(struct below *b, dev_t dev, unsigned int depth, struct vma_error *err)
{
	char dir[PATH_MAX / 2], path[PATH_MAX], text[PATH_MAX];
	int r;

	if (below_has(b, dev))
		return 0;
	if (depth > BELOW_MAX_DEPTH || b->n == BELOW_MAX_DEVICES)
		return vma_fail(err, -ELOOP, "too many block devices below %u:%u", major(dev),
				minor(dev));
	b->devices[b->n++] = dev;

	if (snprintf(dir, sizeof(dir), "%s/dev/block/%u:%u", b->sys, major(dev), minor(dev)) >=
	    (int)sizeof(dir))
		return vma_fail(err, -ENAMETOOLONG, "path too long: %s", b->sys);
	if (access(dir, F_OK) < 0)
		return vma_fail(err, -errno, "cannot look below block device %u:%u: %s: %s",
				major(dev), minor(dev), dir, strerror(errno));
	snprintf(path, sizeof(path), "%s/partition", dir);
	if (access(path, F_OK) == 0) {
		r = add_from_sysfs(b, dir, "..", depth, err);
		if (r)
			return r;
	}
	snprintf(path, sizeof(path), "%s/loop/backing_file", dir);
	r = read_text(path, text, sizeof(text));
	if (!r)
		r = add_path(b, text, depth + 1, err);
	else if (r == -ENOENT)
		r = 0;
	else
		vma_error_set(err, "cannot read %s: %s", path, strerror(-r));
	if (r)
		return r;
	snprintf(path, sizeof(path), "%s/slaves", dir);
	return add_listed(b, path, depth, err);
}

/* The members of the btrfs that has the device src as one of them. */
static int add_btrfs(struct below *b, dev_t src, unsigned int depth, struct vma_error *err)
{
	char dir[PATH_MAX / 2], path[PATH_MAX], link[PATH_MAX];
	struct dirent *entry;
	const char *name;
	ssize_t n;
	DIR *d;
	int r = 0;

	snprintf(path, sizeof(path), "%s/dev/block/%u:%u", b->sys, major(src), minor(src));
	n = readlink(path, link, sizeof(link) - 1);
	if (n < 0)
		return vma_fail(err, -errno, "cannot read %s: %s", path, strerror(errno));
	link[n] = '\0';
	name = strrchr(link, '/');
	name = name ? name + 1 : link;
	snprintf(dir, sizeof(dir), "%s/fs/btrfs", b->sys);
	d = opendir(dir);
	if (!d)
		return 0;
	while (!r && (entry = readdir(d))) {
		if (entry->d_name[0] == '.')
			continue;
		if (snprintf(path, sizeof(path), "%s/%s/devices/%s", dir, entry->d_name, name) >=
		    (int)sizeof(path) || access(path, F_OK) < 0)
			continue;
		snprintf(path, sizeof(path), "%s/%s/devices", dir, entry->d_name);
		r = add_listed(b, path, depth, err);
	}
	closedir(d);
	return r;
}

/* A file system without a device number of its own: btrfs, overlayfs, nfs, tmpfs, ... */
static int add_anonymous(struct below *b, const struct mount *m, unsigned int depth,
			 struct vma_error *err)
{
	char upper[PATH_MAX];
	struct stat st;
	int r;

	/* The upper layer of a container's root is out of its sight: nothing to be said then. */
	if (!strcmp(m->type, "overlay"))
		return mount_option(m, "upperdir", upper, sizeof(upper)) &&
			access(upper, F_OK) == 0 ? add_path(b, upper, depth + 1, err) : 0;
	if (m->source[0] != '/' || stat(m->source, &st) < 0 || !S_ISBLK(st.st_mode))
		return 0;
	r = add_device(b, st.st_rdev, depth + 1, err);
	if (!r && !strcmp(m->type, "btrfs"))
		r = add_btrfs(b, st.st_rdev, depth, err);
	return r;
}

static int add_fd(struct below *b, int fd, unsigned int depth, struct vma_error *err)
{
	struct mount *m = NULL;
	struct statx stx;
	dev_t dev;
	int r;

	if (depth > BELOW_MAX_DEPTH)
		return vma_fail(err, -ELOOP, "too many layers below the file");
	if (statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS | STATX_MNT_ID, &stx) < 0)
		return vma_fail(err, -errno, "cannot look at the file: %s", strerror(errno));
	if (S_ISBLK(stx.stx_mode))
		return add_device(b, makedev(stx.stx_rdev_major, stx.stx_rdev_minor), depth, err);
	if (!S_ISREG(stx.stx_mode) && !S_ISDIR(stx.stx_mode))
		return 0;
	dev = makedev(stx.stx_dev_major, stx.stx_dev_minor);
	if (major(dev))
		return add_device(b, dev, depth, err);
	r = mount_find(b->mountinfo, stx.stx_mask & STATX_MNT_ID ? (long long)stx.stx_mnt_id : -1,
		       dev, &m, err);
	if (r)
		return r;
	if (m) {
		r = add_anonymous(b, m, depth, err);
		free(m);
	}
	return r;
}

int below_add_file(struct below *b, int fd, struct vma_error *err)
{
	return add_fd(b, fd, 0, err);
}

int below_add_device(struct below *b, dev_t dev, struct vma_error *err)
{
	return add_device(b, dev, 0, err);
}

int below_touches(int fd, dev_t dev, bool *touches, struct vma_error *err)
{
	struct below *b = malloc(sizeof(*b));
	struct stat st;
	int ret;

	*touches = false;
	if (!b)
		return vma_fail(err, -ENOMEM, "out of memory");
	below_init(b);
	ret = below_add_file(b, fd, err);
	*touches = !ret && below_has(b, dev);
	if (!ret && !*touches && fstat(fd, &st) == 0 && S_ISBLK(st.st_mode)) {
		below_init(b);
		ret = below_add_device(b, dev, err);
		*touches = !ret && below_has(b, st.st_rdev);
	}
	free(b);
	return ret;
}
