#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Many writers to one chunk make one copy, which all of them wait for.  A write that was held
# goes down as it came: one that must be durable when it ends, is.  What a guest has read of
# the disk's limits stays true while a session is armed.  And what the target does not
# understand, it does not take or offer: zoned devices, DAX.
# needs: disks=2x256M
. "$BED_TOP/tests/vm/lib.sh"
. "$BED_TOP/tests/vm/lib-hold.sh"
plan 14

chunk=65536
BURST=$BED_BUILD/tests/burst

load_target
dm_create below "0 $(blockdev --getsz /dev/vda) linear /dev/vda 0"
vmabackup_on d0 /dev/mapper/below
vmabackup_on d1 /dev/vdb

queue_of() {
	local dir name

	for dir in /sys/block/dm-*; do
		[ "$(<"$dir/dm/name")" = "$1" ] || continue
		cd "$dir/queue"
		for name in *; do
			[ -f "$name" ] && [ -r "$name" ] && echo "$name=$(cat "$name" 2>/dev/null || true)"
		done
	done
}
(queue_of d0) >"$WORK/idle"

hold --slots 8 /dev/mapper/d0
(queue_of d0) >"$WORK/armed"
check "limits do not change when a session is armed" diff "$WORK/idle" "$WORK/armed"
check "there was something to compare" test "$(wc -l <"$WORK/armed")" -gt 20

# The copy has to wait for the origin, so all writers are there before it is.
dmsetup suspend --noflush --nolockfs below
"$BURST" write /dev/mapper/d0 7 $((5 * chunk)) 4096 16 4096 >"$WORK/burst" &
burst=$!
check "16 writers wait for one chunk" wait_for 20 held_now d0 16
dmsetup resume below
check_wait "all of them have written" "$burst"
check_eq "it was copied once" "$(dm_status d0 | sed 's/.* guest \([0-9]*\) .*/\1/')" 1
check "nothing is held" held_now d0 0
check "what they wrote is there" "$BURST" check /dev/mapper/d0 7 $((5 * chunk)) $chunk
check "a write of the whole chunk is passed at once then" "$BURST" write /dev/mapper/d0 8 \
	$((5 * chunk)) $chunk
check_eq "and copied for once more nothing" "$(dm_status d0 | sed 's/.* guest \([0-9]*\) .*/\1/')" 1
release_hold

# Flushes that the disk gets for one write that must be durable: the device has a cache
# and no FUA of its own, so the one that REQ_FUA stands for can be counted.
flushes_of() {
	python3 - "$@" <<'PY'
import mmap, os, sys
def flushes():
    with open("/sys/class/block/vdb/stat", encoding="ascii") as f:
        return int(f.read().split()[15])
disk = os.open(sys.argv[1], os.O_RDWR | os.O_DIRECT)
data = mmap.mmap(-1, 4096)
before = flushes()
os.pwritev(disk, [data], int(sys.argv[2]), int(sys.argv[3]) and os.RWF_DSYNC)
print(flushes() - before)
PY
}
hold --slots 8 /dev/mapper/d1
durable=$(flushes_of /dev/mapper/d1 $((9 * chunk)) 1)
plain=$(flushes_of /dev/mapper/d1 $((10 * chunk)) 0)
again=$(flushes_of /dev/mapper/d1 $((9 * chunk)) 1)
check "both were held" grep -q ' guest 2 .* held 0 2 ' <(dm_status d1)
release_hold
idle=$(flushes_of /dev/mapper/d1 $((11 * chunk)) 1)
diag "flushes: held $durable, not held $again, idle $idle, not durable $plain"
check "a held write is as durable as any" test "$durable" = "$idle" -a "$again" = "$idle"
check "which makes a difference" test "$durable" -gt "$plain"

modprobe null_blk nr_devices=1 zoned=1 zone_size=64 gb=1 memory_backed=0
at_exit rmmod null_blk
zoned=$(blockdev --getsz /dev/nullb0)
check_status 1 "a zoned device is refused" dmsetup create zoned --table "0 $zoned vmabackup /dev/nullb0"
dmsetup remove zoned 2>/dev/null || true
check_eq "no DAX" "$(sed -n 's/^dax=//p' "$WORK/idle")" 0
