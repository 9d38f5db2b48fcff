#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What vmactl backup makes of policies, error policies and timeouts while its reader stands still:
# what the guest gets, what vmactl says about it, and that an archive that it calls good is exact.
# needs: disks=2x256M timeout=900
. "$BED_TOP/tests/vm/lib.sh"
. "$BED_TOP/tests/vm/lib-fleece.sh"
plan 32

# Slots of a session: fewer than the chunks that guests write here.
SLOTS=8
WRITES=32
d=/dev/mapper/d

load_target
d_on_awkward_fleece

# start OPTION...: a backup of a disk full of ones, into a reader that waits for resume.
start() {
	behave fleece 0 0
	fill_d
	rm -f "$WORK"/{go,archive,summary,backup-status}
	{
		local result=0

		"$VMACTL" backup --disk a=$d --output - --slots $SLOTS \
			--json-summary "$WORK/summary" "$@" 2>"$WORK/said" || result=$?
		echo $result >"$WORK/backup-status"
	} | {
		until [ -e "$WORK/go" ]; do
			sleep 0.1
		done
		cat >"$WORK/archive"
	} &
	backup=$!
	wait_for 30 field_is d vmabackup armed
}

# ends NAME STATUS: from now on the reader reads.
ends() {
	touch "$WORK/go"
	wait $backup
	check_eq "$1: vmactl's exit status" "$(cat "$WORK/backup-status")" "$2"
	cp "$WORK/said" "$WORK/out"
}

told() {
	jq -r ".$1" "$WORK/summary"
}

exact() {
	check "$1: the archive is exact" python3 "$BED_TOP/tests/oracle/vmaread.py" compare \
		"$WORK/archive" "a=$WORK/before"
}

# --- a fleece device that works ---
name=auto
start
check "$name: no write waits for the reader" timeout 60 "$BURST" write $d 2 0 4096 $WRITES $CHUNK
check "$name: some chunks are on the fleece device" field_above d spilled 0
"$VMACTL" status d >"$WORK/out"
check_out "$name: status tells the policy" '^  policy: auto; '
check_out "$name: and the device's use" '^  fleece device: [0-9.]+ [KM]iB used; [1-9][0-9]* chunks written, 0 read'
ends "$name" 0
check_out "$name: it says so" '^fleece devices: took [0-9]+ of these chunks'
check "$name: the summary, too" test "$(told chunks_spilled)" -gt 0 -a \
	"$(told chunks_refetched)" = "$(told chunks_spilled)" -a "$(told fleece_errno)" = 0
exact "$name"

# --- one that fails ---
name="auto, failing"
start --policy auto
behave fleece 0 fail
burst_start writes write $d 2 0 4096 $WRITES $CHUNK
wait_for 20 field_is d fleece_error 5
ends "$name" 0
check_out "$name: vmactl warns" 'warning: a fleece device failed \(Input/output error\)'
check_eq "$name: the summary has the error" "$(told fleece_errno) $(told outcome)" "5 ok"
check "$name: the writes go on" wait_for 20 burst_ended writes
check_eq "$name: none fails" "$(errors writes)" "$WRITES 0"
exact "$name"

name="fleece, failing"
start --policy fleece
behave fleece 0 fail
check "$name: no write fails" timeout 60 "$BURST" write $d 2 0 4096 $WRITES $CHUNK
wait_for 20 field_is d vmabackup broken
ends "$name" 4
check_out "$name: it says what failed, and what to do" \
	'disk a \(/dev/mapper/d\) at offset .*fleece device failed \(Input.*\).*--policy auto'
check_eq "$name: the summary, too" "$(told broken_reason) $(told outcome) $(told fleece_errno)" \
	"fleece-error broken 5"

# --- waiting ---
name="timeout, break-guest-write"
start --policy ring --cbw-timeout 0.5 --on-cbw-error break-guest-write
burst writes write $d 2 0 4096 $WRITES $CHUNK
check "$name: some writes fail" grep -q " EIO " "$WORK/writes"
check "$name: none before its time" test "$(quickest writes EIO)" -ge 499
ends "$name" 0
check_eq "$name: vmactl counts them" "$(told guest_writes_failed)" \
	"$(grep -c ' EIO ' "$WORK/writes")"
check_eq "$name: and knows what it was told" "$(told on_cbw_error)" break-guest-write
exact "$name"

# --- discards ---
name="dropped discards"
start --drop-discards
check "$name: succeed at once" timeout 20 "$BURST" discard $d 0 $((4 * 1048576)) $((4 * 1048576))
check "$name: and do nothing" "$BURST" check $d 1 $((4 * 1048576)) 1048576
ends "$name" 0
check_out "$name: it says so" '^guest discards: [1-9][0-9]* were dropped'
check "$name: the summary, too" test "$(told discards_dropped)" -ge 1 -a "$(told drop_discards)" = true
exact "$name"

# --- the archive's place: nobody can mount the device, but one can write to it ---
into_fleece() {
	"$VMACTL" backup --disk a=$d --output - >/dev/mapper/fleece
}
check_status 1 "an archive on the fleece device is refused" into_fleece
check_out "by its name" 'lies on the fleece device of disk a'
