// SPDX-License-Identifier: GPL-2.0
#include "copy.h"

#include <linux/blkdev.h>
#include <linux/sched.h>

#include "chunk-map.h"
#include "fleece.h"
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

/* ---- claims ------------------------------------------------------------- */

/*
 * With several disks, the slots that the guests' chunks of one may hold while
 * its origin reads: all but a quarter.  One that hangs leaves that to the others.
 */
static u32 share(const struct vmab_session *session)
{
	u32 nr = session->slots->nr;

	return session->nr_members > 1 ? nr - DIV_ROUND_UP(nr, 4) : nr;
}

/* A discard sends chunks to the fleece device only where all of them go. */
static bool may_spill(const struct vmab_member *member, bool discard)
{
	return vmab_fleece_usable(member) &&
	       (!discard || member->session->policy == VMABACKUP_POLICY_FLEECE);
}

/* Is there a slot for a chunk that a guest's bio pushes? Discards leave the reserve. */
static bool may_claim(const struct vmab_member *member, bool discard)
{
	const struct vmab_slots *slots = member->session->slots;
	u32 keep = may_spill(member, discard) ? 0 : slots->spill;

	if (discard && !member->session->standalone)
		keep = max(keep, slots->reserve);
	return slots->nr_free > keep && member->nr_guest_reads < share(member->session);
}

/* NEEDED -> COPYING or FLEECED -> SAFE; there is a free slot, and the disk is there. */
static struct vmab_copy *claim(struct vmab_member *member, u64 chunk)
{
	struct vmab_session *session = member->session;
	struct vmab_copy *copy;

	lockdep_assert_held(&session->lock);

	vmab_map_claim(&member->map, chunk);
	copy = vmab_slots_get(session->slots, member, chunk);
	copy->length = chunk_length(member, chunk);
	copy->refetch = !vmab_map_is_needed(&member->map, chunk);
	session->inflight++;
	member->stats.copying++;
	atomic_inc(copy->refetch ? &copy->disk->fleece_ios : &copy->disk->origin_reads);
	queue_reads(member);
	return copy;
}

/* Singles that starve for the chunk need no slot any more: they wait for its copy. */
static void feed_singles(struct vmab_copy *copy)
{
	struct vmab_member *member = copy->member;
	struct hlist_node *tmp;
	struct vmab_held *held;

	hash_for_each_possible_safe(member->session->by_chunk, held, tmp, hash, copy->chunk) {
		if (held->member != member || held->next != copy->chunk || !held->single)
			continue;
		vmab_held_feed(held);
		list_add_tail(&held->wait, &copy->waiters);
	}
}

static struct vmab_copy *claim_for_guest(struct vmab_member *member, u64 chunk, bool discard)
{
	bool ring = vmab_slots_for_ring(member->session->slots);
	struct vmab_copy *copy = claim(member, chunk);

	copy->guest = true;
	copy->spill = may_spill(member, discard) &&
		      (!ring || member->session->policy == VMABACKUP_POLICY_FLEECE);
	list_add_tail(&copy->link, &member->guest_reads);
	list_add_tail(&copy->guests, &member->guest_copies);
	member->nr_guest_reads++;
	feed_singles(copy);
	return copy;
}

static void claim_for_fetch(struct vmab_member *member, u64 chunk)
{
	struct vmab_copy *copy = claim(member, chunk);

	feed_singles(copy);
	/* Guests wait for it: as urgent as one of theirs. */
	list_add_tail(&copy->link, list_empty(&copy->waiters) ? &member->fetch_reads :
		      &member->guest_reads);
	member->fetching++;
}

/* ---- bios that wait ----------------------------------------------------- */

