// SPDX-License-Identifier: GPL-2.0
#include "slots.h"

#include <linux/hash.h>
#include <linux/log2.h>
#include <linux/mm.h>
#include <linux/nospec.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>
#include <xen/xen.h>

#include "compat.h"

static u32 pages_per_slot(const struct vmab_slots *slots)
{
	return slots->size >> PAGE_SHIFT;
}

/*
 * Contiguous if that is to be had at once: one segment for the disk, and one vector for
 * the bio.  Split into single pages either way, since each is mapped and pinned by itself.
 * What is contiguous for a guest of Xen need not be for the device, and a vector that is not
 * would be copied: there, which pages share one is bio_add_page()'s to say.
 */
static int alloc_slot_pages(struct vmab_copy *copy, struct page **pages, u32 nr)
{
	const gfp_t gfp = GFP_KERNEL_ACCOUNT | __GFP_ZERO;
	unsigned int order = ilog2(nr);
	struct page *page;
	u32 i;

	page = alloc_pages(gfp | __GFP_NORETRY | __GFP_NOWARN, order);
	if (page) {
		split_page(page, order);
		for (i = 0; i < nr; i++)
			pages[i] = page + i;
		if (!xen_domain()) {
			copy->bvecs = &copy->bvec;
			copy->nr_bvecs = 1;
			return 0;
		}
	}

	/* A session too large for the machine is refused, not paid for by others. */
	for (i = 0; i < nr && !page; i++) {
		pages[i] = alloc_page(gfp | __GFP_RETRY_MAYFAIL | __GFP_NOWARN);
		if (!pages[i])
			return -ENOMEM;
	}
	copy->bvecs = kcalloc(nr, sizeof(*copy->bvecs), GFP_KERNEL_ACCOUNT);
	copy->nr_bvecs = nr;
	return copy->bvecs ? 0 : -ENOMEM;
}

struct vmab_slots *vmab_slots_create(u32 nr, u32 size, u32 reserve)
{
	const gfp_t gfp = GFP_KERNEL_ACCOUNT | __GFP_NOWARN;
	struct vmab_slots *slots;
	u32 i, per_slot;

	slots = kzalloc(sizeof(*slots), GFP_KERNEL_ACCOUNT);
	if (!slots)
		return ERR_PTR(-ENOMEM);

	slots->nr = nr;
	slots->size = size;
	slots->reserve = reserve;
	slots->hash_bits = ilog2(roundup_pow_of_two(nr));
	INIT_LIST_HEAD(&slots->free);
	per_slot = pages_per_slot(slots);

	slots->pages = kvcalloc(nr, per_slot * sizeof(*slots->pages), gfp);
	slots->copies = kvcalloc(nr, sizeof(*slots->copies), gfp);
	slots->copying = kvcalloc(1u << slots->hash_bits, sizeof(*slots->copying), gfp);
	if (!slots->pages || !slots->copies || !slots->copying)
		goto destroy_slots;

	for (i = 0; i < nr; i++) {
		struct vmab_copy *copy = &slots->copies[i];

		if (alloc_slot_pages(copy, slots->pages + i * per_slot, per_slot))
			goto destroy_slots;
		copy->slot = i;
		copy->owner = VMAB_SLOT_FREE;
		INIT_LIST_HEAD(&copy->waiters);
		INIT_LIST_HEAD(&copy->readers);
		INIT_LIST_HEAD(&copy->guests);
		list_add_tail(&copy->link, &slots->free);
		slots->nr_free++;
		cond_resched();
	}
	return slots;

destroy_slots:
	vmab_slots_destroy(slots);
	return ERR_PTR(-ENOMEM);
}

void vmab_slots_destroy(struct vmab_slots *slots)
{
	u32 i;

	if (!slots)
		return;
	for (i = 0; slots->pages && i < slots->nr * pages_per_slot(slots); i++)
		if (slots->pages[i])
			put_page(slots->pages[i]);
	for (i = 0; slots->copies && i < slots->nr; i++)
		if (slots->copies[i].bvecs != &slots->copies[i].bvec)
			kfree(slots->copies[i].bvecs);
	kvfree(slots->copying);
	kvfree(slots->copies);
	kvfree(slots->pages);
	kfree(slots);
}

/* Nothing to do, but without it the mapping would count as anonymous memory. */
static const struct vm_operations_struct vmab_vm_ops = {};

