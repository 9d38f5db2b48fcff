#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# "extract --to NAME=DEVICE" writes every byte of the disk, zeroes too, to devices that are
# large enough and not in use, and says so when one is left overwritten in part.
# needs: disks=1x64M+1x64M,sector=4096+1x32M timeout=300
. "$BED_TOP/tests/vm/lib.sh"
plan 20

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

fill /dev/vda
zstd -q "$WORK/a.vma" -o "$WORK/a.vma.zst"
ln -s /dev/vda "$WORK/link"
from_stdin() {
	"$VMACTL" extract - --to "a=$WORK/link" <"$WORK/a.vma.zst"
}
check "compressed, from standard input, by way of a link" from_stdin
check "has the content" cmp -n 67108352 /dev/vda "$WORK/want/disk-a.raw"

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
check_status 1 "one device for two disks" \
	"$VMACTL" extract "$WORK/two.vma" --to a=/dev/vdc --to b=/dev/vdc
check_out "is in use by the other" '/dev/vdc is in use'
check_eq "nothing of all these was written" "$(disk_sectors_written /dev/vda)" "$before"

# --- half a disk ---

head -c -100 "$WORK/a.vma" >"$WORK/cut.vma"
check_status 3 "an archive cut off" "$VMACTL" extract "$WORK/cut.vma" --to a=/dev/mapper/holder
check_out "leaves a warning" '/dev/mapper/holder is overwritten in part'
check_out "beside the reason" 'truncated'
