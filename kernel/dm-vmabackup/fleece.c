// SPDX-License-Identifier: GPL-2.0
#include "fleece.h"

#include <linux/blkdev.h>
#include <linux/lcm.h>
#include <linux/math64.h>
#include <linux/mm.h>
#include <linux/slab.h>

#include "chunk-map.h"
#include "plug.h"
#include "slots.h"

/* How many words of the bitmaps are looked at with interrupts off. */
#define SCAN_WORDS		4096

/* Bytes of one discard: large enough to be few, small enough to be quick. */
#define MAX_DISCARD_BYTES	(64u << 20)

int vmab_fleece_init_session(struct vmab_session *session)
{
	session->fleece_wq = alloc_workqueue("vmabackup_fleece", WQ_MEM_RECLAIM | WQ_UNBOUND, 0);
	return session->fleece_wq ? 0 : -ENOMEM;
}

void vmab_fleece_exit_session(struct vmab_session *session)
{
	destroy_workqueue(session->fleece_wq);
}

static u64 chunk_bytes(const struct vmab_member *member)
{
	return 1ULL << (member->chunk_shift + SECTOR_SHIFT);
}

u32 vmab_fleece_discard_bytes(struct block_device *bdev)
{
	return bdev_max_discard_sectors(bdev) ? max(bdev_discard_granularity(bdev), 1u) : 0;
}

/* The fewest chunks that make whole discard granules, or 0. */
static u64 granule_of(const struct vmab_member *member, u32 discard_bytes)
{
	u64 granule;

	if (!discard_bytes)
		return 0;
	granule = lcm(discard_bytes, chunk_bytes(member));
	/* A bio counts bytes in 32 bits. */
	if (granule > U32_MAX / 2)
		return 0;
	return granule >> (member->chunk_shift + SECTOR_SHIFT);
}

static bool is_live(struct vmab_member *member, u64 chunk)
{
	if (member->fleece->all)
		return false;
	return vmab_map_is_unclaimed(&member->map, chunk) ||
	       vmab_slots_find(member->session->slots, member, chunk);
}

static bool any_live(struct vmab_member *member, u64 first, u64 end)
{
	for (; first < end; first++)
		if (is_live(member, first))
			return true;
	return false;
}

/* Is something there to be discarded and nothing to be kept? */
static bool is_stale(struct vmab_member *member, u64 first, u64 end)
{
	const unsigned long *used = member->fleece->used;
	bool any = false;
	u64 chunk;

	for (chunk = find_next_bit(used, end, first); chunk < end;
	     chunk = find_next_bit(used, end, chunk + 1)) {
		if (is_live(member, chunk))
			return false;
		any = true;
	}
	return any;
}

static void queue_writes(struct vmab_member *member)
{
	queue_work(member->session->fleece_wq, &member->fleece_work);
}

static void queue_discards(struct vmab_member *member)
{
	queue_work(member->session->fleece_wq, &member->discard_work);
}

static void start_discard(struct vmab_member *member, u64 first, u64 end)
{
	struct vmab_fleece *fleece = member->fleece;
	struct vmab_fleece_discard *discard;
	u64 chunk;

	discard = list_first_entry(&fleece->idle, struct vmab_fleece_discard, link);
	discard->first = first;
	discard->end = end;
	discard->freed = 0;
	discard->submitted = false;
	discard->disk = member->disk;
	for (chunk = find_next_bit(fleece->used, end, first); chunk < end;
	     chunk = find_next_bit(fleece->used, end, chunk + 1)) {
		__clear_bit(chunk, fleece->used);
		discard->freed++;
	}
	list_move_tail(&discard->link, &fleece->active);
	atomic_inc(&discard->disk->fleece_ios);
	member->session->inflight++;
	queue_discards(member);
}

static u64 granule_start(const struct vmab_fleece *fleece, u64 chunk)
{
	return div64_u64(chunk, fleece->granule) * fleece->granule;
}

static u64 granule_end(const struct vmab_member *member, u64 first)
{
	return min(first + member->fleece->granule, member->map.nr_chunks);
}

