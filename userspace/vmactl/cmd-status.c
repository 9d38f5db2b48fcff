// SPDX-License-Identifier: GPL-2.0-or-later
/* vmactl status: the disks that could be, are being, or were backed up. */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <json.h>

#include "devices/target.h"
#include "libvma/text.h"
#include "vmactl/json-put.h"
#include "vmactl/progress.h"
#include "vmactl/vmactl.h"

#define SECTOR_SIZE	512

struct listing {
	struct json_object *json;	/* NULL: text */
	unsigned int n;
};

static void show_fleece(const struct target_info *i)
{
	char used[32];

	printf("  fleece device: %s used; %" PRIu64 " chunks written, %" PRIu64 " read back",
	       format_bytes(i->fleece_used_sectors * SECTOR_SIZE, used, sizeof(used)),
	       i->chunks_spilled, i->chunks_refetched);
	if (i->fleece_error)
		printf("; it failed: %s", strerror(i->fleece_error));
	printf("\n");
}

static void show_text(const struct target *t)
{
	const struct target_info *i = &t->info;
	char size[32];

	printf("%s: %s, %s, chunks of %u KiB, origin %u:%u", t->name,
	       target_state_word(i->state), format_bytes(t->size, size, sizeof(size)),
	       i->chunk_sectors / 2, major(t->table.origin), minor(t->table.origin));
	if (t->table.has_fleece)
		printf(", fleece %u:%u", major(t->table.fleece), minor(t->table.fleece));
	printf("%s%s\n", t->suspended ? ", suspended" : "",
	       t->inactive_table ? ", a new table waits" : "");
	printf("  chunks: %" PRIu64 " left of %" PRIu64 "; %" PRIu64 " pushed by guest writes, %"
	       PRIu64 " fetched, %" PRIu64 " forgotten\n", i->chunks_left, i->chunks_total,
	       i->chunks_guest, i->chunks_fetched, i->chunks_forgotten);
	printf("  guest writes held: %" PRIu64 " now, %" PRIu64 " ever, the longest %.3f ms\n",
	       i->held_now, i->held_ever, (double)i->wait_longest_us / 1000);
	if (strcmp(i->policy, "-"))
		printf("  policy: %s; %" PRIu64 " chunks being copied, %" PRIu64
		       " guest writes failed, %" PRIu64 " discards dropped\n", i->policy,
		       i->copying, i->writes_failed, i->discards_dropped);
	if (t->table.has_fleece)
		show_fleece(i);
	if (strcmp(i->reason, "none")) {
		printf("  broken: %s", i->reason);
		if (i->error)
			printf(", %s", strerror(i->error));
		if (i->has_sector)
			printf(", at sector %" PRIu64, i->sector);
		printf("\n");
	}
}

static void add_u64(struct json_object *o, const char *name, uint64_t value)
{
	json_object_object_add(o, name, json_object_new_uint64(value));
}

static void add_text(struct json_object *o, const char *name, const char *text)
{
	json_object_object_add(o, name, json_object_new_string(text));
}

static struct json_object *target_json(const struct target *t)
{
	struct json_object *o = json_object_new_object();
	const struct target_info *i = &t->info;
	char text[32];

