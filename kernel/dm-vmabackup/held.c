// SPDX-License-Identifier: GPL-2.0
#include "held.h"

#include <linux/blkdev.h>

#include "chunk-map.h"
#include "plug.h"
#include "trace.h"

/*
 * While a disk is being suspended, how often to look for writes that starve, in
 * milliseconds: a tenth of the grace that they have.
 */
#define SUSPEND_POLL_MS		(VMABACKUP_SUSPEND_GRACE_MS / 10)

/*
 * How long a discard may wait, if cbw_timeout does not end it before,
 * milliseconds.  It is only advice, and a guest that trims its whole disk waits
 * for each of them.
 */
#define DISCARD_TIMEOUT_MS	10000

/* How often to look while something is held, milliseconds: a tenth of that. */
#define LOOK_MS			(DISCARD_TIMEOUT_MS / 10)

/*
 * Apart from all that waits for disks: a deadline passes, and what is not to be submitted
 * ends, whatever they do.
 */
static struct workqueue_struct *deadline_wq;

int vmab_held_init_queue(void)
{
	deadline_wq = alloc_workqueue("vmabackup_deadline",
				      WQ_MEM_RECLAIM | WQ_UNBOUND | WQ_HIGHPRI, 0);
	return deadline_wq ? 0 : -ENOMEM;
}

void vmab_held_exit_queue(void)
{
	destroy_workqueue(deadline_wq);
}

int vmab_held_init_session(struct vmab_session *session)
{
	INIT_LIST_HEAD(&session->hungry);
	hash_init(session->by_chunk);
	session->leave_wq = alloc_workqueue("vmabackup_leave",
					    WQ_MEM_RECLAIM | WQ_UNBOUND | WQ_HIGHPRI, 0);
	if (!session->leave_wq)
		return -ENOMEM;
	/* Workers that are held back, three for each disk, may not be all that there can be. */
	session->throttled_wq = alloc_workqueue("vmabackup_throttled",
						WQ_MEM_RECLAIM | WQ_UNBOUND | WQ_HIGHPRI, 0);
	if (!session->throttled_wq) {
		destroy_workqueue(session->leave_wq);
		return -ENOMEM;
	}
	return 0;
}

void vmab_held_exit_session(struct vmab_session *session)
{
	destroy_workqueue(session->throttled_wq);
	destroy_workqueue(session->leave_wq);
}

static void go_out(struct bio *bio, enum vmab_way_out way_out)
{
	switch (way_out) {
	case VMAB_GO:
		dm_submit_bio_remap(bio, NULL);
		break;
	case VMAB_FAIL:
		bio_io_error(bio);
		break;
	case VMAB_DROP:
		bio_endio(bio);
		break;
	}
}

static void leave_work_fn(struct work_struct *work)
{
	struct vmab_leaving *leaving = container_of(work, struct vmab_leaving, work);
	struct vmab_session *session = leaving->member->session;
	struct vmab_held *held, *tmp;
	struct blk_plug plug;
	LIST_HEAD(bios);

	spin_lock_irq(&session->lock);
	list_splice_init(&leaving->bios, &bios);
	spin_unlock_irq(&session->lock);

	blk_start_plug(&plug);
	list_for_each_entry_safe(held, tmp, &bios, wait) {
		vmab_plug_resched(&plug);
		list_del(&held->wait);
		go_out(dm_bio_from_per_bio_data(held, sizeof(*held)), held->way_out);
	}
	blk_finish_plug(&plug);
}

void vmab_held_flush(struct vmab_session *session)
{
	struct vmab_member *member;
	unsigned int exit;
	u32 i;

	for (i = 0; i < session->nr_members; i++) {
		member = session->members[i];
		cancel_delayed_work_sync(&member->deadline);
		for (exit = 0; exit < VMAB_EXITS; exit++)
			flush_work(&member->leaving[exit].work);
	}
}

static u64 timeout_ns(const struct vmab_held *held)
{
	unsigned int ms = held->member->cbw_timeout_ms;

	if (held->discard)
		ms = min_t(unsigned int, ms, DISCARD_TIMEOUT_MS);
	return (u64)ms * NSEC_PER_MSEC;
}

/* When to look at the member for the first time, if not before. */
static unsigned long first_delay(const struct vmab_member *member)
{
	unsigned int ms = min_t(unsigned int, member->cbw_timeout_ms, LOOK_MS);

	if (member->suspend_since)
		ms = min_t(unsigned int, ms, SUSPEND_POLL_MS);
	return msecs_to_jiffies(ms);
}