/* A bio that wants one chunk waits for its copy. */
static void place_single(struct vmab_held *held)
{
	struct vmab_member *member = held->member;
	struct vmab_session *session = member->session;
	u64 chunk = held->next;
	struct vmab_copy *copy;

	if (!vmab_map_is_needed(&member->map, chunk)) {
		vmab_held_leave(held);
		return;
	}

	if (!vmab_map_is_unclaimed(&member->map, chunk)) {
		copy = vmab_slots_find(session->slots, member, chunk);
		if (WARN_ON_ONCE(!copy)) {
			vmab_held_leave(held);
			return;
		}
		list_add_tail(&held->wait, &copy->waiters);
		/* If FETCH's read was not submitted yet, it is as urgent as a guest's now. */
		if (copy->owner == VMAB_SLOT_READING && !list_empty(&copy->link))
			list_move_tail(&copy->link, &member->guest_reads);
		return;
	}

	if (!may_claim(member, held->discard)) {
		vmab_held_starve(held);
		return;
	}
	copy = claim_for_guest(member, chunk, held->discard);
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
	vmab_held_moved(held);

	held->claim = vmab_map_on_origin(&member->map, held->claim, held->end);
	if (held->claim < held->end && may_claim(member, held->discard)) {
		claim_for_guest(member, held->claim, held->discard);
		held->claim = vmab_map_on_origin(&member->map, held->claim + 1, held->end);
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

/* Whose turn it is of those who starve and for whom there is a slot, or NULL. */
static struct vmab_held *next_starved(struct vmab_session *session)
{
	struct vmab_member *member;
	struct vmab_held *held;
	int i;

	list_for_each_entry(member, &session->hungry, hungry) {
		for (i = 0; i < 2; i++) {
			struct list_head *line = member->ranges_turn ? &member->starved_ranges :
							 &member->starved;

			member->ranges_turn = !member->ranges_turn;
			held = list_first_entry_or_null(line, struct vmab_held, wait);
			if (held && may_claim(member, held->discard)) {
				list_move_tail(&member->hungry, &session->hungry);
				return held;
			}
		}
	}
	return NULL;
}

/*
 * Those who starve get what slots there are, disk by disk and in turn.  If time
 * runs out, the worker goes on, and false is returned.
 */
static bool serve_starved(struct vmab_session *session)
{
	struct vmab_held *held;
	unsigned int i;

	for (i = 0; i < SERVE_BATCH; i++) {
		held = next_starved(session);
		if (!held)
			return true;
		vmab_held_feed(held);
		place(held);
	}
	go_on(session);
	return false;
}

/* Bios that want many chunks and for which this one was the next. */
static void check_ranges(struct vmab_member *member, u64 chunk)
{
	struct hlist_node *tmp;
	struct vmab_held *held;

	hash_for_each_possible_safe(member->session->by_chunk, held, tmp, hash, chunk) {
		if (held->member != member || held->next != chunk || held->single)
			continue;
		held->next = vmab_map_needed(&member->map, chunk, held->end);
		if (held->next == held->end)
			vmab_held_leave(held);
		else
			vmab_held_moved(held);
	}
}

/* ---- FETCH -------------------------------------------------------------- */

static bool may_fetch(const struct vmab_member *member)
{
	return member->disk && !member->disk->paused && member->fetching < fetch_depth(member);
}

/*
 * FETCH passes by what guests have claimed: those chunks have to be delivered
 * from their slots, wherever they were bound for.
 */
static void want_passed(struct vmab_member *member, u64 first, u64 end)
{
	struct vmab_copy *copy;

	list_for_each_entry(copy, &member->guest_copies, guests)
		if (copy->chunk >= first && copy->chunk < end)
			copy->wanted = true;
}

/* Claims what the range may have now.  False: enough for one go. */
static bool claim_range(struct vmab_range *range, u64 *budget)
{
	struct vmab_member *member = range->member;
	struct vmab_slots *slots = member->session->slots;

	if (!member->map.nr_left)
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
			claim_for_fetch(member, chunk);
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
	bool more;
	u64 first;

	list_for_each_entry_safe(range, tmp, &session->ranges, list) {
		first = range->next;
		more = claim_range(range, &budget);
		if (range->next > first)
			want_passed(range->member, first, range->next);
		if (range->next == range->end) {
			if (range == &range->member->retry)
				list_del_init(&range->list);
			else
				list_move(&range->list, &session->free_ranges);
		}
		if (!more)
			return;
	}
}

void vmab_copy_kick(struct vmab_session *session)
{
	lockdep_assert_held(&session->lock);

	if (session->state != VMABACKUP_STATE_ARMED)
		return;
	/* FETCH has what nobody who starves can have. */
	if (serve_starved(session))
		serve_fetch(session);
}

/* ---- the ends of a copy ------------------------------------------------- */

static bool is_complete(const struct vmab_session *session)
{
	return !session->nr_left;
}

/* Nobody has to wait any more: the old content is in memory. */
static void release(struct vmab_copy *copy)
{
	struct vmab_member *member = copy->member;
	struct vmab_held *held, *tmp;

	copy->draining = false;
	copy->released = true;
	vmab_map_safe(&member->map, copy->chunk);
	list_for_each_entry_safe(held, tmp, &copy->waiters, wait)
		vmab_held_leave(held);
	check_ranges(member, copy->chunk);
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
	if (is_complete(session))
		vmab_member_event(member);
	wake_up(&session->reader);
}

/* The slot is free for the next one. */
static void drop(struct vmab_copy *copy)
{
	vmab_slots_drop(copy->member->session->slots, copy);
}

/* The chunk is on the fleece device, and no guest waits for it. */
static void spilled(struct vmab_copy *copy)
{
	struct vmab_member *member = copy->member;

	if (copy->wanted) {
		deliver(copy);
		return;
	}
	vmab_map_unclaim(&member->map, copy->chunk);
	member->stats.guest++;
	member->stats.spilled++;
	drop(copy);
}

/* break-guest-write: those who wait get an error, the chunk is NEEDED again. */
static void revert(struct vmab_copy *copy)
{
	struct vmab_member *member = copy->member;
	struct vmab_range *retry = &member->retry;
	struct vmab_held *held, *tmp;
	u64 chunk = copy->chunk;

	list_for_each_entry_safe(held, tmp, &copy->waiters, wait)
		vmab_held_fail(held);
	list_for_each_entry_safe(held, tmp, &member->ranges, range)
		if (held->next <= chunk && chunk < held->end)
			vmab_held_fail(held);

	vmab_map_unclaim(&member->map, chunk);
	drop(copy);
	if (!copy->wanted)
		return;
	if (list_empty(&retry->list)) {
		retry->next = chunk;
		retry->end = chunk + 1;
		list_add_tail(&retry->list, &member->session->ranges);
	} else {
		retry->next = min(retry->next, chunk);
		retry->end = max(retry->end, chunk + 1);
	}
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
		drop(copy);
	} else if (copy->guest && member->break_guest_write) {
		revert(copy);
	} else {
		vmab_break(member->session, VMABACKUP_REASON_READ_ERROR, -error, member, offset);
		drop(copy);
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
		revert(copy);
	} else {
		vmab_break(session, VMABACKUP_REASON_FLEECE_ERROR, -error, member,
			   copy->chunk << (member->chunk_shift + SECTOR_SHIFT));
		drop(copy);
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
		drop(copy);
		end_copy(copy);
	}
	go_on(member->session);
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
		drop(copy);
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
		serve_starved(session);
		if (!list_empty(&session->ranges))
			go_on(session);
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
		member->fetching--;

	if (session->state != VMABACKUP_STATE_ARMED) {
		drop(copy);
	} else if (error) {
		fail_read(copy, error);
	} else if (!copy->spill || copy->wanted) {
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
			serve_starved(session);
		/* Half of the depth at a time, for reads that merge. */
		if (!guest && !list_empty(&session->ranges) &&
		    member->fetching == fetch_depth(member) / 2)
			go_on(session);
	}
	spin_unlock_irqrestore(&session->lock, flags);
	vmab_disk_unpin(disk, ios);
	rcu_read_unlock();
}

/* ---- reads -------------------------------------------------------------- */

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
	INIT_LIST_HEAD(&member->guest_copies);
	INIT_LIST_HEAD(&member->retry.list);
	member->retry.member = member;
	INIT_WORK(&member->read_work, read_work_fn);
}

