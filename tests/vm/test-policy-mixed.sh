#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# One session, one disk with a fleece device and one without: under auto the writes to the one go
# on when no slot is free, those to the other wait; a policy of fleece is refused.
# needs: disks=2x256M timeout=900
. "$BED_TOP/tests/vm/lib.sh"
. "$BED_TOP/tests/vm/lib-fleece.sh"
plan 20

load_target
piece origin0 /dev/vda 0 16384
piece origin1 /dev/vda 16384 16384
piece store /dev/vdb 0 16384
disk d0 /dev/mapper/origin0 2 fleece /dev/mapper/store
disk d1 /dev/mapper/origin1
d0=/dev/mapper/d0 d1=/dev/mapper/d1
for d in $d0 $d1; do
	"$BURST" write "$d" 1 0 1048576 8 1048576 >/dev/null
done
dd if=$d0 of="$WORK/before0" bs=1M iflag=direct status=none
dd if=$d1 of="$WORK/before1" bs=1M iflag=direct status=none

check_status 1 "a policy of fleece is refused" "$ABUSE" drain --policy fleece $d0 $d1
check_out "as it should be" 'SETUP_SLOTS: No such device'

# Waiting ends with the reader only, however long what comes before takes.
session_start --policy auto --slots 8 --timeout-ms 300000 --out "$WORK/image0" --out "$WORK/image1" $d0 $d1
check_eq "status tells the policy" "$(field d0 policy) $(field d1 policy)" "auto auto"
check "writes to the one go on" "$BURST" write $d0 2 0 4096 64 $CHUNK
wait_for "$SETTLE" field_is d0 copying 0
check "into slots and to its fleece device" \
	test "$(field d0 spilled)" -ge 48 -a "$(field d0 spilled)" -lt 64
check_eq "64 chunks in all" "$(field d0 guest)" 64
burst_start waiting write $d1 2 0 4096
check "a write to the other waits" wait_for "$SETTLE" field_is d1 held 1
check "while the one's go on" "$BURST" write $d0 3 $((64 * CHUNK)) 4096 64 $CHUNK
check "it waits still" field_is d1 held 1
session_end
check "until the reader reads" wait_for "$SETTLE" burst_ended waiting
check_eq "and does not fail" "$(errors waiting)" "1 0"
check_eq "the reader gets all" "$session_status" 0
check "of the one, as it was" cmp "$WORK/before0" "$WORK/image0"
check "of the other, as it was" cmp "$WORK/before1" "$WORK/image1"
check_eq "nothing of the other was spilled" "$(field d1 spilled)" 0
check_eq "nor is anything left" "$(field d0 fleece_used) $(field d1 fleece_used)" "0 0"
check "which the fleece device's reads tell, too" \
	test "$(session_said chunks_refetched)" -eq "$(session_said chunks_spilled)"

# Discards leave to writes what is reserved for them, and what is for spilling besides.
session_start --policy auto --slots 16 --reserve 4 --timeout-ms 300000 --out "$WORK/image0" \
	--out "$WORK/image1" $d0 $d1
burst_start trim discard $d0 0 0 $((64 * CHUNK))
check "a large discard waits" wait_for "$SETTLE" field_is d0 held 1
wait_for "$SETTLE" field_is d0 copying 0
check "writes to the other go on" timeout "$AT_ONCE" "$BURST" write $d1 4 0 4096 4 $CHUNK
session_end
check_eq "and the reader gets all" "$session_status" 0
