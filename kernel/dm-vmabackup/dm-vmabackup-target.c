// SPDX-License-Identifier: GPL-2.0
/*
 * Owns a vmab_disk from ctr to dtr, the table line and the status line.
 *
 * The constructor has no side effects: it runs while another instance may be
 * live on the same device.  The disk becomes known in preresume.
 */
#include "dm-vmabackup-target.h"

#include <linux/log2.h>
#include <linux/module.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>

#include "disk.h"
#include "guest.h"
#include "instant.h"

/* 64 KiB: the cluster of the archives, and a size that disks read well. */
#define DEFAULT_CHUNK_SECTORS	(VMABACKUP_MIN_CHUNK >> SECTOR_SHIFT)

/* Windows' virtio drivers reset a disk after 60 s; this leaves them a quarter. */
#define DEFAULT_CBW_TIMEOUT_MS	45000

static int parse_number(struct dm_target *ti, struct dm_arg_set *as, unsigned int *value)
{
	const char *arg = dm_shift_arg(as);

	if (!arg || kstrtouint(arg, 10, value)) {
		ti->error = "A feature has no number, or one that can't be read";
		return -EINVAL;
	}
	return 0;
}

static int parse_chunk_size(struct vmab_disk *disk, struct dm_arg_set *as)
{
	unsigned int value;
	int r;

	r = parse_number(disk->ti, as, &value);
	if (r)
		return r;
	if (!is_power_of_2(value) || value < VMABACKUP_MIN_CHUNK >> SECTOR_SHIFT ||
	    value > VMABACKUP_MAX_CHUNK >> SECTOR_SHIFT) {
		disk->ti->error = "chunk_size must be a power of two from 128 to 2048 sectors";
		return -EINVAL;
	}
	disk->chunk_shift = ilog2(value);
	disk->chunk_size_given = true;
	return 0;
}

static int parse_cbw_timeout(struct vmab_disk *disk, struct dm_arg_set *as)
{
	unsigned int value;
	int r;

	r = parse_number(disk->ti, as, &value);
	if (r)
		return r;
	if (value < VMABACKUP_MIN_TIMEOUT_MS || value > VMABACKUP_MAX_TIMEOUT_MS) {
		disk->ti->error = "cbw_timeout must be from 1 to 3600000 milliseconds";
		return -EINVAL;
	}
	disk->cbw_timeout_ms = value;
	disk->cbw_timeout_given = true;
	return 0;
}

static const char * const on_cbw_error_words[] = { "break-snapshot", "break-guest-write" };

static int parse_on_cbw_error(struct vmab_disk *disk, struct dm_arg_set *as)
{
	const char *word = dm_shift_arg(as);
	unsigned int i;

	for (i = 0; word && i < ARRAY_SIZE(on_cbw_error_words); i++) {
		if (!strcasecmp(word, on_cbw_error_words[i])) {
			disk->break_guest_write = i;
			disk->on_cbw_error_given = true;
			return 0;
		}
	}
	disk->ti->error = "on_cbw_error must be break-snapshot or break-guest-write";
	return -EINVAL;
}

/* device-mapper lets a device be part of its own table. */
static bool is_itself(struct dm_target *ti, const struct dm_dev *dev)
{
	return dev->bdev->bd_disk == dm_disk(dm_table_get_md(ti->table));
}

static int parse_fleece(struct vmab_disk *disk, struct dm_arg_set *as)
{
	const char *path = dm_shift_arg(as);
	struct dm_target *ti = disk->ti;
	int r;

	if (!path) {
		ti->error = "The feature fleece has no device";
		return -EINVAL;
	}
	r = dm_get_device(ti, path, dm_table_get_mode(ti->table), &disk->fleece);
	if (r) {
		ti->error = "Fleece device can't be opened";
		return r;
	}
	if (disk->fleece->bdev == disk->origin->bdev) {
		ti->error = "The fleece device is the origin";
		return -EINVAL;
	}
	if (is_itself(ti, disk->fleece)) {
		ti->error = "The fleece device is the device itself";
		return -EINVAL;
	}
	disk->fleece_block = bdev_logical_block_size(disk->fleece->bdev);
	if (disk->fleece_block > VMABACKUP_MIN_CHUNK) {
		ti->error = "The fleece device's logical blocks are too large";
		return -EINVAL;
	}
	if (bdev_nr_sectors(disk->fleece->bdev) <
	    round_up(ti->len, disk->fleece_block >> SECTOR_SHIFT)) {
		ti->error = "The fleece device is smaller than the origin";
		return -EINVAL;
	}
	return 0;
}

