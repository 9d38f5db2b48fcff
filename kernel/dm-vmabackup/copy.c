// SPDX-License-Identifier: GPL-2.0
#include "copy.h"

#include <linux/blkdev.h>

#include "chunk-map.h"
#include "claim.h"
#include "fetch.h"
#include "fetch-depth.h"
#include "fleece.h"
#include "guest.h"
#include "held.h"
#include "plug.h"
#include "slots.h"
#include "trace.h"

/* Of so many reads one is FETCH's, even when guests' never cease: bios wait there, too. */
#define FETCH_TURN	8

/* ---- the ends of a copy ------------------------------------------------- */

static void trace_end(const struct vmab_copy *copy, enum vmab_trace_to to, int error)
{
	if (trace_vmab_copied_enabled())
		trace_vmab_copied(copy->member->dev, copy->chunk, to,
				  div_u64(ktime_get_ns() - copy->since, NSEC_PER_USEC), error);
}

/* Nobody has to wait any more: the old content is in memory. */
static void release(struct vmab_copy *copy)
{
	copy->draining = false;
	copy->released = true;
	vmab_map_safe(&copy->member->map, copy->chunk);
	vmab_guest_release(copy);
}

static bool is_viewed(const struct vmab_member *member, u64 chunk)
{
	const struct vmab_session *session = member->session;
	const struct vmab_view_read *read;

	if (!session->nr_viewing)
		return false;
	hash_for_each_possible(session->viewing, read, hash, chunk)
		if (read->member == member && read->chunk == chunk)
			return true;
	return false;
}

/* As soon as no view reads the chunk from the origin. */
static void release_when_drained(struct vmab_copy *copy)
{
	if (is_viewed(copy->member, copy->chunk))
		copy->draining = true;
	else
		release(copy);
}

/* View reads that waited for the copy look again. */
static void wake_readers(struct vmab_copy *copy)
{
	struct vmab_member *member = copy->member;

	if (list_empty(&copy->readers))
		return;
	list_splice_tail_init(&copy->readers, &member->view_ready);
	queue_work(member->session->leave_wq, &member->view_work);
}

/* The slot holds the chunk for the reader. */
static void deliver(struct vmab_copy *copy)
{
	struct vmab_member *member = copy->member;
	struct vmab_session *session = member->session;

	trace_end(copy, VMAB_TO_SLOT, 0);
	vmab_map_done(&member->map);
	session->nr_left--;
	if (copy->guest)
		member->stats.guest++;
	else if (copy->refetch)
		member->stats.refetched++;
	else
		member->stats.fetched++;

	vmab_slots_done(session->slots, copy);
	list_add_tail(&copy->link, &session->done);
	vmab_fleece_stale(member, copy->chunk);
	if (!session->nr_left)
		vmab_member_event(member);
	wake_up(&session->reader);
}

/* It failed, or (0) nobody wants it any more: the slot is free for the next one. */
static void drop(struct vmab_copy *copy, int error)
{
	trace_end(copy, VMAB_TO_NOWHERE, error);
	vmab_slots_drop(copy->member->session->slots, copy);
}

/*
 * FETCH wants a chunk that is bound for the fleece device.  But a reader that stands
 * still may not end up with all slots: those for spilling stay.
 */
static bool may_stay(const struct vmab_copy *copy)
{
	return copy->wanted && vmab_slots_for_ring(copy->member->session->slots);
}

/* The chunk is on the fleece device, and no guest waits for it. */
static void spilled(struct vmab_copy *copy)
{
	struct vmab_member *member = copy->member;

	if (may_stay(copy)) {
		deliver(copy);
		return;
	}
	vmab_map_unclaim(&member->map, copy->chunk);
	member->stats.guest++;
	member->stats.spilled++;
	trace_end(copy, VMAB_TO_FLEECE, 0);
	vmab_slots_drop(member->session->slots, copy);
	if (copy->wanted)
		vmab_fetch_retry(member, copy->chunk);
}

