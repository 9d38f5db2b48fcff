// SPDX-License-Identifier: GPL-2.0-or-later
/* Opens the disks of a backup and keeps the archive off them. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "devices/below.h"
#include "libvma/text.h"
#include "vmactl/backup.h"

struct origin_search {
	dev_t dev;
	char name[128];
};

static int is_origin(void *ctx, const struct target *t)
{
	struct origin_search *search = ctx;

	if (t->table.origin != search->dev)
		return 0;
	memcpy(search->name, t->name, sizeof(search->name));
	return 1;
}

/* What to say about a device without our target: who names the origin means the target on it. */
static int explain_no_target(const struct backup_disk *d, struct vma_error *err)
{
	struct origin_search search = { .dev = d->dev };
	struct vma_error ignored;

	if (target_for_each(is_origin, &search, &ignored) == 1)
		return vma_fail(err, -ENODEV,
				"disk %s: %s is the origin of /dev/mapper/%s; name that device instead",
				d->name, d->path, search.name);
	return vma_fail(err, -ENODEV,
			"disk %s: %s is not a vmabackup device; make one on it, and let the guest use that: dmsetup create NAME --table \"0 $(blockdev --getsz %s) vmabackup %s\"",
			d->name, d->path, d->path, d->path);
}

static int explain_no_fleece(const struct backup_disk *d, struct vma_error *err)
{
	const struct target *t = &d->target;

	return vma_fail(err, -ENODEV,
			"disk %s: /dev/mapper/%s has no fleece device, which --policy fleece needs; give it a table line like \"0 %llu vmabackup %u:%u 2 fleece DEVICE\", or use --policy auto",
			d->name, t->name, (unsigned long long)t->size / 512,
			major(t->table.origin), minor(t->table.origin));
}

static int open_disk(struct backup_disk *d, struct vma_error *err)
{
	struct vma_error why;
	struct stat st;
	int r;

	/* Not waiting for a FIFO's writer; a block device takes no notice of it. */
	d->fd = open(d->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (d->fd < 0)
		return vma_fail(err, -errno, "disk %s: cannot open %s: %s", d->name, d->path,
				strerror(errno));
	if (fstat(d->fd, &st) < 0)
		return vma_fail(err, -errno, "disk %s: cannot look at %s: %s", d->name, d->path,
				strerror(errno));
	if (!S_ISBLK(st.st_mode))
		return vma_fail(err, -ENOTBLK, "disk %s: %s is not a block device", d->name,
				d->path);
	d->dev = st.st_rdev;
	r = target_find(d->dev, &d->target, &why);
	if (r == -ENODEV)
		return explain_no_target(d, err);
	if (r)
		return vma_fail(err, r, "disk %s: %s: %s", d->name, d->path, why.text);
	return 0;
}

int backup_open_disks(struct backup *b, struct vma_error *err)
{
	struct backup_disk *d;
	unsigned int i, j;
	int r;

	for (i = 0; i < b->nr_disks; i++) {
		d = &b->disks[i];
		r = open_disk(d, err);
		if (r)
			return r;
		if (b->opt.policy == VMABACKUP_POLICY_FLEECE && !d->target.table.has_fleece)
			return explain_no_fleece(d, err);
		for (j = 0; j < i; j++)
			if (b->disks[j].dev == d->dev)
				return vma_fail(err, -ENOTUNIQ,
						"disks %s and %s are the same device, /dev/mapper/%s",
						b->disks[j].name, d->name, d->target.name);
	}
	return 0;
}

int backup_order_disks(struct backup *b, struct vma_error *err)
{
	static struct below below;
	/* How many other disks of the backup each lies on. */
	unsigned int lower[VMABACKUP_MAX_DISKS] = { 0 };
	unsigned int i, j;
	struct vma_error why;
	int r;

	for (i = 0; i < b->nr_disks; i++) {
		below_init(&below);
		r = below_add_device(&below, b->disks[i].dev, &why);
		if (r)
			return vma_fail(err, r, "disk %s: %s", b->disks[i].name, why.text);
		for (j = 0; j < b->nr_disks; j++)
			lower[i] += j != i && below_has(&below, b->disks[j].dev);
		/* An upper one lies on more of them than any that it lies on. */
		for (j = i; j > 0 && lower[b->order[j - 1]] < lower[i]; j--)
			b->order[j] = b->order[j - 1];
		b->order[j] = i;
	}
	return 0;
}

int backup_check_place(const struct backup *b, int fd, const char *what, struct vma_error *err)
{
	static struct below below;
	const struct backup_disk *d;
	struct vma_error why;
	unsigned int i;
	int r;

	below_init(&below);
	r = below_add_file(&below, fd, &why);
	if (r)
		return vma_fail(err, r, "cannot tell which disks %s lies on: %s", what, why.text);
	for (i = 0; i < b->nr_disks; i++) {
		d = &b->disks[i];
		if (below_has(&below, d->dev) || below_has(&below, d->target.table.origin))
			return vma_fail(err, -EDEADLK,
					"%s lies on disk %s (%s), which is being backed up: each would wait for the other; choose another place",
					what, d->name, d->path);
		/* What is copied there would overwrite it. */
		if (d->target.table.has_fleece && below_has(&below, d->target.table.fleece))
			return vma_fail(err, -EDEADLK,
					"%s lies on the fleece device of disk %s (%s), which is overwritten by the backup; choose another place",
					what, d->name, d->path);
	}
	return 0;
}
