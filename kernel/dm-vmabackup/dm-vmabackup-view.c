// SPDX-License-Identifier: GPL-2.0
/*
 * Owns a vmab_view from ctr to dtr: a read-only device that shows a disk as it
 * was at the instant that it was armed with by message.
 *
 * It shows that one instant from its first resume on, and nothing but errors
 * when the instant is over: what is behind a mounted file system never changes.
 */
#include "dm-vmabackup-view.h"

#include <linux/module.h>
#include <linux/slab.h>

#include "compat.h"
#include "instant.h"
#include "registry.h"
#include "view-read.h"

/*
 * The disk is not opened: dm opens devices for itself alone, and a disk that is
 * mounted, or swap, can have views, too.
 */
static int parse_disk(const char *arg, dev_t *dev)
{
	unsigned int major, minor;
	char more;

	if (sscanf(arg, "%u:%u%c", &major, &minor, &more) == 2) {
		*dev = MKDEV(major, minor);
		return MAJOR(*dev) == major && MINOR(*dev) == minor ? 0 : -EOVERFLOW;
	}
	return lookup_bdev(arg, dev);
}

static int get_below(struct dm_target *ti, dev_t dev, struct dm_dev **result)
{
	char name[32];

	return dm_get_device(ti, format_dev_t(name, dev), dm_table_get_mode(ti->table), result);
}

/* <disk> */
static int view_ctr(struct dm_target *ti, unsigned int argc, char **argv)
{
	struct vmab_geometry geometry;
	struct vmab_view *view;
	int r;

	if (argc != 1) {
		ti->error = "The one argument is the vmabackup device";
		return -EINVAL;
	}
	if (vmab_mode_writes(dm_table_get_mode(ti->table))) {
		ti->error = "The table must be read-only (dmsetup create --readonly)";
		return -EINVAL;
	}

	view = kzalloc(sizeof(*view), GFP_KERNEL);
	if (!view) {
		ti->error = "Out of memory";
		return -ENOMEM;
	}
	view->ti = ti;
	INIT_LIST_HEAD(&view->list);

	r = parse_disk(argv[0], &view->dev);
	if (r) {
		ti->error = "The vmabackup device can't be found";
		goto free_view;
	}
	r = vmab_registry_geometry(view->dev, &geometry);
	if (r) {
		ti->error = "Not a live vmabackup device with a fleece device";
		goto free_view;
	}
	if (ti->len > geometry.sectors) {
		ti->error = "The view is larger than its disk";
		r = -EINVAL;
		goto free_view;
	}
	view->chunk_shift = geometry.chunk_shift;
	r = get_below(ti, geometry.origin, &view->origin);
	if (r) {
		ti->error = "The origin can't be opened";
		goto free_view;
	}
	r = get_below(ti, geometry.fleece, &view->fleece);
	if (r) {
		ti->error = "The fleece device can't be opened";
		goto put_origin;
	}

	ti->accounts_remapped_io = true;
	ti->per_io_data_size = sizeof(struct vmab_view_read);
	ti->private = view;
	return 0;

put_origin:
	dm_put_device(ti, view->origin);
free_view:
	kfree(view);
	return r;
}

static void view_dtr(struct dm_target *ti)
{
	struct vmab_view *view = ti->private;

	vmab_instant_detach(view);
	/* No read is under way, but a session's worker may be about to look. */
	synchronize_rcu();
	dm_put_device(ti, view->fleece);
	dm_put_device(ti, view->origin);
	kfree(view);
}

static int map_verdict(enum vmab_view_verdict verdict, struct bio *bio)
{
	switch (verdict) {
	case VMAB_VIEW_SUBMIT:
		return DM_MAPIO_REMAPPED;
	case VMAB_VIEW_HELD:
		return DM_MAPIO_SUBMITTED;
	case VMAB_VIEW_REQUEUE:
		return DM_MAPIO_REQUEUE;
	case VMAB_VIEW_AGAIN:
		bio_wouldblock_error(bio);
		return DM_MAPIO_SUBMITTED;
	default:
		return DM_MAPIO_KILL;
	}
}

/* A read that crosses chunks could want two devices: the first of them now. */
static void cut(const struct vmab_view *view, struct vmab_view_read *read, struct bio *bio)
{
	unsigned int chunk = 1u << view->chunk_shift;
	unsigned int left = chunk - (bio->bi_iter.bi_sector & (chunk - 1));

	/*
	 * Not by dm_set_target_max_io_len(): which reads were cut is to be known.
	 * dm puts one that comes back as a requeue together again while what comes
	 * after it may still be being cut, so those must not come back.
	 */
	read->cut = bio_sectors(bio) > left;
	if (read->cut)
		dm_accept_partial_bio(bio, left);
}