static int parse_feature(struct vmab_disk *disk, struct dm_arg_set *as, const char *name)
{
	if (!strcasecmp(name, "chunk_size") && !disk->chunk_size_given)
		return parse_chunk_size(disk, as);
	if (!strcasecmp(name, "fleece") && !disk->fleece)
		return parse_fleece(disk, as);
	if (!strcasecmp(name, "cbw_timeout") && !disk->cbw_timeout_given)
		return parse_cbw_timeout(disk, as);
	if (!strcasecmp(name, "on_cbw_error") && !disk->on_cbw_error_given)
		return parse_on_cbw_error(disk, as);

	disk->ti->error = "Unknown feature, or one given twice";
	return -EINVAL;
}

static int parse_features(struct vmab_disk *disk, struct dm_arg_set *as)
{
	static const struct dm_arg nr_args[] = {
		{0, 8, "Invalid number of feature arguments"},
	};
	struct dm_target *ti = disk->ti;
	unsigned int n;
	int r;

	if (!as->argc)
		return 0;
	r = dm_read_arg_group(nr_args, as, &n, &ti->error);
	if (r)
		return r;
	if (n != as->argc) {
		ti->error = "The number of feature arguments is not the one given";
		return -EINVAL;
	}
	while (as->argc) {
		r = parse_feature(disk, as, dm_shift_arg(as));
		if (r)
			return r;
	}
	return 0;
}

static void event_work_fn(struct work_struct *work)
{
	struct vmab_disk *disk = container_of(work, struct vmab_disk, event_work);

	static const char * const states[] = {
		[VMAB_DISK_IDLE] = "VMABACKUP_STATE=idle",
		[VMAB_DISK_MEMBER] = "VMABACKUP_STATE=member",
		[VMAB_DISK_ARMED] = "VMABACKUP_STATE=armed",
		[VMAB_DISK_BROKEN] = "VMABACKUP_STATE=broken",
	};
	struct gendisk *gd = dm_disk(dm_table_get_md(disk->ti->table));
	struct vmab_disk_status status;
	char *env[2] = {};
	unsigned int noio;

	dm_table_event(disk->ti->table);
	vmab_disk_status(disk, &status);
	env[0] = (char *)states[status.state];
	/*
	 * ARM sends one while disks are suspended, and dm sends its own as it resumes them: who
	 * holds the mutex that both take may not wait for one of those disks to get memory.
	 */
	noio = memalloc_noio_save();
	kobject_uevent_env(&disk_to_dev(gd)->kobj, KOBJ_CHANGE, env);
	memalloc_noio_restore(noio);
}

static void free_disk(struct vmab_disk *disk)
{
	if (disk->fleece)
		dm_put_device(disk->ti, disk->fleece);
	if (disk->origin)
		dm_put_device(disk->ti, disk->origin);
	kfree(disk);
}

/*
 * <origin> [<#feature args> [chunk_size <sectors>] [fleece <device>]
 * [cbw_timeout <ms>] [on_cbw_error break-snapshot|break-guest-write]]
 */
static int vmab_ctr(struct dm_target *ti, unsigned int argc, char **argv)
{
	struct dm_arg_set as = { .argc = argc, .argv = argv };
	struct vmab_disk *disk;
	const char *origin;
	int r;

	origin = dm_shift_arg(&as);
	if (!origin) {
		ti->error = "No origin device";
		return -EINVAL;
	}

	disk = kzalloc(sizeof(*disk), GFP_KERNEL);
	if (!disk) {
		ti->error = "Out of memory";
		return -ENOMEM;
	}
	disk->ti = ti;
	disk->chunk_shift = ilog2(DEFAULT_CHUNK_SECTORS);
	disk->cbw_timeout_ms = DEFAULT_CBW_TIMEOUT_MS;
	disk->last_fault.disk = U32_MAX;
	disk->last_fault.offset = U64_MAX;
	INIT_LIST_HEAD(&disk->list);
	INIT_LIST_HEAD(&disk->lost);
	init_waitqueue_head(&disk->idle);
	INIT_WORK(&disk->event_work, event_work_fn);
	vmab_instant_init(disk);

	r = dm_get_device(ti, origin, dm_table_get_mode(ti->table), &disk->origin);
	if (r) {
		ti->error = "Origin device can't be opened";
		goto free_disk;
	}
	if (is_itself(ti, disk->origin)) {
		ti->error = "The origin is the device itself";
		r = -EINVAL;
		goto free_disk;
	}
	r = parse_features(disk, &as);
	if (r)
		goto free_disk;
	r = vmab_disk_check(disk, dm_disk(dm_table_get_md(ti->table)));
	if (r) {
		ti->error = "Another disk uses its fleece device, or the reverse";
		goto free_disk;
	}
	disk->last_total = DIV_ROUND_UP_ULL(ti->len, 1ULL << disk->chunk_shift);

	ti->num_flush_bios = 1;
	ti->num_discard_bios = 1;
	ti->num_secure_erase_bios = 1;
	ti->num_write_zeroes_bios = 1;
	ti->accounts_remapped_io = true;
	ti->per_io_data_size = sizeof(struct vmab_held);
	ti->private = disk;
	return 0;

free_disk:
	free_disk(disk);
	return r;
}

