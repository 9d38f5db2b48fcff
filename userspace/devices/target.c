// SPDX-License-Identifier: GPL-2.0-or-later
/* Finds vmabackup targets and reads their lines. */
#include <ctype.h>
#include <errno.h>
#include <stddef.h>
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

/*
 * Status after its first three fields is keys, each with its values. The order is
 * free and unknown keys are passed over, so that a newer module can say more: what
 * follows an unknown key up to the next known one is its values.
 */
enum info_key {
	KEY_GUEST, KEY_FETCHED, KEY_FORGOTTEN, KEY_HELD, KEY_WAIT_US, KEY_COPYING, KEY_POLICY,
	KEY_SPILLED, KEY_REFETCHED, KEY_FLEECE_USED, KEY_FLEECE_ERROR, KEY_FAILED, KEY_DROPPED,
	KEY_REASON, NR_KEYS,
};

static const char *const info_keys[NR_KEYS] = {
	[KEY_GUEST] = "guest",
	[KEY_FETCHED] = "fetched",
	[KEY_FORGOTTEN] = "forgotten",
	[KEY_HELD] = "held",
	[KEY_WAIT_US] = "wait_us",
	[KEY_COPYING] = "copying",
	[KEY_POLICY] = "policy",
	[KEY_SPILLED] = "spilled",
	[KEY_REFETCHED] = "refetched",
	[KEY_FLEECE_USED] = "fleece_used",
	[KEY_FLEECE_ERROR] = "fleece_error",
	[KEY_FAILED] = "failed",
	[KEY_DROPPED] = "dropped",
	[KEY_REASON] = "reason",
};

/* What the first release has told already. */
#define KEYS_NEEDED	(1u << KEY_GUEST | 1u << KEY_FETCHED | 1u << KEY_FORGOTTEN | \
			 1u << KEY_HELD | 1u << KEY_WAIT_US | 1u << KEY_REASON)

static void take_reason(struct fields *f, struct target_info *info)
{
	char word[32];

	take_word(f, info->reason, sizeof(info->reason));
	info->error = (int)take_number(f, INT32_MAX);
	take_word(f, word, sizeof(word));
	if (!strcmp(word, "-"))
		return;
	info->has_sector = true;
	info->sector = parse_number(f, word, UINT64_MAX);
}

static void take_values(struct fields *f, enum info_key key, struct target_info *info)
{
	static const size_t numbers[NR_KEYS] = {
		[KEY_GUEST] = offsetof(struct target_info, chunks_guest),
		[KEY_FETCHED] = offsetof(struct target_info, chunks_fetched),
		[KEY_FORGOTTEN] = offsetof(struct target_info, chunks_forgotten),
		[KEY_COPYING] = offsetof(struct target_info, copying),
		[KEY_SPILLED] = offsetof(struct target_info, chunks_spilled),
		[KEY_REFETCHED] = offsetof(struct target_info, chunks_refetched),
		[KEY_FLEECE_USED] = offsetof(struct target_info, fleece_used_sectors),
		[KEY_FAILED] = offsetof(struct target_info, writes_failed),
		[KEY_DROPPED] = offsetof(struct target_info, discards_dropped),
	};

	switch (key) {
	case KEY_HELD:
		info->held_now = take_number(f, UINT64_MAX);
		info->held_ever = take_number(f, UINT64_MAX);
		break;
	case KEY_WAIT_US:
		info->wait_longest_us = take_number(f, UINT64_MAX);
		info->wait_total_us = take_number(f, UINT64_MAX);
		break;
	case KEY_POLICY:
		take_word(f, info->policy, sizeof(info->policy));
		break;
	case KEY_FLEECE_ERROR:
		info->fleece_error = (int)take_number(f, INT32_MAX);
		break;
	case KEY_REASON:
		take_reason(f, info);
		break;
	default:
		*(uint64_t *)((char *)info + numbers[key]) = take_number(f, UINT64_MAX);
		break;
	}
}

