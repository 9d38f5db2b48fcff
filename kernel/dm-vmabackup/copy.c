// SPDX-License-Identifier: GPL-2.0
#include "copy.h"

#include <linux/blkdev.h>
#include <linux/sched.h>

#include "chunk-map.h"
#include "held.h"
#include "slots.h"

/* How many chunks of a range are looked at with interrupts off. */
#define SCAN_BATCH	BIT(18)

/* Likewise, how many are forgotten, and how many are claimed for those who starve. */
#define FORGET_BATCH	BIT(14)
#define SERVE_BATCH	64

/*
 * How much FETCH may have a disk read at a time: 4 MiB keep a fast disk busy,
 * and a guest's read does not queue behind more than that.  But some chunks, if
 * they are large, so that the disk is never idle between two.
 */
#define FETCH_BYTES	(4u << 20)
#define FETCH_MIN_DEPTH	4u

/* Of so many reads one is FETCH's, even when guests' never cease: bios wait there, too. */
#define FETCH_TURN	8

static u32 chunk_length(const struct vmab_member *member, u64 chunk)
{
	unsigned int shift = member->chunk_shift + SECTOR_SHIFT;

	return min_t(u64, 1ULL << shift, member->size - (chunk << shift));
}

static void queue_reads(struct vmab_member *member)
{
	queue_work(member->session->read_wq, &member->read_work);
}

/* There is more to claim than one may with interrupts off. */
static void go_on(struct vmab_session *session)
{
	queue_work(session->read_wq, &session->kick_work);
}

static u32 fetch_depth(const struct vmab_member *member)
{
	return max(FETCH_BYTES >> (member->chunk_shift + SECTOR_SHIFT), FETCH_MIN_DEPTH);
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
	if (guest) {
		list_add_tail(&copy->link, &member->guest_reads);
	} else {
		list_add_tail(&copy->link, &member->fetch_reads);
		member->fetching++;
	}
	queue_reads(member);
	return copy;
}

/* For a guest: others that starve for the same chunk need no slot any more. */
static struct vmab_copy *claim_for_guest(struct vmab_member *member, u64 chunk)
{
	struct vmab_session *session = member->session;
	struct vmab_copy *copy = claim(member, chunk, true);
	struct hlist_node *tmp;
	struct vmab_held *held;

	hash_for_each_possible_safe(session->starving, held, tmp, hash, chunk) {
		if (held->member != member || held->next != chunk)
			continue;
		vmab_held_feed(held);
		list_add_tail(&held->wait, &copy->waiters);
	}
	return copy;
}

/* A bio that wants one chunk waits for its copy. */
static void place_single(struct vmab_held *held)
{
	struct vmab_member *member = held->member;
	struct vmab_session *session = member->session;
	u64 chunk = held->next;
	struct vmab_copy *copy;

	if (vmab_map_needed(&member->map, chunk, held->end) == held->end) {
		vmab_held_leave(held);
		return;
	}

	if (vmab_map_unclaimed(&member->map, chunk, held->end) == held->end) {
		copy = vmab_slots_find(session->slots, member, chunk);
		if (WARN_ON_ONCE(!copy)) {
			vmab_held_leave(held);
			return;
		}
		list_add_tail(&held->wait, &copy->waiters);
		/* If FETCH's read was not submitted yet, it is as urgent as a guest's now. */
		if (!list_empty(&copy->link))
			list_move_tail(&copy->link, &member->guest_reads);
		return;
	}

	if (!vmab_slots_for_guest(session->slots)) {
		vmab_held_starve(held);
		return;
	}
	copy = claim_for_guest(member, chunk);
	list_add_tail(&held->wait, &copy->waiters);
}

/*
 * A bio that wants many chunks (a discard can want all of the disk) gets them
 * copied one slot at a time, in turn with the others that starve.  It leaves
 * when none is needed any more, whoever had them copied: check_ranges().
 */
static void place_range(struct vmab_held *held)
{
	struct vmab_member *member = held->member;

	held->next = vmab_map_needed(&member->map, held->next, held->end);
	if (held->next == held->end) {
		vmab_held_leave(held);
		return;
	}

	held->claim = vmab_map_unclaimed(&member->map, held->claim, held->end);
	if (held->claim < held->end && vmab_slots_for_guest(member->session->slots)) {
		claim_for_guest(member, held->claim);
		held->claim = vmab_map_unclaimed(&member->map, held->claim + 1, held->end);
	}
	if (held->claim < held->end)
		vmab_held_starve(held);
}

/* held->wait is on no list. */
static void place(struct vmab_held *held)
{
	lockdep_assert_held(&held->member->session->lock);

	if (held->single)
		place_single(held);
	else
		place_range(held);
}

/*
 * Those who starve get what slots there are, in turn.  If time runs out, the
 * worker goes on; FETCH gets nothing while anybody starves.
 */
