#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The module that was built loads into the kernel that it was built for.
# needs: disks=2x256M
. "$BED_TOP/tests/vm/lib.sh"
plan 3

load_target
check "the target is registered" bash -c 'dmsetup targets | grep -q "^vmabackup "'
vmabackup_on d0 /dev/vda
check_eq "a device has the size of its origin" \
	"$(blockdev --getsz /dev/mapper/d0)" "$(blockdev --getsz /dev/vda)"
check "it reads what its origin holds" cmp -n 1048576 /dev/mapper/d0 /dev/vda
