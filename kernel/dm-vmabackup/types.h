/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The nouns of dm-vmabackup and who owns what.
 *
 *   vmab_disk     one instance of the target; ctr to dtr
 *   vmab_session  one instant: an open file of /dev/vmabackup, open to release,
 *                 or the message arm, to disarm
 *   vmab_member   a disk in a session; ADD_DISK to the session's end
 *   vmab_fleece   what of a member stands on its disk's fleece device
 *   vmab_copy     the copying of one chunk by way of one slot; as old as its slot
 *   vmab_held     a guest bio that waits; lives in dm's per-bio data
 *   vmab_view     one instance of vmabackup-view; ctr to dtr
 *   vmab_view_read  a read of the instant; lives in dm's per-bio data
 *
 * Locks, outermost first:
 *
 *   session->mutex    serialises the calls that set a session up.  No user
 *                     memory is touched under it.
 *   vmab_registry     (mutex, registry.c) which disks exist, whether they are
 *                     suspended, and which member has them.  Taken in dm's
 *                     suspend path: nobody allocates or waits for I/O under it.
 *   session->lock     (spinlock, taken in interrupts) all that the I/O path
 *                     changes: state, chunk maps, slots, copies, held bios,
 *                     fleece, view reads.
 *
 * The map functions find the member through disk->member and view->member under
 * RCU alone.
 */
#ifndef VMAB_TYPES_H
#define VMAB_TYPES_H

#include <linux/bio.h>
#include <linux/bitmap.h>
#include <linux/device-mapper.h>
#include <linux/hashtable.h>
#include <linux/ktime.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/rcupdate.h>
#include <linux/spinlock.h>
#include <linux/types.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include <linux/dm-vmabackup.h>

#define DM_MSG_PREFIX "vmabackup"

struct vmab_session;
struct vmab_member;

/*
 * Two bits say where a chunk stands:
 *
 *   needed  unclaimed
 *     1        1       NEEDED   the backup wants it and it stands on the origin
 *     1        0       COPYING  claimed: a copy reads it, guest writes wait
 *     0        1       FLEECED  wanted, but it stands on the fleece device: guest
 *                               writes pass
 *     0        0       SAFE     in a slot, delivered, or forgotten; or a copy is
 *                               taking it to the fleece device or back
 *
 * NEEDED -> COPYING by a claim, for a guest write or for FETCH alike, so that
 * a chunk can't be copied twice.  COPYING -> SAFE when the old content is in
 * memory and nobody reads it from the origin any more; SAFE -> FLEECED when it
 * is on the fleece device; FLEECED -> SAFE by FETCH's claim.  COPYING -> NEEDED
 * when a copy failed and the session lives.  NEEDED, FLEECED -> SAFE by FORGET.
 */
struct vmab_chunk_map {
	unsigned long *needed;		/* read without a lock by map */
	unsigned long *unclaimed;
	u64 nr_chunks;
	u64 nr_left;			/* neither in a slot nor forgotten */
};

/* Counters of a disk, for status; of the last session that armed it. */
struct vmab_stats {
	u64 guest;			/* chunks copied because a guest wrote */
	u64 spilled;			/* of them, those that went to the fleece device */
	u64 fetched;			/* chunks read from the origin because FETCH asked */
	u64 refetched;			/* ... from the fleece device */
	u64 forgotten;
	u64 failed;			/* guest bios that got an error */
	u64 dropped;			/* guest discards that were dropped */
	u64 copying;			/* chunks being copied now */
	u64 fleece_used;		/* bytes */
	int fleece_error;		/* errno, positive; the first one */
	u64 held;			/* guest bios that were held, ever */
	u64 held_now;
	u64 longest_wait_us;
	u64 total_wait_us;
};

/* Why a session broke; the first reason stays. */
struct vmab_fault {
	enum vmabackup_reason reason;
	int error;			/* positive errno */
	u32 disk;			/* index in the session, or U32_MAX */
	u64 offset;			/* bytes, or U64_MAX */
};

struct vmab_disk {
	/* constant from ctr to dtr */
	struct dm_target *ti;
	struct dm_dev *origin;
	struct dm_dev *fleece;		/* or NULL */
	unsigned int fleece_block;	/* its logical blocks, bytes */
	unsigned int chunk_shift;	/* log2 of the chunk size in sectors */
	unsigned int cbw_timeout_ms;
	bool break_guest_write;		/* on_cbw_error */
	bool chunk_size_given;		/* on the table line */
	bool cbw_timeout_given;
	bool on_cbw_error_given;

	/* Set while armed and whole. Written under session->lock. */
	struct vmab_member __rcu *member;

	/* under vmab_registry */
	struct list_head list;		/* of the disks that can be found */
	struct list_head lost;		/* of those that can't any more; until dtr */
	struct gendisk *gd;		/* of the mapped device; a name, no reference */
	struct vmab_member *owner;	/* the member that has this disk */
	bool suspended;			/* between postsuspend and preresume */