static void vmab_dtr(struct dm_target *ti)
{
	struct vmab_disk *disk = ti->private;

	/* First, while its fleece device can still be emptied. */
	vmab_instant_exit(disk);
	vmab_disk_unregister(disk);
	flush_work(&disk->event_work);
	free_disk(disk);
}

static int map_armed(struct vmab_disk *disk, struct bio *bio)
{
	enum vmab_verdict verdict = VMAB_PASS;
	struct vmab_member *member;

	rcu_read_lock();
	member = rcu_dereference(disk->member);
	if (member)
		verdict = vmab_guest_write(member, bio);
	rcu_read_unlock();

	switch (verdict) {
	case VMAB_HELD:
		return DM_MAPIO_SUBMITTED;
	case VMAB_AGAIN:
		bio_wouldblock_error(bio);
		return DM_MAPIO_SUBMITTED;
	case VMAB_REQUEUE:
		return DM_MAPIO_REQUEUE;
	case VMAB_DROPPED:
		bio_endio(bio);
		return DM_MAPIO_SUBMITTED;
	default:
		return DM_MAPIO_REMAPPED;
	}
}

static int vmab_map(struct dm_target *ti, struct bio *bio)
{
	struct vmab_disk *disk = ti->private;

	/* The target starts at sector 0, and so does its origin. */
	bio_set_dev(bio, disk->origin->bdev);
	if (likely(!rcu_access_pointer(disk->member)))
		return DM_MAPIO_REMAPPED;
	if (!op_is_write(bio_op(bio)) || !bio_sectors(bio))
		return DM_MAPIO_REMAPPED;
	return map_armed(disk, bio);
}

static void vmab_presuspend(struct dm_target *ti)
{
	vmab_disk_presuspend(ti->private, dm_noflush_suspending(ti));
}

static void vmab_presuspend_undo(struct dm_target *ti)
{
	vmab_disk_resume(ti->private);
}

static void vmab_postsuspend(struct dm_target *ti)
{
	vmab_disk_postsuspend(ti->private);
}

static int vmab_preresume(struct dm_target *ti)
{
	int r;

	r = vmab_disk_register(ti->private, dm_disk(dm_table_get_md(ti->table)));
	if (r)
		DMERR("%s: another disk or table uses its fleece device, or the reverse",
		      dm_table_device_name(ti->table));
	return r;
}

static void vmab_resume(struct dm_target *ti)
{
	vmab_disk_resume(ti->private);
}

static const char * const state_words[] = {
	[VMAB_DISK_IDLE] = "idle",
	[VMAB_DISK_MEMBER] = "member",
	[VMAB_DISK_ARMED] = "armed",
	[VMAB_DISK_BROKEN] = "broken",
};

static const char * const reason_words[] = {
	[VMABACKUP_REASON_NONE] = "none",
	[VMABACKUP_REASON_TIMEOUT] = "timeout",
	[VMABACKUP_REASON_READ_ERROR] = "read-error",
	[VMABACKUP_REASON_SUSPEND] = "suspend",
	[VMABACKUP_REASON_REPLACED] = "replaced",
	[VMABACKUP_REASON_REMOVED] = "removed",
	[VMABACKUP_REASON_READER] = "reader",
	[VMABACKUP_REASON_FLEECE_ERROR] = "fleece-error",
	[VMABACKUP_REASON_RESIZED] = "resized",
};

static const char * const policy_words[] = {
	[VMABACKUP_POLICY_AUTO] = "auto",
	[VMABACKUP_POLICY_RING] = "ring",
	[VMABACKUP_POLICY_FLEECE] = "fleece",
};

/*
 * <state> <chunk sectors> <left>/<total> guest <n> fetched <n> forgotten <n>
 * held <now> <ever> wait_us <longest> <total> copying <n> policy <word|->
 * spilled <n> refetched <n> fleece_used <sectors> fleece_error <errno>
 * failed <n> dropped <n> reason <word> <errno> <sector|->
 */