static void serve_starved(struct vmab_session *session)
{
	struct vmab_held *held = NULL;
	unsigned int i;

	for (i = 0; i < SERVE_BATCH && vmab_slots_for_guest(session->slots); i++) {
		held = list_first_entry_or_null(&session->starved, struct vmab_held, wait);
		if (!held)
			return;
		vmab_held_feed(held);
		place(held);
	}
	if (i == SERVE_BATCH)
		go_on(session);
}

/* Bios that want many chunks, after some of those became SAFE. */
static void check_ranges(struct vmab_member *member)
{
	struct vmab_held *held, *tmp;

	list_for_each_entry_safe(held, tmp, &member->ranges, range) {
		held->next = vmab_map_needed(&member->map, held->next, held->end);
		if (held->next == held->end)
			vmab_held_leave(held);
	}
}

static bool may_fetch(const struct vmab_member *member)
{
	return member->disk && !member->disk->paused && member->fetching < fetch_depth(member);
}

/* Claims what the range may have now.  False: enough for one go. */
static bool serve_range(struct vmab_range *range, u64 *budget)
{
	struct vmab_member *member = range->member;
	struct vmab_slots *slots = member->session->slots;

	if (!member->map.nr_needed)
		range->next = range->end;
	while (range->next < range->end && may_fetch(member)) {
		u64 stop = min(range->end, range->next + *budget);
		u64 chunk;

		if (!vmab_slots_for_fetch(slots))
			return false;
		if (!*budget) {
			/* Let interrupts in, then go on. */
			go_on(member->session);
			return false;
		}
		chunk = vmab_map_unclaimed(&member->map, range->next, stop);
		*budget -= chunk - range->next;
		range->next = chunk;
		if (chunk < stop) {
			claim(member, chunk, false);
			range->next++;
		}
	}
	return true;
}

/* The queued ranges take what slots they may, each disk its own share. */
static void serve_fetch(struct vmab_session *session)
{
	struct vmab_range *range, *tmp;
	u64 budget = SCAN_BATCH;

	if (!list_empty(&session->starved))
		return;
	list_for_each_entry_safe(range, tmp, &session->ranges, list) {
		if (!serve_range(range, &budget))
			return;
		if (range->next == range->end)
			list_move(&range->list, &session->free_ranges);
	}
}

void vmab_copy_kick(struct vmab_session *session)
{
	lockdep_assert_held(&session->lock);

	if (session->state != VMABACKUP_STATE_ARMED)
		return;
	serve_starved(session);
	serve_fetch(session);
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
		vmab_held_leave(held);
	check_ranges(member);
	if (is_complete(session))
		vmab_member_event(member);
	wake_up(&session->reader);
}

/* COPYING is over, one way or the other.  Locked, and under rcu_read_lock(). */
static void end_copy(struct vmab_session *session, struct vmab_copy *copy)
{
	struct vmab_member *member = copy->member;
	struct vmab_disk *disk = copy->disk;

	if (!copy->guest)
		member->fetching--;
	if (session->state == VMABACKUP_STATE_ARMED)
		copy_done(session, copy);
	else
		vmab_slots_drop(session->slots, copy);

	session->inflight--;
	if (!session->inflight)
		wake_up_all(&session->quiet);
	if (atomic_dec_and_test(&disk->inflight))
		wake_up_all(&disk->idle);
}

/* In interrupts, as a rule. */
static void read_endio(struct bio *bio)
{
	struct vmab_copy *copy = container_of(bio, struct vmab_copy, bio);
	struct vmab_member *member = copy->member;
	struct vmab_session *session = member->session;
	int error = blk_status_to_errno(bio->bi_status);
	bool guest = copy->guest;
	unsigned long flags;

	bio_uninit(bio);

	/* Session and disk are freed after a grace period: see the waits for inflight. */
	rcu_read_lock();
	spin_lock_irqsave(&session->lock, flags);
	if (error)
		vmab_break(session, VMABACKUP_REASON_READ_ERROR, -error, member,
			   copy->chunk << (member->chunk_shift + SECTOR_SHIFT));
	end_copy(session, copy);
	/* Half of the depth at a time, for reads that merge. */
	if (!guest && session->state == VMABACKUP_STATE_ARMED && !list_empty(&session->ranges) &&
	    member->fetching == fetch_depth(member) / 2)
		go_on(session);
	spin_unlock_irqrestore(&session->lock, flags);
	rcu_read_unlock();
}

/* The next read to submit, guests' first as a rule, or NULL. */
static struct vmab_copy *next_read(struct vmab_member *member)
{
	struct vmab_session *session = member->session;
	struct vmab_copy *copy;

	lockdep_assert_held(&session->lock);

	for (;;) {
		bool turn = ++member->submitted % FETCH_TURN == 0;
		struct list_head *reads = &member->guest_reads;

		if (list_empty(reads) || (turn && !list_empty(&member->fetch_reads)))
			reads = &member->fetch_reads;
		copy = list_first_entry_or_null(reads, struct vmab_copy, link);
		if (!copy)
			return NULL;
		list_del_init(&copy->link);
		if (session->state == VMABACKUP_STATE_ARMED)
			return copy;
		/* Nobody wants it any more. */
		rcu_read_lock();
		end_copy(session, copy);
		rcu_read_unlock();
	}
}

