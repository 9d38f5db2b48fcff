/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The nouns of dm-vmabackup and who owns what.
 *
 *   vmab_disk     one instance of the target; ctr to dtr
 *   vmab_session  one open file of /dev/vmabackup; open to release
 *   vmab_member   a disk in a session; ADD_DISK to release
 *   vmab_copy     the copying of one chunk into one slot; as old as its slot
 *   vmab_held     a guest bio that waits; lives in dm's per-bio data
 *
 * Locks, outermost first:
 *
 *   session->mutex    serialises the calls that set a session up.  No user
 *                     memory is touched under it.
 *   vmab_registry     (mutex, session.c) which disks exist, whether they are
 *                     suspended, and which member has them.  Taken in dm's
 *                     suspend path: nobody allocates or waits for I/O under it.
 *   session->lock     (spinlock, taken in interrupts) all that the I/O path
 *                     changes: state, chunk maps, slots, copies, held bios.
 *
 * The map function finds the member through disk->member under RCU alone.
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
 *     1        1       NEEDED   the backup wants it and nobody copies it yet
 *     1        0       COPYING  claimed: a copy is reading it
 *     0        0       SAFE     in a slot, delivered, or forgotten
 *
 * NEEDED -> COPYING by a claim, for a guest write or for FETCH alike, so that
 * a chunk can't be copied twice.  COPYING -> SAFE when the read has ended.
 * NEEDED -> SAFE by FORGET.  There is no way back.
 */
struct vmab_chunk_map {
	unsigned long *needed;		/* read without a lock by map */
	unsigned long *unclaimed;
	u64 nr_chunks;
	u64 nr_needed;			/* bits set in needed */
};

/* Counters of a disk, for status; of the last session that armed it. */
struct vmab_stats {
	u64 guest;			/* chunks copied because a guest wrote */
	u64 fetched;			/* chunks copied because FETCH asked */
	u64 forgotten;
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
	unsigned int chunk_shift;	/* log2 of the chunk size in sectors */
	unsigned int cbw_timeout_ms;
	bool chunk_size_given;		/* on the table line */
	bool cbw_timeout_given;

	/* Set while armed and whole. Written under session->lock. */
	struct vmab_member __rcu *member;

	/* under vmab_registry */
	struct list_head list;
	struct gendisk *gd;		/* of the mapped device; a name, no reference */
	struct vmab_member *owner;	/* the member that has this disk */
	bool suspended;			/* between postsuspend and preresume */

	/* under vmab_registry, and owner's session->lock when there is one */
	bool paused;			/* presuspend to resume: FETCH rests */
	struct vmab_stats last_stats;	/* what status shows once owner is gone */
	struct vmab_fault last_fault;
	u64 last_left, last_total;

	/* Reads of the origin under way; the disk outlives them. */
	atomic_t inflight;
	wait_queue_head_t idle;

	struct work_struct event_work;
};

/*
 * A guest bio that waits: a single for the copy of one chunk, a range until no
 * chunk in it is needed.  Under session->lock.
 */
struct vmab_held {
	struct list_head age;		/* member->held, oldest first */
	struct list_head wait;		/* session->starved, copy->waiters, member->leaving */
	union {
		struct hlist_node hash;	/* single: session->starving, while it starves */
		struct list_head range;	/* range: member->ranges, all the time */
	};
	struct vmab_member *member;
	u64 next, end;			/* chunks [next, end) keep it */
	u64 claim;			/* range: nothing before it is NEEDED */
	u64 since;			/* ns */
	bool single;
	bool starved;			/* wait is on session->starved */
};

struct vmab_member {
	struct vmab_session *session;
	struct vmab_disk *disk;		/* NULL once the target is gone */
	u32 index;
	u64 size;			/* bytes */
	unsigned int chunk_shift;
	unsigned int cbw_timeout_ms;