static void status_info(struct vmab_disk *disk, char *result, unsigned int maxlen)
{
	struct vmab_disk_status s;
	unsigned int sz = 0;

	vmab_disk_status(disk, &s);
	DMEMIT("%s %u %llu/%llu guest %llu fetched %llu forgotten %llu held %llu %llu",
	       state_words[s.state], 1u << disk->chunk_shift, s.left, s.total, s.stats.guest,
	       s.stats.fetched, s.stats.forgotten, s.stats.held_now, s.stats.held);
	DMEMIT(" wait_us %llu %llu copying %llu policy %s spilled %llu refetched %llu",
	       s.stats.longest_wait_us, s.stats.total_wait_us, s.stats.copying,
	       s.has_policy ? policy_words[s.policy] : "-", s.stats.spilled, s.stats.refetched);
	DMEMIT(" fleece_used %llu fleece_error %d failed %llu dropped %llu reason %s %d ",
	       s.stats.fleece_used >> SECTOR_SHIFT, s.stats.fleece_error, s.stats.failed,
	       s.stats.dropped, reason_words[s.fault.reason], s.fault.error);
	if (s.fault.offset == U64_MAX)
		DMEMIT("-");
	else
		DMEMIT("%llu", s.fault.offset >> SECTOR_SHIFT);
}

static void status_table(struct vmab_disk *disk, char *result, unsigned int maxlen)
{
	unsigned int n = 2 * (disk->chunk_size_given + !!disk->fleece + disk->cbw_timeout_given +
			      disk->on_cbw_error_given);
	unsigned int sz = 0;

	DMEMIT("%s", disk->origin->name);
	if (n)
		DMEMIT(" %u", n);
	if (disk->chunk_size_given)
		DMEMIT(" chunk_size %u", 1u << disk->chunk_shift);
	if (disk->fleece)
		DMEMIT(" fleece %s", disk->fleece->name);
	if (disk->cbw_timeout_given)
		DMEMIT(" cbw_timeout %u", disk->cbw_timeout_ms);
	if (disk->on_cbw_error_given)
		DMEMIT(" on_cbw_error %s", on_cbw_error_words[disk->break_guest_write]);
}

static void vmab_status(struct dm_target *ti, status_type_t type, unsigned int status_flags,
			char *result, unsigned int maxlen)
{
	struct vmab_disk *disk = ti->private;
	unsigned int sz = 0;

	switch (type) {
	case STATUSTYPE_INFO:
		status_info(disk, result, maxlen);
		break;
	case STATUSTYPE_TABLE:
		status_table(disk, result, maxlen);
		break;
	case STATUSTYPE_IMA:
		DMEMIT_TARGET_NAME_VERSION(ti->type);
		DMEMIT(",origin_name=%s,chunk_size=%u,fleece_name=%s", disk->origin->name,
		       1u << disk->chunk_shift, disk->fleece ? disk->fleece->name : "");
		DMEMIT(",cbw_timeout=%u,on_cbw_error=%s;", disk->cbw_timeout_ms,
		       on_cbw_error_words[disk->break_guest_write]);
		break;
	}
}

/* prepare, arm, disarm */
static int vmab_message(struct dm_target *ti, unsigned int argc, char **argv, char *result,
			unsigned int maxlen)
{
	struct vmab_disk *disk = ti->private;
	int r = -EINVAL;

	if (argc == 1 && !strcasecmp(argv[0], "prepare")) {
		r = vmab_instant_prepare(disk);
	} else if (argc == 1 && !strcasecmp(argv[0], "arm")) {
		r = vmab_instant_arm(disk);
		if (r == -EAGAIN)
			DMERR("%s: suspend it before arming it",
			      dm_table_device_name(ti->table));
	} else if (argc == 1 && !strcasecmp(argv[0], "disarm")) {
		r = vmab_instant_disarm(disk);
	} else {
		DMERR("%s: unknown message", dm_table_device_name(ti->table));
	}
	return r;
}

/* What the guest sees are the limits of the origin: the fleece device is our affair. */
static int vmab_iterate_devices(struct dm_target *ti, iterate_devices_callout_fn fn, void *data)
{
	struct vmab_disk *disk = ti->private;

	return fn(ti, disk->origin, 0, ti->len, data);
}

/*
 * No prepare_ioctl: a guest that writes by SG_IO would write past the backup.
 * No DAX, integrity or inline encryption either, for the same reason or because
 * nobody has looked at what they need.
 */
static struct target_type vmab_target = {
	.name = "vmabackup",
	.version = {0, 1, 0},
	.features = DM_TARGET_SINGLETON | DM_TARGET_NOWAIT,
	.module = THIS_MODULE,
	.ctr = vmab_ctr,
	.dtr = vmab_dtr,
	.map = vmab_map,
	.presuspend = vmab_presuspend,
	.presuspend_undo = vmab_presuspend_undo,
	.postsuspend = vmab_postsuspend,
	.preresume = vmab_preresume,
	.resume = vmab_resume,
	.status = vmab_status,
	.message = vmab_message,
	.iterate_devices = vmab_iterate_devices,
};

int vmab_target_register(void)
{
	return dm_register_target(&vmab_target);
}

void vmab_target_unregister(void)
{
	dm_unregister_target(&vmab_target);
}
