// SPDX-License-Identifier: GPL-2.0
#include "held.h"

#include <linux/blkdev.h>

/*
 * While a disk is being suspended, how often to look for writes that starve, in
 * milliseconds: a tenth of the grace that they have.
 */
#define SUSPEND_POLL_MS		(VMABACKUP_SUSPEND_GRACE_MS / 10)

/*
 * Two queues, because what runs on the first may wait for the origin: a
 * deadline has to pass whatever the origin does.
 */
static struct workqueue_struct *leave_wq;
static struct workqueue_struct *deadline_wq;

int vmab_held_init_queues(void)
{
	leave_wq = alloc_workqueue("vmabackup_leave", WQ_MEM_RECLAIM, 0);
	if (!leave_wq)
		return -ENOMEM;
	deadline_wq = alloc_workqueue("vmabackup_deadline", WQ_MEM_RECLAIM, 0);
	if (!deadline_wq) {
		destroy_workqueue(leave_wq);
		return -ENOMEM;
	}
	return 0;
}

void vmab_held_exit_queues(void)
{
	destroy_workqueue(deadline_wq);
	destroy_workqueue(leave_wq);
}

static void leave_work_fn(struct work_struct *work)
{
	struct vmab_session *session = container_of(work, struct vmab_session, leave_work);
	struct vmab_held *held, *tmp;
	struct blk_plug plug;
	LIST_HEAD(leaving);

	spin_lock_irq(&session->lock);
	list_splice_init(&session->leaving, &leaving);
	spin_unlock_irq(&session->lock);

	blk_start_plug(&plug);
	list_for_each_entry_safe(held, tmp, &leaving, wait) {
		struct bio *bio = dm_bio_from_per_bio_data(held, sizeof(*held));

		list_del(&held->wait);
		if (held->status) {
			bio->bi_status = held->status;
			bio_endio(bio);
		} else {
			submit_bio_noacct(bio);
		}
	}
	blk_finish_plug(&plug);
}

void vmab_held_init_session(struct vmab_session *session)
{
	INIT_LIST_HEAD(&session->starved);
	INIT_LIST_HEAD(&session->leaving);
	INIT_WORK(&session->leave_work, leave_work_fn);
}

void vmab_held_flush(struct vmab_session *session)
{
	u32 i;

	for (i = 0; i < session->nr_members; i++)
		cancel_delayed_work_sync(&session->members[i]->deadline);
	flush_work(&session->leave_work);
}

static unsigned long first_delay(const struct vmab_member *member)
{
	unsigned int ms = member->cbw_timeout_ms;

	if (member->suspend_since)
		ms = min_t(unsigned int, ms, SUSPEND_POLL_MS);
	return msecs_to_jiffies(ms);
}

void vmab_held_add(struct vmab_member *member, struct vmab_held *held, u64 first, u64 end)
{
	lockdep_assert_held(&member->session->lock);

	held->member = member;
	held->next = first;
	held->end = end;
	held->since = ktime_get_ns();
	INIT_LIST_HEAD(&held->wait);
	/* If one was held before, its deadline comes first and finds this one. */
	if (list_empty(&member->held))
		queue_delayed_work(deadline_wq, &member->deadline, first_delay(member));
	list_add_tail(&held->age, &member->held);
	member->stats.held++;
	member->stats.held_now++;
}

void vmab_held_leave(struct vmab_held *held, blk_status_t status)
{
	struct vmab_member *member = held->member;
	struct vmab_session *session = member->session;
	u64 waited = div_u64(ktime_get_ns() - held->since, NSEC_PER_USEC);

	lockdep_assert_held(&session->lock);

	member->stats.held_now--;
	member->stats.total_wait_us += waited;
	member->stats.longest_wait_us = max(member->stats.longest_wait_us, waited);

	held->status = status;
	list_del(&held->age);
	list_move_tail(&held->wait, &session->leaving);
	queue_work(leave_wq, &session->leave_work);
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
			vmab_held_leave(held, 0);
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

static const struct vmab_held *first_starved(const struct vmab_member *member)
{
	const struct vmab_held *held;

	list_for_each_entry(held, &member->session->starved, wait)
		if (held->member == member)
			return held;
	return NULL;
}

static void deadline_work_fn(struct work_struct *work)
{
	struct vmab_member *member = container_of(to_delayed_work(work), struct vmab_member,
						  deadline);
	struct vmab_session *session = member->session;
	const u64 grace = (u64)VMABACKUP_SUSPEND_GRACE_MS * NSEC_PER_MSEC;
	const struct vmab_held *oldest, *starved;
	u64 now, until;

	spin_lock_irq(&session->lock);
	oldest = list_first_entry_or_null(&member->held, struct vmab_held, age);
	if (!oldest)
		goto unlock;

	now = ktime_get_ns();
	until = oldest->since + (u64)member->cbw_timeout_ms * NSEC_PER_MSEC;
	if (now >= until) {
		vmab_break(session, VMABACKUP_REASON_TIMEOUT, ETIMEDOUT, member,
			   oldest->next << (member->chunk_shift + SECTOR_SHIFT));
		goto unlock;
	}

	if (member->suspend_since) {
		starved = first_starved(member);
		if (starved && now >= member->suspend_since + grace) {
			vmab_break(session, VMABACKUP_REASON_SUSPEND, EBUSY, member,
				   starved->next << (member->chunk_shift + SECTOR_SHIFT));
			goto unlock;
		}
		until = min_t(u64, until, now + SUSPEND_POLL_MS * NSEC_PER_MSEC);
	}
	queue_delayed_work(deadline_wq, &member->deadline, nsecs_to_jiffies64(until - now) + 1);
unlock:
	spin_unlock_irq(&session->lock);
}

void vmab_held_init_member(struct vmab_member *member)
{
	INIT_LIST_HEAD(&member->held);
	INIT_LIST_HEAD(&member->draining);
	INIT_DELAYED_WORK(&member->deadline, deadline_work_fn);
}

void vmab_held_suspending(struct vmab_member *member)
{
	lockdep_assert_held(&member->session->lock);

	member->suspend_since = ktime_get_ns();
	/* It sees to the rest, for as long as a bio is held. */
	mod_delayed_work(deadline_wq, &member->deadline, 0);
}
