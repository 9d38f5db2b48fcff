/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * dm-vmabackup: the protocol of /dev/vmabackup
 *
 * A session copies one or more device-mapper disks that use the "vmabackup"
 * target, exact as of one instant over all of them, while they are in use.
 *
 * One open file is one session
 * ============================
 * Every open() of /dev/vmabackup makes a session of its own.  The session ends
 * when the last reference to that open file goes: close(), exit, SIGKILL, and
 * the last munmap() of its slot memory.  Ending a session at any point is safe:
 * guest writes that were held are let go, and the disks are idle again.
 *
 * The order of things
 * ===================
 *
 *	fd = open("/dev/vmabackup", O_RDWR)
 *	VMABACKUP_IOC_INFO		versions and limits
 *	VMABACKUP_IOC_ADD_DISK		once per disk
 *	VMABACKUP_IOC_SETUP_SLOTS	once
 *	slots = mmap(NULL, length, PROT_READ, MAP_SHARED, fd, 0)
 *	VMABACKUP_IOC_FORGET		optional: chunks that are not wanted
 *	suspend every disk		(DM_DEVICE_SUSPEND, by the caller)
 *	VMABACKUP_IOC_ARM		this is the instant
 *	resume every disk
 *	VMABACKUP_IOC_FETCH		ask for ranges, in any order
 *	VMABACKUP_IOC_REAP		take chunks, give slots back; repeat
 *	close(fd)
 *
 * A disk is divided into chunks of its own chunk size (a power of two, 64 KiB
 * to 1 MiB, set by its table line).  Chunk n is the bytes
 * [n * chunk_size, min((n + 1) * chunk_size, size)): the last chunk may be
 * short.  From ARM on, every chunk that was not forgotten is delivered exactly
 * once, with its content at the instant: either because FETCH asked for it or
 * because a guest was about to overwrite it.  The session is complete when
 * vmabackup_status.chunks_left is 0 and everything delivered was reaped.
 *
 * Slots
 * =====
 * A slot is slot_size bytes of kernel memory at slot * slot_size in the
 * mapping.  It belongs to the kernel until REAP delivers it; then it belongs to
 * userspace, and its content stands still, until it is given back by a later
 * REAP.  Bytes past vmabackup_completion.length are undefined (they hold an
 * older chunk of the same session, or zeroes).  The mapping is read-only and
 * shared; a writable or private mapping is refused with EACCES or EINVAL.  The
 * pages are ordinary ones: O_DIRECT, io_uring (but not as registered buffers) and
 * vmsplice can read from them.  Before SETUP_SLOTS mmap() gives EBUSY.
 *
 * poll() reports EPOLLIN when REAP would not sleep: something can be taken, or
 * nothing is left to come.  Before ARM it is silent, although REAP answers EBUSY.
 *
 * Where an old chunk goes
 * =======================
 * A guest write to a chunk that is still needed is held until the old chunk is
 * in memory.  The session's policy says where it goes from there:
 *
 *	VMABACKUP_POLICY_RING	a slot, delivered at once.  Slots in reserve are
 *				kept for this.  Without a free one the write waits.
 *	VMABACKUP_POLICY_FLEECE	the disk's fleece device, by way of a slot; see
 *				VMABACKUP_SPILL_SLOTS
 *	VMABACKUP_POLICY_AUTO	a slot while one is free, else the fleece device,
 *				if the disk has one
 *
 * FETCH brings chunks back from the fleece device like any other.
 * Documentation/dm-vmabackup.rst says all about it, and what happens when a
 * fleece device fails (vmabackup_status.fleece_error).
 *
 * Waiting, and on_cbw_error
 * =========================
 * Copying before a write can go wrong (Documentation/dm-vmabackup.rst has when).
 * Then on_cbw_error speaks:
 *
 * VMABACKUP_BREAK_SNAPSHOT (default): the session breaks.  Held writes are let go
 * unharmed, VMABACKUP_IOC_REAP and VMABACKUP_IOC_FETCH answer ESTALE from then
 * on, poll() reports EPOLLERR, and VMABACKUP_IOC_STATUS says why.  The first
 * reason is kept.  A broken session can only be closed.
 *
 * VMABACKUP_BREAK_GUEST_WRITE: the writes that wait get an I/O error, the chunk
 * is still needed, the session lives.
 *
 * Either way, FETCH's own read error breaks the session, and so does
 * the loss of a disk, or a suspend while a write waits for a slot and none came
 * free for VMABACKUP_SUSPEND_GRACE_MS.  A suspend without flush gives these
 * writes back to device-mapper, but for those that are polled; their time starts
 * anew afterwards.
 *
 * Conventions
 * ===========
 * Sizes and offsets are bytes, chunk numbers count chunks from 0.  Fields named
 * reserved must be 0 and unknown flags are refused (EINVAL), so that they can
 * get a meaning later.  All structures have the same layout for 32- and 64-bit
 * callers.  "May sleep" below means: for memory or on locks, for as long as the
 * kernel's own reads of the disks take, but never for another process, except
 * for REAP, which says so.  All calls may be made from several threads.
 *
 * Errors common to all: EFAULT (bad pointer), EINVAL (unknown flag, reserved
 * field not 0, value out of range), ENOTTY (unknown request), ESTALE (the
 * session is broken), EBUSY (not possible in this state of the session).
 */
