#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# "extract --to NAME=DEVICE" writes every byte of the disk, zeroes too, to devices that are
# large enough and not in use, and says so when one is left overwritten in part.
# needs: disks=1x64M+1x64M,sector=4096+1x32M
. "$BED_TOP/tests/vm/lib.sh"
plan 47

mkvma() {
	python3 "$BED_TOP/tests/cli/mkvma.py" "$@"
}

# 64 MiB less 512 bytes: the last cluster is short, its last block too, and all zero but one.
mkvma "$WORK/a.vma" "$WORK/want" <<-'END'
	device 1 67108352 a
	zeroes 1 0 99
	cluster 1 100 00f1 a5
	zeroes 1 101 500
	cluster 1 502 ffff 77
	cluster 1 501 8000 78
	zeroes 1 503 1022
	cluster 1 1023 4000 01
END

# fill DEVICE: no byte of it is zero.
fill() {
	local size

	size=$(blockdev --getsize64 "$1")
	head -c "$size" /dev/zero | tr '\0' '\252' >"$1"
	sync "$1"
	echo 3 >/proc/sys/vm/drop_caches
}

# same NAME DEVICE: the disk's content, and after it what was there before.
same() {
	check "$1" cmp -n 67108352 "$2" "$WORK/want/disk-a.raw"
	check "$1, and not one byte behind it is touched" \
		test "$(tail -c 512 "$2" | tr -d '\252' | wc -c)" = 0
}

fill /dev/vda
check "a device" "$VMACTL" extract "$WORK/a.vma" --to a=/dev/vda
echo 3 >/proc/sys/vm/drop_caches
same "a device has the content" /dev/vda

fill /dev/vdb
check "a device with sectors of 4 KiB" "$VMACTL" extract "$WORK/a.vma" --to a=/dev/vdb
echo 3 >/proc/sys/vm/drop_caches
same "with sectors of 4 KiB it has the content" /dev/vdb

# Said to read as zeroes already: then only the clusters with data are written.
fill /dev/vda
before=$(disk_sectors_written /dev/vda)
check "a device that is said to be zero" "$VMACTL" extract "$WORK/a.vma" --to a=/dev/vda --zeroed a
echo 3 >/proc/sys/vm/drop_caches
check "gets its data" cmp -n 65536 -i $((502 * 65536)) /dev/vda "$WORK/want/disk-a.raw"
check "and no zeroes" test "$(head -c $((100 * 65536)) /dev/vda | tr -d '\252' | wc -c)" = 0
check_eq "of one cluster and seven blocks of others" \
	$(($(disk_sectors_written /dev/vda) - before)) $(((16 + 5 + 1 + 1) * 8))

fill /dev/vda
zstd -q "$WORK/a.vma" -o "$WORK/a.vma.zst"
ln -s /dev/vda "$WORK/link"
from_stdin() {
	"$VMACTL" extract - --to "a=$WORK/link" <"$WORK/a.vma.zst"
}
check "compressed, from standard input, by way of a link" from_stdin
check "has the content" cmp -n 67108352 /dev/vda "$WORK/want/disk-a.raw"

# Without standard output and error the disk must not be opened in their place.
fill /dev/vda
closed_files() {
	"$VMACTL" extract - --to a=/dev/vda -v <"$WORK/a.vma" >&- 2>&-
}
try closed_files
check "with standard files closed it has the content, too" \
	cmp -n 67108352 /dev/vda "$WORK/want/disk-a.raw"

# --- refusals: nothing is written ---

fill /dev/vda
before=$(disk_sectors_written /dev/vda)
check_status 1 "a device that is too small" "$VMACTL" extract "$WORK/a.vma" --to a=/dev/vdc
check_out "is told, with both sizes" '/dev/vdc has 33554432 bytes, 67108352 are needed'
dmsetup create holder --table "0 131072 linear /dev/vda 0"
at_exit dmsetup remove --retry holder
check_status 1 "a device that another one is made of" \
	"$VMACTL" extract "$WORK/a.vma" --to a=/dev/vda
check_out "is told" '/dev/vda is in use'
mkfs.ext4 -q /dev/vdb
mkdir "$WORK/mnt"
mount /dev/vdb "$WORK/mnt"
at_exit umount "$WORK/mnt"
check_status 1 "a device that is mounted" "$VMACTL" extract "$WORK/a.vma" --to a=/dev/vdb
check_out "is told as well" '/dev/vdb is in use'
mkvma "$WORK/two.vma" <<-'END'
	device 1 512 a
	device 2 512 b
	zero 1 0
	zero 2 0
