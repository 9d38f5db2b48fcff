#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Discards and write-zeroes over many chunks: copied first, then passed down; they
# wait for no slot that they do not need, and take turns with other writes.
# needs: disks=2x256M
. "$BED_TOP/tests/vm/lib.sh"
. "$BED_TOP/tests/vm/lib-hold.sh"
. "$BED_TOP/tests/vm/lib-instant.sh"
plan 17

chunk=65536
load_target
vmabackup_on d0 /dev/vda
vmabackup_on d1 /dev/vdb
disk_fill /dev/vda 1
disk_fill /dev/vdb 2

# Two slots, two chunks, and nobody gives a slot back.
hold --slots 2 /dev/mapper/d0
check "a discard of as many chunks as there are slots" timeout 20 \
	blkdiscard -o $((10 * chunk)) -l $((2 * chunk)) /dev/mapper/d0
check "nothing is held" held_now d0 0
check "both chunks were copied" grep -q " guest 2 " <(dm_status d0)
check "a discard of the same again passes" timeout 20 \
	blkdiscard -o $((10 * chunk)) -l $((2 * chunk)) /dev/mapper/d0
release_hold

hold --slots 2 /dev/mapper/d0
check "zeroes over two parts of chunks" timeout 20 \
	blkdiscard -z -o $((20 * chunk + 4096)) -l $((chunk)) /dev/mapper/d0
check "two chunks were copied" grep -q " guest 2 " <(dm_status d0)
check "the disk reads as zeroes there" cmp -n $chunk -i $((20 * chunk + 4096)):0 \
	/dev/mapper/d0 /dev/zero
check "and only there" test "$(dd if=/dev/mapper/d0 bs=4096 skip=$((20 * 16)) count=1 \
	iflag=direct status=none | tr -d '\0' | wc -c)" -gt 0
release_hold

# Three chunks, two slots: it waits, and so does a write to the third.
hold --slots 2 /dev/mapper/d0
blkdiscard -o $((30 * chunk)) -l $((3 * chunk)) /dev/mapper/d0 &
discard=$!
wait_for 20 held_now d0 1
write_chunk /dev/mapper/d0 32
check "a discard of more chunks than slots waits, and a write there" wait_for 20 held_now d0 2
release_hold
check_wait "the discard goes on when the session ends" "$discard"
check "and the write" wait_for 20 written 32

# NOWAIT is told to come again, and finds the copy made when it does.
hold --slots 2 /dev/mapper/d1
cat >"$WORK/nowait.py" <<'PY'
import mmap, os, sys, time
fd = os.open(sys.argv[1], os.O_WRONLY | os.O_DIRECT)
data = mmap.mmap(-1, 4096)
data.write(b"x" * 4096)
try:
    os.pwritev(fd, [data], 40 * 65536, os.RWF_NOWAIT)
    sys.exit("was written at once")
except BlockingIOError:
    pass
for _ in range(100):
    time.sleep(0.1)
    try:
        os.pwritev(fd, [data], 40 * 65536, os.RWF_NOWAIT)
        sys.exit(0)
    except BlockingIOError:
        pass
sys.exit("never was written")
PY
check "a NOWAIT write is refused, then written" python3 "$WORK/nowait.py" /dev/mapper/d1
check "nothing is held" held_now d1 0
release_hold

# The whole disk goes while it is backed up.
cp /dev/vdb "$WORK/before"
"$VMACTL" backup --disk a=/dev/mapper/d1 --slots 16 --bwlimit 64M --output "$WORK/archive" \
	>"$WORK/backup" 2>&1 &
backup=$!
wait_for 20 state_is d1 armed
check "the whole disk is discarded during its backup" timeout 200 blkdiscard /dev/mapper/d1
check_wait "the backup succeeds" "$backup"
check "and holds what was there" "$VMAREAD" compare "$WORK/archive" a="$WORK/before"
check "the guest pushed most of it" test "$(dm_status d1 | sed 's/.* guest \([0-9]*\) .*/\1/')" -gt 64
