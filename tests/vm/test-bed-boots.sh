#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The test bed itself: the kernel that was asked for, its modules, its disks.
# needs: disks=2x256M
. "$BED_TOP/tests/vm/lib.sh"
plan 12

check_eq "runs the kernel that was asked for" "$(uname -r)" "$KVER"
check_eq "has the CPUs that were asked for" "$(nproc)" "$BED_CPUS"
check_eq "has the disks that were asked for" "$(echo /sys/block/vd* | wc -w)" "$BED_DISKS"
check_eq "a disk has the size that was asked for" "$(blockdev --getsize64 /dev/vdb)" $((256 << 20))
check_status 1 "a disk begins blank" grep -qz . <(head -c 1M /dev/vda)
check_status 1 "the root of the builder cannot be written" grep -q '^hostroot.* rw' /proc/mounts

before=$(disk_sectors_written /dev/vda)
dd if=/dev/zero of=/dev/vda bs=64K count=4 oflag=direct status=none
check_eq "sectors written are counted" $(($(disk_sectors_written /dev/vda) - before)) 512
before=$(disk_sectors_read /dev/vda)
dd if=/dev/vda of=/dev/null bs=64K count=2 iflag=direct status=none
check_eq "sectors read are counted" $(($(disk_sectors_read /dev/vda) - before)) 256

make_vg bedvg /dev/vda /dev/vdb
make_lv bedvg a 64M
check_eq "a logical volume has its node and size" \
	"$(blockdev --getsize64 /dev/bedvg/a)" $((64 << 20))
disk_fill /dev/bedvg/a 7
first=$(md5sum </dev/bedvg/a)
disk_fill /dev/bedvg/a 7
check_eq "noise is repeatable" "$(md5sum </dev/bedvg/a)" "$first"
check "dm-snapshot loads" modprobe dm-snapshot
check "a snapshot of the volume can be made" \
	lvm lvcreate -q -y -s -n snap -L 16M bedvg/a