static void take_state(struct fields *f, struct target_info *info)
{
	char word[32];
	unsigned int i;

	take_word(f, word, sizeof(word));
	for (i = 0; i < sizeof(state_words) / sizeof(state_words[0]); i++) {
		if (!strcmp(word, state_words[i])) {
			info->state = (enum target_state)i;
			return;
		}
	}
	f->bad = true;
}

static bool at_end(struct fields *f)
{
	f->p += strspn(f->p, " \t\n");
	return !*f->p;
}

int target_parse_info(const char *line, struct target_info *info, struct vma_error *err)
{
	struct fields f = { .p = line };
	unsigned int key, seen = 0;
	const char *word;
	size_t n;

	memset(info, 0, sizeof(*info));
	strcpy(info->policy, "-");
	take_state(&f, info);
	info->chunk_sectors = (uint32_t)take_number(&f, UINT32_MAX);
	take_ratio(&f, &info->chunks_left, &info->chunks_total, '/');
	while (!f.bad && !at_end(&f)) {
		n = next_field(&f, &word);
		for (key = 0; key < NR_KEYS; key++)
			if (strlen(info_keys[key]) == n && !memcmp(info_keys[key], word, n))
				break;
		if (key == NR_KEYS)
			continue;
		if (seen & 1u << key)
			f.bad = true;
		seen |= 1u << key;
		take_values(&f, (enum info_key)key, info);
	}
	if (f.bad || (seen & KEYS_NEEDED) != KEYS_NEEDED)
		return vma_fail(err, -EPROTO, "cannot understand the target's status \"%s\"", line);
	return 0;
}

static dev_t take_dev(struct fields *f)
{
	uint64_t major_number = 0, minor_number = 0;

	take_ratio(f, &major_number, &minor_number, ':');
	if (major_number > UINT32_MAX || minor_number > UINT32_MAX)
		f->bad = true;
	return makedev((unsigned int)major_number, (unsigned int)minor_number);
}

int target_parse_table(const char *line, struct target_table *table, struct vma_error *err)
{
	struct fields f = { .p = line };
	uint64_t nr_args, i;
	char word[64];

	memset(table, 0, sizeof(*table));
	table->origin = take_dev(&f);
	nr_args = at_end(&f) ? 0 : take_number(&f, 1024);
	for (i = 0; i < nr_args && !f.bad; i++) {
		take_word(&f, word, sizeof(word));
		/* Features of a newer module are passed over. */
		if (i + 1 == nr_args)
			break;
		if (!strcmp(word, "chunk_size")) {
			table->chunk_sectors = (uint32_t)take_number(&f, UINT32_MAX);
		} else if (!strcmp(word, "cbw_timeout")) {
			table->cbw_timeout_ms = (uint32_t)take_number(&f, UINT32_MAX);
		} else if (!strcmp(word, "fleece")) {
			table->fleece = take_dev(&f);
			table->has_fleece = true;
		} else if (!strcmp(word, "on_cbw_error")) {
			take_word(&f, table->on_cbw_error, sizeof(table->on_cbw_error));
		} else {
			continue;
		}
		i++;
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

/* Whether the device is one of device-mapper's: 1, 0, or -1: that cannot be told. */
static int is_mapped(dev_t dev)
{
	char path[64], line[128];
	unsigned int number;
	int mapped = -1;
	FILE *f;

	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u", major(dev), minor(dev));
	if (access(path, F_OK) == 0) {
		snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/dm", major(dev), minor(dev));
		return access(path, F_OK) == 0 || errno != ENOENT;
	}
	/* Without /sys, as in a rescue system's chroot: by its driver. */
	f = fopen("/proc/devices", "re");
	while (f && fgets(line, sizeof(line), f)) {
		if (!strncmp(line, "Block devices:", 14))
			mapped = 0;
		else if (!mapped && strstr(line, " device-mapper\n") &&
			 sscanf(line, "%u", &number) == 1 && number == major(dev))
			mapped = 1;
	}
	if (f)
		fclose(f);
	return mapped;
}

int target_open_count(dev_t dev, unsigned int *count, struct vma_error *err)
{
	struct dm_task *task;
	struct dm_info info;
	int r;

	/* Device-mapper answers only root; what is none of its devices needs no answer. */
	if (!is_mapped(dev))
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