void vmab_held_add(struct vmab_member *member, struct vmab_held *held, u64 first, u64 end)
{
	struct bio *bio = dm_bio_from_per_bio_data(held, sizeof(*held));

	lockdep_assert_held(&member->session->lock);

	held->member = member;
	held->next = first;
	held->end = end;
	held->claim = first;
	held->since = ktime_get_ns();
	held->single = end - first == 1;
	held->discard = bio_op(bio) == REQ_OP_DISCARD;
	held->polled = bio->bi_opf & REQ_POLLED;
	held->way_out = VMAB_GO;
	held->starved = false;
	INIT_LIST_HEAD(&held->wait);
	INIT_HLIST_NODE(&held->hash);
	if (!held->single) {
		list_add_tail(&held->range, &member->ranges);
		hash_add(member->session->by_chunk, &held->hash, first);
	}
	/* If one was held before, its deadline comes first and finds this one. */
	if (list_empty(&member->held))
		queue_delayed_work(deadline_wq, &member->deadline, first_delay(member));
	list_add_tail(&held->age, &member->held);
	member->stats.held++;
	member->stats.held_now++;
	trace_vmab_hold(member->dev, bio->bi_iter.bi_sector, bio_sectors(bio), held->discard);
}

void vmab_held_moved(struct vmab_held *held)
{
	hash_del(&held->hash);
	hash_add(held->member->session->by_chunk, &held->hash, held->next);
}

static enum vmab_line line_of(const struct vmab_held *held)
{
	if (held->discard)
		return VMAB_LINE_DISCARDS;
	return held->single ? VMAB_LINE_SINGLES : VMAB_LINE_RANGES;
}

static bool is_hungry(const struct vmab_member *member)
{
	unsigned int line;

	for (line = 0; line < VMAB_LINES; line++)
		if (!list_empty(&member->starved[line]))
			return true;
	return false;
}

void vmab_held_starve(struct vmab_held *held)
{
	struct vmab_member *member = held->member;
	struct vmab_session *session = member->session;

	lockdep_assert_held(&session->lock);

	held->starved = true;
	list_add_tail(&held->wait, &member->starved[line_of(held)]);
	if (held->single)
		hash_add(session->by_chunk, &held->hash, held->next);
	if (list_empty(&member->hungry))
		list_add_tail(&member->hungry, &session->hungry);
}

void vmab_held_feed(struct vmab_held *held)
{
	struct vmab_member *member = held->member;

	lockdep_assert_held(&member->session->lock);

	held->starved = false;
	list_del_init(&held->wait);
	if (held->single)
		hash_del(&held->hash);
	if (!is_hungry(member))
		list_del_init(&member->hungry);
}

/* Held no longer; returns for how long it was, microseconds. */
static u64 end_hold(struct vmab_held *held, enum vmab_trace_out out)
{
	u64 waited = div_u64(ktime_get_ns() - held->since, NSEC_PER_USEC);
	struct vmab_member *member = held->member;

	lockdep_assert_held(&member->session->lock);

	if (held->starved)
		vmab_held_feed(held);
	else
		list_del_init(&held->wait);
	if (!held->single) {
		list_del(&held->range);
		hash_del(&held->hash);
	}
	list_del(&held->age);
	member->stats.held_now--;
	trace_vmab_release(member->dev,
			   dm_bio_from_per_bio_data(held, sizeof(*held))->bi_iter.bi_sector,
			   waited, out);
	return waited;
}

void vmab_held_cancel(struct vmab_held *held)
{
	end_hold(held, VMAB_OUT_REQUEUED);
}

/*
 * The kernel's writeback throttling makes who submits wait, by the same marks.  One who
 * submits for all would make each wait for what is held back behind it.
 */
static enum vmab_exit exit_of(struct vmab_held *held)
{
	const struct bio *bio = dm_bio_from_per_bio_data(held, sizeof(*held));
	blk_opf_t direct = REQ_SYNC | REQ_IDLE;

	if (held->way_out != VMAB_GO)
		return VMAB_EXIT_ENDS;
	if (held->discard)
		return VMAB_EXIT_DISCARDS;
	if (bio_op(bio) != REQ_OP_WRITE || (bio->bi_opf & direct) == direct)
		return VMAB_EXIT_WRITES;
	if (bio->bi_opf & (REQ_SYNC | REQ_META | REQ_PRIO | REQ_SWAP))
		return VMAB_EXIT_SYNC;
	return VMAB_EXIT_WRITEBACK;
}

static struct workqueue_struct *exit_wq(const struct vmab_session *session, enum vmab_exit exit)
{
	switch (exit) {
	case VMAB_EXIT_ENDS:
		return deadline_wq;
	case VMAB_EXIT_WRITES:
		return session->leave_wq;
	default:
		return session->throttled_wq;
	}
}

