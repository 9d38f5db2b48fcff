// SPDX-License-Identifier: GPL-2.0-or-later
#include "vmactl/new-dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libvma/text.h"

struct new_dir {
	char *path;
	char *name;		/* last component of path */
	char *temporary;	/* beside it; NULL: not made yet */
	int parent;
	int dir;
};

static void new_dir_free(struct new_dir *d)
{
	if (d->dir >= 0)
		close(d->dir);
	if (d->parent >= 0)
		close(d->parent);
	free(d->path);
	free(d->name);
	free(d->temporary);
	free(d);
}

static int open_parent(struct new_dir *d, struct vma_error *err)
{
	size_t len = strlen(d->path);
	const char *parent = ".";
	char *slash;

	while (len > 1 && d->path[len - 1] == '/')
		d->path[--len] = '\0';
	slash = strrchr(d->path, '/');
	d->name = strdup(slash ? slash + 1 : d->path);
	if (!d->name)
		return vma_fail(err, -ENOMEM, "out of memory");
	if (!*d->name || strcmp(d->name, ".") == 0 || strcmp(d->name, "..") == 0)
		return vma_fail(err, -EINVAL, "\"%s\" cannot be the name of a new directory",
				d->path);
	if (slash) {
		/* "/name" lies in "/", anything else before the slash. */
		*slash = '\0';
		parent = slash == d->path ? "/" : d->path;
	}
	d->parent = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (slash)
		*slash = '/';
	if (d->parent < 0)
		return vma_fail(err, -errno, "cannot open the directory of %s: %s", d->path,
				strerror(errno));
	return 0;
}

static int make(struct new_dir *d, struct vma_error *err)
{
	struct stat st;
	char *temporary;

	if (fstatat(d->parent, d->name, &st, AT_SYMLINK_NOFOLLOW) == 0)
		return vma_fail(err, -EEXIST, "%s exists: give the path of a new directory",
				d->path);
	if (asprintf(&temporary, "%s.tmp-%d", d->name, (int)getpid()) < 0)
		return vma_fail(err, -ENOMEM, "out of memory");
	if (mkdirat(d->parent, temporary, 0700) != 0) {
		int ret = -errno;

		free(temporary);
		return vma_fail(err, ret, "cannot create %s.tmp-%d: %s", d->path, (int)getpid(),
				strerror(-ret));
	}
	d->temporary = temporary;
	d->dir = openat(d->parent, temporary, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (d->dir < 0)
		return vma_fail(err, -errno, "cannot open %s.tmp-%d: %s", d->path, (int)getpid(),
				strerror(errno));
	return 0;
}

int new_dir_open(struct new_dir **out, const char *path, struct vma_error *err)
{
	struct new_dir *d = calloc(1, sizeof(*d));
	int ret;

	if (!d)
		return vma_fail(err, -ENOMEM, "out of memory");
	d->parent = -1;
	d->dir = -1;
	d->path = strdup(path);
	ret = d->path ? open_parent(d, err) : vma_fail(err, -ENOMEM, "out of memory");
	if (!ret)
		ret = make(d, err);
	if (ret) {
		new_dir_abort(d);
		return ret;
	}
	*out = d;
	return 0;
}

int new_dir_create(struct new_dir *d, const char *name, struct vma_error *err)
{
	int fd = openat(d->dir, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);

	if (fd >= 0)
		return fd;
	if (errno == EEXIST)
		return vma_fail(err, -EEXIST, "the archive has two things to be called \"%s\"",
				vma_quote(name));
	return vma_fail(err, -errno, "cannot create %s/%s: %s", d->path, vma_quote(name),
			strerror(errno));
}

static int write_all(int fd, const uint8_t *data, size_t size)
{
	while (size) {
		ssize_t n = write(fd, data, size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -EIO;
		data += n;
		size -= n;
	}
	return fsync(fd) == 0 ? 0 : -errno;
}

int new_dir_put(struct new_dir *d, const char *name, const void *data, size_t size,
		struct vma_error *err)
{
	int fd = new_dir_create(d, name, err);
	int ret;

	if (fd < 0)
		return fd;
	ret = write_all(fd, data, size);
	if (close(fd) != 0 && !ret)
		ret = -errno;
	if (ret)
		vma_error_set(err, "cannot write %s/%s: %s", d->path, vma_quote(name),
			      strerror(-ret));
	return ret;
}

static int flush_directory(int fd)
{
	return fsync(fd) == 0 || errno == EINVAL ? 0 : -errno;
}

/* Nothing is replaced: neither call does that, except for the empty directory just made. */
static int give_name(const struct new_dir *d)
{
	int ret;

	if (renameat2(d->parent, d->temporary, d->parent, d->name, RENAME_NOREPLACE) == 0)
		return 0;
	if (errno != EINVAL && errno != ENOSYS)
		return -errno;
	if (mkdirat(d->parent, d->name, 0700) != 0)
		return -errno;
	if (renameat(d->parent, d->temporary, d->parent, d->name) == 0)
		return 0;
	ret = -errno;
	unlinkat(d->parent, d->name, AT_REMOVEDIR);
	return ret;
}

int new_dir_commit(struct new_dir *d, bool *named, struct vma_error *err)
{
	int ret = flush_directory(d->dir);

	*named = false;
	if (ret) {
		vma_error_set(err, "cannot write %s: %s", d->path, strerror(-ret));
	} else {
		ret = give_name(d);
		if (ret)
			vma_error_set(err, "cannot give %s its name: %s", d->path, strerror(-ret));
	}
	if (ret) {
		new_dir_abort(d);
		return ret;
	}
	*named = true;
	ret = flush_directory(d->parent);
	if (ret)
		vma_error_set(err, "%s is complete, but the directory around it cannot be flushed: %s",
			      d->path, strerror(-ret));
	new_dir_free(d);
	return ret;
}

/* There are only files in it: nothing in an archive can make a directory. */
static void remove_files(int dir)
{
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *list = fd >= 0 ? fdopendir(fd) : NULL;
	struct dirent *entry;

	if (!list) {
		if (fd >= 0)
			close(fd);
		return;
	}
	while ((entry = readdir(list)))
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			unlinkat(dir, entry->d_name, 0);
	closedir(list);
}

void new_dir_abort(struct new_dir *d)
{
	if (!d)
		return;
	if (d->temporary) {
		if (d->dir >= 0)
			remove_files(d->dir);
		unlinkat(d->parent, d->temporary, AT_REMOVEDIR);
	}
	new_dir_free(d);
}