#ifndef _UAPI_LINUX_DM_VMABACKUP_H
#define _UAPI_LINUX_DM_VMABACKUP_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define VMABACKUP_DEVICE_NAME		"vmabackup"	/* /dev/vmabackup */

/* Changes when an old caller could no longer work. */
#define VMABACKUP_ABI_VERSION		2

/* Disks per session: what one archive of the VMA format can hold. */
#define VMABACKUP_MAX_DISKS		254

/* Bounds of a disk's chunk size and of the slot size, bytes. */
#define VMABACKUP_MIN_CHUNK		65536
#define VMABACKUP_MAX_CHUNK		1048576

/* Completions and slots given back per call of VMABACKUP_IOC_REAP. */
#define VMABACKUP_MAX_BATCH		64

/* Ranges that FETCH can queue per session; ENOBUFS beyond. */
#define VMABACKUP_MAX_RANGES		256

/* Slots of a session, before the bound on their memory. */
#define VMABACKUP_MIN_SLOTS		2
#define VMABACKUP_MAX_SLOTS		16384

/*
 * Slots that only carry chunks to the fleece device, if any disk has one: a quarter
 * of all, but at least one and at most so many; none under VMABACKUP_POLICY_RING.
 * 16 writes of 64 KiB keep a disk busy.
 */
#define VMABACKUP_SPILL_SLOTS		16

/* Bounds of cbw_timeout, milliseconds: an hour is longer than any guest waits. */
#define VMABACKUP_MIN_TIMEOUT_MS	1
#define VMABACKUP_MAX_TIMEOUT_MS	3600000

/*
 * While a disk is being suspended and a write waits for a slot: how long the
 * reader may give none back, milliseconds.  One that is alive does so within a
 * few milliseconds; LVM waits for the suspend with its locks held.
 */
#define VMABACKUP_SUSPEND_GRACE_MS	1000

/**
 * struct vmabackup_info - VMABACKUP_IOC_INFO: versions and limits
 * @abi_version:	out: VMABACKUP_ABI_VERSION of the running module
 * @max_disks:		out: disks per session
 * @max_slot_memory:	out: bound of nr_slots * slot_size, bytes (the module
 *			parameter max_slot_memory_mb)
 * @features:		out: VMABACKUP_FEATURE_*
 *
 * Allowed in every state.  Does not sleep.
 */
struct vmabackup_info {
	__u32 abi_version;
	__u32 max_disks;
	__u64 max_slot_memory;
	__u64 features;
};

/* vmabackup_info.features */
#define VMABACKUP_FEATURE_FLEECE	(1ULL << 0)	/* fleece devices, policies */
#define VMABACKUP_FEATURE_VIEW		(1ULL << 1)	/* the target vmabackup-view */

