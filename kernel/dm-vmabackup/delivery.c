// SPDX-License-Identifier: GPL-2.0
#include "delivery.h"

#include <linux/nospec.h>
#include <linux/poll.h>

#include "fetch.h"
#include "held.h"
#include "slots.h"

static int find_range(struct vmab_session *session, const struct vmabackup_range *arg,
		      struct vmab_member **member)
{
	/* Pairs with nothing more than the caller's own ADD_DISK. */
	if (arg->disk >= READ_ONCE(session->nr_members))
		return -ENOENT;
	*member = session->members[array_index_nospec(arg->disk, VMABACKUP_MAX_DISKS)];
	if (!arg->count)
		return -EINVAL;
	if (arg->first >= (*member)->map.nr_chunks ||
	    arg->count > (*member)->map.nr_chunks - arg->first)
		return -ERANGE;
	return 0;
}

int vmab_delivery_fetch(struct vmab_session *session, const struct vmabackup_range *arg)
{
	struct vmab_member *member;
	int r;

	mutex_lock(&session->mutex);
	if (READ_ONCE(session->state) < VMABACKUP_STATE_ARMED)
		r = -EBUSY;
	else
		r = find_range(session, arg, &member);
	mutex_unlock(&session->mutex);
	return r ?: vmab_fetch_add(member, arg->first, arg->first + arg->count);
}

int vmab_delivery_forget(struct vmab_session *session, struct vmabackup_range *arg)
{
	struct vmab_member *member;
	int r;

	mutex_lock(&session->mutex);
	if (READ_ONCE(session->state) == VMABACKUP_STATE_BROKEN)
		r = -ESTALE;
	else
		r = find_range(session, arg, &member);
	mutex_unlock(&session->mutex);
	if (!r)
		arg->forgotten = vmab_fetch_forget(member, arg->first, arg->first + arg->count);
	return r;
}

static int check_armed(const struct vmab_session *session)
{
	if (session->state < VMABACKUP_STATE_ARMED)
		return -EBUSY;
	return session->state == VMABACKUP_STATE_ARMED ? 0 : -ESTALE;
}

int vmab_delivery_put(struct vmab_session *session, const u32 *slots, u32 nr, u32 *done)
{
	int r;

	*done = 0;
	spin_lock_irq(&session->lock);
	r = check_armed(session);
	while (!r && *done < nr) {
		r = vmab_slots_put(session->slots, slots[*done]);
		if (!r)
			(*done)++;
	}
	if (*done)
		vmab_fetch_kick(session);
	spin_unlock_irq(&session->lock);
	return r;
}

static bool something_to_say(const struct vmab_session *session)
{
	return session->state != VMABACKUP_STATE_ARMED || !list_empty(&session->done) ||
	       !session->nr_left;
}

static bool something_to_say_locked(struct vmab_session *session)
{
	bool ret;

	spin_lock_irq(&session->lock);
	ret = something_to_say(session);
	spin_unlock_irq(&session->lock);
	return ret;
}

static u32 completion_flags(const struct vmab_copy *copy)
{
	/* What is read back from the fleece device is there because a guest wrote. */
	if (copy->refetch)
		return VMABACKUP_COMPLETION_GUEST_WRITE | VMABACKUP_COMPLETION_FLEECE;
	return copy->guest ? VMABACKUP_COMPLETION_GUEST_WRITE : 0;
}

/* -EAGAIN: nothing yet */
static int take(struct vmab_session *session, struct vmabackup_completion *to, u32 max)
{
	struct vmab_copy *copy, *tmp;
	int n = check_armed(session);

	lockdep_assert_held(&session->lock);

	if (n)
		return n;

	list_for_each_entry_safe(copy, tmp, &session->done, link) {
		if (n == (int)max)
			break;
		list_del_init(&copy->link);
		vmab_slots_deliver(session->slots, copy);
		to[n++] = (struct vmabackup_completion) {
			.disk = copy->member->index,
			.slot = copy->slot,
			.chunk = copy->chunk,
			.length = copy->length,
			.flags = completion_flags(copy),
		};
	}
	return n || !session->nr_left ? n : -EAGAIN;
}

int vmab_delivery_take(struct vmab_session *session, struct vmabackup_completion *to, u32 max,
		       bool nonblock)
{
	int r;

	for (;;) {
		spin_lock_irq(&session->lock);
		r = take(session, to, max);
		spin_unlock_irq(&session->lock);
		if (r != -EAGAIN || nonblock)
			return r;
		if (wait_event_interruptible(session->reader, something_to_say_locked(session)))
			return -EINTR;
	}
}

void vmab_delivery_lost(struct vmab_session *session)
{
	spin_lock_irq(&session->lock);
	vmab_break(session, VMABACKUP_REASON_READER, EFAULT, NULL, U64_MAX);
	spin_unlock_irq(&session->lock);
}

__poll_t vmab_delivery_poll(struct vmab_session *session)
{
	__poll_t mask = 0;

	spin_lock_irq(&session->lock);
	if (session->state >= VMABACKUP_STATE_BROKEN)
		mask = EPOLLERR | EPOLLIN | EPOLLRDNORM;
	else if (session->state == VMABACKUP_STATE_ARMED && something_to_say(session))
		mask = EPOLLIN | EPOLLRDNORM;
	spin_unlock_irq(&session->lock);
	return mask;
}

void vmab_delivery_status(struct vmab_session *session, struct vmabackup_status *status)
{
	u32 i;

	spin_lock_irq(&session->lock);
	status->state = session->state;
	status->reason = session->fault.reason;
	status->error = session->fault.error;
	status->error_disk = session->fault.disk;
	status->error_offset = session->fault.offset;
	status->nr_disks = session->nr_members;
	if (session->slots) {
		status->nr_slots = session->slots->nr;
		status->slots_free = session->slots->nr_free;
		status->slots_user = session->slots->nr_user;
	}
	status->chunks_left = session->nr_left;
	for (i = 0; i < session->nr_members; i++) {
		const struct vmab_member *member = session->members[i];

		status->chunks_total += member->map.nr_chunks;
		status->chunks_guest += member->stats.guest;
		status->chunks_fetched += member->stats.fetched;
		status->chunks_forgotten += member->stats.forgotten;
		status->writes_held += member->stats.held;
		status->writes_held_now += member->stats.held_now;
		status->longest_wait_us = max(status->longest_wait_us,
					      member->stats.longest_wait_us);
		status->total_wait_us += member->stats.total_wait_us;
		status->chunks_spilled += member->stats.spilled;
		status->chunks_refetched += member->stats.refetched;
		status->writes_failed += member->stats.failed;
		status->discards_dropped += member->stats.dropped;
		status->copies_now += member->stats.copying;
		if (member->fleece)
			status->fleece_used += member->fleece->nr_used <<
					       (member->chunk_shift + SECTOR_SHIFT);
		if (!status->fleece_error)
			status->fleece_error = member->stats.fleece_error;
	}
	spin_unlock_irq(&session->lock);
}
