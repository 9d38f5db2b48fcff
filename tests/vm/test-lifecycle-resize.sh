#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The volume below grows and shrinks, and the disk is given its new size: idle, the
# target follows; a session goes on while all that it needs is there, and
# else breaks and says so.
# needs: disks=2x256M timeout=600
. "$BED_TOP/tests/vm/lib.sh"
. "$BED_TOP/tests/vm/lib-view.sh"
. "$BED_TOP/tests/vm/lib-hold.sh"
plan 34

load_target
make_vg vg /dev/vda
make_lv vg origin 16M
lv=/dev/vg/origin
dm_create fleece "0 49152 linear /dev/vdb 0"
# table SECTORS
table() {
	echo "0 $1 vmabackup $lv 2 fleece /dev/mapper/fleece"
}
swap_in() {
	dmsetup reload d0 --table "$1"
	timeout 20 dmsetup resume d0
}
# What a new session finds; without one, status tells of the last.
total_is() {
	hold --slots 4 /dev/mapper/d0
	[[ $(dm_status d0) == *" armed 128 $1/$1 "* ]]
	release_hold
	wait_for 20 state_is d0 idle
}
scribble() {
	dd if=/dev/urandom of=/dev/mapper/d0 bs=64k count="$1" seek="${2:-0}" oflag=direct status=none
}
# A session whose reader waits for go.
begin() {
	rm -f "$WORK/go" "$WORK/armed"
	"$TOOLS/ioctl-abuse" drain --slots 16 --reserve 8 --go-file "$WORK/go" --ready-file "$WORK/armed" \
		--out "$WORK/image" /dev/mapper/d0 >"$WORK/drain" 2>&1 &
	drain=$!
	at_exit "kill $drain 2>/dev/null || true"
	wait_for_file 30 "$drain" "$WORK/armed"
}
reason_among() {
	reason_is d0 "$1" || reason_is d0 "$2"
}

dm_create d0 "$(table 32768)"
noise $lv 32768
dd if=$lv of="$WORK/before" bs=1M iflag=direct status=none

# --- grows ---
begin
scribble 20
check "the volume grows under a session" lvm lvextend -q -L 24M vg/origin
check "which does not mind" state_is d0 armed
check "the disk is suspended and resumed" bash -c 'dmsetup suspend d0; dmsetup resume d0'
check "still" state_is d0 armed
touch "$WORK/go"
check_wait "it is complete" "$drain"
check "and exact" cmp "$WORK/image" "$WORK/before"
check "the disk has its old size" total_is 256
check "the new one" swap_in "$(table 49152)"
check "idle, it follows" total_is 384
check "writes reach the new part" scribble 2 382
check_status 1 "not beyond the fleece device" dmsetup reload d0 --table "$(table 65536)"
lvm lvextend -q -L 32M vg/origin >/dev/null
check_status 1 "even if the volume is large enough" dmsetup reload d0 --table "$(table 65536)"
dmsetup clear d0
begin
check "reloaded with another size under a session" swap_in "0 65536 vmabackup $lv"
check "it breaks" reason_among replaced resized
touch "$WORK/go"
check_wait "its reader sees it" "$drain" 1
check "the disk is idle" wait_for 10 state_is d0 idle
check "and larger" total_is 512
check "writes go on" scribble 2 510

# --- shrinks ---
check "smaller, with a fleece device again" swap_in "$(table 49152)"
begin
scribble 20
check "the volume becomes smaller than the disk" lvm lvreduce -q -f -y -L 16M vg/origin
check "the disk is suspended and resumed" bash -c 'dmsetup suspend d0; timeout 20 dmsetup resume d0'
check "the session breaks" reason_is d0 resized
touch "$WORK/go"
check_wait "its reader sees it" "$drain" 1
check "writes within the volume go on" scribble 20
check "idle" wait_for 10 state_is d0 idle
check "resumed once more, the disk is idle" bash -c 'dmsetup suspend d0; timeout 20 dmsetup resume d0'
check_status 1 "a new table that is too large is refused" swap_in "$(table 49152)"
# device-mapper leaves the disk suspended then, with its old table.
dmsetup resume d0
check "one that fits is not" swap_in "$(table 32768)"
check "idle, it follows" total_is 256

# --- a view of a disk that shrinks ---
arm d0
dmsetup create v0 --readonly --table "0 32768 vmabackup-view /dev/mapper/d0"
at_exit "drop_view v0"
scribble 4
lvm lvreduce -q -f -y -L 12M vg/origin >/dev/null
dmsetup suspend d0
check "a disk armed by message shrinks" timeout 20 dmsetup resume d0
check "says so" reason_is d0 resized
check_status 1 "its view is dead" dd if=/dev/mapper/v0 of=/dev/null bs=4k count=1 iflag=direct
check "the view goes" dmsetup remove --retry v0
dmsetup message d0 0 disarm 2>/dev/null || true
check "and the disk is idle" wait_for 20 state_is d0 idle
