#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Suspends of every kind while a session is armed: no suspend waits for the
# reader, no write is lost or fails, and a session that can go on does.
# needs: disks=2x256M timeout=900
. "$BED_TOP/tests/vm/lib.sh"
. "$BED_TOP/tests/vm/lib-hold.sh"
plan 40

load_target
size=$(blockdev --getsz /dev/vda)
vmabackup_on d0 /dev/vda
# Writes hang here when told to, so that a suspend has something to wait for.
dm_create slow "0 $size linear /dev/vdb 0"
vmabackup_on d1 /dev/mapper/slow
tools=$BED_BUILD/tests

# --- nothing waits ---
hold --slots 2 /dev/mapper/d0
check "suspend" timeout $AT_ONCE dmsetup suspend d0
check "resume" dmsetup resume d0
check "suspend without flush" timeout $AT_ONCE dmsetup suspend --noflush d0
check "resume" dmsetup resume d0
check "the session is still armed" state_is d0 armed
release_hold

# --- a write waits for a slot ---
hold --slots 2 /dev/mapper/d0
for n in 1 2 3; do
	write_chunk /dev/mapper/d0 $n
done
check "one of three writes is held" wait_for 20 held_now d0 1
check "suspend without flush does not wait for it" timeout $AT_ONCE dmsetup suspend --noflush d0
check "dm has it now" held_now d0 0
check "resume" dmsetup resume d0
check "it is held again" wait_for 20 held_now d0 1
check "which counts once more, however often dm tried" held_now d0 "1 4"
check "the session is still armed" state_is d0 armed

check "a suspend with flush ends, too" timeout $AT_ONCE dmsetup suspend d0
check "the session has broken" reason_is d0 suspend
check "resume" dmsetup resume d0
all_written() {
	written 1 && written 2 && written 3
}
check "all three writes were written" wait_for 20 all_written
release_hold
check_eq "the session's reason: suspend" "$(hold_status reason)" 3

# --- a suspend without flush that is given up half-way ---
hold --slots 2 /dev/mapper/d1
for n in 1 2; do
	write_chunk /dev/mapper/d1 $n
done
two_written() {
	written 1 && written 2
}
wait_for 60 two_written
at_exit "dmsetup resume slow"
dmsetup suspend slow
write_chunk /dev/mapper/d1 1
write_chunk /dev/mapper/d1 3
check "one write is held" wait_for 20 held_now d1 1
# Without it the suspend has nothing to wait for. What is held does not count yet.
check "another is slow" wait_for 20 in_flight d1 1
at_exit "dmsetup resume d1"
dmsetup suspend --noflush d1 2>/dev/null &
suspend=$!
check "the held one goes back" wait_for 20 held_now d1 0
kill -TERM "$suspend"
check_wait "the suspend is interrupted" "$suspend" 143
check "the write is held again" wait_for 20 held_now d1 1
check "and the session armed" state_is d1 armed
dmsetup resume slow
release_hold
check "no write has failed" wait_for 60 written 3
check "neither the slow one" wait_for 60 written 1

# --- the disk stalls with as many reads as it may have, and there are slots ---
waits_in_dm() {
	grep -q ' dm_' "/proc/$1/stack"
}
wait_for 30 state_is d1 idle
hold --slots 8 /dev/mapper/d0 /dev/mapper/d1
dmsetup suspend slow
for n in 11 12 13 14 15 16 17 18; do
	write_chunk /dev/mapper/d1 $n
done
check "eight writes are held" wait_for 20 held_now d1 8
dmsetup suspend d1 &
suspend=$!
wait_for 20 waits_in_dm $suspend
# Longer than the grace.
sleep 2
check "that is not the reader's fault: the session is armed" state_is d1 armed
dmsetup resume slow
check_wait "the suspend ends" "$suspend"
dmsetup resume d1
release_hold

# A disk alone may have all of them under way.
wait_for 30 state_is d1 idle
hold --slots 4 /dev/mapper/d1
dmsetup suspend slow
for n in 21 22 23 24 25; do
	write_chunk /dev/mapper/d1 $n
done
check "five writes are held for four slots" wait_for 20 held_now d1 5
dmsetup suspend d1 &
suspend=$!
wait_for 20 waits_in_dm $suspend
sleep 2
check "nor if there is no slot for that" state_is d1 armed
dmsetup resume slow
check "when the reads are done, it is the reader's" wait_for 20 reason_is d1 suspend
check_wait "the suspend ends" "$suspend"
dmsetup resume d1
release_hold

# --- the first write that finds no slot comes long after the suspend began ---
mkfs.ext4 -q /dev/mapper/d1
mkdir "$WORK/tree"
at_exit "! mountpoint -q $WORK/tree || umount $WORK/tree"
mount /dev/mapper/d1 "$WORK/tree"
# It gives back what it has after a while, but within the grace.
"$tools/ioctl-abuse" drain --slots 2 --batch 2 --delay-us 200000 --out "$WORK/image" /dev/mapper/d1 \
	>"$WORK/drain" 2>&1 &
drain=$!
at_exit "kill $drain 2>/dev/null || true"
wait_for 20 state_is d1 armed
freeze_held "$WORK/tree/file"
dmsetup suspend d1 &
suspend=$!
wait_for 20 sleeps $suspend
# Longer than the grace.
sleep 2
# From the end: FETCH has not come so far.
"$tools/burst" write /dev/mapper/d1 7 $(((size / 128 - 10) * 65536)) 4096 4 65536 \
	>"$WORK/burst" &
burst=$!
check_wait "writes before the freeze go on" $burst
check "the session has not broken" state_is d1 armed
dmsetup resume gate
check_wait "the suspend ends" "$suspend"
dmsetup resume d1
check_wait "so does what held off the freeze" "$freeze_holder"
kill $drain || true
wait $drain || true
wait_for 30 state_is d1 idle
umount "$WORK/tree"

# --- a reader that reads, slowly, through suspends of all kinds ---
"$tools/guestload" --seed 5 --fill-percent 70 --threads 4 --stop-file "$WORK/stop" \
	--ready-file "$WORK/ready" --deadline 100 --verify --log "$WORK/log" /dev/mapper/d0 \
	>"$WORK/load" 2>&1 &
load=$!
wait_for_file 300 "$load" "$WORK/ready"
"$tools/ioctl-abuse" drain --slots 24 --batch 2 --delay-us 5000 --out "$WORK/image" /dev/mapper/d0 \
	>"$WORK/drain" 2>&1 &
drain=$!
wait_for 20 state_is d0 armed
suspends=0
while state_is d0 armed; do
	dmsetup suspend d0
	dmsetup resume d0
	dmsetup suspend --noflush d0
	dmsetup resume d0
	suspends=$((suspends + 2))
done
check_wait "the session got everything, through $suspends suspends" "$drain"
diag "$(tail -n 2 "$WORK/drain")"
touch "$WORK/stop"
check_wait "the guest lost nothing" "$load"
check "there were suspends" test "$suspends" -ge 4
check "what was delivered is of one instant" "$tools/guestload" check --log "$WORK/log" "$WORK/image"
