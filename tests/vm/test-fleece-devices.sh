#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Fleece devices of all shapes: larger, coarser, with and without discard, with a partial chunk
# at the end.  What went there comes back as it was, and nothing of it stays.
# needs: disks=2x256M cpus=1 timeout=900
. "$BED_TOP/tests/vm/lib.sh"
. "$BED_TOP/tests/vm/lib-fleece.sh"
plan 68

# 8 MiB and a piece of a chunk that is no multiple of 4096 bytes.
sectors=16427
chunks=129
load_target
piece origin /dev/vda 0 $sectors
# One sector more than 16 MiB.
piece large /dev/vda 200000 32769

# shape NAME DISK: everything is overwritten while nobody reads.
shape() {
	local name=$1 d=$2

	disk_fill "/dev/mapper/$d" 1
	dd if="/dev/mapper/$d" of="$WORK/before" bs=1M iflag=direct status=none
	session_start --policy fleece --slots 8 --out "$WORK/image" "/dev/mapper/$d"
	check "$name: all is overwritten" disk_fill "/dev/mapper/$d" 2
	# A write ends when its chunk has been read.
	wait_for "$SETTLE" field_is "$d" copying 0
	check_eq "$name: every chunk went to the fleece device" \
		"$(field "$d" guest) $(field "$d" spilled) $(left "$d")" "$chunks $chunks $chunks"
	check "$name: and takes space there" field_above "$d" fleece_used $((sectors - 1))
	session_end
	check_eq "$name: the reader gets all" "$session_status" 0
	check "$name: as it was" cmp "$WORK/before" "$WORK/image"
	check "$name: fleece_used is 0 then" wait_for "$SETTLE" field_is "$d" fleece_used 0
	check_eq "$name: status" "$(field "$d" refetched) $(reason "$d")" "$chunks none 0 -"
	rm "$WORK/before" "$WORK/image"
}

# limits DEVICE: what a guest sees of it.
limits() {
	local node

	node=/sys/dev/block/$(dmsetup info -c --noheadings --separator : -o major,minor "$1")/queue
	grep -H . "$node"/{*_block_size,*_io_size,max_*sectors_kb,max_segment*} \
		"$node"/{discard_*,write_*_max_bytes,dma_alignment,fua,write_cache,zoned} |
		sed 's,.*/queue/,,'
}

disk plain /dev/mapper/origin
limits plain >"$WORK/limits"
diag "$(wc -l <"$WORK/limits") limits compared"

# --- a larger one, with discard ---
piece larger /dev/vdb 0 40000
disk d /dev/mapper/origin 2 fleece /dev/mapper/larger
dev=$(dmsetup info -c --noheadings --separator : -o major,minor larger)
check "its table line names it" grep -q " 2 fleece $dev\$" <(dm_table d)
check "and can be loaded again" dmsetup reload d --table "$(dm_table d)"
dmsetup clear d
limits d >"$WORK/with"
check "the guest sees the origin's limits" cmp "$WORK/limits" "$WORK/with"
before=$(_disk_stat /dev/vdb 13)
shape "larger" d
check "larger: all of it was discarded" \
	test $(($(_disk_stat /dev/vdb 13) - before)) -ge $((sectors))
check "larger: what lies behind the origin's size was not written" cmp -n $(((40000 - 17000) * 512)) \
	-i $((17000 * 512)):0 /dev/mapper/larger /dev/zero

# --- no discard: one leg of it is a target that has none ---
dm_create rigid "0 20000 linear /dev/vdb 0
20000 64 error"
disk d /dev/mapper/origin 2 fleece /dev/mapper/rigid
shape "without discard" d
# What is forgotten there can't be given back, and counts no more.
session_start --policy fleece --slots 8 --forget-armed 16 /dev/mapper/d
"$BURST" write /dev/mapper/d 7 0 4096 32 $CHUNK >"$WORK/burst"
check "without discard: 32 chunks are there" wait_for "$SETTLE" field_is d fleece_used $((32 * 128))
wait_for "$SETTLE" field_is d copying 0
session_end
check_eq "without discard: 16 are forgotten, the reader gets the rest" \
	"$session_status $(field d forgotten) $(field d refetched)" "0 16 16"
check "without discard: fleece_used is 0 then" wait_for "$SETTLE" field_is d fleece_used 0

# --- larger blocks than the origin ---
in_memory coarse 16M --sector-size 4096
# shellcheck disable=SC2154 # in_memory sets it
disk d /dev/mapper/origin 2 fleece "$coarse"
limits d >"$WORK/with"
check "blocks of 4096: the guest sees the origin's limits" cmp "$WORK/limits" "$WORK/with"
shape "blocks of 4096" d
check "blocks of 4096: nothing stays there" wait_for "$SETTLE" takes_nothing coarse

# A reader that dies leaves nothing either.
session_start --policy fleece --slots 8 /dev/mapper/d
"$BURST" write /dev/mapper/d 7 0 4096 32 $CHUNK >"$WORK/burst"
wait_for "$SETTLE" field_is d copying 0
check "32 chunks are there" test "$(field d fleece_used)" -eq $((32 * 128))
check "on the device, too" test "$(memory_taken coarse)" -ge $((32 * CHUNK))
session_kill
check "a killed session: nothing stays" wait_for "$SETTLE" takes_nothing coarse
check "and the disk is idle" wait_for "$SETTLE" field_is d vmabackup idle
check "fleece_used is 0" field_is d fleece_used 0

