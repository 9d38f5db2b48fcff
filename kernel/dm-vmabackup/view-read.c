// SPDX-License-Identifier: GPL-2.0
#include "view-read.h"

#include <linux/blkdev.h>

#include "chunk-map.h"
#include "copy.h"
#include "fleece.h"
#include "plug.h"
#include "slots.h"

static struct bio *bio_of(struct vmab_view_read *read)
{
	return dm_bio_from_per_bio_data(read, sizeof(*read));
}

static enum vmab_view_verdict wait_on(struct vmab_view_read *read, struct list_head *list)
{
	read->place = VMAB_VIEW_WAITING;
	list_add_tail(&read->wait, list);
	return VMAB_VIEW_HELD;
}

static enum vmab_view_verdict go_to_origin(struct vmab_view_read *read)
{
	struct vmab_session *session = read->member->session;

	read->place = VMAB_VIEW_ORIGIN;
	read->disk = read->member->disk;
	atomic_inc(&read->disk->origin_reads);
	hash_add(session->viewing, &read->hash, read->chunk);
	session->nr_viewing++;
	bio_set_dev(bio_of(read), read->disk->origin->bdev);
	return VMAB_VIEW_SUBMIT;
}

static enum vmab_view_verdict go_to_fleece(struct vmab_view_read *read)
{
	read->place = VMAB_VIEW_FLEECE;
	read->disk = read->member->disk;
	atomic_inc(&read->disk->fleece_ios);
	bio_set_dev(bio_of(read), read->disk->fleece->bdev);
	return VMAB_VIEW_SUBMIT;
}

static enum vmab_view_verdict route(struct vmab_view_read *read)
{
	struct vmab_member *member = read->member;
	struct vmab_copy *copy;

	lockdep_assert_held(&member->session->lock);

	if (member->session->state != VMABACKUP_STATE_ARMED)
		return VMAB_VIEW_OVER;
	if (!vmab_map_is_unclaimed(&member->map, read->chunk)) {
		/* It is on its way to the fleece device. */
		copy = vmab_slots_find(member->session->slots, member, read->chunk);
		if (WARN_ON_ONCE(!copy))
			return VMAB_VIEW_OVER;
		return wait_on(read, &copy->readers);
	}
	if (!vmab_map_is_needed(&member->map, read->chunk))
		return go_to_fleece(read);
	if (member->disk->stopped)
		return wait_on(read, &member->view_waiting);
	return go_to_origin(read);
}

/* Not under way, nor waiting. */
static void uncount(struct vmab_view_read *read)
{
	struct vmab_session *session = read->member->session;

	lockdep_assert_held(&session->lock);

	read->place = VMAB_VIEW_NOWHERE;
	vmab_session_unpin(session);
}

/* dm can take it back while it suspends without flush. */
static bool may_go_back(const struct vmab_view_read *read)
{
	return !read->cut && !read->polled;
}

enum vmab_view_verdict vmab_view_read_map(struct vmab_view *view, struct vmab_member *member,
					  struct bio *bio)
{
	struct vmab_view_read *read = dm_per_bio_data(bio, sizeof(*read));
	struct vmab_session *session = member->session;
	enum vmab_view_verdict verdict;
	unsigned long flags;

	read->member = member;
	read->view = view;
	read->chunk = bio->bi_iter.bi_sector >> member->chunk_shift;

	spin_lock_irqsave(&session->lock, flags);
	session->inflight++;
	verdict = route(read);
	if (verdict == VMAB_VIEW_HELD) {
		if (bio->bi_opf & REQ_NOWAIT)
			verdict = VMAB_VIEW_AGAIN;
		else if (dm_noflush_suspending(view->ti) && may_go_back(read))
			verdict = VMAB_VIEW_REQUEUE;
		if (verdict != VMAB_VIEW_HELD)
			list_del(&read->wait);
	}
	if (verdict != VMAB_VIEW_SUBMIT && verdict != VMAB_VIEW_HELD)
		uncount(read);
	spin_unlock_irqrestore(&session->lock, flags);
	return verdict;
}

