// SPDX-License-Identifier: GPL-2.0
#include "claim.h"

#include "chunk-map.h"
#include "fetch-depth.h"
#include "fleece.h"
#include "held.h"
#include "slots.h"
#include "trace.h"

u32 vmab_chunk_length(const struct vmab_member *member, u64 chunk)
{
	unsigned int shift = member->chunk_shift + SECTOR_SHIFT;

	return min_t(u64, 1ULL << shift, member->size - (chunk << shift));
}

/* A discard sends chunks to the fleece device only where all of them go. */
static bool may_spill(const struct vmab_member *member, bool discard)
{
	return vmab_fleece_usable(member) &&
	       (!discard || member->session->policy == VMABACKUP_POLICY_FLEECE);
}

bool vmab_claim_may(const struct vmab_member *member, bool discard)
{
	const struct vmab_slots *slots = member->session->slots;
	u32 keep = may_spill(member, discard) ? 0 : vmab_slots_kept(slots);

	if (discard && !member->session->standalone)
		keep = min(keep + slots->reserve, slots->nr - 1);
	return slots->nr_free > keep && member->nr_guest_reads < slots->share;
}

/* NEEDED -> COPYING or FLEECED -> SAFE; there is a free slot, and the disk is there. */
static struct vmab_copy *claim(struct vmab_member *member, u64 chunk)
{
	struct vmab_session *session = member->session;
	struct vmab_copy *copy;

	lockdep_assert_held(&session->lock);

	vmab_map_claim(&member->map, chunk);
	copy = vmab_slots_get(session->slots, member, chunk);
	copy->length = vmab_chunk_length(member, chunk);
	copy->refetch = !vmab_map_is_needed(&member->map, chunk);
	session->inflight++;
	member->stats.copying++;
	if (copy->refetch) {
		atomic_inc(&copy->disk->fleece_ios);
		queue_work(session->fleece_wq, &member->refetch_work);
	} else {
		atomic_inc(&copy->disk->origin_reads);
		queue_work(session->read_wq, &member->read_work);
	}
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

struct vmab_copy *vmab_claim_for_guest(struct vmab_member *member, u64 chunk, bool discard)
{
	bool ring = vmab_slots_for_ring(member->session->slots);
	struct vmab_copy *copy = claim(member, chunk);

	copy->guest = true;
	if (may_spill(member, discard) &&
	    (!ring || member->session->policy == VMABACKUP_POLICY_FLEECE))
		vmab_slots_spill(member->session->slots, copy);
	list_add_tail(&copy->link, &member->guest_reads);
	list_add_tail(&copy->guests, &member->guest_copies);
	member->nr_guest_reads++;
	feed_singles(copy);
	trace_vmab_claim(member->dev, chunk, true, false, copy->spill);
	return copy;
}

void vmab_claim_for_fetch(struct vmab_member *member, u64 chunk)
{
	struct vmab_copy *copy = claim(member, chunk);

	feed_singles(copy);
	if (copy->refetch)
		list_add_tail(&copy->link, &member->fleece_reads);
	else if (list_empty(&copy->waiters))
		list_add_tail(&copy->link, &member->fetch_reads);
	else
		/* Guests wait for it: as urgent as one of theirs. */
		list_add_tail(&copy->link, &member->guest_reads);
	copy->hurried = !list_empty(&copy->waiters);
	vmab_depth_began(member, vmab_copy_source(copy));
	trace_vmab_claim(member->dev, chunk, false, copy->refetch, false);
}
