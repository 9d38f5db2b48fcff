// SPDX-License-Identifier: GPL-2.0-or-later
/* Finds vmabackup targets and reads their lines. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <libdevmapper.h>

#include "devices/dmlog.h"
#include "devices/target.h"
#include "libvma/text.h"

#define TARGET_TYPE	"vmabackup"
#define SECTOR_SIZE	512

static const char *const state_words[] = {
	[TARGET_IDLE] = "idle",
	[TARGET_MEMBER] = "member",
	[TARGET_ARMED] = "armed",
	[TARGET_BROKEN] = "broken",
};

/* Reads fields of a line, separated by white space; the first failure sticks. */
struct fields {
	const char *p;
	bool bad;
};

static size_t next_field(struct fields *f, const char **start)
{
	size_t n;

	f->p += strspn(f->p, " \t\n");
	n = strcspn(f->p, " \t\n");
	*start = f->p;
	f->p += n;
	if (!n)
		f->bad = true;
	return n;
}

static void take_word(struct fields *f, char *out, size_t size)
{
	const char *start;
	size_t n = next_field(f, &start);

	if (n >= size) {
		f->bad = true;
		n = 0;
	}
	memcpy(out, start, n);
	out[n] = '\0';
}

static void expect_word(struct fields *f, const char *word)
{
	char text[32];

	take_word(f, text, sizeof(text));
	if (strcmp(text, word))
		f->bad = true;
}

static uint64_t parse_number(struct fields *f, const char *text, uint64_t max)
{
	char *end;
	uint64_t n;

	if (!isdigit((unsigned char)text[0])) {
		f->bad = true;
		return 0;
	}
	errno = 0;
	n = strtoull(text, &end, 10);
	if (errno || *end || n > max) {
		f->bad = true;
		return 0;
	}
	return n;
}

static uint64_t take_number(struct fields *f, uint64_t max)
{
	char text[32];

	take_word(f, text, sizeof(text));
	return parse_number(f, text, max);
}

static void take_ratio(struct fields *f, uint64_t *a, uint64_t *b, char separator)
{
	char text[64];
	char *p;

	take_word(f, text, sizeof(text));
	p = strchr(text, separator);
	if (!p) {
		f->bad = true;
		return;
	}
	*p = '\0';
	*a = parse_number(f, text, UINT64_MAX);
	*b = parse_number(f, p + 1, UINT64_MAX);
}

const char *target_state_word(enum target_state state)
{
	return state_words[state];
}

int target_parse_info(const char *line, struct target_info *info, struct vma_error *err)
{
	struct fields f = { .p = line };
	char word[32];
	unsigned int i;

	memset(info, 0, sizeof(*info));
	take_word(&f, word, sizeof(word));
	for (i = 0; i < sizeof(state_words) / sizeof(state_words[0]); i++)
		if (!strcmp(word, state_words[i]))
			break;
	if (i == sizeof(state_words) / sizeof(state_words[0]))
		f.bad = true;
	else
		info->state = (enum target_state)i;
	info->chunk_sectors = (uint32_t)take_number(&f, UINT32_MAX);
	take_ratio(&f, &info->chunks_left, &info->chunks_total, '/');
	expect_word(&f, "guest");
	info->chunks_guest = take_number(&f, UINT64_MAX);
	expect_word(&f, "fetched");
	info->chunks_fetched = take_number(&f, UINT64_MAX);
	expect_word(&f, "forgotten");
	info->chunks_forgotten = take_number(&f, UINT64_MAX);
	expect_word(&f, "held");
	info->held_now = take_number(&f, UINT64_MAX);
	info->held_ever = take_number(&f, UINT64_MAX);
	expect_word(&f, "wait_us");
	info->wait_longest_us = take_number(&f, UINT64_MAX);
	info->wait_total_us = take_number(&f, UINT64_MAX);
	expect_word(&f, "reason");
	take_word(&f, info->reason, sizeof(info->reason));
	info->error = (int)take_number(&f, INT32_MAX);
	take_word(&f, word, sizeof(word));
	if (strcmp(word, "-")) {
		info->has_sector = true;
		info->sector = parse_number(&f, word, UINT64_MAX);
	}
	if (f.bad)
		return vma_fail(err, -EPROTO, "cannot understand the target's status \"%s\"", line);
	return 0;
}

int target_parse_table(const char *line, struct target_table *table, struct vma_error *err)
{
	struct fields f = { .p = line };
	uint64_t major_number = 0, minor_number = 0, nr_args, i;
	char word[64];

	memset(table, 0, sizeof(*table));
	take_ratio(&f, &major_number, &minor_number, ':');
	if (major_number > UINT32_MAX || minor_number > UINT32_MAX)
		f.bad = true;
	table->origin = makedev((unsigned int)major_number, (unsigned int)minor_number);
	f.p += strspn(f.p, " \t\n");
	nr_args = *f.p ? take_number(&f, 1024) : 0;
	for (i = 0; i < nr_args && !f.bad; i++) {
		take_word(&f, word, sizeof(word));
		if (!strcmp(word, "chunk_size") && i + 1 < nr_args) {
			table->chunk_sectors = (uint32_t)take_number(&f, UINT32_MAX);
			i++;
		} else if (!strcmp(word, "cbw_timeout") && i + 1 < nr_args) {
			table->cbw_timeout_ms = (uint32_t)take_number(&f, UINT32_MAX);
			i++;
		}
	}
	if (f.bad)
		return vma_fail(err, -EPROTO, "cannot understand the target's table \"%s\"", line);
	return 0;
}