bool vmab_view_read_end(struct vmab_view_read *read)
{
	struct vmab_member *member = read->member;
	struct vmab_session *session = member->session;
	struct vmab_disk *disk = read->disk;
	bool origin = read->place == VMAB_VIEW_ORIGIN;
	unsigned long flags;
	bool live;

	/* Session and disk are freed after a grace period. */
	rcu_read_lock();
	spin_lock_irqsave(&session->lock, flags);
	live = session->state == VMABACKUP_STATE_ARMED;
	if (origin) {
		hash_del(&read->hash);
		session->nr_viewing--;
		vmab_copy_drained(member, read->chunk);
	}
	uncount(read);
	spin_unlock_irqrestore(&session->lock, flags);
	vmab_disk_unpin(disk, origin ? &disk->origin_reads : &disk->fleece_ios);
	rcu_read_unlock();
	return live;
}

/* The next read that can go, or NULL. */
static struct vmab_view_read *next_ready(struct vmab_member *member,
					 enum vmab_view_verdict *verdict)
{
	struct vmab_view_read *read;

	lockdep_assert_held(&member->session->lock);

	for (;;) {
		read = list_first_entry_or_null(&member->view_ready, struct vmab_view_read, wait);
		if (!read)
			return NULL;
		list_del(&read->wait);
		*verdict = route(read);
		if (*verdict == VMAB_VIEW_HELD)
			continue;
		if (*verdict == VMAB_VIEW_OVER)
			uncount(read);
		return read;
	}
}

static void view_work_fn(struct work_struct *work)
{
	struct vmab_member *member = container_of(work, struct vmab_member, view_work);
	struct vmab_session *session = member->session;
	enum vmab_view_verdict verdict;
	struct vmab_view_read *read;
	struct blk_plug plug;

	spin_lock_irq(&session->lock);
	if (session->state != VMABACKUP_STATE_ARMED || !member->disk->stopped)
		list_splice_tail_init(&member->view_waiting, &member->view_ready);
	spin_unlock_irq(&session->lock);

	blk_start_plug(&plug);
	for (;;) {
		vmab_plug_resched(&plug);
		spin_lock_irq(&session->lock);
		read = next_ready(member, &verdict);
		spin_unlock_irq(&session->lock);
		if (!read)
			break;
		if (verdict == VMAB_VIEW_SUBMIT)
			dm_submit_bio_remap(bio_of(read), NULL);
		else
			bio_io_error(bio_of(read));
	}
	blk_finish_plug(&plug);
}

void vmab_view_read_resume(struct vmab_member *member)
{
	lockdep_assert_held(&member->session->lock);

	if (!list_empty(&member->view_waiting))
		queue_work(member->session->leave_wq, &member->view_work);
}

static void take_back(struct vmab_view *view, struct list_head *from, struct list_head *to)
{
	struct vmab_view_read *read, *tmp;

	list_for_each_entry_safe(read, tmp, from, wait) {
		if (read->view != view || !may_go_back(read))
			continue;
		list_move_tail(&read->wait, to);
		uncount(read);
	}
}

void vmab_view_read_requeue(struct vmab_view *view, struct vmab_member *member)
{
	struct vmab_session *session = member->session;
	struct vmab_view_read *read, *tmp;
	struct vmab_copy *copy;
	unsigned long flags;
	LIST_HEAD(list);

	/* Wherever they wait; those that come later are handed back by map. */
	spin_lock_irqsave(&session->lock, flags);
	take_back(view, &member->view_waiting, &list);
	take_back(view, &member->view_ready, &list);
	/* A session with views has no FETCH, so that these are all copies. */
	list_for_each_entry(copy, &member->guest_copies, guests)
		take_back(view, &copy->readers, &list);
	spin_unlock_irqrestore(&session->lock, flags);

	list_for_each_entry_safe(read, tmp, &list, wait) {
		struct bio *bio = bio_of(read);

		list_del(&read->wait);
		bio->bi_status = BLK_STS_DM_REQUEUE;
		bio_endio(bio);
	}
}

void vmab_view_read_init_session(struct vmab_session *session)
{
	hash_init(session->viewing);
}

void vmab_view_read_init_member(struct vmab_member *member)
{
	INIT_LIST_HEAD(&member->view_ready);
	INIT_LIST_HEAD(&member->view_waiting);
	INIT_LIST_HEAD(&member->views);
	INIT_WORK(&member->view_work, view_work_fn);
}

void vmab_view_read_flush(struct vmab_session *session)
{
	u32 i;

	for (i = 0; i < session->nr_members; i++)
		flush_work(&session->members[i]->view_work);
}