static void queue_exit(struct vmab_held *held)
{
	struct vmab_member *member = held->member;
	enum vmab_exit exit = exit_of(held);

	list_add_tail(&held->wait, &member->leaving[exit].bios);
	queue_work(exit_wq(member->session, exit), &member->leaving[exit].work);
}

static void take_out(struct vmab_held *held, enum vmab_way_out way_out)
{
	static const enum vmab_trace_out outs[] = {
		[VMAB_GO] = VMAB_OUT_SUBMITTED,
		[VMAB_FAIL] = VMAB_OUT_FAILED,
		[VMAB_DROP] = VMAB_OUT_DROPPED,
	};
	struct vmab_member *member = held->member;
	u64 waited = end_hold(held, outs[way_out]);

	held->way_out = way_out;
	member->stats.total_wait_us += waited;
	member->stats.longest_wait_us = max(member->stats.longest_wait_us, waited);
	queue_exit(held);
}

void vmab_held_leave(struct vmab_held *held)
{
	take_out(held, VMAB_GO);
}

static void drop(struct vmab_held *held)
{
	held->member->stats.dropped++;
	take_out(held, VMAB_DROP);
}

void vmab_held_fail(struct vmab_held *held)
{
	/* It is advice. */
	if (held->discard) {
		drop(held);
		return;
	}
	held->member->stats.failed++;
	take_out(held, VMAB_FAIL);
}

void vmab_held_take_starved(struct vmab_member *member, struct list_head *list)
{
	struct vmab_held *held, *tmp;
	unsigned int line;

	for (line = 0; line < VMAB_LINES; line++) {
		list_for_each_entry_safe(held, tmp, &member->starved[line], wait) {
			if (held->polled)
				continue;
			vmab_held_cancel(held);
			list_add_tail(&held->wait, list);
		}
	}
}

void vmab_held_requeue(struct list_head *list)
{
	struct vmab_held *held, *tmp;

	list_for_each_entry_safe(held, tmp, list, wait) {
		struct bio *bio = dm_bio_from_per_bio_data(held, sizeof(*held));

		list_del(&held->wait);
		bio->bi_status = BLK_STS_DM_REQUEUE;
		bio_endio(bio);
	}
}

static void stop(struct vmab_session *session, enum vmabackup_state state)
{
	struct vmab_held *held, *tmp;
	u32 i;

	session->state = state;
	for (i = 0; i < session->nr_members; i++) {
		struct vmab_member *member = session->members[i];

		if (member->disk)
			RCU_INIT_POINTER(member->disk->member, NULL);
		list_for_each_entry_safe(held, tmp, &member->held, age)
			vmab_held_leave(held);
		/* View reads that wait end, too. */
		queue_work(session->leave_wq, &member->view_work);
		vmab_member_event(member);
	}
	wake_up_all(&session->reader);
}

static const char * const reason_text[] = {
	[VMABACKUP_REASON_NONE] = "no reason",
	[VMABACKUP_REASON_TIMEOUT] = "a guest write waited for cbw_timeout",
	[VMABACKUP_REASON_READ_ERROR] = "the origin could not be read",
	[VMABACKUP_REASON_SUSPEND] = "it was suspended while guest writes waited",
	[VMABACKUP_REASON_REPLACED] = "its table was replaced",
	[VMABACKUP_REASON_REMOVED] = "it was removed",
	[VMABACKUP_REASON_READER] = "chunks could not be handed to the reader",
	[VMABACKUP_REASON_FLEECE_ERROR] = "its fleece device failed",
	[VMABACKUP_REASON_RESIZED] = "its origin became too small",
};

void vmab_break(struct vmab_session *session, enum vmabackup_reason reason, int error,
		const struct vmab_member *member, u64 offset)
{
	lockdep_assert_held(&session->lock);

	if (session->state >= VMABACKUP_STATE_BROKEN)
		return;

	session->fault.reason = reason;
	session->fault.error = error;
	session->fault.disk = member ? member->index : U32_MAX;
	session->fault.offset = offset;
	trace_vmab_break(member ? member->dev : 0, reason, error, offset);
	if (member && member->disk)
		DMWARN("%s: backup session broken: %s (disk %u, offset %lld, error %d)",
		       dm_table_device_name(member->disk->ti->table), reason_text[reason],
		       member->index, (long long)offset, error);
	else
		DMWARN("backup session broken: %s", reason_text[reason]);
	stop(session, VMABACKUP_STATE_BROKEN);
}

void vmab_close(struct vmab_session *session)
{
	lockdep_assert_held(&session->lock);
	stop(session, VMAB_STATE_CLOSED);
}