/* The scan has to see it, and may be behind it already. */
static void pass_over(struct vmab_member *member, u64 first, u64 end)
{
	struct vmab_fleece *fleece = member->fleece;
	bool idle = fleece->cursor >= fleece->limit;

	fleece->cursor = idle ? first : min(fleece->cursor, first);
	fleece->limit = idle ? end : max(fleece->limit, end);
	queue_discards(member);
}

void vmab_fleece_stale(struct vmab_member *member, u64 chunk)
{
	struct vmab_fleece *fleece = member->fleece;
	u64 first, end;

	lockdep_assert_held(&member->session->lock);

	if (!fleece || !test_bit(chunk, fleece->used))
		return;
	if (!fleece->granule || !member->disk) {
		__clear_bit(chunk, fleece->used);
		fleece->nr_used--;
		return;
	}
	first = granule_start(fleece, chunk);
	end = granule_end(member, first);
	if (is_stale(member, first, end))
		pass_over(member, first, end);
}

/* There is no way to give the space back: it counts as given back. */
static void forget_used(struct vmab_member *member, u64 first, u64 end)
{
	struct vmab_fleece *fleece = member->fleece;
	u64 chunk;

	for (chunk = find_next_bit(fleece->used, end, first); chunk < end;
	     chunk = find_next_bit(fleece->used, end, chunk + 1)) {
		if (is_live(member, chunk))
			continue;
		__clear_bit(chunk, fleece->used);
		fleece->nr_used--;
	}
}

void vmab_fleece_forgot(struct vmab_member *member, u64 first, u64 end)
{
	struct vmab_fleece *fleece = member->fleece;

	lockdep_assert_held(&member->session->lock);

	if (!fleece || !fleece->nr_used)
		return;
	if (!fleece->granule || !member->disk) {
		forget_used(member, first, end);
		return;
	}
	first = granule_start(fleece, first);
	pass_over(member, first, max(end, granule_end(member, first)));
}

/*
 * From this granule on, as much as one discard may hold.  What lies between and was never
 * used, nor will be, goes with it: one discard costs as much as another, and a busy
 * device does few.
 */
static u64 stale_end(struct vmab_member *member, u64 first)
{
	u64 most = first + (MAX_DISCARD_BYTES >> (member->chunk_shift + SECTOR_SHIFT));
	u64 end = granule_end(member, first);
	u64 next, next_end;

	for (next = end; next < member->fleece->limit; next = next_end) {
		next_end = granule_end(member, next);
		if (next_end > most || any_live(member, next, next_end))
			break;
		if (find_next_bit(member->fleece->used, next_end, next) < next_end)
			end = next_end;
	}
	return end;
}

/* Chunks in this word that are there and are not wanted; some may be under way. */
static unsigned long stale_bits(const struct vmab_member *member, u64 word)
{
	const struct vmab_fleece *fleece = member->fleece;
	unsigned long bits = fleece->used[word];

	if (!fleece->all)
		bits &= ~(member->map.needed[word] | member->map.unclaimed[word]);
	return bits;
}

/*
 * Starts one discard of what was passed over, if one is idle; those that follow come to
 * hold more, as long as this one is waited for.  True: there is more to look at.
 */
static bool scan(struct vmab_member *member)
{
	struct vmab_fleece *fleece = member->fleece;
	unsigned int left = SCAN_WORDS;
	u64 first, end, word;
	unsigned long bits;

	lockdep_assert_held(&member->session->lock);

	if (list_empty(&fleece->idle))
		return false;
	for (; fleece->cursor < fleece->limit && left; left--) {
		word = fleece->cursor / BITS_PER_LONG;
		bits = stale_bits(member, word) & BITMAP_FIRST_WORD_MASK(fleece->cursor);
		end = (word + 1) * BITS_PER_LONG;
		if (bits) {
			first = granule_start(fleece, word * BITS_PER_LONG + __ffs(bits));
			end = granule_end(member, first);
			if (is_stale(member, first, end)) {
				end = stale_end(member, first);
				start_discard(member, first, end);
				left = 1;
			}
		}
		/* Whatever becomes stale behind it asks again. */
		fleece->cursor = end;
	}
	return fleece->cursor < fleece->limit;
}