	/* under vmab_registry, and owner's session->lock when there is one */
	bool paused;			/* presuspend to resume: FETCH rests */
	bool stopped;			/* postsuspend to resume: view reads wait */
	struct vmab_stats last_stats;	/* what status shows once owner is gone */
	struct vmab_fault last_fault;
	u64 last_left, last_total;
	enum vmabackup_policy last_policy;
	bool was_armed;			/* the above mean something */

	/* I/O of ours under way, which the disk outlives. */
	atomic_t origin_reads;		/* none while the disk is suspended */
	atomic_t fleece_ios;
	wait_queue_head_t idle;		/* one of the two became 0 */

	/* The session made by the messages prepare and arm; under vmab_registry. */
	struct vmab_session *instant;
	bool busy;			/* instant is in use by one who holds no lock */
	bool disarming;			/* it is disarm_work's, which frees it */
	bool closing;			/* and is at it: without owner, the next may come */
	struct work_struct disarm_work;

	struct work_struct event_work;
};

/*
 * Where bios wait for a slot.  All in a line may have one at the same time, so that
 * the first of a line never holds up those behind it for longer than itself.
 */
enum vmab_line {
	VMAB_LINE_SINGLES,
	VMAB_LINE_RANGES,
	VMAB_LINE_DISCARDS,		/* single or not; they leave the reserve */
	VMAB_LINES,
};

/* How a held bio goes on. */
enum vmab_way_out {
	VMAB_GO,			/* to the origin */
	VMAB_FAIL,			/* ends with an I/O error */
	VMAB_DROP,			/* a discard: ends with success, not submitted */
};

/* By what it leaves: whoever submits may have to wait for the device. */
enum vmab_exit {
	VMAB_EXIT_WRITES,		/* which the kernel never holds back, as O_DIRECT's */
	VMAB_EXIT_SYNC,			/* writeback that somebody waits for */
	VMAB_EXIT_WRITEBACK,		/* other: a few at a time when the device is busy */
	VMAB_EXIT_DISCARDS,		/* likewise */
	VMAB_EXIT_ENDS,			/* nothing to submit, nothing to wait for */
	VMAB_EXITS,
};

/* Bios no longer held, not yet submitted or ended. Under session->lock. */
struct vmab_leaving {
	struct list_head bios;
	struct vmab_member *member;
	struct work_struct work;
};

/*
 * A guest bio that waits: a single for the copy of one chunk, a range until no
 * chunk in it is needed.  Under session->lock.
 */
struct vmab_held {
	struct list_head age;		/* member->held, oldest first */
	struct list_head wait;		/* member->starved, copy->waiters, a vmab_leaving */
	/* In session->by_chunk, by next: a single while it starves, a range always. */
	struct hlist_node hash;
	struct list_head range;		/* range: member->ranges */
	struct vmab_member *member;
	u64 next, end;			/* chunks [next, end) keep it */
	u64 claim;			/* range: nothing before it is NEEDED */
	u64 since;			/* ns */
	enum vmab_way_out way_out;
	bool single;
	bool discard;			/* advisory: may be dropped */
	bool polled;			/* dm would take it back only when it is polled */
	bool starved;			/* wait is on one of member->starved */
};

/* A discard on the fleece device under way; fleece.c. */
struct vmab_fleece_discard {
	struct list_head link;		/* fleece->idle or fleece->active */
	struct vmab_member *member;
	struct vmab_disk *disk;		/* pinned by disk->fleece_ios while active */
	u64 first, end;			/* chunks */
	u64 freed;			/* of them, those that were used */
	bool submitted;
	struct bio bio;
};

/* So many keep a disk's queue filled, and merge while they wait. */
#define VMAB_FLEECE_DISCARDS	8

/* Under session->lock. */
struct vmab_fleece {
	unsigned long *used;		/* chunks that have been written there */
	u64 nr_used;			/* also those whose discard is under way */
	u64 granule;			/* chunks that can be discarded at once; or 0 */
	u64 cursor, limit;		/* chunks between may be stale, and no discard began */
	bool all;			/* the session is over: nothing is wanted any more */
	struct list_head idle, active;
	struct list_head blocked;	/* copies that wait for a discard of their place */
	struct vmab_fleece_discard *discards;	/* VMAB_FLEECE_DISCARDS of them */
};

/* A FETCH that has not been served in full. */
struct vmab_range {
	struct list_head list;
	struct vmab_member *member;
	u64 next, end;
	bool fleeced;			/* only what stands on the fleece device */
};

/* Where FETCH reads a chunk. */
enum vmab_source {
	VMAB_FROM_ORIGIN,
	VMAB_FROM_FLEECE,
	VMAB_SOURCES,
};