static int view_map(struct dm_target *ti, struct bio *bio)
{
	enum vmab_view_verdict verdict = VMAB_VIEW_OVER;
	struct vmab_view_read *read = dm_per_bio_data(bio, sizeof(*read));
	struct vmab_view *view = ti->private;
	struct vmab_member *member;

	read->place = VMAB_VIEW_NOWHERE;
	if (bio_op(bio) != REQ_OP_READ)
		return DM_MAPIO_KILL;
	cut(view, read, bio);
	/* One that polls is never told to come again; see guest.c. */
	read->polled = bio->bi_opf & REQ_POLLED;
	if (read->polled)
		bio->bi_opf &= ~(REQ_POLLED | REQ_NOWAIT);

	rcu_read_lock();
	member = rcu_dereference(view->member);
	if (member)
		verdict = vmab_view_read_map(view, member, bio);
	rcu_read_unlock();
	return map_verdict(verdict, bio);
}

static int view_end_io(struct dm_target *ti, struct bio *bio, blk_status_t *error)
{
	struct vmab_view_read *read = dm_per_bio_data(bio, sizeof(*read));

	if (read->place != VMAB_VIEW_NOWHERE && !vmab_view_read_end(read) && !*error)
		*error = BLK_STS_IOERR;
	return DM_ENDIO_DONE;
}

static void view_presuspend(struct dm_target *ti)
{
	struct vmab_view *view = ti->private;
	struct vmab_member *member;

	if (!dm_noflush_suspending(ti))
		return;
	rcu_read_lock();
	member = rcu_dereference(view->member);
	if (member)
		vmab_view_read_requeue(view, member);
	rcu_read_unlock();
}

static int view_preresume(struct dm_target *ti)
{
	struct vmab_view *view = ti->private;
	int r;

	r = vmab_instant_attach(view);
	if (r == -ENOTCONN)
		DMERR("%s: its disk is not armed by message", dm_table_device_name(ti->table));
	else if (r)
		DMERR("%s: its disk is not the same any more", dm_table_device_name(ti->table));
	return r;
}

static const char *state_of(const struct vmab_view *view)
{
	const struct vmab_member *member;
	bool live;

	rcu_read_lock();
	member = rcu_dereference(view->member);
	live = member && READ_ONCE(member->session->state) == VMABACKUP_STATE_ARMED;
	rcu_read_unlock();
	if (live)
		return "live";
	return view->attached ? "over" : "new";
}

static void view_status(struct dm_target *ti, status_type_t type, unsigned int status_flags,
			char *result, unsigned int maxlen)
{
	struct vmab_view *view = ti->private;
	unsigned int sz = 0;

	switch (type) {
	case STATUSTYPE_INFO:
		DMEMIT("%s", state_of(view));
		break;
	case STATUSTYPE_TABLE:
		DMEMIT("%u:%u", MAJOR(view->dev), MINOR(view->dev));
		break;
	case STATUSTYPE_IMA:
		DMEMIT_TARGET_NAME_VERSION(ti->type);
		DMEMIT(",disk_name=%u:%u;", MAJOR(view->dev), MINOR(view->dev));
		break;
	}
}

static int view_iterate_devices(struct dm_target *ti, iterate_devices_callout_fn fn, void *data)
{
	struct vmab_view *view = ti->private;

	int r;

	r = fn(ti, view->origin, 0, ti->len, data);
	return r ? r : fn(ti, view->fleece, 0, ti->len, data);
}

static struct target_type vmab_view_target = {
	.name = "vmabackup-view",
	.version = {0, 1, 0},
	.features = DM_TARGET_SINGLETON | DM_TARGET_NOWAIT,
	.module = THIS_MODULE,
	.ctr = view_ctr,
	.dtr = view_dtr,
	.map = view_map,
	.end_io = view_end_io,
	.presuspend = view_presuspend,
	.preresume = view_preresume,
	.status = view_status,
	.iterate_devices = view_iterate_devices,
};

int vmab_view_target_register(void)
{
	return dm_register_target(&vmab_view_target);
}

void vmab_view_target_unregister(void)
{
	dm_unregister_target(&vmab_view_target);
}
