#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What a session delivers was on the disks at one instant, over both of them, while guests
# write hard; and the guests lose nothing.  The judge is guestload's log, not the target; that
# it can tell is shown with two sessions that were armed one after the other.
# needs: disks=1x24M+1x40M mem=2G
. "$BED_TOP/tests/vm/lib.sh"
plan 10

TOOLS=$BED_BUILD/tests
load_target
vmabackup_on d0 /dev/vda
vmabackup_on d1 /dev/vdb 2 chunk_size 512
disks=(/dev/mapper/d0 /dev/mapper/d1)

# begin NAME: a load on both disks that goes on until the file NAME-stop is there.
begin() {
	"$TOOLS/guestload" --seed "$2" --fill-percent 70 --threads 6 --stop-file "$WORK/$1-stop" \
		--discard-percent 4 --zero-percent 4 --deadline 60 --verify \
		--ready-file "$WORK/$1-ready" --log "$WORK/$1-log" "${disks[@]}" \
		>"$WORK/$1-json" 2>"$WORK/$1-err" &
	load=$!
	wait_for_file 120 "$load" "$WORK/$1-ready"
	sleep 1
}

# finish NAME: its exit status is the load's.
finish() {
	sleep 1
	touch "$WORK/$1-stop"
	status=0
	wait "$load" || status=$?
	diag "$(cat "$WORK/$1-json" "$WORK/$1-err")"
	return "$status"
}

json() {
	python3 -c 'import json, sys; print(eval(sys.argv[2], {"j": json.load(open(sys.argv[1]))}))' \
		"$1" "$2"
}

begin one 1
check "a session on both disks" "$TOOLS/ioctl-abuse" drain --slots 24 --delay-us 2000 \
	--out "$WORK/0" --out "$WORK/1" "${disks[@]}"
cp "$WORK/out" "$WORK/status"
diag "$(cat "$WORK/status")"
if finish one; then
	ok "the guests lost nothing"
else
	not_ok "the guests lost nothing"
fi
check "guest writes pushed chunks" test "$(json "$WORK/status" 'j["chunks_guest"]')" -gt 0
check "it is from one instant" "$TOOLS/guestload" check --log "$WORK/one-log" "$WORK/0" "$WORK/1"
cp "$WORK/out" "$WORK/verdict"
diag "$(cut -c1-300 "$WORK/verdict")"
check_eq "which lies in the time of arming" "$(python3 - "$WORK/status" "$WORK/verdict" <<'PY'
import json, sys
armed = json.load(open(sys.argv[1]))["armed_ns"]
window = json.load(open(sys.argv[2]))["instant_ns"]
print(window[0] <= armed[1] and (window[1] is None or armed[0] <= window[1]))
PY
)" True
check "and well before the end of the load" test "$(json "$WORK/verdict" \
	'sum(c["complete_max"] < c["operations"] for c in j["cuts"])')" = 6

begin two 2
check "a session on the first disk" "$TOOLS/ioctl-abuse" drain --out "$WORK/0" /dev/mapper/d0
check "another one on the second" "$TOOLS/ioctl-abuse" drain --out "$WORK/1" /dev/mapper/d1
if finish two; then
	ok "again the guests lost nothing"
else
	not_ok "again the guests lost nothing"
fi
check_status 1 "their two instants are told apart" \
	"$TOOLS/guestload" check --log "$WORK/two-log" "$WORK/0" "$WORK/1"
