#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Under auto a slow fleece device has its share of the slots and no more: while the reader gives
# slots back, guests go on at its speed, those of disks without a fleece device, too.
# needs: disks=2x256M timeout=900
. "$BED_TOP/tests/vm/lib.sh"
. "$BED_TOP/tests/vm/lib-fleece.sh"
plan 9

load_target
piece origin0 /dev/vda 0 32768
piece origin1 /dev/vda 32768 16384
piece store /dev/vdb 0 32768
awkward fleece /dev/mapper/store
disk d /dev/mapper/origin0 2 fleece /dev/mapper/fleece
disk other /dev/mapper/origin1
for d in d other; do
	"$BURST" write /dev/mapper/$d 1 0 1048576 8 1048576 >/dev/null
	dd if=/dev/mapper/$d of="$WORK/before-$d" bs=1M iflag=direct status=none
done

# Each write there takes 3 s. Of 16 slots 4 are for them: were it all, the burst would take 48 s.
behave fleece 0 $((3000 * BED_SLOWNESS))
session_start --policy auto --slots 16 --batch 1 --timeout-ms 300000 --out "$WORK/image-d" \
	--out "$WORK/image-other" /dev/mapper/d /dev/mapper/other
burst_start many write /dev/mapper/d 2 0 4096 256 $CHUNK
check "writes wait while nobody reads" wait_for "$SETTLE" field_above d held 100
burst_start one write /dev/mapper/other 2 0 4096
check "one to the disk without a fleece device, too" wait_for "$SETTLE" field_is other held 1
touch "$WORK/session-go"
check "that one goes on as soon as somebody does" wait_for "$SETTLE" burst_ended one
check_eq "and does not fail" "$(errors one)" "1 0"
check "so do the others" wait_for "$SETTLE" burst_ended many
check_eq "and do not fail" "$(errors many)" "256 0"
session_end
check_eq "the reader gets all" "$session_status" 0
diag "of 256 chunks $(field d spilled) went to the fleece device"
check "as it was" cmp "$WORK/before-d" "$WORK/image-d"
check "of the other, too" cmp "$WORK/before-other" "$WORK/image-other"