/* break-guest-write: those who wait get an error, the chunk is NEEDED again. */
static void revert(struct vmab_copy *copy, int error)
{
	struct vmab_member *member = copy->member;

	vmab_guest_fail(copy);
	vmab_map_unclaim(&member->map, copy->chunk);
	drop(copy, error);
	if (copy->wanted)
		vmab_fetch_retry(member, copy->chunk);
	/* Nothing is delivered, so no reader will ask for more because of it. */
	vmab_go_on(member->session);
}

static void latch_fleece_error(struct vmab_member *member, int error)
{
	if (member->stats.fleece_error)
		return;
	member->stats.fleece_error = -error;
	vmab_member_event(member);
}

static void fail_read(struct vmab_copy *copy, int error)
{
	struct vmab_member *member = copy->member;
	u64 offset = copy->chunk << (member->chunk_shift + SECTOR_SHIFT);

	if (copy->refetch) {
		latch_fleece_error(member, error);
		vmab_break(member->session, VMABACKUP_REASON_FLEECE_ERROR, -error, member, offset);
		drop(copy, error);
	} else if (copy->guest && member->break_guest_write) {
		revert(copy, error);
	} else {
		vmab_break(member->session, VMABACKUP_REASON_READ_ERROR, -error, member, offset);
		drop(copy, error);
	}
}

static void fail_write(struct vmab_copy *copy, int error)
{
	struct vmab_member *member = copy->member;
	struct vmab_session *session = member->session;

	if (!member->stats.fleece_error)
		DMWARN_LIMIT("%s: writing to the fleece device failed: error %d",
			     dm_table_device_name(copy->disk->ti->table), error);
	latch_fleece_error(member, error);
	if (session->policy == VMABACKUP_POLICY_AUTO)
		member->fleece_off = true;

	/* It is in memory still; but only one who reaps can have it from there. */
	if (!session->standalone && (copy->wanted || member->fleece_off)) {
		if (!copy->released)
			release(copy);
		deliver(copy);
	} else if (member->break_guest_write && !copy->released) {
		revert(copy, error);
	} else {
		vmab_break(session, VMABACKUP_REASON_FLEECE_ERROR, -error, member,
			   copy->chunk << (member->chunk_shift + SECTOR_SHIFT));
		drop(copy, error);
	}
}

/* Neither READING nor WRITING any more.  Locked. */
static void end_copy(struct vmab_copy *copy)
{
	struct vmab_member *member = copy->member;

	if (!list_empty(&copy->guests))
		list_del_init(&copy->guests);
	member->stats.copying--;
	wake_readers(copy);
	vmab_session_unpin(member->session);
}

/* The write to the fleece device has ended and no view reads the origin. */
static void finish_write(struct vmab_copy *copy)
{
	spilled(copy);
	end_copy(copy);
}

void vmab_copy_drained(struct vmab_member *member, u64 chunk)
{
	struct vmab_copy *copy;

	lockdep_assert_held(&member->session->lock);

	copy = vmab_slots_find(member->session->slots, member, chunk);
	if (!copy || !copy->draining || is_viewed(member, chunk))
		return;
	if (member->session->state == VMABACKUP_STATE_ARMED)
		release(copy);
	copy->draining = false;
	if (!copy->written)
		return;
	if (member->session->state == VMABACKUP_STATE_ARMED) {
		finish_write(copy);
	} else {
		drop(copy, 0);
		end_copy(copy);
	}
	vmab_go_on(member->session);
}

/* In interrupts, as a rule. */
static void write_endio(struct bio *bio)
{
	struct vmab_copy *copy = container_of(bio, struct vmab_copy, bio);
	struct vmab_member *member = copy->member;
	struct vmab_session *session = member->session;
	struct vmab_disk *disk = copy->disk;
	int error = blk_status_to_errno(bio->bi_status);
	unsigned long flags;

	bio_uninit(bio);

	rcu_read_lock();
	spin_lock_irqsave(&session->lock, flags);
	if (session->state != VMABACKUP_STATE_ARMED) {
		drop(copy, 0);
		end_copy(copy);
	} else if (error) {
		fail_write(copy, error);
		end_copy(copy);
	} else {
		if (!copy->released && !copy->draining)
			release_when_drained(copy);
		if (copy->draining)
			copy->written = true;
		else
			finish_write(copy);
	}
	if (session->state == VMABACKUP_STATE_ARMED) {
		vmab_guest_serve(session);
		if (!list_empty(&session->ranges))
			vmab_go_on(session);
	}
	spin_unlock_irqrestore(&session->lock, flags);
	vmab_disk_unpin(disk, &disk->fleece_ios);
	rcu_read_unlock();
}