	/* under session->lock */
	struct vmab_chunk_map map;
	struct vmab_stats stats;
	struct list_head held;		/* all held bios of this disk, by age */
	struct list_head ranges;	/* those of them that want many chunks */
	struct list_head leaving;	/* no longer held, not yet submitted */
	struct list_head guest_reads;	/* claimed for guests, not yet submitted */
	struct list_head fetch_reads;	/* likewise for FETCH */
	u32 fetching;			/* FETCH's chunks that are COPYING */
	u32 submitted;			/* reads, to give FETCH's a turn now and then */
	u64 suspend_since;		/* ns, while being suspended with flush; or 0 */

	/*
	 * Each disk has its own, for they may have to wait for its origin: one
	 * that hangs may not hold up the others.
	 */
	struct work_struct read_work;
	struct work_struct leave_work;
	struct delayed_work deadline;
};

/*
 * Who has a slot, and so which way it can go:
 *
 *   FREE -> COPYING -> DONE -> USER -> FREE
 *              \-> FREE   (the read failed or the session broke)
 */
enum vmab_slot_owner {
	VMAB_SLOT_FREE,			/* on slots->free */
	VMAB_SLOT_COPYING,		/* a read into it is queued or under way */
	VMAB_SLOT_DONE,			/* on session->done, waits for REAP */
	VMAB_SLOT_USER,			/* delivered */
};

/* Under session->lock, but while COPYING the bio is the block layer's. */
struct vmab_copy {
	struct list_head link;		/* slots->free, member->*_reads, session->done */
	struct hlist_node hash;		/* while COPYING: session's slots->copying */
	struct list_head waiters;	/* held bios that want just this chunk */
	struct vmab_member *member;
	struct vmab_disk *disk;		/* pinned by disk->inflight while COPYING */
	u64 chunk;
	u32 slot;
	u32 length;			/* bytes */
	enum vmab_slot_owner owner;
	bool guest;			/* claimed for a guest write */
	struct bio bio;
	struct bio_vec *bvecs;
};

struct vmab_slots {
	u32 nr;
	u32 size;			/* bytes */
	u32 reserve;			/* what FETCH leaves free */
	u32 nr_free;
	u32 nr_user;
	struct list_head free;
	struct page **pages;		/* nr * size / PAGE_SIZE, in order */
	struct vmab_copy *copies;	/* one per slot */
	struct bio_vec *bvecs;
	struct hlist_head *copying;	/* by member and chunk */
	unsigned int hash_bits;
};

/* A FETCH that has not been served in full. */
struct vmab_range {
	struct list_head list;
	struct vmab_member *member;
	u64 next, end;
};

/*
 * NEW -> READY -> ARMED -> BROKEN, the states of the protocol; from any state
 * to BROKEN, and from any state to CLOSED when the file goes.
 */
#define VMAB_STATE_CLOSED	((enum vmabackup_state)(VMABACKUP_STATE_BROKEN + 1))

/* Buckets for the chunks that are starved for: as many as a queue is deep. */
#define VMAB_STARVING_BITS	10

struct vmab_session {
	struct mutex mutex;		/* setting up; see above */

	/* Appended to under mutex and lock, before SETUP_SLOTS. */
	struct vmab_member *members[VMABACKUP_MAX_DISKS];
	u32 nr_members;

	struct vmab_slots *slots;	/* set once, with release order */

	spinlock_t lock;		/* everything below; see above */
	enum vmabackup_state state;
	struct vmab_fault fault;
	u64 nr_left;			/* chunks of all members not yet SAFE */
	u32 inflight;			/* slots COPYING */
	struct list_head starved;	/* held bios that wait for a slot, in turn */
	DECLARE_HASHTABLE(starving, VMAB_STARVING_BITS); /* singles among them, by chunk */
	u64 last_put;			/* ns, when the reader last gave a slot back */
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
	struct workqueue_struct *leave_wq;
	wait_queue_head_t reader;
	wait_queue_head_t quiet;	/* inflight became 0 */
};

#endif /* VMAB_TYPES_H */
