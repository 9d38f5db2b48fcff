#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A view and its disk come and go in any order: what can't be is refused, and a
# view whose disk is disarmed, replaced, broken or gone answers EIO, never
# with other data.
# needs: disks=2x256M timeout=1200
. "$BED_TOP/tests/vm/lib.sh"
. "$BED_TOP/tests/vm/lib-view.sh"
. "$BED_TOP/tests/vm/lib-hold.sh"
plan 47

size=32768
ours="0 $size vmabackup /dev/vda 2 fleece /dev/vdb"
view="0 $size vmabackup-view /dev/mapper/d0"
load_target
noise /dev/vda $size
dd if=/dev/vda of="$WORK/before" bs=1M count=$((size / 2048)) iflag=direct status=none
dm_create d0 "$ours"
at_exit "drop_view v0"
at_exit "dmsetup resume d0 2>/dev/null || true"

refused() {
	check_status 1 "$1" dmsetup create v0 "${@:2}"
	# Older dmsetups leave it when its resume fails.
	drop_view v0
}
same() {
	cmp -n $((size * 512)) /dev/mapper/v0 "$WORK/before"
}
# All reads fail, those that would go to the origin and those to the fleece device.
dead() {
	! dd if=/dev/mapper/v0 of=/dev/null bs=4k count=1 iflag=direct 2>/dev/null &&
		! dd if=/dev/mapper/v0 of=/dev/null bs=4k count=1 skip=2000 iflag=direct 2>/dev/null
}
scribble() {
	dd if=/dev/urandom of=/dev/mapper/d0 bs=64k count="${1:-8}" oflag=direct status=none
}
armed_view() {
	dd if="$WORK/before" of=/dev/mapper/d0 bs=1M oflag=direct status=none
	arm d0
	dmsetup create v0 --readonly --table "$view"
	scribble
}

# --- refused ---
refused "a view of a disk that is not armed" --readonly --table "$view"
check_status 1 "arming while the disk runs" dmsetup message d0 0 arm
check "the disk is idle" state_is d0 idle
check_status 1 "an unknown message" dmsetup message d0 0 fire
hold --slots 4 /dev/mapper/d0
refused "a view of a disk in a session of a program" --readonly --table "$view"
dmsetup suspend d0
check_status 1 "arming a disk in a session of a program" dmsetup message d0 0 arm
dmsetup resume d0
check "that session is unharmed" state_is d0 armed
release_hold
wait_for 10 state_is d0 idle
dmsetup reload d0 --table "0 $size vmabackup /dev/vda"
dmsetup resume d0
dmsetup suspend d0
check_status 1 "arming a disk without a fleece device" dmsetup message d0 0 arm
dmsetup resume d0
dmsetup reload d0 --table "$ours"
dmsetup resume d0
arm d0
refused "a view that is not read-only" --table "$view"
refused "a view of what is no such disk" --readonly --table "0 $size vmabackup-view /dev/vda"
refused "a view larger than its disk" --readonly --table "0 $((size + 8)) vmabackup-view /dev/mapper/d0"
refused "a view in the middle of a table" --readonly --table "0 8 zero
8 $((size - 8)) vmabackup-view /dev/mapper/d0"
refused "a view that does not end its table" --readonly --table "0 8 vmabackup-view /dev/mapper/d0
8 $((size - 8)) zero"
number=$(dmsetup info -c --noheadings -o major,minor --separator : d0)
refused "a view of a number that is too large" --readonly \
	--table "0 $size vmabackup-view 0:$(((${number%:*} << 20) | ${number#*:}))"