/* The read into a slot has ended.  Locked.  True: it goes on to the fleece device. */
static bool end_read(struct vmab_copy *copy, int error)
{
	struct vmab_member *member = copy->member;
	struct vmab_session *session = member->session;

	if (copy->guest)
		member->nr_guest_reads--;
	else
		vmab_depth_ended(member, vmab_copy_source(copy), ktime_get_ns() - copy->since);

	if (session->state != VMABACKUP_STATE_ARMED) {
		drop(copy, 0);
	} else if (error) {
		fail_read(copy, error);
	} else if (!copy->spill || may_stay(copy)) {
		if (!copy->refetch)
			release(copy);
		deliver(copy);
	} else {
		copy->owner = VMAB_SLOT_WRITING;
		atomic_inc(&copy->disk->fleece_ios);
		copy->bio.bi_end_io = write_endio;
		/* Once a write has gone it can't get an error any more. */
		if (!member->break_guest_write)
			release_when_drained(copy);
		vmab_fleece_write(copy);
		return true;
	}
	end_copy(copy);
	return false;
}

/* In interrupts, as a rule. */
static void read_endio(struct bio *bio)
{
	struct vmab_copy *copy = container_of(bio, struct vmab_copy, bio);
	struct vmab_member *member = copy->member;
	struct vmab_session *session = member->session;
	struct vmab_disk *disk = copy->disk;
	atomic_t *ios = copy->refetch ? &disk->fleece_ios : &disk->origin_reads;
	int error = blk_status_to_errno(bio->bi_status);
	enum vmab_source source = vmab_copy_source(copy);
	bool guest = copy->guest;
	unsigned long flags;

	bio_uninit(bio);

	/* Session and disk are freed after a grace period: see the waits for inflight. */
	rcu_read_lock();
	spin_lock_irqsave(&session->lock, flags);
	end_read(copy, error);
	if (session->state == VMABACKUP_STATE_ARMED) {
		/* A share of the slots, or a slot after all, came free. */
		if (guest && !list_empty(&session->hungry))
			vmab_guest_serve(session);
		if (!guest && vmab_fetch_wants_more(member, source))
			vmab_go_on(session);
	}
	spin_unlock_irqrestore(&session->lock, flags);
	vmab_disk_unpin(disk, ios);
	rcu_read_unlock();
}

/* ---- submitting reads --------------------------------------------------- */

/* Nobody wants its read any more: it ends before it began. */
static void cancel_read(struct vmab_copy *copy)
{
	struct vmab_disk *disk = copy->disk;
	atomic_t *ios = copy->refetch ? &disk->fleece_ios : &disk->origin_reads;

	rcu_read_lock();
	end_read(copy, 0);
	vmab_disk_unpin(disk, ios);
	rcu_read_unlock();
}

/* Whose turn it is to read the origin: guests', as a rule. */
static struct list_head *origin_reads(struct vmab_member *member)
{
	bool turn = ++member->submitted % FETCH_TURN == 0;

	if (list_empty(&member->guest_reads) || (turn && !list_empty(&member->fetch_reads)))
		return &member->fetch_reads;
	return &member->guest_reads;
}

static struct list_head *fleece_reads(struct vmab_member *member)
{
	return &member->fleece_reads;
}

/* The next read to submit, or NULL. */
static struct vmab_copy *next_read(struct vmab_member *member,
				   struct list_head *(*reads)(struct vmab_member *member))
{
	struct vmab_session *session = member->session;
	struct vmab_copy *copy;

	lockdep_assert_held(&session->lock);

