/* SPDX-License-Identifier: GPL-2.0 */
/*
 * trace: the tracepoints of a backup, in /sys/kernel/tracing/events/vmabackup.
 *
 *   vmab_claim    a chunk is about to be copied; for whom, from where, to where
 *   vmab_copied   that is over, and how long it took
 *   vmab_hold     a guest's bio has to wait
 *   vmab_release  it waits no longer; how long it did, and how it goes on
 *   vmab_break    a session breaks
 *
 * dev is the mapped device's number.  They take numbers only, so that they can be
 * called under any lock, and know no structures of ours.
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM vmabackup

#if !defined(VMAB_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define VMAB_TRACE_H

#include <linux/dm-vmabackup.h>
#include <linux/kdev_t.h>
#include <linux/tracepoint.h>
#include <linux/types.h>

/* This file is read several times over. */
#ifndef VMAB_TRACE_ENUMS
#define VMAB_TRACE_ENUMS
/* Where a chunk ended up: NOWHERE if its copying failed or was given up. */
enum vmab_trace_to { VMAB_TO_SLOT, VMAB_TO_FLEECE, VMAB_TO_NOWHERE };

/* How a held bio went on; REQUEUED: back to device-mapper, from where it comes again. */
enum vmab_trace_out { VMAB_OUT_SUBMITTED, VMAB_OUT_FAILED, VMAB_OUT_DROPPED, VMAB_OUT_REQUEUED };
#endif

TRACE_DEFINE_ENUM(VMAB_TO_SLOT);
TRACE_DEFINE_ENUM(VMAB_TO_FLEECE);
TRACE_DEFINE_ENUM(VMAB_TO_NOWHERE);
TRACE_DEFINE_ENUM(VMAB_OUT_SUBMITTED);
TRACE_DEFINE_ENUM(VMAB_OUT_FAILED);
TRACE_DEFINE_ENUM(VMAB_OUT_DROPPED);
TRACE_DEFINE_ENUM(VMAB_OUT_REQUEUED);
TRACE_DEFINE_ENUM(VMABACKUP_REASON_NONE);
TRACE_DEFINE_ENUM(VMABACKUP_REASON_TIMEOUT);
TRACE_DEFINE_ENUM(VMABACKUP_REASON_READ_ERROR);
TRACE_DEFINE_ENUM(VMABACKUP_REASON_SUSPEND);
TRACE_DEFINE_ENUM(VMABACKUP_REASON_REPLACED);
TRACE_DEFINE_ENUM(VMABACKUP_REASON_REMOVED);
TRACE_DEFINE_ENUM(VMABACKUP_REASON_READER);
TRACE_DEFINE_ENUM(VMABACKUP_REASON_FLEECE_ERROR);
TRACE_DEFINE_ENUM(VMABACKUP_REASON_RESIZED);

#define vmab_show_to(to) \
	__print_symbolic(to, \
			 { VMAB_TO_SLOT, "slot" }, \
			 { VMAB_TO_FLEECE, "fleece" }, \
			 { VMAB_TO_NOWHERE, "nowhere" })

#define vmab_show_out(out) \
	__print_symbolic(out, \
			 { VMAB_OUT_SUBMITTED, "submitted" }, \
			 { VMAB_OUT_FAILED, "failed" }, \
			 { VMAB_OUT_DROPPED, "dropped" }, \
			 { VMAB_OUT_REQUEUED, "requeued" })

/* The words of the status line. */
#define vmab_show_reason(reason) \
	__print_symbolic(reason, \
			 { VMABACKUP_REASON_NONE, "none" }, \
			 { VMABACKUP_REASON_TIMEOUT, "timeout" }, \
			 { VMABACKUP_REASON_READ_ERROR, "read-error" }, \
			 { VMABACKUP_REASON_SUSPEND, "suspend" }, \
			 { VMABACKUP_REASON_REPLACED, "replaced" }, \
			 { VMABACKUP_REASON_REMOVED, "removed" }, \
			 { VMABACKUP_REASON_READER, "reader" }, \
			 { VMABACKUP_REASON_FLEECE_ERROR, "fleece-error" }, \
			 { VMABACKUP_REASON_RESIZED, "resized" })

