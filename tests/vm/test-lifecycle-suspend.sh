#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Suspends of a disk with a fleece device: writes that wait for room on the way to
# it make progress without any reader, so no suspend hangs, and no session
# breaks that need not.
# needs: disks=2x256M timeout=600
. "$BED_TOP/tests/vm/lib.sh"
. "$BED_TOP/tests/vm/lib-view.sh"
. "$BED_TOP/tests/vm/lib-hold.sh"
plan 30

size=65536
load_target
modprobe dm-delay
noise /dev/vda $size
dd if=/dev/vda of="$WORK/before" bs=1M count=$((size / 2048)) iflag=direct status=none
# A write to the fleece device takes a while, but much less than the second for which
# a suspend waits for the next one: the machine may be slow.
dm_create slow "0 $size delay /dev/vdb 0 0 /dev/vdb 0 150"
dm_create d0 "0 $size vmabackup /dev/vda 2 fleece /dev/mapper/slow"
at_exit "dmsetup resume d0"

begin() {
	rm -f "$WORK/go" "$WORK/armed"
	"$TOOLS/ioctl-abuse" drain --slots 8 --reserve 4 --go-file "$WORK/go" --ready-file "$WORK/armed" \
		--out "$WORK/image" "$@" /dev/mapper/d0 >"$WORK/drain" 2>&1 &
	drain=$!
	at_exit "kill $drain 2>/dev/null || true"
	wait_for_file 30 "$drain" "$WORK/armed"
}
# So many writes, all at once, each to another chunk; they are done when burst is.
burst() {
	"$TOOLS/burst" write /dev/mapper/d0 "$1" $((65536 * $2)) 4096 "$3" 65536 >"$WORK/burst" 2>&1 &
	burst=$!
}
some_held() {
	[ "$(status_number d0 held)" -gt 2 ]
}

for policy in fleece auto; do
	for error in break-snapshot break-guest-write; do
		begin --policy $policy --on-cbw-error $error
		burst $((RANDOM % 250 + 1)) 10 80
		# There may be more room than this machine can fill.
		wait_for 5 some_held || diag "nothing had to wait"
		check "$policy, $error: suspend without flush" timeout 20 dmsetup suspend --noflush d0
		check "$policy, $error: resume" timeout 20 dmsetup resume d0
		check "$policy, $error: suspend" timeout 30 dmsetup suspend d0
		dmsetup resume d0
		check_wait "$policy, $error: all writes were written" "$burst"
		check "$policy, $error: the session is armed" state_is d0 armed
		touch "$WORK/go"
		check_wait "$policy, $error: it gets everything" "$drain"
		check "$policy, $error: as it was" cmp "$WORK/image" "$WORK/before"
		dd if=/dev/vda of="$WORK/before" bs=1M count=$((size / 2048)) iflag=direct status=none
	done
done
check_eq "nothing is on the fleece device" "$(status_number d0 fleece_used)" 0
check "the disk is idle" state_is d0 idle
