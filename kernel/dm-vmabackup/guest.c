// SPDX-License-Identifier: GPL-2.0
#include "guest.h"

#include <linux/blkdev.h>

#include "chunk-map.h"
#include "claim.h"
#include "held.h"
#include "slots.h"

/* How many bios that starve are served with interrupts off. */
#define SERVE_BATCH	64

/* FETCH's read, if it was not submitted yet, is as urgent as a guest's now. */
static void hurry(struct vmab_copy *copy)
{
	if (copy->guest || copy->hurried || copy->owner != VMAB_SLOT_READING ||
	    list_empty(&copy->link))
		return;
	copy->hurried = true;
	list_move_tail(&copy->link, &copy->member->guest_reads);
}

/* held->next is another chunk now, whose copy somebody may have begun. */
static void range_moved(struct vmab_held *held)
{
	struct vmab_member *member = held->member;
	struct vmab_copy *copy;

	vmab_held_moved(held);
	if (held->discard || vmab_map_is_unclaimed(&member->map, held->next))
		return;
	copy = vmab_slots_find(member->session->slots, member, held->next);
	if (copy)
		hurry(copy);
}

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
		hurry(copy);
		return;
	}

	if (!vmab_claim_may(member, held->discard)) {
		vmab_held_starve(held);
		return;
	}
	copy = vmab_claim_for_guest(member, chunk, held->discard);
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
	range_moved(held);

	held->claim = vmab_map_on_origin(&member->map, held->claim, held->end);
	if (held->claim < held->end && vmab_claim_may(member, held->discard)) {
		vmab_claim_for_guest(member, held->claim, held->discard);
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
	unsigned int i;

	list_for_each_entry(member, &session->hungry, hungry) {
		for (i = 0; i < VMAB_LINES; i++) {
			unsigned int line = (member->line_turn + i) % VMAB_LINES;

			held = list_first_entry_or_null(&member->starved[line], struct vmab_held,
							wait);
			if (held && vmab_claim_may(member, held->discard)) {
				member->line_turn = (line + 1) % VMAB_LINES;
				list_move_tail(&member->hungry, &session->hungry);
				return held;
			}
		}
	}
	return NULL;
}

bool vmab_guest_serve(struct vmab_session *session)
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
	vmab_go_on(session);
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
			range_moved(held);
	}
}

void vmab_guest_release(struct vmab_copy *copy)
{
	struct vmab_held *held, *tmp;

	list_for_each_entry_safe(held, tmp, &copy->waiters, wait)
		vmab_held_leave(held);
	check_ranges(copy->member, copy->chunk);
}

void vmab_guest_fail(struct vmab_copy *copy)
{
	struct vmab_member *member = copy->member;
	struct vmab_held *held, *tmp;

	list_for_each_entry_safe(held, tmp, &copy->waiters, wait)
		vmab_held_fail(held);
	list_for_each_entry_safe(held, tmp, &member->ranges, range)
		if (held->next <= copy->chunk && copy->chunk < held->end)
			vmab_held_fail(held);
}

void vmab_guest_recheck(struct vmab_member *member)
{
	struct vmab_held *held, *tmp;
	unsigned int line;

	for (line = 0; line < VMAB_LINES; line++)
		list_for_each_entry_safe(held, tmp, &member->starved[line], wait)
			if (held->single && !vmab_map_is_needed(&member->map, held->next))
				vmab_held_leave(held);
	list_for_each_entry_safe(held, tmp, &member->ranges, range) {
		held->next = vmab_map_needed(&member->map, held->next, held->end);
		if (held->next == held->end)
			vmab_held_leave(held);
		else
			range_moved(held);
	}
}

/*
 * It would have to wait and must not.  The copy can start all the same, or the
 * same answer would come until FETCH gets there.
 */
static void start_for_nowait(struct vmab_member *member, u64 chunk, bool discard)
{
	if (vmab_map_is_unclaimed(&member->map, chunk) && vmab_claim_may(member, discard))
		vmab_claim_for_guest(member, chunk, discard);
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
	/*
	 * Not to one that polls: dm would repeat it itself, no longer polled, and
	 * a second EAGAIN would come from a worker, where io_uring does not try
	 * again but fails the write.
	 */
	if ((bio->bi_opf & (REQ_NOWAIT | REQ_POLLED)) == REQ_NOWAIT) {
		start_for_nowait(member, first, bio_op(bio) == REQ_OP_DISCARD);
		return VMAB_AGAIN;
	}

	held = dm_per_bio_data(bio, sizeof(*held));
	vmab_held_add(member, held, first, end);
	place(held);
	vmab_guest_serve(session);
	/*
	 * From when dm begins to suspend without flush nobody may starve, and a
	 * bio can go back only from here or from presuspend: the flag that lets
	 * dm take it back is certain to be set only there.
	 */
	if (held->starved && !held->polled && dm_noflush_suspending(member->disk->ti)) {
		vmab_held_cancel(held);
		/* dm may try again many times until it stops. */
		member->stats.held--;
		return VMAB_REQUEUE;
	}
	/*
	 * Whoever polls expects the bio to be submitted by the time it does, and the
	 * worker that submits it can wait for the device.
	 */
	bio_clear_polled(bio);
	bio->bi_opf &= ~REQ_NOWAIT;
	return VMAB_HELD;
}

enum vmab_verdict vmab_guest_write(struct vmab_member *member, struct bio *bio)
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
