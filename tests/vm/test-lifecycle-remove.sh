#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Removing disks, sessions, mappings and the module in every order: what is in
# use stays, what is not goes, and nothing is left.
# needs: disks=2x256M timeout=600
. "$BED_TOP/tests/vm/lib.sh"
. "$BED_TOP/tests/vm/lib-view.sh"
plan 25

size=32768
ours="0 $size vmabackup /dev/vda 2 fleece /dev/vdb"
modprobe dm-mod
[ -e "$BED_KO" ] || { echo "Bail out! $BED_KO is not built"; exit 1; }
at_exit "! [ -d /sys/module/dm_vmabackup ] || rmmod dm_vmabackup"
at_exit "dmsetup remove_all --force; dmsetup remove_all"
unload() {
	rmmod dm_vmabackup
}
# Given back by a work item or a grace period, so within moments.
unloads() {
	wait_for 10 unload
}

insmod "$BED_KO"
check "loaded and unloaded" unload
insmod "$BED_KO"
dmsetup create d0 --table "$ours"
check_status 1 "not while there is a disk" unload
dmsetup reload d0 --table "0 $size linear /dev/vda 0"
dmsetup resume d0
check "when the disk has another table" unloads
insmod "$BED_KO"
dmsetup reload d0 --table "$ours"
check_status 1 "not while a table is only loaded" unload
dmsetup resume d0
arm d0
dmsetup create v0 --readonly --table "0 $size vmabackup-view /dev/mapper/d0"
dd if=/dev/urandom of=/dev/mapper/d0 bs=64k count=4 oflag=direct status=none
check_status 1 "not while a disk is armed and has a view" unload
dmsetup remove v0
check "an armed disk is removed" dmsetup remove --retry d0
check "nothing else uses the module" unloads
insmod "$BED_KO"
noise /dev/vda $size
dd if=/dev/vda of="$WORK/before" bs=64k count=8 iflag=direct status=none
dmsetup create d0 --table "$ours"

# A session with a mapping whose disk goes: it stays, and what was delivered stays.
cat >"$WORK/session.py" <<'PY'
import ctypes, errno, fcntl, mmap, os, struct, subprocess, sys
def ioc(d, nr, size):
    return d << 30 | size << 16 | 0xB7 << 8 | nr
def call(fd, d, nr, data):
    buf = bytearray(data)
    fcntl.ioctl(fd, ioc(d, nr, len(buf)), buf)
    return buf
def failure(fn, *args):
    try:
        fn(*args)
    except OSError as e:
        return errno.errorcode[e.errno]
    return "none"
def dm(*args):
    return subprocess.run(["dmsetup", *args]).returncode
def add(session):
    disk = os.open("/dev/mapper/d0", os.O_RDONLY)
    try:
        call(session, 3, 1, struct.pack("iIIIQQII", disk, 0, 0, 0, 0, 0, 0, 0))
    finally:
        os.close(disk)
def rmmod():
    return subprocess.run(["rmmod", "dm_vmabackup"], stderr=subprocess.DEVNULL).returncode

session = os.open("/dev/vmabackup", os.O_RDWR)
add(session)
print("twice in one session:", failure(add, session))
other = os.open("/dev/vmabackup", os.O_RDWR)
print("in another session:", failure(add, other))
os.close(other)
call(session, 3, 2, struct.pack("8IQ", 16, 65536, 4, 0, 0, 0, 0, 0, 0))
slots = mmap.mmap(session, 16 * 65536, mmap.MAP_SHARED, mmap.PROT_READ)
dm("suspend", "d0")
call(session, 3, 3, struct.pack("II", 0, 0))
dm("resume", "d0")
call(session, 3, 4, struct.pack("IIQQQ", 0, 0, 0, 8, 0))
got = {}
room = ctypes.create_string_buffer(32 * 64)
while len(got) < 8:
    r = call(session, 3, 6, struct.pack("QQ6I", 0, ctypes.addressof(room), 0, 64, 0, 0, 0, 0))
    for i in range(struct.unpack_from("Q Q I I I", r)[4]):
        disk, slot, chunk, length, flags = struct.unpack_from("IIQII", room, 24 * i)
        got[chunk] = slot
print("removed:", dm("remove", "d0"))
status = call(session, 2, 7, bytes(160))
print("state and reason:", *struct.unpack_from("II", status))
before = open(sys.argv[1], "rb").read()
print("mapping:", all(slots[slot * 65536:(slot + 1) * 65536] == before[chunk * 65536:(chunk + 1) * 65536]
                      for chunk, slot in got.items()))
print("fetching:", failure(call, session, 3, 4, struct.pack("IIQQQ", 0, 0, 20, 1, 0)))
print("unloading:", rmmod())
os.close(session)
print("unloading with the mapping alone:", rmmod())
print("the mapping:", len(set(slots[:65536])) > 1)
slots.close()
PY
check "a session on a disk that is removed" timeout 60 python3 "$WORK/session.py" "$WORK/before"
cp "$WORK/out" "$WORK/said"
said() {
	check "$1" grep -qx "$2" "$WORK/said"
}
said "a disk twice in a session" "twice in one session: EEXIST"
said "a disk in two sessions" "in another session: EBUSY"
said "the disk is removed under the session" "removed: 0"
said "which breaks: removed" "state and reason: 3 5"
said "what was delivered is still there" "mapping: True"
said "nothing more can be fetched" "fetching: ESTALE"
said "the module stays for the session" "unloading: 1"
said "and for its mapping" "unloading with the mapping alone: 1"
said "which still can be read" "the mapping: True"
check "it goes when that has gone" unloads

# By force, with a program's session, a view and writers, who write until they get an error.
insmod "$BED_KO"
dmsetup create d0 --table "$ours"
arm d0
dmsetup create v0 --readonly --table "0 $size vmabackup-view /dev/mapper/d0"
"$TOOLS/guestload" --seed 2 --threads 4 --seconds 300 --deadline 100 \
	/dev/mapper/d0 >"$WORK/load" 2>&1 &
load=$!
cat /dev/mapper/v0 >/dev/null 2>&1 &
reader=$!
opened() {
	[ "$(dmsetup info -c --noheadings -o open "$1")" -gt 0 ]
}
wait_for 60 opened d0
check "removal is refused while the disk is open" bash -c '! dmsetup remove d0 2>/dev/null'
check "it is armed" state_is d0 armed
check "by force its table goes" timeout $AT_ONCE \
	bash -c 'dmsetup remove --force d0 >/dev/null 2>&1 || true'
check_wait "its guest gets an error, and does not hang" "$load" 1
wait "$reader" || true
check "so does who reads the view" bash -c '! dd if=/dev/mapper/v0 of=/dev/null bs=4k count=1 iflag=direct 2>/dev/null'
check "the view goes" dmsetup remove --retry v0
[ ! -e /dev/mapper/d0 ] || dmsetup remove --retry d0
check "and the module" unloads