static void submit_read(struct vmab_copy *copy)
{
	struct vmab_member *member = copy->member;

	vmab_slots_init_bio(member->session->slots, copy);
	bio_set_dev(&copy->bio, copy->disk->origin->bdev);
	copy->bio.bi_iter.bi_sector = copy->chunk << member->chunk_shift;
	copy->bio.bi_end_io = read_endio;
	if (copy->guest)
		copy->bio.bi_opf |= REQ_SYNC;
	submit_bio(&copy->bio);
}

/* Reads are submitted from here only: map may not sleep, ends of reads neither. */
static void read_work_fn(struct work_struct *work)
{
	struct vmab_member *member = container_of(work, struct vmab_member, read_work);
	struct vmab_session *session = member->session;
	struct vmab_copy *copy;
	struct blk_plug plug;

	/* Plugged, so that neighbours merge into the large reads that disks like. */
	blk_start_plug(&plug);
	for (;;) {
		/* One by one: a guest's claim that comes now is the next. */
		spin_lock_irq(&session->lock);
		copy = next_read(member);
		spin_unlock_irq(&session->lock);
		if (!copy)
			break;
		submit_read(copy);
	}
	blk_finish_plug(&plug);
}

static void kick_work_fn(struct work_struct *work)
{
	struct vmab_session *session = container_of(work, struct vmab_session, kick_work);

	spin_lock_irq(&session->lock);
	vmab_copy_kick(session);
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
	INIT_WORK(&member->read_work, read_work_fn);
}

/*
 * It would have to wait and must not.  The copy can start all the same, or the
 * same answer would come until FETCH gets there.
 */
static void start_for_nowait(struct vmab_member *member, u64 chunk)
{
	if (vmab_map_unclaimed(&member->map, chunk, chunk + 1) == chunk &&
	    vmab_slots_for_guest(member->session->slots))
		claim_for_guest(member, chunk);
}

static enum vmab_verdict hold(struct vmab_member *member, struct bio *bio, u64 first, u64 end)
{
	struct vmab_session *session = member->session;
	struct vmab_held *held;

	lockdep_assert_held(&session->lock);

	if (session->state != VMABACKUP_STATE_ARMED)
		return VMAB_PASS;
	if (bio->bi_opf & REQ_NOWAIT) {
		start_for_nowait(member, first);
		return VMAB_AGAIN;
	}

	held = dm_per_bio_data(bio, sizeof(*held));
	vmab_held_add(member, held, first, end);
	place(held);
	serve_starved(session);
	/*
	 * From when dm begins to suspend without flush nobody may starve, and a
	 * bio can go back only from here or from presuspend: the flag that lets
	 * dm take it back is certain to be set only there.
	 */
	if (held->starved && dm_noflush_suspending(member->disk->ti)) {
		vmab_held_cancel(held);
		return VMAB_REQUEUE;
	}
	/* Whoever polls expects the bio to be submitted by the time it does. */
	bio_clear_polled(bio);
	return VMAB_HELD;
}

enum vmab_verdict vmab_copy_guest_write(struct vmab_member *member, struct bio *bio)
{
	struct vmab_session *session = member->session;
	enum vmab_verdict verdict;
	u64 first = bio->bi_iter.bi_sector >> member->chunk_shift;
	u64 end = ((bio_end_sector(bio) - 1) >> member->chunk_shift) + 1;
	u64 needed = vmab_map_needed(&member->map, first, end);
	unsigned long flags;

	if (needed == end)
		return VMAB_PASS;

	/*
	 * All of it is held, not cut at the edges of chunks by
	 * dm_accept_partial_bio(): dm puts a bio that it has cut and that comes
	 * back as a requeue together again while the rest may still be being cut.
	 */
	spin_lock_irqsave(&session->lock, flags);
	verdict = hold(member, bio, needed, end);
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
	serve_fetch(session);
unlock:
	spin_unlock_irq(&session->lock);
	return r;
}

/* Bios that starve for a chunk that nobody wants any more leave. */
static void recheck_starved(struct vmab_member *member)
{
	struct vmab_held *held, *tmp;

	list_for_each_entry_safe(held, tmp, &member->session->starved, wait)
		if (held->single && held->member == member &&
		    vmab_map_needed(&member->map, held->next, held->end) == held->end)
			vmab_held_leave(held);
	check_ranges(member);
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
		if (n && is_complete(session)) {
			vmab_member_event(member);
			wake_up_all(&session->reader);
		}
		spin_unlock_irq(&session->lock);
		cond_resched();
	}
	return total;
}

void vmab_copy_quiesce(struct vmab_session *session)
{
	u32 i;

	/* What was claimed is submitted or dropped by the workers. */
	wait_event(session->quiet, !READ_ONCE(session->inflight));
	flush_work(&session->kick_work);
	for (i = 0; i < session->nr_members; i++)
		flush_work(&session->members[i]->read_work);
}