static void discard_endio(struct bio *bio)
{
	struct vmab_fleece_discard *discard = container_of(bio, struct vmab_fleece_discard, bio);
	struct vmab_member *member = discard->member;
	struct vmab_session *session = member->session;
	struct vmab_fleece *fleece = member->fleece;
	struct vmab_disk *disk = discard->disk;
	unsigned long flags;

	bio_uninit(bio);

	/*
	 * A discard that failed leaves space allocated, which costs nobody a
	 * backup: it is not reported.
	 */
	rcu_read_lock();
	spin_lock_irqsave(&session->lock, flags);
	fleece->nr_used -= discard->freed;
	list_move(&discard->link, &fleece->idle);
	list_splice_tail_init(&fleece->blocked, &member->fleece_writes);
	if (fleece->cursor < fleece->limit)
		queue_discards(member);
	if (!list_empty(&member->fleece_writes))
		queue_writes(member);
	vmab_session_unpin(session);
	spin_unlock_irqrestore(&session->lock, flags);
	vmab_disk_unpin(disk, &disk->fleece_ios);
	rcu_read_unlock();
}

static void submit_discard(struct vmab_fleece_discard *discard)
{
	struct vmab_member *member = discard->member;
	struct block_device *bdev = discard->disk->fleece->bdev;
	u64 granule = member->fleece->granule;
	sector_t start = discard->first << member->chunk_shift;
	sector_t sectors;

	/* The last granule may reach beyond the last chunk. */
	sectors = DIV64_U64_ROUND_UP(discard->end - discard->first, granule) * granule <<
		  member->chunk_shift;
	bio_init(&discard->bio, bdev, NULL, 0, REQ_OP_DISCARD);
	discard->bio.bi_end_io = discard_endio;
	discard->bio.bi_iter.bi_sector = start;
	discard->bio.bi_iter.bi_size = min(sectors, bdev_nr_sectors(bdev) - start) << SECTOR_SHIFT;
	submit_bio(&discard->bio);
}

static struct vmab_fleece_discard *next_discard(struct vmab_fleece *fleece)
{
	struct vmab_fleece_discard *discard;

	list_for_each_entry(discard, &fleece->active, link) {
		if (!discard->submitted) {
			discard->submitted = true;
			return discard;
		}
	}
	return NULL;
}

/* A discard of the place that is under way could swallow the write. */
static bool is_blocked(const struct vmab_fleece *fleece, u64 chunk)
{
	const struct vmab_fleece_discard *discard;

	list_for_each_entry(discard, &fleece->active, link)
		if (chunk >= discard->first && chunk < discard->end)
			return true;
	return false;
}

static struct vmab_copy *next_write(struct vmab_member *member)
{
	struct vmab_fleece *fleece = member->fleece;
	struct vmab_copy *copy;

	for (;;) {
		copy = list_first_entry_or_null(&member->fleece_writes, struct vmab_copy, link);
		if (!copy)
			return NULL;
		if (!is_blocked(fleece, copy->chunk)) {
			list_del_init(&copy->link);
			return copy;
		}
		list_move_tail(&copy->link, &fleece->blocked);
	}
}

static void submit_write(struct vmab_copy *copy)
{
	struct vmab_member *member = copy->member;
	bio_end_io_t *end_io = copy->bio.bi_end_io;

	/*
	 * Guests wait for it, or for its slot.  Without these flags it would count as
	 * background writeback, of which the kernel lets one request at a time through
	 * when others keep the device busy.
	 */
	vmab_slots_init_bio(member->session->slots, copy, REQ_OP_WRITE | REQ_SYNC | REQ_IDLE,
			    copy->disk->fleece_block);
	bio_set_dev(&copy->bio, copy->disk->fleece->bdev);
	copy->bio.bi_iter.bi_sector = copy->chunk << member->chunk_shift;
	copy->bio.bi_end_io = end_io;
	/* Once the session is over nobody wants it. */
	if (READ_ONCE(member->session->state) != VMABACKUP_STATE_ARMED)
		bio_io_error(&copy->bio);
	else
		submit_bio(&copy->bio);
}

