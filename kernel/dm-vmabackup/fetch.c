// SPDX-License-Identifier: GPL-2.0
#include "fetch.h"

#include <linux/sched.h>

#include "chunk-map.h"
#include "claim.h"
#include "fetch-depth.h"
#include "fleece.h"
#include "guest.h"
#include "held.h"
#include "slots.h"

/* How many chunks of a range are looked at with interrupts off. */
#define SCAN_BATCH	BIT(18)

/* Likewise, how many are forgotten. */
#define FORGET_BATCH	BIT(14)

bool vmab_fetch_wants_more(const struct vmab_member *member, enum vmab_source source)
{
	return !list_empty(&member->session->ranges) && vmab_depth_low(member, source);
}

static void set_range(struct vmab_range *range, struct vmab_member *member, u64 first, u64 end)
{
	range->member = member;
	range->next = first;
	range->end = end;
	range->fleeced = false;
}

void vmab_fetch_retry(struct vmab_member *member, u64 chunk)
{
	struct vmab_session *session = member->session;
	struct vmab_range *retry = &member->retry;
	struct vmab_range *single;

	lockdep_assert_held(&session->lock);

	/*
	 * On the fleece device stands what guests have written, which comes unasked too, so
	 * that one range may hold all of it from the first to the last.  A chunk that could
	 * not be read needs one of its own.
	 */
	if (vmab_map_is_needed(&member->map, chunk)) {
		single = list_first_entry_or_null(&session->free_ranges, struct vmab_range, list);
		if (single) {
			set_range(single, member, chunk, chunk + 1);
			list_move_tail(&single->list, &session->ranges);
			return;
		}
		retry->fleeced = false;
	}
	if (list_empty(&retry->list)) {
		set_range(retry, member, chunk, chunk + 1);
		retry->fleeced = !vmab_map_is_needed(&member->map, chunk);
		list_add_tail(&retry->list, &session->ranges);
	} else {
		retry->next = min(retry->next, chunk);
		retry->end = max(retry->end, chunk + 1);
	}
}

static bool may_fetch(const struct vmab_member *member)
{
	return member->disk && !member->disk->paused;
}

static bool may_read(const struct vmab_member *member, u64 chunk)
{
	return vmab_depth_may(member, vmab_map_is_needed(&member->map, chunk) ?
				      VMAB_FROM_ORIGIN : VMAB_FROM_FLEECE);
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
	if (member->disk)
		vmab_depth_look(member);
	while (range->next < range->end && may_fetch(member)) {
		u64 stop = min(range->end, range->next + *budget);
		u64 chunk;

		if (!vmab_slots_for_fetch(slots))
			return false;
		if (!*budget) {
			/* Let interrupts in, then go on. */
			vmab_go_on(member->session);
			return false;
		}
		if (range->fleeced)
			chunk = vmab_map_on_fleece(&member->map, range->next, stop);
		else
			chunk = vmab_map_unclaimed(&member->map, range->next, stop);
		*budget -= chunk - range->next;
		range->next = chunk;
		if (chunk < stop) {
			if (!may_read(member, chunk))
				break;
			vmab_claim_for_fetch(member, chunk);
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

void vmab_fetch_kick(struct vmab_session *session)
{
	lockdep_assert_held(&session->lock);

	if (session->state != VMABACKUP_STATE_ARMED)
		return;
	/* FETCH has what nobody who starves can have. */
	if (vmab_guest_serve(session))
		serve_fetch(session);
}

int vmab_fetch_add(struct vmab_member *member, u64 first, u64 end)
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
	set_range(range, member, first, end);
	list_move_tail(&range->list, &session->ranges);
	vmab_fetch_kick(session);
unlock:
	spin_unlock_irq(&session->lock);
	return r;
}

u64 vmab_fetch_forget(struct vmab_member *member, u64 first, u64 end)
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
		if (n) {
			vmab_guest_recheck(member);
			vmab_fleece_forgot(member, first, stop);
		}
		if (n && !session->nr_left) {
			vmab_member_event(member);
			wake_up_all(&session->reader);
		}
		spin_unlock_irq(&session->lock);
		cond_resched();
	}
	return total;
}
