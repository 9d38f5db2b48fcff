#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# However a backup ends, the guest goes on, no disk stays suspended, nothing is left under
# the archive's name, and the exit status and message say what it was.
# needs: disks=2x64M
. "$BED_TOP/tests/vm/lib.sh"
. "$BED_TOP/tests/vm/lib-hold.sh"
plan 55

d0=(--disk a=/dev/mapper/d0)
sectors=131072

is_armed() {
	[[ $(dm_status d0) == *" armed "* ]]
}

is_idle() {
	[[ $(dm_status d0) == *" idle "* ]]
}

is_broken() {
	[[ $(dm_status d0) == *" broken "* ]]
}

is_suspended() {
	[ "$(dmsetup info -c --noheadings -o suspended d0)" = Suspended ]
}

is_active() {
	[ "$(dmsetup info -c --noheadings -o suspended d0)" = Active ]
}

gone() {
	! kill -0 "$1"
}

# start ARGUMENT...: a backup into a pipe that nobody reads; its process is $pid.
start() {
	# A new pipe: what the last one still holds would keep the header from going in.
	exec 9>&-
	rm -f "$WORK/pipe"
	mkfifo "$WORK/pipe"
	exec 9<>"$WORK/pipe"
	"$VMACTL" backup "${d0[@]}" --output - "$@" >"$WORK/pipe" 2>"$WORK/err" &
	pid=$!
	wait_for 30 is_armed
}

# ended: its status, into $status.
ended() {
	status=0
	wait "$pid" || status=$?
}

drain() {
	timeout 60 cat <&9 >/dev/null &
	drain=$!
}

stop_drain() {
	kill "$drain" 2>/dev/null || true
	wait "$drain" || true
}

guest_writes() {
	timeout 20 dd if=/dev/urandom of=/dev/mapper/d0 bs=64k count=4 \
		seek="${1:-0}" oflag=direct status=none
}

load_target
# Zeroes would all fit in the pipe.
disk_fill /dev/vda 1
vmabackup_on d0 /dev/vda 2 cbw_timeout 2000

# --- killed ---
start
kill -9 "$pid"
ended
check_eq "killed while armed" "$status" 137
check "the disk is idle" wait_for 10 is_idle
check "the guest writes" guest_writes

# --- told to stop ---
start
kill -TERM "$pid"
ended
check_eq "stopped while its reader sleeps" "$status" 5
check "the disk is idle again" wait_for 10 is_idle
start
asked=0
while ! gone "$pid" && [ $asked -lt $((15 * BED_SLOWNESS)) ]; do
	kill -TERM "$pid" || true
	asked=$((asked + 1))
	sleep 1
done
check "stopped though it is asked again each second" gone "$pid"
kill -9 "$pid" 2>/dev/null || true
ended
check_eq "with its status" "$status" 5
drain
"$VMACTL" backup "${d0[@]}" --output "$WORK/x.vma" --bwlimit 1M --json-summary "$WORK/x.json" 2>"$WORK/err" &
pid=$!
wait_for 30 is_armed
kill -INT "$pid" || true
kill -TERM "$pid"
ended
check_eq "stopped while it writes a file" "$status" 5
check_eq "nothing is left of it" "$(find "$WORK" -name 'x.vma*')" ""
check "the JSON says interrupted" grep -q '"outcome":"interrupted"' "$WORK/x.json"
"$VMACTL" backup "${d0[@]}" --output "$WORK/x.vma" --bwlimit 1M 2>"$WORK/err" &
pid=$!
wait_for 30 is_armed
kill -ALRM "$pid"
ended
check_eq "stopped by a timer" "$status" 5
check_eq "nothing is left of it" "$(find "$WORK" -name 'x.vma*')" ""
stop_drain

# --- the archive is full ---
mkdir "$WORK/small"
mount -t tmpfs -o size=8M none "$WORK/small"
at_exit "umount $WORK/small"
check_status 1 "the archive's file system is full" "$VMACTL" backup "${d0[@]}" --output "$WORK/small/x.vma"
check_out "says so" 'x\.vma: no space left'
check_eq "and leaves nothing" "$(ls "$WORK/small")" ""
check "the disk is idle after it" is_idle
reader_goes() {
	"$VMACTL" backup "${d0[@]}" --output - | head -c 100000 >/dev/null
	return "${PIPESTATUS[0]}"
}
check_status 1 "the reader went away" reader_goes
check_out "says so" 'reader went away'

# --- nobody takes the summary in words ---
mkfifo "$WORK/full"
exec 8<>"$WORK/full"
dd if=/dev/zero of="$WORK/full" bs=4096 oflag=nonblock status=none 2>/dev/null || true
"$VMACTL" backup "${d0[@]}" --output "$WORK/x.vma" --json-summary "$WORK/x.json" \
	>"$WORK/full" 2>"$WORK/err" &
pid=$!
check "the JSON is there before that" wait_for 60 grep -q '"outcome":"ok"' "$WORK/x.json"
check "which is waited for" kill -0 "$pid"
kill -TERM "$pid"
ended
check_eq "but not for ever" "$status" 143
exec 8>&-
rm "$WORK/x.vma" "$WORK/x.json"

# --- the session breaks ---
# One slot is with the sleeping reader; the other takes the first chunk that is overwritten.
start --slots 2
check "guest writes that wait too long are let go unharmed" guest_writes 900
check "and breaks the session" wait_for 10 is_broken
drain
ended
check_eq "exit status of a timeout" "$status" 4
check "its message" grep -q '^vmactl: disk a (/dev/mapper/d0).*guest write had to wait' "$WORK/err"
stop_drain