int vmab_slots_mmap(struct vmab_slots *slots, struct vm_area_struct *vma)
{
	if (vma->vm_flags & VM_WRITE)
		return -EACCES;
	if (!(vma->vm_flags & VM_SHARED))
		return -EINVAL;

	vmab_vm_flags_mod(vma, VM_DONTCOPY | VM_DONTEXPAND | VM_DONTDUMP, VM_MAYWRITE);
	vma->vm_ops = &vmab_vm_ops;
	return vm_map_pages(vma, slots->pages, (unsigned long)slots->nr * pages_per_slot(slots));
}

static struct hlist_head *bucket(struct vmab_slots *slots, const struct vmab_member *member,
				 u64 chunk)
{
	u64 key = chunk ^ ((u64)member->index << 48);

	return &slots->copying[hash_64(key, slots->hash_bits)];
}

struct vmab_copy *vmab_slots_get(struct vmab_slots *slots, struct vmab_member *member, u64 chunk)
{
	struct vmab_copy *copy = list_first_entry(&slots->free, struct vmab_copy, link);

	lockdep_assert_held(&member->session->lock);

	list_del_init(&copy->link);
	slots->nr_free--;
	copy->owner = VMAB_SLOT_READING;
	copy->member = member;
	copy->disk = member->disk;
	copy->chunk = chunk;
	copy->since = ktime_get_ns();
	copy->guest = false;
	copy->spill = false;
	copy->refetch = false;
	copy->hurried = false;
	copy->wanted = false;
	copy->released = false;
	copy->draining = false;
	copy->written = false;
	hlist_add_head(&copy->hash, bucket(slots, member, chunk));
	return copy;
}

struct vmab_copy *vmab_slots_find(struct vmab_slots *slots, const struct vmab_member *member,
				  u64 chunk)
{
	struct vmab_copy *copy;

	lockdep_assert_held(&member->session->lock);

	hlist_for_each_entry(copy, bucket(slots, member, chunk), hash)
		if (copy->member == member && copy->chunk == chunk)
			return copy;
	return NULL;
}

void vmab_slots_spill(struct vmab_slots *slots, struct vmab_copy *copy)
{
	copy->spill = true;
	slots->nr_spilling++;
}

static void end_copy(struct vmab_slots *slots, struct vmab_copy *copy)
{
	hlist_del(&copy->hash);
	if (copy->spill)
		slots->nr_spilling--;
}

static void make_free(struct vmab_slots *slots, struct vmab_copy *copy)
{
	copy->owner = VMAB_SLOT_FREE;
	copy->member->session->last_free = ktime_get_ns();
	/* The one used last first: its memory is warm in the caches. */
	list_add(&copy->link, &slots->free);
	slots->nr_free++;
}

void vmab_slots_done(struct vmab_slots *slots, struct vmab_copy *copy)
{
	end_copy(slots, copy);
	copy->owner = VMAB_SLOT_DONE;
}

void vmab_slots_drop(struct vmab_slots *slots, struct vmab_copy *copy)
{
	end_copy(slots, copy);
	make_free(slots, copy);
}

void vmab_slots_deliver(struct vmab_slots *slots, struct vmab_copy *copy)
{
	copy->owner = VMAB_SLOT_USER;
	slots->nr_user++;
}

int vmab_slots_put(struct vmab_slots *slots, u32 slot)
{
	if (slot >= slots->nr)
		return -EBADSLT;
	slot = array_index_nospec(slot, slots->nr);
	if (slots->copies[slot].owner != VMAB_SLOT_USER)
		return -EBADSLT;
	slots->nr_user--;
	make_free(slots, &slots->copies[slot]);
	return 0;
}

void vmab_slots_init_bio(struct vmab_slots *slots, struct vmab_copy *copy, blk_opf_t opf,
			 unsigned int block)
{
	struct page **pages = slots->pages + copy->slot * pages_per_slot(slots);
	u32 length = round_up(copy->length, block);
	u32 part = slots->size / copy->nr_bvecs;
	u32 done, len;

	bio_init(&copy->bio, NULL, copy->bvecs, copy->nr_bvecs, opf);
	for (done = 0; done < length; done += len) {
		len = min(length - done, part);
		/* Can't fail: there is a vector for each part. */
		WARN_ON_ONCE(bio_add_page(&copy->bio, pages[done >> PAGE_SHIFT], len, 0) != len);
	}
}
