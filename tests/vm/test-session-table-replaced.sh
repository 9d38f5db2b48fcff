#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Another table under an armed session, ours or not, and removal: the session
# breaks and says so, held writes go on, and nothing is left.
# needs: disks=2x256M
. "$BED_TOP/tests/vm/lib.sh"
. "$BED_TOP/tests/vm/lib-hold.sh"
plan 21

load_target
size=$(blockdev --getsz /dev/vda)
ours="0 $size vmabackup /dev/vda"
all_written() {
	written 1 && written 2 && written 3
}
three_writes() {
	local n

	for n in 1 2 3; do
		write_chunk /dev/mapper/d0 $n
	done
	wait_for 20 held_now d0 1
}

dm_create d0 "$ours"
hold --slots 2 /dev/mapper/d0
three_writes
check "the same line again" dmsetup reload d0 --table "$ours"
check "loading alone changes nothing" state_is d0 armed
check "without flush: the held write comes again" timeout $AT_ONCE dmsetup resume --noflush d0
check "all writes are done" wait_for 20 all_written
check "the new table is idle and says what happened" reason_is d0 replaced
check "it is" state_is d0 idle
release_hold
check_eq "the session knows, too" "$(hold_status reason)" 4
check "a new session on the new table" "$BED_BUILD/tests/ioctl-abuse" drain /dev/mapper/d0

hold --slots 2 /dev/mapper/d0
dmsetup reload d0 --table "0 $size linear /dev/vda 0"
check "dm-linear" timeout $AT_ONCE dmsetup resume d0
release_hold
check_eq "the session knows" "$(hold_status reason)" 4
check "writes go on" dd if=/dev/urandom of=/dev/mapper/d0 bs=64k count=4 oflag=direct status=none

dmsetup reload d0 --table "$ours"
dmsetup resume d0
hold --slots 2 --until-broken /dev/mapper/d0
check_status 1 "removal is refused while a program has the disk open" dmsetup remove d0
check "the session is unharmed" state_is d0 armed
check "by force, the table is replaced" timeout $AT_ONCE bash -c 'dmsetup remove --force d0 || true'
check_wait "the session notices and ends" "$hold_pid"
check_eq "with the reason" "$(hold_status reason)" 4
wait_for 10 dmsetup remove d0 || true
dmsetup create d0 --table "$ours"

# A member that is not armed yet.
cat >"$WORK/member.py" <<'PY'
import fcntl, os, struct, subprocess, sys
def ioc(d, nr, size):
    return d << 30 | size << 16 | 0xB7 << 8 | nr
session = os.open("/dev/vmabackup", os.O_RDWR)
disk = os.open("/dev/mapper/d0", os.O_RDONLY)
fcntl.ioctl(session, ioc(3, 1, 40), struct.pack("iIIIQQII", disk, 0, 0, 0, 0, 0, 0, 0))
os.close(disk)
print(subprocess.check_output(["dmsetup", "status", "d0"], text=True).split()[3])
subprocess.check_call(["dmsetup", "remove", "d0"])
status = bytearray(160)
fcntl.ioctl(session, ioc(2, 7, 160), status)
print(struct.unpack_from("II", status))
try:
    fcntl.ioctl(session, ioc(3, 2, 40), struct.pack("8IQ", 2, 65536, 0, 0, 0, 0, 0, 0, 0))
except OSError as e:
    print(e.errno)
PY
check "a disk is removed after it was added" python3 "$WORK/member.py"
check_out "it was a member" '^member$'
check_out "the session is broken: removed" '^\(3, 5\)$'
check_out "and stays so" '^116$'
# What the first dm_create has promised to remove.
dmsetup create d0 --table "$ours"
ok "the name is free again"
