#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A fleece device that fails: who gets which error is a matter of policy and on_cbw_error; the
# guest's data is intact in any case, the first error is told, and nothing stays behind.
# needs: disks=2x256M timeout=900
. "$BED_TOP/tests/vm/lib.sh"
. "$BED_TOP/tests/vm/lib-fleece.sh"
. "$BED_TOP/tests/vm/lib-view.sh"
plan 49

load_target
d_on_awkward_fleece
d=/dev/mapper/d

# begin POLICY ON-CBW-ERROR: a session on a disk full of ones; what it was is in $WORK/before.
begin() {
	behave fleece 0 0
	fill_d
	dmesg -C
	session_start --policy "$1" --on-cbw-error "$2" --slots 8 --out "$WORK/image" $d
}

# --- writing fails ---
name="fleece, break-snapshot"
begin fleece break-snapshot
behave fleece 0 fail
check "$name: no write fails" "$BURST" write $d 2 0 4096 32 $CHUNK
check "$name: the session breaks" wait_for "$SETTLE" field_is d vmabackup broken
check "$name: status tells why" grep -qE '^fleece-error 5 [0-9]+$' <(reason d)
check "$name: and which device" field_is d fleece_error 5
check "$name: the log, too" grep -q 'vmabackup: .*fleece' <(dmesg)
session_end
check_eq "$name: the reader is told" "$session_status $(session_said reason) $(session_said error)" \
	"1 7 5"
check "$name: what was written is there" "$BURST" check $d 2 0 4096 32 $CHUNK
check "$name: and what was not, too" "$BURST" check $d 1 4096 4096 32 $CHUNK
check_over "$name"

name="fleece, break-guest-write"
begin fleece break-guest-write
check "$name: some writes" "$BURST" write $d 2 0 4096 8 $CHUNK
behave fleece 0 fail
burst burst write $d 3 $((8 * CHUNK)) 4096 16 $CHUNK
check_eq "$name: writes fail, with EIO" "$(errors burst)" "16 EIO"
check_eq "$name: and are counted" "$(field d failed)" 16
check "$name: they changed nothing" "$BURST" check $d 1 $((8 * CHUNK)) 4096 16 $CHUNK
check_eq "$name: the session lives" "$(field d vmabackup) $(reason d)" "armed none 0 -"
check "$name: writes to chunks that are safe do not fail" "$BURST" write $d 4 4096 4096 8 $CHUNK
behave fleece 0 0
check "$name: when it works again, so do writes" \
	"$BURST" write $d 5 $((8 * CHUNK)) 4096 16 $CHUNK
check_complete "$name"

name="auto"
begin auto break-snapshot
behave fleece 0 fail
# More than there are slots: some of them must wait for the reader then.
burst_start writes write $d 2 0 4096 32 $CHUNK
check "$name: the fleece device is given up" wait_for "$SETTLE" field_is d fleece_error 5
check "$name: writes wait for slots" wait_for "$SETTLE" field_above d held 0
check_eq "$name: the session lives" "$(field d vmabackup) $(reason d)" "armed none 0 -"
session_end
check_eq "$name: the reader gets all" "$session_status" 0
check "$name: as it was" cmp "$WORK/before" "$WORK/image"
check "$name: all writes have ended" wait_for "$SETTLE" burst_ended writes
check_eq "$name: none failed" "$(errors writes)" "32 0"
check_eq "$name: the error stays in status" "$(field d fleece_error) $(session_said fleece_error)" "5 5"
check_over "$name"

# --- reading back fails ---
for how in break-snapshot break-guest-write; do
	name="reading back, $how"
	begin fleece $how
	check "$name: no write fails" "$BURST" write $d 2 0 4096 32 $CHUNK
	wait_for "$SETTLE" field_is d copying 0
	behave fleece fail 0
	session_end
	check_eq "$name: the session breaks" "$session_status $(session_said reason) $(session_said error)" \
		"1 7 5"
	check "$name: what was written is there" "$BURST" check $d 2 0 4096 32 $CHUNK
	check_over "$name"
done

# --- a view of an instant that the fleece device has lost ---
behave fleece 0 0
arm d
view_of d d-view
check_eq "view: live" "$(dm_status d-view | cut -d' ' -f4)" live
behave fleece 0 fail
"$BURST" write $d 2 0 4096 4 $CHUNK >"$WORK/burst" || true
wait_for "$SETTLE" field_is d vmabackup broken
check_eq "view: over when its instant is lost" "$(dm_status d-view | cut -d' ' -f4)" over
check_status 1 "view: reads fail" dd if=/dev/mapper/d-view of="$WORK/none" bs=4096 count=1
drop_view d-view
disarm d

# --- errors that come and go, under load ---
behave fleece 0 0
modprobe dm-flakey
dm_create flaky "0 16384 flakey /dev/mapper/store 0 1 1 1 error_writes"
disk d /dev/mapper/origin 2 fleece /dev/mapper/flaky
"$BED_BUILD/tests/guestload" --seed 7 --fill --threads 4 --retry --stop-file "$WORK/stop" \
	--ready-file "$WORK/ready" --deadline 100 --verify --log "$WORK/log" $d >"$WORK/load" 2>&1 &
load=$!
wait_for_file 60 "$load" "$WORK/ready"
check "a fleece device that fails every other second: a session gets through" \
	"$ABUSE" drain --policy fleece --on-cbw-error break-guest-write --slots 8 --batch 1 \
	--delay-us 50000 --out "$WORK/image" $d
diag "$(tail -n 1 "$WORK/out")"
touch "$WORK/stop"
check_wait "the guest, which repeats what fails, loses nothing" $load
diag "$(tail -n 1 "$WORK/load")"
check "what was delivered is of one instant" "$BED_BUILD/tests/guestload" check --log "$WORK/log" \
	"$WORK/image"
check_over "every other second"
