// SPDX-License-Identifier: GPL-2.0
#include "copy.h"

#include <linux/blkdev.h>
#include <linux/sched.h>

#include "chunk-map.h"
#include "held.h"
#include "slots.h"

/* Reads are submitted from here only: map may not sleep, ends of reads neither. */
static struct workqueue_struct *read_wq;

/* How many chunks of a range are looked at with interrupts off. */
#define SCAN_BATCH	BIT(18)

/* Likewise, how many are forgotten. */
#define FORGET_BATCH	BIT(14)

int vmab_copy_init_queue(void)
{
	read_wq = alloc_workqueue("vmabackup_read", WQ_MEM_RECLAIM, 0);
	return read_wq ? 0 : -ENOMEM;
}

void vmab_copy_exit_queue(void)
{
	destroy_workqueue(read_wq);
}

static u32 chunk_length(const struct vmab_member *member, u64 chunk)
{
	unsigned int shift = member->chunk_shift + SECTOR_SHIFT;

	return min_t(u64, 1ULL << shift, member->size - (chunk << shift));
}

/* NEEDED -> COPYING; there is a free slot, and the disk is there. */
static struct vmab_copy *claim(struct vmab_member *member, u64 chunk, bool guest)
{
	struct vmab_session *session = member->session;
	struct vmab_copy *copy;

	lockdep_assert_held(&session->lock);

	vmab_map_claim(&member->map, chunk);
	copy = vmab_slots_get(session->slots, member, chunk);
	copy->length = chunk_length(member, chunk);
	copy->guest = guest;
	session->inflight++;
	atomic_inc(&copy->disk->inflight);
	list_add_tail(&copy->link, &session->to_read);
	return copy;
}

static void starve(struct vmab_held *held)
{
	struct vmab_member *member = held->member;

	if (member->disk->noflush)
		vmab_held_leave(held, BLK_STS_DM_REQUEUE);
	else
		list_add_tail(&held->wait, &member->session->starved);
}

/* Others that starve for the chunk that was just claimed need no slot any more. */
static void join_starved(struct vmab_copy *copy)
{
	struct vmab_held *held, *tmp;

	list_for_each_entry_safe(held, tmp, &copy->member->session->starved, wait)
		if (held->member == copy->member && held->next == copy->chunk &&
		    held->end == copy->chunk + 1)
			list_move_tail(&held->wait, &copy->waiters);
}

/* A bio that wants one chunk waits for its copy. */
static void place_single(struct vmab_held *held)
{
	struct vmab_member *member = held->member;
	struct vmab_session *session = member->session;
	u64 chunk = held->next;
	struct vmab_copy *copy;

	if (vmab_map_needed(&member->map, chunk, held->end) == held->end) {
		vmab_held_leave(held, 0);
		return;
	}

	if (vmab_map_unclaimed(&member->map, chunk, held->end) == held->end) {
		copy = vmab_slots_find(session->slots, member, chunk);
		if (WARN_ON_ONCE(!copy))
			vmab_held_leave(held, 0);
		else
			list_add_tail(&held->wait, &copy->waiters);
		return;
	}

	if (!vmab_slots_for_guest(session->slots)) {
		starve(held);
		return;
	}
	copy = claim(member, chunk, true);
	list_add_tail(&held->wait, &copy->waiters);
	join_starved(copy);
}

/*
 * A bio that wants many chunks (a discard can want all of the disk) gets them
 * copied one slot at a time, in turn with the others that starve.  When none is
 * left to claim it waits on member->draining for the copies to end.
 */
static void place_range(struct vmab_held *held)
{
	struct vmab_member *member = held->member;
	struct vmab_session *session = member->session;
	u64 chunk;

	held->next = vmab_map_needed(&member->map, held->next, held->end);
	if (held->next == held->end) {
		vmab_held_leave(held, 0);
		return;
	}

	chunk = vmab_map_unclaimed(&member->map, held->next, held->end);
	if (chunk == held->end) {
		list_add_tail(&held->wait, &member->draining);
		return;
	}
	if (vmab_slots_for_guest(session->slots))
		join_starved(claim(member, chunk, true));
	starve(held);
}

/* held->wait is on no list. */
static void place(struct vmab_held *held)
{
	lockdep_assert_held(&held->member->session->lock);

	if (held->end - held->next == 1)
		place_single(held);
	else
		place_range(held);
}

/* After it, either no bio starves or no slot is free. */
static void serve_starved(struct vmab_session *session)
{
	struct vmab_held *held;

	while (vmab_slots_for_guest(session->slots)) {
		held = list_first_entry_or_null(&session->starved, struct vmab_held, wait);
		if (!held)
			break;
		list_del_init(&held->wait);
		place(held);
	}
}