start
dmsetup load d0 --table "0 $sectors linear /dev/vda 0"
dmsetup resume d0
drain
ended
check_eq "exit status of a replaced table" "$status" 4
check "its message" grep -q '^vmactl: disk a (/dev/mapper/d0).*table was replaced' "$WORK/err"
stop_drain
dmsetup load d0 --table "0 $sectors vmabackup /dev/vda"
dmsetup resume d0

dm_create bad "0 65536 linear /dev/vdb 0
65536 128 error
65664 65408 linear /dev/vdb 65664"
dm_create d1 "0 $sectors vmabackup /dev/mapper/bad"
check_status 1 "a disk that cannot be read" "$VMACTL" backup "${d0[@]}" --disk b=/dev/mapper/d1 \
	--output "$WORK/x.vma"
check_out "names disk and offset" 'disk b \(/dev/mapper/d1\) at offset 33554432: '
check_eq "and leaves nothing" "$(find "$WORK" -name 'x.vma*')" ""

# --- in the window: d0 is suspended while the suspend of d2 waits for I/O ---
# It ends when we say so, or when the watchdog's 20 s are over.
dm_create slow "0 $sectors linear /dev/vdb 0"
dm_create d2 "0 $sectors vmabackup /dev/mapper/slow"
at_exit "dmsetup resume slow"
in_window() {
	dmsetup suspend --noflush --nolockfs slow
	dd if=/dev/zero of=/dev/mapper/d2 bs=4k count=1 oflag=direct status=none &
	writer=$!
	wait_for 20 in_flight d2 1
	"$VMACTL" backup "${d0[@]}" --disk b=/dev/mapper/d2 --output "$WORK/w.vma" 2>"$WORK/err" &
	pid=$!
	wait_for 20 is_suspended
}
# Sets child to the process that $pid has started. In the shell alone: the window would be
# over before a slow machine has started a program and looked at all processes.
look_for_child() {
	local stat words

	child=
	for stat in /proc/[0-9]*/stat; do
		{ read -r words <"$stat"; } 2>/dev/null || continue
		# After the name, which may hold anything: state and parent.
		read -ra words <<<"${words##*) }"
		[ "${words[1]}" != "$pid" ] || child=${stat//[^0-9]/}
	done
	[ -n "$child" ]
}
in_window
look_for_child
kill -9 "$pid"
ended
check_eq "killed while disks are suspended" "$status" 137
dmsetup resume slow
check "the watchdog resumes them" wait_for 10 is_active
wait "$writer"
check "the guest goes on" guest_writes
check "the watchdog is gone" wait_for 5 gone "$child"
rm -f "$WORK"/w.vma.tmp-*

in_window
kill -TERM "$pid"
check "a signal waits until the window is over" is_suspended
dmsetup resume slow
ended
wait "$writer"
check_eq "and then ends the backup" "$status" 5
check "with the disks running" is_active
check_eq "and nothing left" "$(find "$WORK" -name 'w.vma*')" ""

in_window
kill -STOP "$pid"
dmsetup resume slow
wait "$writer"
check "stopped in the window, it leaves them suspended" is_suspended
check "but for no longer than the watchdog's 20 s" wait_for 25 is_active
kill -CONT "$pid"
ended
check_eq "the backup that missed it fails" "$status" 1
check "says why" grep -q 'suspended for longer than 20 s' "$WORK/err"
check_eq "and leaves nothing behind" "$(find "$WORK" -name 'w.vma*')" ""

# --- suspended by the caller, and the configuration lies on the disk ---
mkfs.ext4 -q -F /dev/mapper/d0
mkdir "$WORK/guest"
mount /dev/mapper/d0 "$WORK/guest"
echo 'cores: 2' >"$WORK/guest/vm.conf"
sync
echo 3 >/proc/sys/vm/drop_caches
dmsetup suspend d0
"$VMACTL" backup --suspended "${d0[@]}" --config "$WORK/guest/vm.conf" --output "$WORK/x.vma" \
	2>"$WORK/err" &
pid=$!
# In the middle of that, so that there is a watchdog.
wait_for 10 look_for_child
kill -STOP "$pid"
check "what would wait for ever for its disk is let go after 20 s" wait_for 30 is_active
# For more than one look.
dmsetup suspend d0
sleep 2
check "who suspends it later is let alone" is_suspended
dmsetup resume d0
kill -CONT "$pid"
ended
check_eq "the backup fails" "$status" 1
check "says why" grep -q 'suspended for longer than 20 s' "$WORK/err"
check_eq "and leaves nothing" "$(find "$WORK" -name 'x.vma*')" ""
umount "$WORK/guest"

true &
wait $!
touch "$WORK/old.vma.tmp-$(uname -n)-$!"
dmsetup suspend d0
check_status 0 "one that waits for nothing succeeds" "$VMACTL" backup --suspended "${d0[@]}" \
	--output "$WORK/x.vma"
check_out "and removes what others left" "removed 1 unfinished archive"
check_eq "and that alone" "$(find "$WORK" -name '*.vma*' -printf '%f\n')" x.vma
rm "$WORK/x.vma"

# --- without the right to lock memory ---
unlocked() {
	prlimit --memlock=65536:65536 setpriv --bounding-set=-ipc_lock --inh-caps=-ipc_lock \
		"$VMACTL" backup "${d0[@]}" --output "$WORK/x.vma"
}
check_status 1 "memory cannot be locked" unlocked
check_out "says what to do" 'LimitMEMLOCK'
check_eq "and leaves nothing" "$(find "$WORK" -name 'x.vma*')" ""
check "nor a suspended disk" is_active