/* dm_task_create() fails without memory too, but that is not what happens. */
#define NO_DEVICE_MAPPER "device-mapper does not answer: is the module loaded (modprobe dm-mod)?"

/* Runs one query by device number; the task is the caller's, NULL on failure. */
static struct dm_task *query(int type, dev_t dev, struct dm_info *info)
{
	struct dm_task *task = dm_task_create(type);

	if (!task) {
		errno = ENOSYS;
		return NULL;
	}
	if (!dm_task_set_major_minor(task, (int)major(dev), (int)minor(dev), 0) ||
	    (type != DM_DEVICE_INFO && !dm_task_no_open_count(task)) ||
	    !dm_task_no_flush(task)) {
		errno = ENOMEM;
	} else if (!dm_task_run(task)) {
		errno = dm_task_get_errno(task);
		if (!errno)
			errno = ENXIO;
	} else if (!dm_task_get_info(task, info) || !info->exists) {
		errno = ENXIO;
	} else {
		return task;
	}
	dm_task_destroy(task);
	return NULL;
}

/* The parameters of the one target that spans the device; NULL if there is another table. */
static char *only_target(struct dm_task *task, uint64_t *sectors)
{
	uint64_t start = 0, length = 0;
	char *type = NULL, *params = NULL;

	if (dm_get_next_target(task, NULL, &start, &length, &type, &params))
		return NULL;
	if (!type || !params || strcmp(type, TARGET_TYPE) || start)
		return NULL;
	*sectors = length;
	return params;
}

int target_find(dev_t dev, struct target *t, struct vma_error *err)
{
	struct dm_task *table, *status = NULL;
	struct dm_info info;
	uint64_t sectors = 0;
	const char *line;
	int r;

	memset(t, 0, sizeof(*t));
	t->dev = dev;
	dmlog_capture();
	table = query(DM_DEVICE_TABLE, dev, &info);
	if (!table) {
		r = -errno;
		if (r == -ENOSYS)
			return vma_fail(err, r, NO_DEVICE_MAPPER);
		if (r == -ENXIO || r == -ENODEV || r == -EINVAL)
			return vma_fail(err, -ENODEV, "%u:%u is not a device-mapper device",
					major(dev), minor(dev));
		return vma_fail(err, r, "cannot ask device-mapper about %u:%u: %s", major(dev),
				minor(dev), strerror(-r));
	}
	line = only_target(table, &sectors);
	if (!line) {
		r = vma_fail(err, -ENODEV, "%s has no vmabackup target as its whole table",
			     dm_task_get_name(table));
		goto out;
	}
	snprintf(t->name, sizeof(t->name), "%s", dm_task_get_name(table));
	snprintf(t->uuid, sizeof(t->uuid), "%s", dm_task_get_uuid(table));
	t->size = sectors * SECTOR_SIZE;
	t->suspended = info.suspended;
	t->inactive_table = info.inactive_table;
	r = target_parse_table(line, &t->table, err);
	if (r)
		goto out;
	status = query(DM_DEVICE_STATUS, dev, &info);
	line = status ? only_target(status, &sectors) : NULL;
	if (!line)
		r = vma_fail(err, -ENODEV, "%s changed while it was looked at", t->name);
	else
		r = target_parse_info(line, &t->info, err);
	if (status)
		dm_task_destroy(status);
out:
	dm_task_destroy(table);
	return r;
}

int target_open_count(dev_t dev, unsigned int *count, struct vma_error *err)
{
	struct dm_task *task;
	struct dm_info info;
	char path[64];
	int r;

	/* Device-mapper answers only root; what is none of its devices needs no answer. */
	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/dm", major(dev), minor(dev));
	if (access(path, F_OK) < 0 && errno == ENOENT)
		return vma_fail(err, -ENODEV, "%u:%u is not a device-mapper device", major(dev),
				minor(dev));
	dmlog_capture();
	task = query(DM_DEVICE_INFO, dev, &info);
	if (!task) {
		r = -errno;
		return vma_fail(err, r == -ENODEV ? -ENXIO : r,
				"cannot ask device-mapper about %u:%u: %s", major(dev), minor(dev),
				strerror(-r));
	}
	*count = info.open_count < 0 ? 0 : (unsigned int)info.open_count;
	dm_task_destroy(task);
	return 0;
}

static int visit_names(struct dm_names *names, int (*fn)(void *ctx, const struct target *t),
		       void *ctx, struct vma_error *err)
{
	struct target t;
	int r;

	/* The list ends at an offset of 0; dev is 0 if there is no device at all. */
	while (names->dev) {
		r = target_find((dev_t)names->dev, &t, err);
		if (!r)
			r = fn(ctx, &t);
		else if (r == -ENODEV)
			r = 0;
		if (r)
			return r;
		if (!names->next)
			break;
		names = (struct dm_names *)((char *)names + names->next);
	}
	return 0;
}

int target_for_each(int (*fn)(void *ctx, const struct target *t), void *ctx,
		    struct vma_error *err)
{
	struct dm_task *task;
	struct dm_names *names;
	int r;

	dmlog_capture();
	task = dm_task_create(DM_DEVICE_LIST);
	if (!task)
		return vma_fail(err, -ENOSYS, NO_DEVICE_MAPPER);
	if (!dm_task_run(task)) {
		r = -dm_task_get_errno(task);
		r = vma_fail(err, r ? r : -ENODEV, "cannot list device-mapper devices: %s",
			     dmlog_message());
	} else {
		names = dm_task_get_names(task);
		r = names ? visit_names(names, fn, ctx, err) : 0;
	}
	dm_task_destroy(task);
	return r;
}