/* How much FETCH may have one device read; fetch-depth.c.  Under session->lock. */
struct vmab_depth {
	u32 reading;			/* FETCH's chunks that are READING there */
	u32 limit;			/* chunks, by what reads take */
	bool full;			/* so many were under way in this round */
	u32 measuring;			/* so many times FETCH has no read under way first */
	u32 others;			/* what others have there, when last looked at */
	u32 ended;			/* reads of this round */
	u64 sum_ns;			/* of what they took */
	u64 least_ns;			/* what a read takes at least, and ... */
	u64 least_since;		/* ... since when that is measured */
	u64 least_before_ns;		/* before that */
};

struct vmab_member {
	struct vmab_session *session;
	struct vmab_disk *disk;		/* NULL once the target is gone */
	u32 index;
	dev_t dev;			/* of the mapped device, to name it */
	u64 size;			/* bytes */
	unsigned int chunk_shift;
	unsigned int cbw_timeout_ms;
	bool break_guest_write;
	struct vmab_fleece *fleece;	/* or NULL */

	/* under session->lock */
	struct vmab_chunk_map map;
	struct vmab_stats stats;
	bool was_armed;
	bool fleece_off;		/* it failed, and the policy is auto */
	struct list_head held;		/* all held bios of this disk, by age */
	struct list_head ranges;	/* those of them that want many chunks */
	struct list_head starved[VMAB_LINES];	/* those that wait for a slot, in turn */
	struct list_head hungry;	/* session->hungry, while one of these is not empty */
	unsigned int line_turn;		/* which of them is next */
	struct list_head guest_reads;	/* claimed for guests, not yet submitted */
	struct list_head fetch_reads;	/* likewise for FETCH */
	struct list_head fleece_reads;	/* likewise for FETCH, from the fleece device */
	struct list_head fleece_writes;	/* to be submitted */
	struct list_head guest_copies;	/* claimed for guests, until the chunk is safe */
	u32 nr_guest_reads;		/* guests' chunks that are READING */
	struct vmab_depth depth[VMAB_SOURCES];	/* what FETCH has under way, and may have */
	u64 looked_at;			/* ns, when others' I/O was last looked at */
	u32 submitted;			/* reads, to give FETCH's a turn now and then */
	struct vmab_range retry;	/* chunks that were not to be had when FETCH passed */
	u64 suspend_since;		/* ns, while being suspended; or 0 */
	struct list_head view_ready;	/* view reads to be looked at again */
	struct list_head view_waiting;	/* view reads that wait for the disk's resume */
	struct list_head views;		/* under vmab_registry */

	/*
	 * Each disk has its own, for they may have to wait for its devices: one
	 * that hangs may not hold up the others, nor its fleece device the origin.
	 */
	struct work_struct read_work;
	struct work_struct refetch_work;
	struct work_struct fleece_work;
	struct work_struct discard_work;
	struct vmab_leaving leaving[VMAB_EXITS];
	struct work_struct view_work;
	struct delayed_work deadline;
};

/*
 * Who has a slot, and so which way it can go:
 *
 *   FREE -> READING -> DONE -> USER -> FREE
 *              |  \-> WRITING -> FREE	the chunk is on the fleece device
 *              |           \---> DONE	FETCH wants it after all, or that failed
 *              \-> FREE		the read failed or the session broke
 */
enum vmab_slot_owner {
	VMAB_SLOT_FREE,			/* on slots->free */
	VMAB_SLOT_READING,		/* a read into it is queued or under way */
	VMAB_SLOT_WRITING,		/* a write of it to the fleece device, likewise */
	VMAB_SLOT_DONE,			/* on session->done, waits for REAP */
	VMAB_SLOT_USER,			/* delivered */
};

/* Under session->lock, but while READING and WRITING the bio is the block layer's. */
struct vmab_copy {
	/* slots->free, member->*_reads, ->fleece_writes, fleece->blocked, session->done */
	struct list_head link;
	struct hlist_node hash;		/* READING, WRITING: slots->copying */
	struct list_head waiters;	/* held bios that want just this chunk */
	struct list_head readers;	/* view reads that want it from the fleece device */
	struct list_head guests;	/* member->guest_copies */
	struct vmab_member *member;
	struct vmab_disk *disk;		/* pinned while READING and WRITING */
	u64 chunk;
	u64 since;			/* ns, of the claim */
	u32 slot;
	u32 length;			/* bytes */
	enum vmab_slot_owner owner;
	bool guest;			/* claimed for a guest write */
	bool spill;			/* bound for the fleece device */
	bool refetch;			/* read from the fleece device */
	bool hurried;			/* by FETCH, but among guests' reads: they wait */
	bool wanted;			/* FETCH has passed it: no later chance */
	bool released;			/* guest writes do not wait for it any more */
	bool draining;			/* ... but for view reads of the origin first */
	bool written;			/* WRITING has ended, the draining has not */
	struct bio bio;
	struct bio_vec *bvecs;		/* &bvec if the slot's pages are contiguous */
	u32 nr_bvecs;			/* constant, like bvecs */
	struct bio_vec bvec;
};