refused "a view with more words" --readonly --table "$view now"
dmsetup suspend d0
check_status 1 "arming twice" dmsetup message d0 0 arm
dmsetup resume d0
check "the disk is still armed" state_is d0 armed
check_status 1 "a session of a program on it" timeout $AT_ONCE "$BED_BUILD/tests/ioctl-abuse" drain /dev/mapper/d0
check "still" state_is d0 armed
dmsetup create v0 --readonly --table "$view"
scribble
check "the view shows the instant" same
check_eq "it is read-only" "$(blockdev --getro /dev/mapper/v0)" 1
check_status 1 "a write to it" dd if=/dev/zero of=/dev/mapper/v0 bs=4k count=1 oflag=direct conv=notrunc
check_status 1 "a discard of it" blkdiscard -f /dev/mapper/v0
check "the view has not changed" same
check_eq "its table can be read" "$(dm_table v0 | cut -d' ' -f1-3)" "0 $size vmabackup-view"

# --- disarmed ---
dmsetup message d0 0 disarm
check "disarmed under a view, the disk is idle" wait_for 20 state_is d0 idle
check "all reads of the view fail" dead
check "the guest writes" scribble 16
check "the view goes" dmsetup remove --retry v0

armed_view
cat >"$WORK/readers.py" <<'PY'
import errno, multiprocessing, os, mmap, sys
def reader(offset):
    view = os.open("/dev/mapper/v0", os.O_RDONLY | os.O_DIRECT)
    data = mmap.mmap(-1, 65536)
    good = 0
    want = os.pread(os.open(sys.argv[1], os.O_RDONLY), 65536, offset)
    try:
        while True:
            os.preadv(view, [data], offset)
            if data[:] != want:
                print("wrong data at", offset)
                os._exit(1)
            good += 1
            if good == 1:
                with open(sys.argv[2], "a") as f:
                    f.write("r")
    except OSError as e:
        os._exit(0 if good and e.errno == errno.EIO else 1)
pids = [multiprocessing.Process(target=reader, args=(k * 65536,)) for k in (0, 1, 7, 8, 100, 200)]
for p in pids: p.start()
for p in pids: p.join()
sys.exit(any(p.exitcode for p in pids))
PY
python3 "$WORK/readers.py" "$WORK/before" "$WORK/reading" &
readers=$!
all_read() {
	[ "$(stat -c %s "$WORK/reading" 2>/dev/null)" = 6 ]
}
wait_for 60 all_read
# Some more while they read.
sleep 1
dmsetup message d0 0 disarm
check_wait "six readers see the instant, then EIO" "$readers"
check "idle" wait_for 20 state_is d0 idle
arm d0
check "armed again, an old view stays dead" dead
dmsetup remove --retry v0
disarm d0

# --- replaced ---
armed_view
dmsetup reload d0 --table "$ours"
check "the same line again" timeout $AT_ONCE dmsetup resume d0
check "the disk is idle and says why" reason_is d0 replaced
check "the view is dead" dead
dmsetup remove --retry v0
armed_view
check "a new instant, a new view" same
dmsetup reload d0 --table "0 $size linear /dev/vda 0"
check "dm-linear" timeout $AT_ONCE dmsetup resume d0
check "the view is dead" dead
dmsetup remove --retry v0
dmsetup reload d0 --table "$ours"
dmsetup resume d0

# --- removed ---
armed_view
dmsetup remove v0
check "without its view, the disk is armed" state_is d0 armed
dmsetup create v0 --readonly --table "$view"
check "another view" same
dmsetup create v1 --readonly --table "$view"
at_exit "drop_view v1"
check "two views" cmp /dev/mapper/v0 /dev/mapper/v1
dmsetup remove v1
# The disk goes first, if device-mapper lets it.
if dmsetup remove d0 2>/dev/null; then
	check "the disk has gone, the view is dead" dead
else
	check "the disk stays while it has a view" same
fi
dmsetup remove --force d0 >/dev/null 2>&1 || true
check "by force: the view is dead" dead
check "and can be removed" dmsetup remove --retry v0
[ ! -e /dev/mapper/d0 ] || dmsetup remove --retry d0
dmsetup create d0 --table "$ours"
armed_view
check "armed once more" same
dmsetup remove v0
check "an armed disk without a view is removed" dmsetup remove --retry d0
dmsetup create d0 --table "$ours"
check "and comes back idle" state_is d0 idle