/*
 * It would have to wait and must not.  The copy can start all the same, or the
 * same answer would come until FETCH gets there.
 */
static void start_for_nowait(struct vmab_member *member, u64 chunk)
{
	if (vmab_map_is_unclaimed(&member->map, chunk) && may_claim(member, false))
		claim_for_guest(member, chunk, false);
}

static enum vmab_verdict hold(struct vmab_member *member, struct bio *bio, u64 first, u64 end)
{
	struct vmab_session *session = member->session;
	struct vmab_held *held;

	lockdep_assert_held(&session->lock);

	if (session->state != VMABACKUP_STATE_ARMED)
		return VMAB_PASS;
	if (session->drop_discards && bio_op(bio) == REQ_OP_DISCARD) {
		member->stats.dropped++;
		return VMAB_DROPPED;
	}
	/* What was needed without the lock may have become SAFE meanwhile. */
	first = vmab_map_needed(&member->map, first, end);
	if (first == end)
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
	vmab_copy_kick(session);
unlock:
	spin_unlock_irq(&session->lock);
	return r;
}

/* Bios that wait for chunks that nobody wants any more leave. */
static void recheck(struct vmab_member *member)
{
	struct vmab_held *held, *tmp;

	list_for_each_entry_safe(held, tmp, &member->starved, wait)
		if (!vmab_map_is_needed(&member->map, held->next))
			vmab_held_leave(held);
	list_for_each_entry_safe(held, tmp, &member->ranges, range) {
		held->next = vmab_map_needed(&member->map, held->next, held->end);
		if (held->next == held->end)
			vmab_held_leave(held);
		else
			vmab_held_moved(held);
	}
	vmab_fleece_forgot(member);
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
			recheck(member);
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
	for (i = 0; i < session->nr_members; i++) {
		flush_work(&session->members[i]->read_work);
		vmab_fleece_flush(session->members[i]);
	}
}
