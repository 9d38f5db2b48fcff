#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A reader that stops reading: guest writes wait for cbw_timeout and not longer,
# none fails, and the session says break-snapshot and why.
# needs: disks=2x256M
. "$BED_TOP/tests/vm/lib.sh"
. "$BED_TOP/tests/vm/lib-hold.sh"
plan 15

load_target
vmabackup_on d0 /dev/vda 2 cbw_timeout 2000
vmabackup_on d1 /dev/vdb 2 cbw_timeout 3600000

hold --slots 2 /dev/mapper/d0 /dev/mapper/d1
check "a hard load meets no error" "$BED_BUILD/tests/guestload" --seconds 6 --threads 8 \
	--deadline 60 --verify /dev/mapper/d0
cp "$WORK/out" "$WORK/load"
check "one did wait for it" python3 -c '
import json, sys
for line in open(sys.argv[1]):
    if line.startswith("{"):
        sys.exit(json.loads(line)["latency_us"]["max"] < 1900000)
' "$WORK/load"
check "status says broken" state_is d0 broken
check "status says why" reason_is d0 timeout
check "on the other disk, too" reason_is d1 timeout
check "nothing is held any more" held_now d0 0
check "the kernel log names the disk" bash -c \
	'dmesg | grep -q "vmabackup: .*: backup session broken: a guest write waited for cbw_timeout (disk 0"'
release_hold
check_eq "the session's state: broken" "$(hold_status state)" 3
check_eq "its reason: timeout" "$(hold_status reason)" 1
check_eq "its error" "$(hold_status error)" 110
check_eq "its disk" "$(hold_status error_disk)" 0
wait_us=$(hold_status longest_wait_us)
check "no write waited for much longer than 2 s ($wait_us us)" \
	test "$wait_us" -ge 1900000 -a "$wait_us" -lt 10000000
check "idle after the session's end" state_is d0 idle
check "which still says how the last one ended" reason_is d0 timeout
dmesg -C

# Without a timeout in sight it is the end of the session that lets writes go.
hold --slots 2 /dev/mapper/d1
for n in 1 2 3; do
	write_chunk /dev/mapper/d1 $n
done
wait_for 20 held_now d1 1
sleep 1
release_hold
all_written() {
	written 1 && written 2 && written 3
}
check "the session's end lets a held write go" wait_for 10 all_written