TRACE_EVENT(vmab_claim,
	    TP_PROTO(dev_t dev, u64 chunk, bool guest, bool from_fleece, bool to_fleece),
	    TP_ARGS(dev, chunk, guest, from_fleece, to_fleece),

	    TP_STRUCT__entry(__field(dev_t, dev)
			     __field(u64, chunk)
			     __field(bool, guest)
			     __field(bool, from_fleece)
			     __field(bool, to_fleece)
			     ),

	    TP_fast_assign(__entry->dev = dev;
			   __entry->chunk = chunk;
			   __entry->guest = guest;
			   __entry->from_fleece = from_fleece;
			   __entry->to_fleece = to_fleece;
			   ),

	    TP_printk("dev=%u:%u chunk=%llu for=%s from=%s to=%s",
		      MAJOR(__entry->dev), MINOR(__entry->dev), __entry->chunk,
		      __entry->guest ? "guest" : "fetch",
		      __entry->from_fleece ? "fleece" : "origin",
		      __entry->to_fleece ? "fleece" : "slot")
);

TRACE_EVENT(vmab_copied,
	    TP_PROTO(dev_t dev, u64 chunk, enum vmab_trace_to to, u64 latency_us, int error),
	    TP_ARGS(dev, chunk, to, latency_us, error),

	    TP_STRUCT__entry(__field(dev_t, dev)
			     __field(u64, chunk)
			     __field(u64, latency_us)
			     __field(u32, to)
			     __field(int, error)
			     ),

	    TP_fast_assign(__entry->dev = dev;
			   __entry->chunk = chunk;
			   __entry->latency_us = latency_us;
			   __entry->to = to;
			   __entry->error = error;
			   ),

	    TP_printk("dev=%u:%u chunk=%llu to=%s latency_us=%llu error=%d",
		      MAJOR(__entry->dev), MINOR(__entry->dev), __entry->chunk,
		      vmab_show_to(__entry->to), __entry->latency_us, __entry->error)
);

/* Whatever else changes what is there counts as a write. */
TRACE_EVENT(vmab_hold,
	    TP_PROTO(dev_t dev, u64 sector, u32 sectors, bool discard),
	    TP_ARGS(dev, sector, sectors, discard),

	    TP_STRUCT__entry(__field(dev_t, dev)
			     __field(u64, sector)
			     __field(u32, sectors)
			     __field(bool, discard)
			     ),

	    TP_fast_assign(__entry->dev = dev;
			   __entry->sector = sector;
			   __entry->sectors = sectors;
			   __entry->discard = discard;
			   ),

	    TP_printk("dev=%u:%u op=%s sector=%llu sectors=%u",
		      MAJOR(__entry->dev), MINOR(__entry->dev),
		      __entry->discard ? "discard" : "write",
		      __entry->sector, __entry->sectors)
);

TRACE_EVENT(vmab_release,
	    TP_PROTO(dev_t dev, u64 sector, u64 waited_us, enum vmab_trace_out out),
	    TP_ARGS(dev, sector, waited_us, out),

	    TP_STRUCT__entry(__field(dev_t, dev)
			     __field(u64, sector)
			     __field(u64, waited_us)
			     __field(u32, out)
			     ),

	    TP_fast_assign(__entry->dev = dev;
			   __entry->sector = sector;
			   __entry->waited_us = waited_us;
			   __entry->out = out;
			   ),

	    TP_printk("dev=%u:%u sector=%llu waited_us=%llu %s",
		      MAJOR(__entry->dev), MINOR(__entry->dev), __entry->sector,
		      __entry->waited_us, vmab_show_out(__entry->out))
);

/* dev is 0:0 and offset -1 if it is about no disk, or no place on it. */
TRACE_EVENT(vmab_break,
	    TP_PROTO(dev_t dev, enum vmabackup_reason reason, int error, u64 offset),
	    TP_ARGS(dev, reason, error, offset),

	    TP_STRUCT__entry(__field(dev_t, dev)
			     __field(u32, reason)
			     __field(int, error)
			     __field(u64, offset)
			     ),

	    TP_fast_assign(__entry->dev = dev;
			   __entry->reason = reason;
			   __entry->error = error;
			   __entry->offset = offset;
			   ),

	    TP_printk("dev=%u:%u reason=%s error=%d offset=%lld",
		      MAJOR(__entry->dev), MINOR(__entry->dev),
		      vmab_show_reason(__entry->reason), __entry->error,
		      (s64)__entry->offset)
);

#endif /* VMAB_TRACE_H */

/* Found by -I, see Kbuild. */
#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
