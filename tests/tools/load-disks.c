// SPDX-License-Identifier: GPL-2.0-or-later
/* guestload: opening the disks or images, and their layout in stripes. */
#include "load.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

static void disk_open(struct disk *d, const char *path, int flags, uint32_t block, uint64_t use)
{
	struct stat st;
	int lbs = 0;

	d->path = path;
	d->fd = open(path, flags | O_CLOEXEC);
	if (d->fd < 0)
		die("%s: open: %s%s", path, strerror(errno),
		    errno == EINVAL && flags & O_DIRECT ? " (no O_DIRECT here? try --buffered)" : "");
	if (fstat(d->fd, &st))
		die("%s: stat: %s", path, strerror(errno));
	d->is_block = S_ISBLK(st.st_mode);
	if (d->is_block) {
		if (ioctl(d->fd, BLKGETSIZE64, &d->size) || ioctl(d->fd, BLKSSZGET, &lbs))
			die("%s: size: %s", path, strerror(errno));
	} else if (S_ISREG(st.st_mode)) {
		d->size = (uint64_t)st.st_size;
		lbs = SECTOR;
	} else {
		die("%s: neither a block device nor a file", path);
	}
	if (use && d->size > use)
		d->size = use;
	d->block = block ? block : (uint32_t)lbs;
	if (d->block < (uint32_t)lbs || d->block > 4096 || d->block & (d->block - 1))
		die("%s: block size %u is not possible", path, d->block);
	if (!d->size || d->size % d->block)
		die("%s: size %llu is no positive multiple of %u", path,
		    (unsigned long long)d->size, d->block);
}

static void disks_add(struct disks *ds, struct disk *d)
{
	d->first_sector = ds->sectors;
	d->first_stripe = ds->stripes;
	d->stripes = (d->size + STRIPE - 1) / STRIPE;
	ds->sectors += d->size / SECTOR;
	ds->stripes += d->stripes;
}

static void disks_init(struct disks *ds, unsigned int nr)
{
	memset(ds, 0, sizeof(*ds));
	if (nr < 1 || nr > MAX_DISKS)
		die("1 to %d disks, not %u", MAX_DISKS, nr);
	ds->nr = nr;
}

void disks_open(struct disks *ds, char **paths, unsigned int nr, int flags, uint32_t block,
		uint64_t use)
{
	disks_init(ds, nr);
	for (unsigned int i = 0; i < nr; i++) {
		disk_open(&ds->disk[i], paths[i], flags, block, use);
		disks_add(ds, &ds->disk[i]);
	}
}

void disks_open_images(struct disks *ds, char **paths, unsigned int nr, uint64_t use,
		       const char *log_path)
{
	disks_init(ds, nr);
	for (unsigned int i = 0; i < nr; i++) {
		struct disk *d = &ds->disk[i];

		if (strcmp(paths[i], "-")) {
			disk_open(d, paths[i], O_RDONLY, 0, use);
		} else {
			if (!log_path)
				die("check: an image that is not at hand needs --log");
			d->path = paths[i];
			d->fd = -1;
			d->size = log_disk_size(log_path, i);
		}
		disks_add(ds, d);
	}
}

const struct disk *disks_of_stripe(const struct disks *ds, uint64_t stripe)
{
	const struct disk *d = ds->disk;

	while (stripe >= d->first_stripe + d->stripes)
		d++;
	return d;
}

void disks_read(const struct disk *d, void *buf, uint64_t offset, size_t len)
{
	while (len) {
		ssize_t n = pread(d->fd, buf, len, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			die("%s: read at offset %llu: %s", d->path, (unsigned long long)offset,
			    n ? strerror(errno) : "end of file");
		buf = (char *)buf + n;
		offset += (uint64_t)n;
		len -= (size_t)n;
	}
}