/* The queued ranges take what slots they may. */
static void serve_fetch(struct vmab_session *session)
{
	struct vmab_range *range, *tmp;
	u64 budget = SCAN_BATCH;

	list_for_each_entry_safe(range, tmp, &session->ranges, list) {
		struct vmab_member *member = range->member;

		if (!member->disk || member->disk->paused)
			continue;

		while (range->next < range->end) {
			u64 stop = min_t(u64, range->end, range->next + budget);
			u64 chunk;

			if (!vmab_slots_for_fetch(session->slots))
				return;
			chunk = vmab_map_unclaimed(&member->map, range->next, stop);
			budget -= chunk - range->next;
			range->next = chunk;
			if (chunk < stop) {
				claim(member, chunk, false);
				range->next++;
			} else if (!budget) {
				/* Let interrupts in, then go on. */
				queue_work(read_wq, &session->read_work);
				return;
			}
		}
		list_move(&range->list, &session->free_ranges);
	}
}

void vmab_copy_kick(struct vmab_session *session)
{
	lockdep_assert_held(&session->lock);

	if (session->state != VMABACKUP_STATE_ARMED)
		return;
	serve_starved(session);
	if (!list_empty(&session->to_read) || !list_empty(&session->ranges))
		queue_work(read_wq, &session->read_work);
}

static bool is_complete(const struct vmab_session *session)
{
	return !session->nr_left;
}

/* The chunk's old content is in its slot. */
static void copy_done(struct vmab_session *session, struct vmab_copy *copy)
{
	struct vmab_member *member = copy->member;
	struct vmab_held *held, *tmp;

	vmab_map_safe(&member->map, copy->chunk);
	session->nr_left--;
	if (copy->guest)
		member->stats.guest++;
	else
		member->stats.fetched++;

	vmab_slots_read(session->slots, copy);
	list_add_tail(&copy->link, &session->done);

	list_for_each_entry_safe(held, tmp, &copy->waiters, wait)
		vmab_held_leave(held, 0);

	list_for_each_entry_safe(held, tmp, &member->draining, wait) {
		held->next = vmab_map_needed(&member->map, held->next, held->end);
		if (held->next == held->end)
			vmab_held_leave(held, 0);
	}
	if (is_complete(session))
		vmab_member_event(member);
	wake_up(&session->reader);
}

/* In interrupts, as a rule. */
static void read_endio(struct bio *bio)
{
	struct vmab_copy *copy = container_of(bio, struct vmab_copy, bio);
	struct vmab_session *session = copy->member->session;
	struct vmab_disk *disk = copy->disk;
	int error = blk_status_to_errno(bio->bi_status);
	unsigned long flags;

	bio_uninit(bio);

	/* Session and disk are freed after a grace period: see the waits for inflight. */
	rcu_read_lock();
	spin_lock_irqsave(&session->lock, flags);
	if (error)
		vmab_break(session, VMABACKUP_REASON_READ_ERROR, -error, copy->member,
			   copy->chunk << (copy->member->chunk_shift + SECTOR_SHIFT));
	if (session->state == VMABACKUP_STATE_ARMED)
		copy_done(session, copy);
	else
		vmab_slots_drop(session->slots, copy);

	session->inflight--;
	if (!session->inflight)
		wake_up_all(&session->quiet);
	spin_unlock_irqrestore(&session->lock, flags);

	if (atomic_dec_and_test(&disk->inflight))
		wake_up_all(&disk->idle);
	rcu_read_unlock();
}

static void read_work_fn(struct work_struct *work)
{
	struct vmab_session *session = container_of(work, struct vmab_session, read_work);
	struct vmab_copy *copy, *tmp;
	struct blk_plug plug;
	LIST_HEAD(to_read);

	spin_lock_irq(&session->lock);
	if (session->state == VMABACKUP_STATE_ARMED)
		serve_fetch(session);
	list_splice_init(&session->to_read, &to_read);
	spin_unlock_irq(&session->lock);

	/* Plugged, so that neighbours merge into the large reads that disks like. */
	blk_start_plug(&plug);
	list_for_each_entry_safe(copy, tmp, &to_read, link) {
		list_del_init(&copy->link);
		vmab_slots_init_bio(session->slots, copy);
		bio_set_dev(&copy->bio, copy->disk->origin->bdev);
		copy->bio.bi_iter.bi_sector = copy->chunk << copy->member->chunk_shift;
		copy->bio.bi_end_io = read_endio;
		if (copy->guest)
			copy->bio.bi_opf |= REQ_SYNC;
		submit_bio(&copy->bio);
	}
	blk_finish_plug(&plug);
}

