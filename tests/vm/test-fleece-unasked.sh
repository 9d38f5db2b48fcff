#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Nothing is read that nobody asked for, and nothing is written that nobody wants: chunks that
# were on their way to a fleece device when FETCH passed come from there, without those between
# them; and when a session ends, what was not written yet is not written any more.
# needs: disks=2x256M timeout=600
. "$BED_TOP/tests/vm/lib.sh"
. "$BED_TOP/tests/vm/lib-hold.sh"
. "$BED_TOP/tests/vm/lib-fleece.sh"
plan 7

# Of each request to the fleece device.
NS=$((1500000000 * ${BED_SLOWNESS:-1}))

load_target
piece origin /dev/vda 0 32768
one_by_one fleece 16 1 completion_nsec=$NS
piece fleece /dev/nullb_fleece 0 32768
disk d /dev/mapper/origin 2 fleece /dev/mapper/fleece
d=/dev/mapper/d

# --- FETCH ---
# With so few slots all go to the fleece device, although FETCH has asked for two of them by
# then: nothing gets there before, and what comes back keeps its slot.
session_start --policy fleece --slots 3 --reserve 0 --no-fetch --fetch-at 10 --fetch-at 105 \
	--asked-file "$WORK/asked" --take-file "$WORK/take" $d
dmsetup suspend fleece
# In this order: when the last one is there, slots are free for what is wanted.
n=0
for chunk in 10 105 200; do
	"$BURST" write $d 1 $((chunk * CHUNK)) 4096
	n=$((n + 1))
	wait_for 10 field_is d copying $n
done
touch "$WORK/session-go"
wait_for 30 test -e "$WORK/asked"
dmsetup resume fleece
# Long enough for the first chunk that nobody asked for.
wait_for $((20 * ${BED_SLOWNESS:-1})) field_is d refetched 2
sleep 1
check_eq "nothing else was read" "$(field d fetched)" 0
check_eq "nor are these needed any more" "$(left d)" 254
kill "$session_pid"
wait "$session_pid" || true
wait_for 30 state_is d idle

# --- the end ---
WRITES=40
session_start --policy fleece --slots 64 $d
check "$WRITES writes" "$BURST" write $d 1 0 4096 $WRITES $CHUNK
before=$(disk_sectors_written /dev/nullb_fleece)
check "most of their chunks wait for the fleece device" field_above d copying $((WRITES / 2))
kill -9 "$session_pid"
wait "$session_pid" || true
check "the end does not wait for them" wait_for $((5 + 5 * ${BED_SLOWNESS:-1})) state_is d idle
written=$((($(disk_sectors_written /dev/nullb_fleece) - before) * 512 / CHUNK))
diag "$written chunks were written after it"
check "they are not written" test $written -lt $((WRITES / 4))
check_eq "and the disk holds nothing" "$(field d fleece_used)" 0
