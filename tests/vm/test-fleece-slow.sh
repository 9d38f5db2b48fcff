#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A fleece device that is slow or hangs: break-snapshot lets the guest's write go before it is
# there, break-guest-write waits for it, both no longer than cbw_timeout; what is under way is
# waited for when a session ends.
# needs: disks=2x256M timeout=900
. "$BED_TOP/tests/vm/lib.sh"
. "$BED_TOP/tests/vm/lib-fleece.sh"
plan 55

# Longer than a write takes on a busy machine, milliseconds.
SLOW=3000

load_target
d_on_awkward_fleece
d=/dev/mapper/d

# begin POLICY ON-CBW-ERROR [OPTION...]
begin() {
	local policy=$1 error=$2

	shift 2
	fill_d
	session_start --policy "$policy" --on-cbw-error "$error" --slots 64 "$@" \
		--out "$WORK/image" $d
}

# --- slow ---
behave fleece 0 $SLOW
name="slow, break-snapshot"
begin fleece break-snapshot
check "$name: 8 writes" "$BURST" write $d 2 0 4096 8 $CHUNK
cp "$WORK/out" "$WORK/burst"
check "$name: do not wait for the fleece device" test "$(slowest burst 0)" -lt $SLOW
check_complete "$name"

name="slow, break-guest-write"
begin fleece break-guest-write
check "$name: 8 writes" "$BURST" write $d 2 0 4096 8 $CHUNK
cp "$WORK/out" "$WORK/burst"
check "$name: wait until it is there" test "$(quickest burst 0)" -ge $SLOW
check_complete "$name"

name="slow, auto"
begin auto break-snapshot
# As many as there are slots, and more.
check "$name: writes to all chunks" "$BURST" write $d 2 0 4096 128 $CHUNK
cp "$WORK/out" "$WORK/burst"
# Those that were let go are counted when they are there.
wait_for "$SETTLE" field_is d copying 0
diag "spilled $(field d spilled) of $(field d guest), slowest write $(slowest burst 0) ms"
check "$name: some went to slots, some to the fleece device" \
	test "$(field d spilled)" -ge 32 -a "$(field d guest)" -eq 128
check_complete "$name"

# --- hanging ---
# Less than half of the 45 s that would be cbw_timeout if nobody had said 2 s.
MUCH_LONGER=20000
behave fleece 0 0
name="hanging, break-snapshot"
begin fleece break-snapshot --timeout-ms 2000
dmsetup suspend --noflush --nolockfs fleece
# More than there are slots, which all hang then.
check "$name: no write fails" timeout 60 "$BURST" write $d 2 0 4096 128 $CHUNK
cp "$WORK/out" "$WORK/burst"
check "$name: none waits for much longer than cbw_timeout" test "$(slowest burst 0)" -lt $MUCH_LONGER
check_eq "$name: that breaks the session" "$(field d vmabackup) $(reason d | cut -d' ' -f1)" \
	"broken timeout"
check "$name: what was written is there" "$BURST" check $d 2 0 4096 128 $CHUNK
check "$name: writes go on" "$BURST" write $d 3 0 4096 128 $CHUNK
# Its end must wait for the device; the guest does not.
touch "$WORK/session-go"
check "$name: likewise while the session ends" "$BURST" write $d 4 0 4096 128 $CHUNK
dmsetup resume fleece
session_end
check_eq "$name: the reader is told" "$session_status $(session_said reason)" "1 1"
check_over "$name"

name="hanging, break-guest-write"
begin fleece break-guest-write --timeout-ms 2000
dmsetup suspend --noflush --nolockfs fleece
burst burst write $d 5 0 4096 8 $CHUNK
check_eq "$name: the writes fail" "$(errors burst)" "8 EIO"
check "$name: after cbw_timeout" \
	test "$(quickest burst EIO)" -ge 1990 -a "$(slowest burst EIO)" -lt $MUCH_LONGER
check_eq "$name: the session lives" "$(field d vmabackup) $(reason d)" "armed none 0 -"
dmsetup resume fleece
check "$name: when it works again, so do writes" wait_for 30 "$BURST" write $d 6 0 4096 16 $CHUNK
check_complete "$name"

# A reader that dies meanwhile.
name="killed"
begin fleece break-snapshot --timeout-ms 20000
dmsetup suspend --noflush --nolockfs fleece
check "$name: writes" timeout 60 "$BURST" write $d 7 0 4096 8 $CHUNK
kill -9 "$session_pid"
check "$name: the guest goes on" timeout 60 "$BURST" write $d 8 0 4096 128 $CHUNK
dmsetup resume fleece
wait "$session_pid" 2>/dev/null || true
check_over "$name"

# Another table comes while the old one's chunks are still being written.
name="replaced"
begin fleece break-snapshot --timeout-ms 20000
dmsetup suspend --noflush --nolockfs fleece
check "$name: writes" timeout 60 "$BURST" write $d 7 0 4096 8 $CHUNK
dmsetup reload d --table "$(dm_table d)"
dmsetup resume d >/dev/null 2>&1 &
resume=$!
wait_for 60 field_is d vmabackup idle
# They could be written over what a new session has put there.
check_status 1 "$name: no session as long as they are" "$ABUSE" hold $d </dev/null
check_out "$name: it says why" "Device or resource busy"
dmsetup resume fleece
check_wait "$name: the new table is there when they are" "$resume"
session_end
check_eq "$name: the old session knows" "$session_status $(session_said reason)" "1 4"
check "$name: there can be a new one" "$ABUSE" hold $d </dev/null

# The fleece device becomes the disk itself while it is being written to.
name="fleece as origin"
begin fleece break-snapshot --timeout-ms 20000
dmsetup suspend --noflush --nolockfs fleece
check "$name: writes" timeout 60 "$BURST" write $d 7 0 4096 8 $CHUNK
table=$(dm_table d)
dmsetup load d --table "0 $(blockdev --getsz $d) vmabackup /dev/mapper/fleece"
dmsetup suspend d
dmsetup resume d >/dev/null 2>&1 &
resume=$!
wait_for 60 sleeps $resume
dmsetup resume fleece
check_wait "$name: it is refused while that lasts" "$resume" 1
check "$name: and not afterwards" dmsetup resume d
session_end
check_eq "$name: the session knows" "$session_status $(session_said reason)" "1 4"
dmsetup load d --table "$table"
dmsetup suspend d
dmsetup resume d

# --- its queue is full ---
# One request at a time, seconds each: who sends the next one waits for it.
name="full queue"
one_by_one narrow 8 4
disk d /dev/mapper/origin 2 fleece /dev/nullb_narrow
begin fleece break-snapshot
check "$name: writes" "$BURST" write $d 2 0 4096 5 $CHUNK
wait_for 60 field_is d copying 0
touch "$WORK/session-go"
# The first goes alone. Then the four others are asked for, of which one can be sent, and in
# the same call chunks that stand on the origin: behind those four they would wait for 12 s.
wait_for 60 field_above d refetched 0
began=$EPOCHREALTIME
dmsetup suspend d
took=$(((${EPOCHREALTIME/./} - ${began/./}) / 1000))
dmsetup resume d
check "$name: a suspend waits for no read of it ($took ms)" test $took -lt 8000
check_complete "$name"
