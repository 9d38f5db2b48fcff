#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A partition of a disk in a compressed archive, mounted by the kernel through the nbdkit
# plugin, nothing extracted: its files are those that the disk had, and nobody can write.
# needs: disks=2x256M timeout=600
. "$BED_TOP/tests/vm/lib.sh"

plugin=$BED_BUILD/userspace/nbdkit/nbdkit-vma-plugin.so
[ -e "$plugin" ] || skip_all "built without nbdkit's headers"
for program in nbdkit nbd-client qemu-nbd; do
	command -v $program >/dev/null || skip_all "$program is not installed"
done
plan 33

sectors=65536 first=2048
tree=$WORK/tree socket=$WORK/socket pidfile=$WORK/pid
mkdir "$tree"

# Whatever was reached: the mount, the client, then nbdkit.
let_go() {
	! mountpoint -q "$tree" || umount "$tree"
	[ ! -e /sys/block/nbd0/pid ] || nbd-client -d /dev/nbd0
	wait_for 10 test ! -e /sys/block/nbd0/pid
	[ ! -s "$pidfile" ] || [ ! -e "/proc/$(<"$pidfile")" ] || kill "$(<"$pidfile")"
}

load_target
modprobe ext4
modprobe nbd nbds_max=1
at_exit "wait_for 10 rmmod nbd"
dm_create d0 "0 $sectors vmabackup /dev/vda"
dm_create d1 "0 8192 vmabackup /dev/vdb"
# As a guest has it, above the disk: this kernel must not keep the partition of vda in mind.
dm_create part "0 $((sectors - first)) linear /dev/mapper/d0 $first"
at_exit let_go
head -c 4M /dev/urandom | dd of=/dev/mapper/d1 bs=1M iflag=fullblock oflag=direct status=none
mkfs.ext4 -q /dev/mapper/part
mount /dev/mapper/part "$tree"
cat >"$WORK/plant.py" <<'END'
import os, random, struct, sys

disk, top, first, sectors = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
rnd = random.Random(7)

def lines(size):
    n = rnd.randrange(10 ** 6)
    text = bytearray()
    while len(text) < size:
        text += b"%08d session opened for user %d by (uid=0)\n" % (n, rnd.randrange(30))
        n += 1
    return bytes(text[:size])

def put(name, data, mode=0o644):
    path = os.path.join(top, name)
    with open(path, "wb") as f:
        f.write(data)
    os.chmod(path, mode)

for d in range(16):
    where = os.path.join("many", *(str(d) for d in range(d % 4)), f"d{d:02}")
    os.makedirs(os.path.join(top, where))
    for n in range(24):
        size = rnd.choice((0, 1, 100, 4095, 4096, 4097, 20000))
        put(os.path.join(where, f"file {n}"), (rnd.randbytes, lines)[n % 2](size), 0o600 + n)
put("random", rnd.randbytes(3 << 20))
put("log", lines(2 << 20))
put("na\nme \xe4", b"of two lines\n")
# Data that begins and ends within a block.
with open(os.path.join(top, "holes"), "wb") as f:
    for at, data in ((0, rnd.randbytes(1 << 19)), (3 << 20, lines(300001)),
                     ((5 << 20) + 77, rnd.randbytes(99)), ((8 << 20) + 4096, b"end")):
        f.seek(at)
        f.write(data)
os.link(os.path.join(top, "log"), os.path.join(top, "many", "the log, too"))
os.symlink("many/d00", os.path.join(top, "link"))
os.symlink("/nowhere/" + "x" * 200, os.path.join(top, "long link"))
os.mkfifo(os.path.join(top, "pipe"))

# The partition table: the kernel has no other way to find the file system.
with open(disk, "r+b") as f:
    f.seek(446)
    f.write(struct.pack("<B3sB3sII", 0, b"\xfe\xff\xff", 0x83, b"\xfe\xff\xff", first,
                        sectors - first) + bytes(48) + b"\x55\xaa")
    f.flush()
    os.fsync(f.fileno())
END
python3 "$WORK/plant.py" /dev/mapper/d0 "$tree" $first $sectors
sync -f "$tree"

