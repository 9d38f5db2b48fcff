#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# "extract ARCHIVE --to NAME=PATH": each disk to a place of its own, none forgotten.
# Block devices need root: tests/vm/test-extract-block-device.sh.
. "$(dirname "$0")/lib.sh"
plan 42

make_good_archive good.vma want
vmactl 0 "two disks to two files" extract good.vma --to drive-scsi0=one --to drive-virtio1=two
check "the one" cmp want/disk-drive-scsi0.raw one
check "the other" cmp want/disk-drive-virtio1.raw two
check "of which nobody else can read" test "$(stat -c %a one two | tr '\n' ' ')" = "600 600 "
directory_holds "no configurations, no temporary files" good.vma want one two
rm one two

vmactl 0 "one disk only, from standard input" \
	extract --skip drive-scsi0 --to drive-virtio1=two - <good.vma
check "it is there" cmp want/disk-drive-virtio1.raw two
rm two

# --- names ---

vmactl 2 "a disk forgotten" extract good.vma --to drive-scsi0=one
stderr_has "is named, with what to do" "--to drive-virtio1=PATH or --skip drive-virtio1"
vmactl 2 "a disk that is not there" \
	extract good.vma --to drive-scsi0=one --to drive-virtio1=two --to drive-scsi5=x
stderr_has "is named" "--to drive-scsi5=x: there is no such device in good.vma"
vmactl 2 "a disk to skip that is not there" \
	extract good.vma --to drive-scsi0=one --to drive-virtio1=two --skip x
vmactl 2 "a disk twice" \
	extract good.vma --to drive-scsi0=one --to drive-virtio1=two --to drive-scsi0=x
stderr_has "is named as well" "drive-scsi0 is named more than once"
vmactl 2 "a disk mapped and skipped" \
	extract good.vma --to drive-scsi0=one --to drive-virtio1=two --skip drive-scsi0
vmactl 2 "two disks to one place" extract good.vma --to drive-scsi0=x --to drive-virtio1=x
stderr_has "are both named" "devices drive-scsi0 and drive-virtio1 would both go to x"
vmactl 2 "written in two ways" extract good.vma --to drive-scsi0=x --to "drive-virtio1=$PWD/want/../x"
vmactl 0 "one name in two directories" extract good.vma --to drive-scsi0=x --to drive-virtio1=want/x
check "is two files" cmp want/disk-drive-virtio1.raw want/x
rm x want/x
vmactl 2 "no path" extract good.vma --to drive-scsi0=
vmactl 2 "no name and path" extract good.vma --to drive-scsi0
vmactl 2 "only --skip" extract good.vma --skip drive-scsi0
directory_holds "nothing is left of all these" good.vma want

make_archive equals.vma equals.want <<-'END'
	device 1 512 a=b
	device 2 512 c
	cluster 1 0 0001 01
	cluster 2 0 0001 02
END
vmactl 0 "a name with an equals sign, as other writers may have made" \
	extract equals.vma --to a=b=one --to c=two=2
check "ends before the path" cmp equals.want/disk-a=b.raw one
check "which may have one, too" cmp equals.want/disk-c.raw two=2
rm -r equals.vma equals.want one two=2

# --- places ---

echo precious >one
vmactl 2 "zero where no disk goes" extract good.vma --to drive-scsi0=one --skip drive-virtio1 \
	--zeroed drive-scsi7
vmactl 1 "a file that exists" extract good.vma --to drive-scsi0=one --skip drive-virtio1
stderr_has "is named" "one exists"
check "and kept" test "$(cat one)" = precious
rm one
mkfifo one
vmactl 1 "a pipe: disks do not come in order" \
	extract good.vma --to drive-scsi0=one --skip drive-virtio1
rm one
vmactl 1 "a character device" extract good.vma --to drive-scsi0=/dev/null --skip drive-virtio1
vmactl 1 "standard output" extract good.vma --to drive-scsi0=- --skip drive-virtio1
vmactl 2 "a list of disks beside places" \
	extract good.vma --to drive-scsi0=one --to drive-virtio1=two -d drive-scsi0
vmactl 1 "a directory that is not there" \
	extract good.vma --to drive-scsi0=none/one --skip drive-virtio1
directory_holds "nothing is left of all these" good.vma want

# --- damage ---

head -c -1 good.vma >bad.vma
vmactl 3 "an archive cut off" extract bad.vma --to drive-scsi0=one --to drive-virtio1=two
stderr_has "is called truncated" "truncated"
make_archive missing.vma <<-'END'
	device 1 131072 a
	device 2 65536 b
	cluster 1 0 ffff 01
	zero 2 0
END
vmactl 3 "a missing cluster" extract missing.vma --to a=one --to b=two
stderr_has "is told" "device a lacks 1 of 2"
directory_holds "nothing is left of either" good.vma want bad.vma missing.vma