/* Neither writes nor discards may be submitted where they are decided on. */
static void fleece_work_fn(struct work_struct *work)
{
	struct vmab_member *member = container_of(work, struct vmab_member, fleece_work);
	struct vmab_session *session = member->session;
	struct vmab_copy *copy;
	struct blk_plug plug;

	blk_start_plug(&plug);
	for (;;) {
		spin_lock_irq(&session->lock);
		copy = next_write(member);
		spin_unlock_irq(&session->lock);
		if (!copy)
			break;
		submit_write(copy);
		vmab_plug_resched(&plug);
	}
	blk_finish_plug(&plug);
}

/* By itself: the kernel makes discards wait when a device is busy, and writes may not wait. */
static void discard_work_fn(struct work_struct *work)
{
	struct vmab_member *member = container_of(work, struct vmab_member, discard_work);
	struct vmab_session *session = member->session;
	struct vmab_fleece_discard *discard;
	bool more;

	do {
		spin_lock_irq(&session->lock);
		more = member->disk && scan(member);
		discard = next_discard(member->fleece);
		spin_unlock_irq(&session->lock);
		if (discard)
			submit_discard(discard);
		cond_resched();
	} while (discard || more);
}

void vmab_fleece_write(struct vmab_copy *copy)
{
	struct vmab_member *member = copy->member;
	struct vmab_fleece *fleece = member->fleece;

	lockdep_assert_held(&member->session->lock);

	if (!__test_and_set_bit(copy->chunk, fleece->used))
		fleece->nr_used++;
	list_add_tail(&copy->link, &member->fleece_writes);
	queue_writes(member);
}

void vmab_fleece_empty(struct vmab_member *member)
{
	struct vmab_session *session = member->session;
	bool more;

	if (!member->fleece)
		return;
	spin_lock_irq(&session->lock);
	member->fleece->all = true;
	if (member->fleece->nr_used && member->fleece->granule)
		pass_over(member, 0, member->map.nr_chunks);
	spin_unlock_irq(&session->lock);

	/* The worker starts what it can, and each end of a discard starts the worker. */
	do {
		flush_work(&member->discard_work);
		wait_event(session->quiet, !READ_ONCE(session->inflight));
		spin_lock_irq(&session->lock);
		more = member->disk && member->fleece->cursor < member->fleece->limit;
		spin_unlock_irq(&session->lock);
	} while (more);
}

void vmab_fleece_flush(struct vmab_member *member)
{
	if (!member->fleece)
		return;
	flush_work(&member->fleece_work);
	flush_work(&member->discard_work);
}

int vmab_fleece_init_member(struct vmab_member *member, bool has_fleece, u32 discard_bytes)
{
	struct vmab_fleece *fleece;
	unsigned int i;

	if (!has_fleece)
		return 0;

	fleece = kzalloc(sizeof(*fleece), GFP_KERNEL_ACCOUNT);
	if (!fleece)
		return -ENOMEM;
	fleece->used = kvcalloc(BITS_TO_LONGS(member->map.nr_chunks), sizeof(long),
				GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
	fleece->discards = kcalloc(VMAB_FLEECE_DISCARDS, sizeof(*fleece->discards),
				   GFP_KERNEL_ACCOUNT);
	member->fleece = fleece;
	if (!fleece->used || !fleece->discards)
		return -ENOMEM;		/* vmab_fleece_exit_member() frees the rest */
	INIT_LIST_HEAD(&member->fleece_writes);
	INIT_WORK(&member->fleece_work, fleece_work_fn);
	INIT_WORK(&member->discard_work, discard_work_fn);
	fleece->granule = granule_of(member, discard_bytes);
	INIT_LIST_HEAD(&fleece->idle);
	INIT_LIST_HEAD(&fleece->active);
	INIT_LIST_HEAD(&fleece->blocked);
	for (i = 0; i < VMAB_FLEECE_DISCARDS; i++) {
		fleece->discards[i].member = member;
		list_add_tail(&fleece->discards[i].link, &fleece->idle);
	}
	return 0;
}

void vmab_fleece_exit_member(struct vmab_member *member)
{
	if (!member->fleece)
		return;
	kfree(member->fleece->discards);
	kvfree(member->fleece->used);
	kfree(member->fleece);
}