# names FILE: all that a directory and an inode say, times of reading aside.
names() {
	(cd "$tree" && find . -printf '%y %m %U %G %s %b %n %T@ %l %p\n') | sort >"$1"
}
sums() {
	(cd "$tree" && find . -type f -print0 | sort -z | xargs -0 sha256sum) >"$1"
}
names "$WORK/names"
sums "$WORK/sums"
check_eq "there are files to look at" "$(grep -c . "$WORK/sums")" $((16 * 24 + 5))
umount "$tree"

disks=(drive-scsi0=/dev/mapper/d0 drive-scsi1=/dev/mapper/d1)
check "the disks are backed up, compressed" "$VMACTL" backup --disk "${disks[0]}" \
	--disk "${disks[1]}" --index --output "$WORK/a.vma.zst"
check_eq "with an index" "$("$VMACTL" info --json "$WORK/a.vma.zst" |
	jq -r '.compression + " " + .index')" "zstd beside"
check "and put into another archive, not compressed" "$VMACTL" create "$WORK/b.vma" "${disks[@]}"

# same names|sums: as they were before the backup.
same() {
	"$1" "$WORK/$1.now"
	diff -a "$WORK/$1" "$WORK/$1.now"
}

# look_at HOW MOUNT-OPTIONS: what must hold however the disk became /dev/nbd0.
look_at() {
	local how=$1 options=$2

	# The first to open it has the partitions looked for.
	check_eq "$how: the device is read-only" "$(blockdev --getro /dev/nbd0)" 1
	check_eq "$how: it has the disk's size" "$(blockdev --getsz /dev/nbd0)" $sectors
	check "$how: and its partition" wait_for 10 test -b /dev/nbd0p1
	check_status 1 "$how: a write" dd if=/dev/zero of=/dev/nbd0 bs=4096 count=1 status=none
	check_out "$how: is refused" 'not permitted|Read-only|Permission denied'
	check "$how: the file system is mounted" mount -o "$options" /dev/nbd0p1 "$tree"
	check "$how: it has the same names" same names
	check "$how: and the same files" same sums
	check_status 32 "$how: it can't be made writable" mount -o remount,rw "$tree"
	umount "$tree"
	check "$how: every byte is the disk's" cmp /dev/mapper/d0 /dev/nbd0
}

# --- compressed; the kernel itself is nbdkit's client and names one disk of two. Without
# nbdkit's -r: that nobody can write is the plugin's doing ---

nbdkit -f -U "$socket" -P "$pidfile" "$plugin" "$WORK/a.vma.zst" >"$WORK/nbdkit" 2>&1 &
server=$!
wait_for 30 test -s "$pidfile"
check "nbd-client: attached" nbd-client -unix "$socket" -N drive-scsi0 /dev/nbd0
look_at nbd-client ro
check "the other disk, meanwhile" qemu-img compare -f raw -F raw /dev/mapper/d1 \
	"nbd+unix:///drive-scsi1?socket=$socket"
check "nbd-client: detached" nbd-client -d /dev/nbd0
wait_for 10 test ! -e /sys/block/nbd0/pid
kill $server
check_wait "nbd-client: nbdkit ends" $server
check_eq "and has had nothing to say" "$(<"$WORK/nbdkit")" ""
rm -f "$socket" "$pidfile"

# --- not compressed, as nbdkit-vma-plugin(1) has it: all go into the background ---

nbdkit -r -U "$socket" -P "$pidfile" "$plugin" "$WORK/b.vma" disk=drive-scsi0
check "qemu-nbd: attached" qemu-nbd -r -f raw --pid-file="$WORK/client" -c /dev/nbd0 \
	"nbd+unix:///?socket=$socket"
look_at qemu-nbd ro,noload
client=$(<"$WORK/client")
check "qemu-nbd: detached" qemu-nbd -d /dev/nbd0
check "qemu-nbd: it ends" wait_for 10 test ! -e "/proc/$client"
server=$(<"$pidfile")
kill "$server"
check "qemu-nbd: nbdkit ends" wait_for 10 test ! -e "/proc/$server"