/**
 * struct vmabackup_add_disk - VMABACKUP_IOC_ADD_DISK: put a disk in the session
 * @fd:		in: open file of the device-mapper device, readable.  The
 *		session keeps no reference to it.
 * @flags:	in: 0
 * @disk:	out: the disk's number in this session, from 0
 * @chunk_size:	out: bytes per chunk
 * @size:	out: size of the disk, bytes
 * @nr_chunks:	out: size / chunk_size, rounded up
 * @disk_flags:	out: VMABACKUP_DISK_*
 * @reserved:	out: 0
 *
 * Only before SETUP_SLOTS.  Every chunk starts as needed.  Allocates 2 bits
 * per chunk, 3 with a fleece device.  May sleep.
 *
 * Errors: EBADF (@fd is not an open file, or not readable), ENOTBLK (not a
 * block device), ENODEV (not a device-mapper device with the vmabackup target
 * as its whole live table), EEXIST (already in this session), EBUSY (in
 * another session, or past SETUP_SLOTS, or a session of a table that was
 * replaced is still writing to the fleece device), ENOSPC
 * (VMABACKUP_MAX_DISKS), ENOMEM, EFBIG (more chunks than a long can count, on 32
 * bits).
 */
struct vmabackup_add_disk {
	__s32 fd;
	__u32 flags;
	__u32 disk;
	__u32 chunk_size;
	__u64 size;
	__u64 nr_chunks;
	__u32 disk_flags;
	__u32 reserved;
};

/* vmabackup_add_disk.disk_flags */
#define VMABACKUP_DISK_FLEECE		(1U << 0)	/* it has a fleece device */

/* vmabackup_setup_slots.policy: where chunks go that a guest is about to change */
enum vmabackup_policy {
	VMABACKUP_POLICY_AUTO = 0,
	VMABACKUP_POLICY_RING = 1,
	VMABACKUP_POLICY_FLEECE = 2,
};

/* vmabackup_setup_slots.on_cbw_error: what becomes of copies that go wrong */
enum vmabackup_on_cbw_error {
	VMABACKUP_ON_CBW_ERROR_TABLE = 0,	/* as the disk's table line says */
	VMABACKUP_BREAK_SNAPSHOT = 1,
	VMABACKUP_BREAK_GUEST_WRITE = 2,
};

/*
 * vmabackup_setup_slots.flags: a discard of chunks that are still needed is
 * dropped (answered with success and not passed down) instead of having them
 * copied first.  Trimming costs nothing then; the space stays allocated.
 */
#define VMABACKUP_SETUP_DROP_DISCARDS	(1U << 0)

/**
 * struct vmabackup_setup_slots - VMABACKUP_IOC_SETUP_SLOTS: make the ring
 * @nr_slots:	in: VMABACKUP_MIN_SLOTS to VMABACKUP_MAX_SLOTS
 * @slot_size:	in: bytes, a power of two, at least the largest chunk size of
 *		the session's disks, at most VMABACKUP_MAX_CHUNK
 * @reserve:	in: slots that FETCH leaves free for guest writes, < nr_slots
 *		(and those for copies to fleece devices, where there are any)
 * @flags:	in: VMABACKUP_SETUP_*
 * @policy:	in: enum vmabackup_policy, for all disks of the session
 * @on_cbw_error: in: enum vmabackup_on_cbw_error, likewise
 * @cbw_timeout_ms: in: milliseconds, likewise; 0: as the table lines say
 * @reserved:	in: 0
 * @length:	out: bytes to mmap at offset 0
 *
 * Once, after at least one ADD_DISK.  Allocates all memory that the session
 * will ever need.  May sleep.
 *
 * Errors: E2BIG (nr_slots * slot_size is beyond vmabackup_info.max_slot_memory),
 * ENOMEM, EBUSY (already done), ENOENT (no disk was added), ENODEV
 * (VMABACKUP_POLICY_FLEECE and a disk without a fleece device).
 */
struct vmabackup_setup_slots {
	__u32 nr_slots;
	__u32 slot_size;
	__u32 reserve;
	__u32 flags;
	__u32 policy;
	__u32 on_cbw_error;
	__u32 cbw_timeout_ms;
	__u32 reserved;
	__u64 length;
};

/**
 * struct vmabackup_arm - VMABACKUP_IOC_ARM: the instant
 * @flags:	in: 0
 * @bad_disk:	out: with ENOTCONN, the disk that is the reason
 *
 * Once, while every disk of the session is suspended.  What the disks hold now
 * is what the session delivers.  Does not allocate and does not wait for I/O.
 *
 * Errors: ENOTCONN (a disk is not suspended: @bad_disk), ENOENT (no slots were set
 * up), EBUSY (already armed).
 */
struct vmabackup_arm {
	__u32 flags;
	__u32 bad_disk;
};