# --- a thin pool with blocks of four chunks ---
piece meta /dev/vdb 100000 8192
piece data /dev/vdb 120000 65536
thin_pool pool /dev/mapper/meta /dev/mapper/data 512
# In whole blocks: thin gives no part of one back.
thin pool thin 0 $(((sectors + 511) / 512 * 512))
disk d /dev/mapper/origin 2 fleece /dev/mapper/thin
limits d >"$WORK/with"
check "thin: the guest sees the origin's limits" cmp "$WORK/limits" "$WORK/with"
shape "thin" d
check "thin: the pool's blocks are free again" wait_for "$SETTLE" pool_empty pool
session_start --policy fleece --slots 8 /dev/mapper/d
# One chunk in each block.
"$BURST" write /dev/mapper/d 7 0 4096 16 $((4 * CHUNK)) >"$WORK/burst"
wait_for "$SETTLE" field_is d copying 0
check "thin: 16 of its blocks are used" test "$(pool_used pool)" -eq 16
session_kill
check "thin: a killed session gives them back" wait_for "$SETTLE" pool_empty pool

# --- chunks here and there ---
# The kernel holds back writeback, and discards, when others keep a device busy.
use_tracing block/block_bio_queue
disk d /dev/mapper/origin 2 fleece /dev/mapper/larger
session_start --policy fleece --slots 8 /dev/mapper/d
before=$(_disk_stat /dev/mapper/larger 11)
echo 1 >$TRACING/events/block/block_bio_queue/enable
"$BURST" write /dev/mapper/d 8 0 4096 64 $((2 * CHUNK)) >"$WORK/burst"
wait_for "$SETTLE" field_is d spilled 64
echo 0 >$TRACING/events/block/block_bio_queue/enable
grep -F "${dev/:/,} W" $TRACING/trace >"$WORK/writes"
check "scattered: 64 chunks were written" test "$(wc -l <"$WORK/writes")" -eq 64
check_eq "scattered: none as writeback" "$(grep -cvF "${dev/:/,} WS" "$WORK/writes" || true)" 0
session_kill
check "scattered: a killed session gives them back" wait_for "$SETTLE" field_is d fleece_used 0
wait_for "$SETTLE" field_is d vmabackup idle
check "scattered: in few discards" \
	test $(($(_disk_stat /dev/mapper/larger 11) - before)) -le 4

# --- what is no fleece device ---
# refused NAME REASON ORIGIN FEATURES...
refused() {
	local name=$1 reason=$2

	shift 2
	dmesg -C
	try dmsetup create bad --table "0 $(blockdev --getsz "$1") vmabackup $*"
	if [ "$status" -eq 0 ]; then
		not_ok "$name is refused" "it was not: $*"
	elif dmesg | grep -q "$reason"; then
		ok "$name is refused"
	else
		not_ok "$name is refused" "but the log does not say: $reason" "$(dmesg)"
	fi
	dmsetup remove bad 2>/dev/null || true
}
piece small /dev/vdb 300000 $((sectors - 1))
piece other /dev/vda 100000 $sectors
refused "a smaller fleece device" "is smaller than the origin" \
	/dev/mapper/origin 2 fleece /dev/mapper/small
refused "one that is smaller in its own blocks" "is smaller than the origin" \
	/dev/mapper/large 2 fleece "$coarse"
refused "the origin as its own" "is the origin" /dev/mapper/origin 2 fleece /dev/mapper/origin
refused "one that is not there" "can't be opened" /dev/mapper/origin 2 fleece /dev/nonesuch
refused "none" "has no device" /dev/mapper/origin 1 fleece
refused "two" "given twice" \
	/dev/mapper/origin 4 fleece /dev/mapper/larger fleece /dev/mapper/rigid
refused "an unknown on_cbw_error" "on_cbw_error must be" \
	/dev/mapper/origin 2 on_cbw_error break
disk d /dev/mapper/origin 4 on_cbw_error break-guest-write fleece /dev/mapper/larger
check "on_cbw_error is printed" grep -q ' on_cbw_error break-guest-write$' <(dm_table d)
refused "another disk's fleece device" "uses its fleece device" \
	/dev/mapper/other 2 fleece /dev/mapper/larger
refused "another disk's origin" "uses its fleece device" \
	/dev/mapper/other 2 fleece /dev/mapper/origin
refused "as an origin, another disk's fleece device" "uses its fleece device" /dev/mapper/larger
refused "another disk itself" "uses its fleece device" /dev/mapper/other 2 fleece /dev/mapper/d

# As it is loaded: at the resume device-mapper would have taken away the table that there is.
disk e /dev/mapper/other
table=$(dm_table e)
check_status 1 "a table of a live disk with another's fleece device is refused" dmsetup load e \
	--table "0 $sectors vmabackup /dev/mapper/other 2 fleece /dev/mapper/larger"
check_status 1 "with another disk for one" dmsetup load e \
	--table "0 $sectors vmabackup /dev/mapper/other 2 fleece /dev/mapper/d"
check_status 1 "and that what is another's fleece device becomes a disk" dmsetup load larger \
	--table "0 $(blockdev --getsz /dev/mapper/larger) vmabackup /dev/vda"
dmsetup suspend e
check "a resume goes on" dmsetup resume e
check_eq "with the table that there was" "$(dm_table e)" "$table"