END
check_status 2 "one device for two disks" \
	"$VMACTL" extract "$WORK/two.vma" --to a=/dev/vdc --to b=/dev/vdc
check_out "is told, with both" 'devices a and b would both go to /dev/vdc'
check_status 2 "by way of a link" \
	"$VMACTL" extract "$WORK/two.vma" --to "a=$WORK/link" --to b=/dev/vda
check_eq "nothing of all these was written" "$(disk_sectors_written /dev/vda)" "$before"

# --- in use by who does not ask for it alone, as QEMU does ---

before=$(disk_sectors_written /dev/vda)
exec 8</dev/mapper/holder
check_status 1 "a device-mapper device that somebody has open" \
	"$VMACTL" extract "$WORK/a.vma" --to a=/dev/mapper/holder
check_out "is told" '/dev/mapper/holder is in use by another process'
exec 8<&-
check_eq "nothing was written" "$(disk_sectors_written /dev/vda)" "$before"
exec 8</dev/mapper/holder
sleep 0.3 &
exec 8<&-
check "open for a moment only, as udev does" "$VMACTL" extract "$WORK/a.vma" --to a=/dev/mapper/holder
wait

# --- the archive itself ---

# refuses_itself NAME COMMAND...: of the device with the archive nothing is written.
refuses_itself() {
	local name=$1

	shift
	sync
	before=$(disk_sectors_written /dev/vdc)
	check_status 1 "$name" "$@"
	check_out "$name: is told" '(the archive lies on [^ ]*|is the archive) and would be overwritten'
	check_eq "$name: and kept" "$(disk_sectors_written /dev/vdc)" "$before"
}

mkvma "$WORK/small.vma" <<-'END'
	device 1 131072 a
	cluster 1 0 ffff 5a
	cluster 1 1 ffff 5b
END
cat "$WORK/small.vma" >/dev/vdc
stdin_from() {
	"$VMACTL" extract - --to "a=$2" <"$1"
}
refuses_itself "an archive on the device" "$VMACTL" extract /dev/vdc --to a=/dev/vdc
refuses_itself "an archive read from the device" stdin_from /dev/vdc /dev/vdc
dmsetup create part --table "0 65536 linear /dev/vdc 0"
refuses_itself "an archive on a device above" "$VMACTL" extract /dev/mapper/part --to a=/dev/vdc
refuses_itself "an archive on a device below" "$VMACTL" extract /dev/vdc --to a=/dev/mapper/part
dmsetup remove --retry part
mkfs.ext4 -q /dev/vdc
mkdir "$WORK/mnt-c"
mount /dev/vdc "$WORK/mnt-c"
at_exit umount "$WORK/mnt-c"
cp "$WORK/small.vma" "$WORK/mnt-c/"
mount -o remount,ro "$WORK/mnt-c"
refuses_itself "a file on the device" "$VMACTL" extract "$WORK/mnt-c/small.vma" --to a=/dev/vdc

# --- half a disk ---

head -c -100 "$WORK/a.vma" >"$WORK/cut.vma"
disk_fill /dev/mapper/holder 44
before=$(sha256sum </dev/mapper/holder)
check_status 3 "an archive cut off" "$VMACTL" extract "$WORK/cut.vma" --to a=/dev/mapper/holder
# What is cut is refused before the threads that write may have begun.
echo 3 >/proc/sys/vm/drop_caches
if [ "$(sha256sum </dev/mapper/holder)" = "$before" ]; then
	check_eq "nothing was written, and no warning says so" \
		"$(grep -c 'overwritten in part' "$WORK/out" || true)" 0
else
	check_out "leaves a warning" '/dev/mapper/holder is overwritten in part'
fi
check_out "beside the reason" 'truncated'

# All zeroes would be written at once, data only when it is flushed.
dmsetup create failing --table "0 256 error"
at_exit dmsetup remove --retry failing
check_status 1 "a device that fails at the end" \
	"$VMACTL" extract "$WORK/small.vma" --to a=/dev/mapper/failing
check_out "leaves the same warning" '/dev/mapper/failing is overwritten in part'