/* Waited for too long.  False: that was the end of the session. */
static bool expire(struct vmab_held *held)
{
	struct vmab_member *member = held->member;

	if (held->discard || member->break_guest_write) {
		vmab_held_fail(held);
		return true;
	}
	vmab_break(member->session, VMABACKUP_REASON_TIMEOUT, ETIMEDOUT, member,
		   held->next << (member->chunk_shift + SECTOR_SHIFT));
	return false;
}

/* Ends what has waited too long; when the next one will have, or 0. */
static u64 expire_all(struct vmab_member *member, u64 now)
{
	struct vmab_held *held, *tmp;
	u64 until, first = 0;

	list_for_each_entry_safe(held, tmp, &member->held, age) {
		until = held->since + timeout_ns(held);
		if (now >= until) {
			if (!expire(held))
				return 0;
			continue;
		}
		if (!first || until < first)
			first = until;
		/* Those that follow are younger, but discards have less time. */
		if (held->discard || member->cbw_timeout_ms <= DISCARD_TIMEOUT_MS)
			break;
	}
	return first;
}

/*
 * Of those that can't be dropped.  Somebody else may have claimed all that a range wants: it only
 * waits for reads then.
 */
static const struct vmab_held *first_starved(struct vmab_member *member)
{
	struct vmab_held *held;

	held = list_first_entry_or_null(&member->starved[VMAB_LINE_SINGLES], struct vmab_held,
					wait);
	if (held)
		return held;
	list_for_each_entry(held, &member->starved[VMAB_LINE_RANGES], wait)
		if (vmab_map_on_origin(&member->map, held->claim, held->end) < held->end)
			return held;
	return NULL;
}

/*
 * While slots come free its turn will come.  Before it began to wait, which may be long after the
 * suspend has begun, there was no need for one to come free.
 */
static bool grace_is_over(const struct vmab_held *held, u64 now)
{
	const struct vmab_member *member = held->member;
	u64 quiet = max3(member->suspend_since, member->session->last_free, held->since);

	return now >= quiet + (u64)VMABACKUP_SUSPEND_GRACE_MS * NSEC_PER_MSEC;
}

/*
 * The disk is being suspended.  False: that was the end of the session.  A disk with as many reads
 * under way as it may have keeps its writes waiting itself: not the reader's fault.
 */
static bool end_grace(struct vmab_member *member, u64 now)
{
	const struct vmab_held *starved = first_starved(member);
	struct vmab_held *held, *tmp;

	if (starved && grace_is_over(starved, now) &&
	    member->nr_guest_reads < member->session->slots->share) {
		vmab_break(member->session, VMABACKUP_REASON_SUSPEND, EBUSY, member,
			   starved->next << (member->chunk_shift + SECTOR_SHIFT));
		return false;
	}
	list_for_each_entry_safe(held, tmp, &member->starved[VMAB_LINE_DISCARDS], wait) {
		if (!grace_is_over(held, now))
			break;
		drop(held);
	}
	return true;
}

static void deadline_work_fn(struct work_struct *work)
{
	struct vmab_member *member = container_of(to_delayed_work(work), struct vmab_member,
						  deadline);
	struct vmab_session *session = member->session;
	u64 now, until;

	spin_lock_irq(&session->lock);
	now = ktime_get_ns();
	until = expire_all(member, now);
	if (!until)
		goto unlock;
	until = min_t(u64, until, now + LOOK_MS * NSEC_PER_MSEC);

	if (member->suspend_since) {
		if (!end_grace(member, now))
			goto unlock;
		until = min_t(u64, until, now + SUSPEND_POLL_MS * NSEC_PER_MSEC);
	}
	queue_delayed_work(deadline_wq, &member->deadline, nsecs_to_jiffies64(until - now) + 1);
unlock:
	spin_unlock_irq(&session->lock);
}

void vmab_held_init_member(struct vmab_member *member)
{
	unsigned int line, exit;

	INIT_LIST_HEAD(&member->held);
	INIT_LIST_HEAD(&member->ranges);
	for (line = 0; line < VMAB_LINES; line++)
		INIT_LIST_HEAD(&member->starved[line]);
	INIT_LIST_HEAD(&member->hungry);
	for (exit = 0; exit < VMAB_EXITS; exit++) {
		member->leaving[exit].member = member;
		INIT_LIST_HEAD(&member->leaving[exit].bios);
		INIT_WORK(&member->leaving[exit].work, leave_work_fn);
	}
	INIT_DELAYED_WORK(&member->deadline, deadline_work_fn);
}

void vmab_held_suspending(struct vmab_member *member)
{
	lockdep_assert_held(&member->session->lock);

	member->suspend_since = ktime_get_ns();
	/* It sees to the rest, for as long as a bio is held. */
	mod_delayed_work(deadline_wq, &member->deadline, 0);
}