	for (;;) {
		copy = list_first_entry_or_null(reads(member), struct vmab_copy, link);
		if (!copy)
			return NULL;
		list_del_init(&copy->link);
		if (session->state == VMABACKUP_STATE_ARMED)
			return copy;
		cancel_read(copy);
	}
}

static void submit_read(struct vmab_copy *copy)
{
	struct vmab_member *member = copy->member;
	const struct vmab_disk *disk = copy->disk;

	vmab_slots_init_bio(member->session->slots, copy, REQ_OP_READ,
			    copy->refetch ? disk->fleece_block : 1);
	bio_set_dev(&copy->bio, copy->refetch ? disk->fleece->bdev : disk->origin->bdev);
	copy->bio.bi_iter.bi_sector = copy->chunk << member->chunk_shift;
	copy->bio.bi_end_io = read_endio;
	if (copy->guest)
		copy->bio.bi_opf |= REQ_SYNC;
	submit_bio(&copy->bio);
}

/* Reads are submitted from here only: map may not sleep, ends of reads neither. */
static void submit_reads(struct vmab_member *member,
			 struct list_head *(*reads)(struct vmab_member *member))
{
	struct vmab_session *session = member->session;
	struct vmab_copy *copy;
	struct blk_plug plug;

	/* Plugged, so that neighbours merge into the large reads that disks like. */
	blk_start_plug(&plug);
	for (;;) {
		vmab_plug_resched(&plug);
		/* One by one: a guest's claim that comes now is the next. */
		spin_lock_irq(&session->lock);
		copy = next_read(member, reads);
		spin_unlock_irq(&session->lock);
		if (!copy)
			break;
		submit_read(copy);
	}
	blk_finish_plug(&plug);
}

static void read_work_fn(struct work_struct *work)
{
	submit_reads(container_of(work, struct vmab_member, read_work), origin_reads);
}

/* By itself: a queue that is full is waited for, and the origin's reads may not be. */
static void refetch_work_fn(struct work_struct *work)
{
	submit_reads(container_of(work, struct vmab_member, refetch_work), fleece_reads);
}

static void kick_work_fn(struct work_struct *work)
{
	struct vmab_session *session = container_of(work, struct vmab_session, kick_work);

	spin_lock_irq(&session->lock);
	vmab_fetch_kick(session);
	spin_unlock_irq(&session->lock);
}

int vmab_copy_init_session(struct vmab_session *session)
{
	INIT_WORK(&session->kick_work, kick_work_fn);
	INIT_LIST_HEAD(&session->done);
	INIT_LIST_HEAD(&session->ranges);
	INIT_LIST_HEAD(&session->free_ranges);
	init_waitqueue_head(&session->reader);
	init_waitqueue_head(&session->quiet);
	session->read_wq = alloc_workqueue("vmabackup_read", WQ_MEM_RECLAIM | WQ_UNBOUND, 0);
	return session->read_wq ? 0 : -ENOMEM;
}

void vmab_copy_exit_session(struct vmab_session *session)
{
	destroy_workqueue(session->read_wq);
}

void vmab_copy_init_member(struct vmab_member *member)
{
	INIT_LIST_HEAD(&member->guest_reads);
	INIT_LIST_HEAD(&member->fetch_reads);
	INIT_LIST_HEAD(&member->fleece_reads);
	INIT_LIST_HEAD(&member->guest_copies);
	INIT_LIST_HEAD(&member->retry.list);
	member->retry.member = member;
	vmab_depth_init(member);
	INIT_WORK(&member->read_work, read_work_fn);
	INIT_WORK(&member->refetch_work, refetch_work_fn);
}

void vmab_copy_quiesce(struct vmab_session *session)
{
	u32 i;

	/* What was claimed is submitted or dropped by the workers. */
	wait_event(session->quiet, !READ_ONCE(session->inflight));
	flush_work(&session->kick_work);
	for (i = 0; i < session->nr_members; i++) {
		flush_work(&session->members[i]->read_work);
		flush_work(&session->members[i]->refetch_work);
		vmab_fleece_flush(session->members[i]);
	}
}
