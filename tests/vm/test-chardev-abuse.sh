#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Whatever a program does to /dev/vmabackup is refused as the protocol says, and what it
# should not do harms neither guests nor other sessions.  Prints the points of ioctl-abuse.
# needs: disks=1x24M+1x40M+1x16M mem=1G
. "$BED_TOP/tests/vm/lib.sh"

load_target
dm_create linear "0 2048 linear /dev/vdc 0"
vmabackup_on d0 /dev/vda
vmabackup_on d1 /dev/vdb 2 chunk_size 512
"$BED_BUILD/tests/ioctl-abuse" test --linear /dev/mapper/linear --plain /dev/vdc \
	/dev/mapper/d0 /dev/mapper/d1