void vmab_copy_init_session(struct vmab_session *session)
{
	INIT_LIST_HEAD(&session->to_read);
	INIT_LIST_HEAD(&session->done);
	INIT_LIST_HEAD(&session->ranges);
	INIT_LIST_HEAD(&session->free_ranges);
	INIT_WORK(&session->read_work, read_work_fn);
	init_waitqueue_head(&session->reader);
	init_waitqueue_head(&session->quiet);
}

enum vmab_verdict vmab_copy_guest_write(struct vmab_member *member, struct bio *bio)
{
	struct vmab_session *session = member->session;
	enum vmab_verdict verdict = VMAB_PASS;
	sector_t sector = bio->bi_iter.bi_sector;
	u64 first = sector >> member->chunk_shift;
	u64 end = ((bio_end_sector(bio) - 1) >> member->chunk_shift) + 1;
	u64 needed = vmab_map_needed(&member->map, first, end);
	unsigned long flags;

	if (needed == end)
		return VMAB_PASS;

	/* All or nothing: a part that was written would be written again. */
	if (bio->bi_opf & REQ_NOWAIT)
		return VMAB_AGAIN;

	/*
	 * A write is cut at the edges of the first chunk that is needed: each
	 * piece then waits for one copy, and pieces go on as theirs are done.
	 * The other operations can't be cut, or not without cost below.
	 */
	if (bio_op(bio) == REQ_OP_WRITE && end - first > 1) {
		if (needed > first) {
			dm_accept_partial_bio(bio, (needed << member->chunk_shift) - sector);
			return VMAB_PASS;
		}
		end = first + 1;
		dm_accept_partial_bio(bio, (end << member->chunk_shift) - sector);
	}

	spin_lock_irqsave(&session->lock, flags);
	if (session->state == VMABACKUP_STATE_ARMED) {
		struct vmab_held *held = dm_per_bio_data(bio, sizeof(*held));

		vmab_held_add(member, held, needed, end);
		place(held);
		serve_starved(session);
		if (!list_empty(&session->to_read))
			queue_work(read_wq, &session->read_work);
		verdict = VMAB_HELD;
	}
	spin_unlock_irqrestore(&session->lock, flags);
	return verdict;
}

int vmab_copy_fetch(struct vmab_member *member, u64 first, u64 end)
{
	struct vmab_session *session = member->session;
	struct vmab_range *range;
	int r = 0;

	spin_lock_irq(&session->lock);
	if (session->state != VMABACKUP_STATE_ARMED) {
		r = -ESTALE;
		goto unlock;
	}
	range = list_first_entry_or_null(&session->free_ranges, struct vmab_range, list);
	if (!range) {
		r = -ENOBUFS;
		goto unlock;
	}
	range->member = member;
	range->next = first;
	range->end = end;
	list_move_tail(&range->list, &session->ranges);
	queue_work(read_wq, &session->read_work);
unlock:
	spin_unlock_irq(&session->lock);
	return r;
}

/* Bios that starve for a chunk that nobody wants any more leave. */
static void recheck_starved(struct vmab_member *member)
{
	struct vmab_held *held, *tmp;

	list_for_each_entry_safe(held, tmp, &member->session->starved, wait)
		if (held->member == member &&
		    vmab_map_needed(&member->map, held->next, held->end) == held->end)
			vmab_held_leave(held, 0);
}

u64 vmab_copy_forget(struct vmab_member *member, u64 first, u64 end)
{
	struct vmab_session *session = member->session;
	u64 n, stop, total = 0;

	for (; first < end; first = stop) {
		stop = min_t(u64, end, first + FORGET_BATCH);
		spin_lock_irq(&session->lock);
		n = vmab_map_forget(&member->map, first, stop);
		member->stats.forgotten += n;
		session->nr_left -= n;
		total += n;
		if (n)
			recheck_starved(member);
		if (is_complete(session))
			wake_up_all(&session->reader);
		spin_unlock_irq(&session->lock);
		cond_resched();
	}
	return total;
}

void vmab_copy_requeue_starved(struct vmab_member *member)
{
	struct vmab_held *held, *tmp;

	lockdep_assert_held(&member->session->lock);

	list_for_each_entry_safe(held, tmp, &member->session->starved, wait)
		if (held->member == member)
			vmab_held_leave(held, BLK_STS_DM_REQUEUE);
}

void vmab_copy_quiesce(struct vmab_session *session)
{
	/* What was claimed is submitted by the worker, and then ends. */
	wait_event(session->quiet, !READ_ONCE(session->inflight));
	flush_work(&session->read_work);
}
