#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Another table under a session that has chunks on a fleece device and writes that
# wait to get there: ours, ours with another fleece device or none, dm-linear.
# The session breaks, the writes go on, and the next session is exact.
# needs: disks=2x256M timeout=600
. "$BED_TOP/tests/vm/lib.sh"
. "$BED_TOP/tests/vm/lib-view.sh"
plan 20

size=32768
load_target
modprobe dm-delay
memory_disk fleece 16M
# Slow enough to have writes under way when the table goes, but much less than the second
# for which a suspend waits for the next one.
dm_create slow "0 $size delay ${fleece:?} 0 0 $fleece 0 100"
ours="0 $size vmabackup /dev/vda 2 fleece /dev/mapper/slow"
another="0 $size vmabackup /dev/vda 2 fleece /dev/vdb"
none="0 $size vmabackup /dev/vda"
linear="0 $size linear /dev/vda 0"
noise /dev/vda $size
dm_create d0 "$ours"
at_exit "dmsetup resume d0"

begin() {
	rm -f "$WORK/go" "$WORK/armed"
	"$TOOLS/ioctl-abuse" drain --slots 16 --reserve 4 --policy "$1" --go-file "$WORK/go" \
		--ready-file "$WORK/armed" --out "$WORK/image" /dev/mapper/d0 >"$WORK/drain" 2>&1 &
	drain=$!
	at_exit "kill $drain 2>/dev/null || true"
	wait_for_file 30 "$drain" "$WORK/armed"
}
some_spilled() {
	[ "$(status_number d0 spilled)" -ge 5 ]
}

for kind in ours another none linear; do
	begin fleece
	"$TOOLS/burst" write /dev/mapper/d0 77 0 8192 100 131072 >"$WORK/burst" 2>&1 &
	burst=$!
	wait_for 20 some_spilled
	dmsetup reload d0 --table "${!kind}"
	check "$kind: another table" timeout 30 dmsetup resume d0
	check_wait "$kind: all writes were written" "$burst"
	touch "$WORK/go"
	check_wait "$kind: the session breaks" "$drain" 1
	check "$kind: because of that" grep -q '"reason":4,' "$WORK/drain"
	dmsetup reload d0 --table "$ours"
	dmsetup resume d0
	dd if=/dev/vda of="$WORK/before" bs=1M count=$((size / 2048)) iflag=direct status=none
	begin auto
	"$TOOLS/burst" write /dev/mapper/d0 78 0 8192 30 131072 >"$WORK/burst" 2>&1
	touch "$WORK/go"
	wait "$drain" || true
	check "$kind: the next session is exact" cmp "$WORK/image" "$WORK/before"
done