/**
 * struct vmabackup_range - VMABACKUP_IOC_FETCH, VMABACKUP_IOC_FORGET
 * @disk:	in: number of the disk
 * @flags:	in: 0
 * @first:	in: first chunk
 * @count:	in: chunks, at least 1; first + count <= nr_chunks
 * @forgotten:	out (FORGET): chunks of the range that will not be delivered
 *		because of this call
 *
 * FETCH queues a range, after ARM.  Its chunks are read as slots come free, in
 * order of the ranges and ascending in a range, from the disk or back from its
 * fleece device; chunks that were delivered, forgotten or are on their way
 * already are passed over in silence.  Returns at once.  Errors: ENOBUFS
 * (VMABACKUP_MAX_RANGES are queued: reap and repeat), EBUSY (not armed yet).
 *
 * FORGET drops chunks that are still needed and not being copied, before or
 * after ARM.  What a guest writes to them is not held back any more.
 *
 * Errors of both: ERANGE (past the end), ENOENT (no such disk), EINVAL.
 */
struct vmabackup_range {
	__u32 disk;
	__u32 flags;
	__u64 first;
	__u64 count;
	__u64 forgotten;
};

/* vmabackup_completion.flags: why the chunk was copied */
#define VMABACKUP_COMPLETION_GUEST_WRITE	(1U << 0)
/* ... and that it was on the fleece device meanwhile */
#define VMABACKUP_COMPLETION_FLEECE		(1U << 1)

/**
 * struct vmabackup_completion - a delivered chunk
 * @disk:	number of the disk
 * @slot:	the slot that holds it, from now on the caller's
 * @chunk:	number of the chunk
 * @length:	bytes of the chunk: chunk_size, or less for the last one
 * @flags:	VMABACKUP_COMPLETION_*
 */
struct vmabackup_completion {
	__u32 disk;
	__u32 slot;
	__u64 chunk;
	__u32 length;
	__u32 flags;
};

/* vmabackup_reap.flags: answer EAGAIN instead of waiting for a completion */
#define VMABACKUP_REAP_NONBLOCK			(1U << 0)

/**
 * struct vmabackup_reap - VMABACKUP_IOC_REAP: give slots back, take chunks
 * @releases:		in: address of @nr_releases slot numbers (__u32)
 * @completions:	in: address of room for @max_completions completions
 * @nr_releases:	in: 0 to VMABACKUP_MAX_BATCH
 * @max_completions:	in: 0 to VMABACKUP_MAX_BATCH; 0 means only to give back
 * @nr_completions:	out: completions written
 * @nr_released:	out: slots taken back, from the start of @releases, also
 *			when the call fails
 * @flags:		in: VMABACKUP_REAP_*; O_NONBLOCK of the file does the same
 * @reserved:		in: 0
 *
 * Gives slots back first, then takes the completions there are.  When there is
 * none and max_completions is not 0, sleeps until there is one, the session
 * breaks or a signal comes (EINTR), unless told not to: then EAGAIN.  When
 * nothing is left to come (every chunk was delivered or forgotten and all were
 * reaped), returns 0 with nr_completions 0 instead of sleeping.
 *
 * A slot that is not the caller's (never delivered, given back already, out of
 * range) fails with EBADSLT; nr_released says how many before it were taken
 * back, and nothing is delivered.
 *
 * After EFAULT on @completions the chunks are lost, and the session breaks.
 * After ENOMEM nothing was taken: try again.
 */
struct vmabackup_reap {
	__u64 releases;
	__u64 completions;
	__u32 nr_releases;
	__u32 max_completions;
	__u32 nr_completions;
	__u32 nr_released;
	__u32 flags;
	__u32 reserved;
};

/* vmabackup_status.state */
enum vmabackup_state {
	VMABACKUP_STATE_NEW = 0,	/* disks can be added */
	VMABACKUP_STATE_READY = 1,	/* slots are set up */
	VMABACKUP_STATE_ARMED = 2,	/* the instant has been */
	VMABACKUP_STATE_BROKEN = 3,	/* see reason */
};

