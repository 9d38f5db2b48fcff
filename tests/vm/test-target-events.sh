#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Every change of a disk's state raises a device-mapper event, which wakes dmsetup wait,
# and a uevent that names the state; a program that watches either misses none.
# needs: disks=2x256M
. "$BED_TOP/tests/vm/lib.sh"
. "$BED_TOP/tests/vm/lib-hold.sh"
plan 15

# One step of a session for each line of stdin. Written from linux/dm-vmabackup.h alone.
cat >"$WORK/steps.py" <<'END'
import fcntl, os, struct, sys

def call(nr, fmt, *values):
    request = 3 << 30 | struct.calcsize(fmt) << 16 | 0xB7 << 8 | nr
    return fcntl.ioctl(session, request, struct.pack(fmt, *values))

for line in sys.stdin:
    step = line.strip()
    if step == "add":
        session = os.open("/dev/vmabackup", os.O_RDWR)
        disk = os.open(sys.argv[1], os.O_RDONLY)
        call(1, "=iIIIQQII", disk, 0, 0, 0, 0, 0, 0, 0)
        os.close(disk)
    elif step == "setup":
        # 2 slots of 64 KiB, policy ring, break-snapshot, a second
        call(2, "=IIIIIIIIQ", 2, 65536, 0, 0, 1, 1, 1000, 0, 0)
    elif step == "arm":
        call(3, "=II", 0, 0)
    elif step == "close":
        os.close(session)
    print("done", flush=True)
END
cat >"$WORK/uevents.py" <<'END'
import socket, sys
s = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, 15)  # NETLINK_KOBJECT_UEVENT
s.bind((0, 1))
print("listening", flush=True)
while True:
    print(" ".join(s.recv(65536).decode(errors="replace").split("\0")), flush=True)
END

load_target
vmabackup_on d0 /dev/vda
dev=$(basename "$(readlink -f /dev/mapper/d0)")
[[ $dev == dm-* ]] || dev=dm-$(dmsetup info -c --noheadings -o minor d0)
python3 "$WORK/uevents.py" >"$WORK/uevents" &
listener=$!
at_exit "kill $listener 2>/dev/null || true"
coproc STEPS { python3 "$WORK/steps.py" /dev/mapper/d0; }
at_exit "kill $STEPS_PID 2>/dev/null || true"
wait_for 20 grep -q listening "$WORK/uevents"

# step NAME...: waits until it was done.
step() {
	local name answer

	for name; do
		echo "$name" >&"${STEPS[1]}"
		read -r -t 60 answer <&"${STEPS[0]}"
		[ "$answer" = "done" ]
	done
}

uevent_seen() {
	grep -q "change@.*/block/$dev .*VMABACKUP_STATE=$1\b" "$WORK/uevents"
}

# change STATE COMMAND...: what brings it about; three test points.
change() {
	local state=$1 before waiter

	shift
	before=$(dmsetup info -c --noheadings -o events d0)
	timeout $((60 * ${BED_SLOWNESS:-1})) dmsetup wait d0 "$before" >/dev/null &
	waiter=$!
	"$@"
	check_wait "$state: dmsetup wait returns" $waiter
	check "$state: it is the state" wait_for 5 state_is d0 "$state"
	check "$state: a uevent says so" wait_for 5 uevent_seen "$state"
}

arm() {
	dmsetup suspend d0
	step arm
	dmsetup resume d0
}

overwrite() {
	local n

	for n in 1 2 3; do
		write_chunk /dev/mapper/d0 $n
	done
}

all_written() {
	written 1 && written 2 && written 3
}

change member step add
step setup
change armed arm
change broken overwrite
check "the writes went on then" wait_for 20 all_written
change idle step close
sed -n "s/.*\/block\/$dev .*VMABACKUP_STATE=\([a-z]*\).*/\1/p" "$WORK/uevents" | uniq >"$WORK/order"
# A session that is being taken apart still has its disks.
check_eq "the uevents in their order" "$(tr '\n' ' ' <"$WORK/order" | sed 's/broken member/broken/')" \
	"member armed broken idle "

# An event number that has passed already is no reason to wait.
check "dmsetup wait returns at once for what has happened" timeout $AT_ONCE dmsetup wait d0 0
