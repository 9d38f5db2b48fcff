# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A reader that does not read: a session that is armed on disks and left alone.
# Sourced after lib.sh.  With 2 slots, the third chunk that a guest writes to
# finds no slot.

# hold OPTION... DISK...: until release_hold.
hold() {
	rm -f "$WORK/held"
	"$BED_BUILD/tests/ioctl-abuse" hold --ignore-stdin --ready-file "$WORK/held" "$@" \
		>"$WORK/hold.json" 2>"$WORK/hold.err" &
	hold_pid=$!
	at_exit "kill $hold_pid 2>/dev/null || true"
	wait_for_file 30 "$hold_pid" "$WORK/held"
}

# The session ends; what it last knew is in $WORK/hold.json.
release_hold() {
	kill "$hold_pid" 2>/dev/null || true
	wait "$hold_pid" || true
}

# hold_status KEY
hold_status() {
	python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))[sys.argv[2]])' \
		"$WORK/hold.json" "$1"
}

# write_chunk DISK N: in the background; finished when $WORK/written.N is there
# and holds 0.
write_chunk() {
	rm -f "$WORK/written.$2"
	(
		trap - ERR EXIT
		set +e
		# Not dd: it seeks, and a seek waits while a discard is under way.
		"$BED_BUILD/tests/burst" write "$1" 7 $(($2 * 65536)) 4096 >/dev/null
		echo $? >"$WORK/written.$2"
	) &
}

written() {
	[ "$(cat "$WORK/written.$1" 2>/dev/null)" = 0 ]
}

state_is() {
	[[ $(dm_status "$1") == *" vmabackup $2 "* ]]
}

reason_is() {
	[[ $(dm_status "$1") == *" reason $2 "* ]]
}

# held_now DISK N: that many writes are held.
held_now() {
	[[ $(dm_status "$1") == *" held $2 "* ]]
}

# in_flight DISK N: that many requests went through it and have not ended, beside those held.
in_flight() {
	local dir reads writes

	for dir in /sys/block/dm-*; do
		[ "$(<"$dir/dm/name")" = "$1" ] || continue
		read -r reads writes <"$dir/inflight"
		[ $((reads + writes)) -eq "$2" ]
		return
	done
	return 1
}