/* vmabackup_status.reason */
enum vmabackup_reason {
	VMABACKUP_REASON_NONE = 0,
	VMABACKUP_REASON_TIMEOUT = 1,	/* a write was held for cbw_timeout */
	VMABACKUP_REASON_READ_ERROR = 2, /* the origin could not be read */
	VMABACKUP_REASON_SUSPEND = 3,	/* suspended with writes waiting */
	VMABACKUP_REASON_REPLACED = 4,	/* the disk's table was replaced */
	VMABACKUP_REASON_REMOVED = 5,	/* the disk was removed */
	VMABACKUP_REASON_READER = 6,	/* REAP could not hand chunks over */
	VMABACKUP_REASON_FLEECE_ERROR = 7, /* the fleece device failed */
	VMABACKUP_REASON_RESIZED = 8,	/* the origin became too small */
};

/**
 * struct vmabackup_status - VMABACKUP_IOC_STATUS
 * @state:		enum vmabackup_state
 * @reason:		enum vmabackup_reason, why the session broke
 * @error:		errno that goes with it (positive), or 0
 * @error_disk:		the disk it was about, if any; ~0 if none
 * @error_offset:	byte offset on that disk; ~0 if none
 * @nr_disks:		disks in the session
 * @nr_slots:		slots, and of them:
 * @slots_free:		free
 * @slots_user:		delivered and not given back
 * @chunks_total:	chunks of all disks
 * @chunks_left:	not yet in a slot and not forgotten
 * @chunks_guest:	copied because a guest wrote
 * @chunks_fetched:	read from the disks because FETCH asked
 * @chunks_forgotten:	dropped by FORGET
 * @chunks_spilled:	of chunks_guest, those that went to a fleece device
 * @chunks_refetched:	read back from there
 * @writes_held:	guest bios that were held, ever
 * @writes_held_now:	guest bios held at the moment
 * @longest_wait_us:	longest time that one was held, microseconds
 * @total_wait_us:	sum of those times, microseconds
 * @writes_failed:	guest bios that got an error (VMABACKUP_BREAK_GUEST_WRITE)
 * @discards_dropped:	guest discards that were dropped
 * @fleece_used:	bytes that stand on the fleece devices
 * @copies_now:		chunks being copied at the moment
 * @fleece_error:	errno (positive) of the first failure of a fleece device, or 0
 *
 * Allowed in every state, broken ones included.  May sleep.
 */
struct vmabackup_status {
	__u32 state;
	__u32 reason;
	__u32 error;
	__u32 error_disk;
	__u64 error_offset;
	__u32 nr_disks;
	__u32 nr_slots;
	__u32 slots_free;
	__u32 slots_user;
	__u64 chunks_total;
	__u64 chunks_left;
	__u64 chunks_guest;
	__u64 chunks_fetched;
	__u64 chunks_forgotten;
	__u64 writes_held;
	__u64 writes_held_now;
	__u64 longest_wait_us;
	__u64 total_wait_us;
	__u64 chunks_spilled;
	__u64 chunks_refetched;
	__u64 writes_failed;
	__u64 discards_dropped;
	__u64 fleece_used;
	__u32 copies_now;
	__u32 fleece_error;
};

#define VMABACKUP_IOC_MAGIC	0xB7

#define VMABACKUP_IOC_INFO \
	_IOR(VMABACKUP_IOC_MAGIC, 0, struct vmabackup_info)
#define VMABACKUP_IOC_ADD_DISK \
	_IOWR(VMABACKUP_IOC_MAGIC, 1, struct vmabackup_add_disk)
#define VMABACKUP_IOC_SETUP_SLOTS \
	_IOWR(VMABACKUP_IOC_MAGIC, 2, struct vmabackup_setup_slots)
#define VMABACKUP_IOC_ARM \
	_IOWR(VMABACKUP_IOC_MAGIC, 3, struct vmabackup_arm)
#define VMABACKUP_IOC_FETCH \
	_IOWR(VMABACKUP_IOC_MAGIC, 4, struct vmabackup_range)
#define VMABACKUP_IOC_FORGET \
	_IOWR(VMABACKUP_IOC_MAGIC, 5, struct vmabackup_range)
#define VMABACKUP_IOC_REAP \
	_IOWR(VMABACKUP_IOC_MAGIC, 6, struct vmabackup_reap)
#define VMABACKUP_IOC_STATUS \
	_IOR(VMABACKUP_IOC_MAGIC, 7, struct vmabackup_status)

#endif /* _UAPI_LINUX_DM_VMABACKUP_H */
