#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Messages wait for no I/O: while the fleece device hangs, with data on it, the disk is disarmed
# at once, and can be suspended and resumed; the rest happens when the device is back.  And
# messages that come all at once, of which one is right at most, do no harm.  And a disk that
# was prepared is armed without a new thread.
# needs: disks=2x256M
. "$BED_TOP/tests/vm/lib.sh"
. "$BED_TOP/tests/vm/lib-hold.sh"
plan 27

chunk=65536
BURST=$BED_BUILD/tests/burst
d=/dev/mapper/d0

load_target
dm_create origin "0 65536 linear /dev/vda 0"
dm_create below "0 65536 linear /dev/vdb 0"
dm_create d0 "0 65536 vmabackup /dev/mapper/origin 2 fleece /dev/mapper/below"

arm() {
	dmsetup suspend d0
	dmsetup message d0 0 arm
	dmsetup resume d0
}
state_is() {
	[[ $(dm_status d0) == *" vmabackup $1 "* ]]
}
# How many of the kernel's threads are ours.
threads() {
	local comm name count=0

	for comm in /proc/[0-9]*/comm; do
		{ read -r name <"$comm"; } 2>/dev/null || continue
		# One for everybody is called after the work that it did last.
		[[ $name != *vmab* || $name == kworker* ]] || count=$((count + 1))
	done
	echo $count
}
reload() {
	dmsetup reload d0 --table "$(dmsetup table d0)"
	dmsetup suspend d0
	dmsetup resume d0
}
all_gone() {
	[[ $(dm_status d0) == *" vmabackup idle "*" fleece_used 0 "* ]]
}

unprepared=$(threads)
check "armed" arm
check "some chunks go to the fleece device" "$BURST" write $d 3 0 4096 16 $chunk
spilled() {
	[[ $(dm_status d0) == *" copying 0 "*" spilled 16 "* ]]
}
check "all of them" wait_for 20 spilled

dmsetup suspend --noflush --nolockfs below
check "disarmed while it hangs" timeout $AT_ONCE dmsetup message d0 0 disarm
check "and once more" timeout $AT_ONCE bash -c 'dmsetup message d0 0 disarm || true'
check_status 1 "it can't be armed again yet" timeout $AT_ONCE dmsetup message d0 0 arm
check "it can be suspended" timeout $AT_ONCE dmsetup suspend d0
check "and resumed" timeout $AT_ONCE dmsetup resume d0
check "its guest writes" timeout $AT_ONCE "$BURST" write $d 4 0 4096 16 $chunk
dmsetup resume below
check "when the device is back, nothing is left on it" wait_for 20 all_gone

# The disk stays suspended, so that any of them may succeed in arming it.
dmsetup suspend d0
messages() {
	local n

	for ((n = 0; n < 20; n++)); do
		dmsetup message d0 0 arm 2>/dev/null &
		dmsetup message d0 0 disarm 2>/dev/null &
	done
	wait
}
check "40 messages at once" messages
dmsetup message d0 0 disarm 2>/dev/null || true
dmsetup resume d0
check "the disk is idle afterwards" wait_for 20 all_gone
check "and can be armed" arm
dmsetup message d0 0 disarm
check "idle again" wait_for 20 all_gone

# An idle disk's last session may take a moment to be freed.
no_more_threads() {
	[ "$(threads)" -eq "$unprepared" ]
}
wait_for 20 no_more_threads
check "prepared while it runs" dmsetup message d0 0 prepare
check "it is a member of a session" state_is member
check_status 1 "once is enough" dmsetup message d0 0 prepare
check_status 1 "it can't be armed before it is suspended" dmsetup message d0 0 arm
check "which leaves it prepared" state_is member
prepared=$(threads)
check "a session has threads of its own" test "$prepared" -gt "$unprepared"
dmsetup suspend d0
check "armed" dmsetup message d0 0 arm
check_eq "without another thread" "$(threads)" "$prepared"
dmsetup resume d0
dmsetup message d0 0 disarm
check "idle again" wait_for 20 all_gone

dmsetup message d0 0 prepare
check "what is only prepared is let go, too" dmsetup message d0 0 disarm
wait_for 20 all_gone
# Without programs to be started, which gives a session's end time enough.
cat >"$WORK/again.py" <<'PY'
import fcntl, struct, sys
SIZE, HEAD = 16384, "=6Ii3IQ128s129s7s"
STATUS, MESSAGE = 0xc138fd0c, 0xc138fd0e    # DM_TABLE_STATUS, DM_TARGET_MSG
control = open("/dev/mapper/control", "r+b", buffering=0)
def dm(command, data=b""):
    head = struct.pack(HEAD, 4, 0, 0, SIZE, struct.calcsize(HEAD), 0, 0, 0, 0, 0, 0, b"d0", b"", b"")
    buf = bytearray((head + data).ljust(SIZE, b"\0"))
    fcntl.ioctl(control, command, buf)
    return bytes(buf)
def message(text):
    dm(MESSAGE, struct.pack("=Q", 0) + text + b"\0")
for n in range(50):
    try:
        message(b"prepare")
    except OSError as e:
        sys.exit(f"time {n}: {e}")
    message(b"disarm")
    # Before the numbers comes the state.
    while b"idle 128 " not in dm(STATUS):
        pass
PY
check "idle is when it can be prepared again, at once" python3 "$WORK/again.py"
dmsetup message d0 0 prepare
check "another table for a prepared disk" reload
check "can be armed" arm
dmsetup message d0 0 disarm