	add_text(o, "name", t->name);
	add_text(o, "uuid", t->uuid);
	snprintf(text, sizeof(text), "%u:%u", major(t->dev), minor(t->dev));
	add_text(o, "device", text);
	snprintf(text, sizeof(text), "%u:%u", major(t->table.origin), minor(t->table.origin));
	add_text(o, "origin", text);
	snprintf(text, sizeof(text), "%u:%u", major(t->table.fleece), minor(t->table.fleece));
	json_object_object_add(o, "fleece_device", t->table.has_fleece ?
			       json_object_new_string(text) : NULL);
	add_u64(o, "size_bytes", t->size);
	json_object_object_add(o, "suspended", json_object_new_boolean(t->suspended));
	json_object_object_add(o, "inactive_table", json_object_new_boolean(t->inactive_table));
	add_text(o, "state", target_state_word(i->state));
	add_u64(o, "chunk_bytes", (uint64_t)i->chunk_sectors * SECTOR_SIZE);
	/* Only if the table line gives one; else it is the module's default. */
	if (t->table.cbw_timeout_ms)
		add_u64(o, "cbw_timeout_ms", t->table.cbw_timeout_ms);
	if (t->table.on_cbw_error[0])
		add_text(o, "on_cbw_error", t->table.on_cbw_error);
	json_object_object_add(o, "policy", strcmp(i->policy, "-") ?
			       json_object_new_string(i->policy) : NULL);
	add_u64(o, "chunks_left", i->chunks_left);
	add_u64(o, "chunks", i->chunks_total);
	add_u64(o, "chunks_guest", i->chunks_guest);
	add_u64(o, "chunks_fetched", i->chunks_fetched);
	add_u64(o, "chunks_forgotten", i->chunks_forgotten);
	add_u64(o, "chunks_spilled", i->chunks_spilled);
	add_u64(o, "chunks_refetched", i->chunks_refetched);
	add_u64(o, "chunks_copying", i->copying);
	add_u64(o, "fleece_used_bytes", i->fleece_used_sectors * SECTOR_SIZE);
	add_u64(o, "fleece_errno", (uint64_t)i->fleece_error);
	add_u64(o, "guest_writes_failed", i->writes_failed);
	add_u64(o, "discards_dropped", i->discards_dropped);
	add_u64(o, "guest_writes_held_now", i->held_now);
	add_u64(o, "guest_writes_held", i->held_ever);
	add_u64(o, "guest_wait_longest_us", i->wait_longest_us);
	add_u64(o, "guest_wait_total_us", i->wait_total_us);
	add_text(o, "broken_reason", i->reason);
	add_u64(o, "broken_errno", (uint64_t)i->error);
	json_object_object_add(o, "broken_offset_bytes",
			       i->has_sector ?
			       json_object_new_uint64(i->sector * SECTOR_SIZE) : NULL);
	return o;
}

static int show(void *ctx, const struct target *t)
{
	struct listing *l = ctx;

	l->n++;
	if (l->json)
		json_object_array_add(l->json, target_json(t));
	else
		show_text(t);
	return 0;
}

static int find_dev(const char *arg, dev_t *dev, struct vma_error *err)
{
	char path[4096];
	struct stat st;

	/* A bare word is a device-mapper name. */
	if (snprintf(path, sizeof(path), "%s%s", strchr(arg, '/') ? "" : "/dev/mapper/", arg) >=
	    (int)sizeof(path))
		return vma_fail(err, -ENAMETOOLONG, "%s: name too long", arg);
	if (stat(path, &st) < 0)
		return vma_fail(err, -errno, "%s: %s", path, strerror(errno));
	if (!S_ISBLK(st.st_mode))
		return vma_fail(err, -ENOTBLK, "%s is not a block device", path);
	*dev = st.st_rdev;
	return 0;
}

static int show_one(struct listing *l, const char *arg, struct vma_error *err)
{
	struct vma_error why;
	struct target t;
	dev_t dev = 0;
	int r;

	r = find_dev(arg, &dev, err);
	if (r)
		return r;
	r = target_find(dev, &t, &why);
	if (r)
		return vma_fail(err, r, "%s: %s", arg, why.text);
	return show(l, &t);
}

static int run(int argc, char **argv)
{
	static const struct option options[] = {
		{ "json", no_argument, NULL, 'j' },
		{ NULL, 0, NULL, 0 },
	};
	struct listing l = { 0 };
	struct vma_error err;
	int c, i, r = 0;

	while ((c = getopt_long(argc, argv, ":", options, NULL)) != -1) {
		if (c != 'j')
			return option_error(&cmd_status, c, argv);
		if (!l.json)
			l.json = json_object_new_array();
	}
	if (optind == argc)
		r = target_for_each(show, &l, &err);
	for (i = optind; i < argc && !r; i++)
		r = show_one(&l, argv[i], &err);
	if (r)
		complain("%s", err.text);
	else if (l.json)
		json_print(l.json);
	else if (!l.n)
		puts("no vmabackup devices");
	json_object_put(l.json);
	return r ? EXIT_FAILED : EXIT_OK;
}

const struct command cmd_status = {
	.name = "status",
	.usage = "[--json] [DEVICE...]",
	.help = "Shows the vmabackup devices and how their backups go.",
	.run = run,
};
