#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# guestload, on which other tests rely, tells of a write that hangs, fails, takes too long or
# gets lost.  Without our target: the devices misbehave by device-mapper's own means.
# needs: disks=1x16M
. "$BED_TOP/tests/vm/lib.sh"
plan 11

LOAD=$BED_BUILD/tests/guestload
modprobe dm-mod
dm_create d "0 32768 linear /dev/vda 0"
d=/dev/mapper/d

check "a load on a good device" "$LOAD" --fill-percent 50 --writes 200 --discard-percent 5 \
	--zero-percent 5 --verify --state "$WORK/state" "$d"
check "a later look finds it again" "$LOAD" --verify --state "$WORK/state" "$d"
lines=$("$LOAD" check "$d" | wc -l)
check_eq "check prints one line" "$lines" 1

# One sector of an old write, as if a newer one had been lost.
check "a write in between" "$LOAD" --writes 400 --state "$WORK/state" "$d"
dd if="$d" of="$WORK/image" bs=1M status=none
check "more writes" "$LOAD" --writes 400 --state "$WORK/state" "$d"
dd if="$WORK/image" of="$d" bs=1M count=2 oflag=direct status=none
check_status 1 "lost writes are noticed" "$LOAD" --verify --state "$WORK/state" "$d"
check_out "with what was found and expected" "found (write|zeroes).*expected"

# From here on 8 MiB work and the rest does not.
dmsetup load d --table $'0 16384 linear /dev/vda 0\n16384 16384 error'
dmsetup resume d
check_status 1 "an error of the device is noticed" "$LOAD" --writes 500 "$d"
check_out "with its errno" '"errno":5,'

dmsetup suspend d
at_exit "dmsetup resume d"
check_status 3 "a write that hangs is noticed" timeout 60 "$LOAD" --seconds 30 --deadline 3 "$d"
dmsetup resume d
dmsetup load d --table "0 32768 linear /dev/vda 0"
dmsetup suspend d
(
	trap - ERR EXIT
	wait_for 60 test -e "$WORK/ready" || true
	sleep 2
	dmsetup resume d
) &
check_status 1 "a slow write is noticed" "$LOAD" --writes 50 --max-latency-ms 500 \
	--ready-file "$WORK/ready" "$d"
wait