static inline enum vmab_source vmab_copy_source(const struct vmab_copy *copy)
{
	return copy->refetch ? VMAB_FROM_FLEECE : VMAB_FROM_ORIGIN;
}

struct vmab_slots {
	u32 nr;
	u32 size;			/* bytes */
	u32 reserve;			/* what FETCH leaves free */
	u32 share;			/* of one disk's guests, while their chunks are read */
	u32 spill;			/* for copies to a fleece device alone */
	u32 nr_spilling;		/* READING or WRITING for one */
	u32 nr_free;
	u32 nr_user;
	struct list_head free;
	struct page **pages;		/* nr * size / PAGE_SIZE, in order */
	struct vmab_copy *copies;	/* one per slot */
	struct hlist_head *copying;	/* by member and chunk */
	unsigned int hash_bits;
};

/* One instance of vmabackup-view; dm-vmabackup-view.c. */
struct vmab_view {
	/* constant from ctr to dtr */
	struct dm_target *ti;
	dev_t dev;			/* the disk's mapped device; a name, no reference */
	struct dm_dev *origin;		/* what it reads */
	struct dm_dev *fleece;
	unsigned int chunk_shift;

	/* The instant that it shows; NULL before the first resume and when it is over. */
	struct vmab_member __rcu *member;

	/* under vmab_registry */
	struct list_head list;		/* member->views */
	bool attached;			/* has had a member */
};

/* A read of the instant. Under session->lock. */
enum vmab_view_place {
	VMAB_VIEW_NOWHERE,		/* not counted, no member */
	VMAB_VIEW_WAITING,		/* wait is on a list */
	VMAB_VIEW_ORIGIN,		/* hash is in session->viewing */
	VMAB_VIEW_FLEECE,
};

struct vmab_view_read {
	struct list_head wait;		/* copy->readers, member->view_ready, view_waiting */
	struct hlist_node hash;
	struct vmab_view *view;
	struct vmab_member *member;
	struct vmab_disk *disk;		/* pinned on ORIGIN and FLEECE */
	u64 chunk;
	enum vmab_view_place place;
	bool cut;			/* more of the same bio comes after it */
	bool polled;			/* dm would take it back only when it is polled */
};

/*
 * NEW -> READY -> ARMED -> BROKEN, the states of the protocol; from any state
 * to BROKEN, and from any state to CLOSED when the file goes.
 */
#define VMAB_STATE_CLOSED	((enum vmabackup_state)(VMABACKUP_STATE_BROKEN + 1))

/* Buckets for the chunks that bios wait for: as many as a queue is deep. */
#define VMAB_WAIT_BITS	10

struct vmab_session {
	struct mutex mutex;		/* setting up; see above */

	/* Appended to under mutex and lock, before SETUP_SLOTS. */
	struct vmab_member *members[VMABACKUP_MAX_DISKS];
	u32 nr_members;

	struct vmab_slots *slots;	/* set once, with release order */

	/* Set with the slots. */
	enum vmabackup_policy policy;
	bool drop_discards;
	bool standalone;		/* by message: no reader, chunks stay for views */

	spinlock_t lock;		/* everything below; see above */
	enum vmabackup_state state;
	struct vmab_fault fault;
	u64 nr_left;			/* of all members' maps */
	u32 inflight;			/* slots READING and WRITING, discards, view reads */
	struct list_head hungry;	/* members with bios that wait for a slot */
	DECLARE_HASHTABLE(by_chunk, VMAB_WAIT_BITS);	/* held bios */
	DECLARE_HASHTABLE(viewing, VMAB_WAIT_BITS);	/* view reads of the origin */
	u32 nr_viewing;
	u64 last_free;			/* ns, when a slot last came free */
	struct list_head done;		/* to be reaped */
	struct list_head ranges;	/* FETCHes, in order */
	struct list_head free_ranges;
	struct vmab_range *range_pool;

	/*
	 * Queues of its own, so that a rescuer that waits for this session's
	 * disks is not the one that another session, or the one of a disk below,
	 * needs to make progress.
	 */
	struct work_struct kick_work;	/* claims; waits for nothing */
	struct workqueue_struct *read_wq;
	struct workqueue_struct *fleece_wq;
	struct workqueue_struct *leave_wq;
	struct workqueue_struct *throttled_wq;	/* bios that the kernel holds back */
	wait_queue_head_t reader;
	wait_queue_head_t quiet;	/* inflight became 0 */
};

#endif /* VMAB_TYPES_H */
