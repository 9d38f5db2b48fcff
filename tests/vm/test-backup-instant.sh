#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What a guest writes after the instant is not in the archive, on any disk, with a writer
# that is held up, with one slot for the guest, and in a limited backup.  And a file system
# that is mounted at the instant is clean in the archive.
# needs: disks=2x32M
. "$BED_TOP/tests/vm/lib.sh"
plan 16

read_archive() {
	python3 "$BED_TOP/tests/oracle/vmaread.py" "$@"
}

is_armed() {
	[[ $(dm_status d0) == *" armed "* ]]
}

# guest_pushed N: at least so many chunks of both disks.
guest_pushed() {
	local n=0 line

	while IFS= read -r line; do
		[[ $line =~ \ guest\ ([0-9]+)\  ]]
		n=$((n + BASH_REMATCH[1]))
	done < <(dmsetup status --target vmabackup)
	[ "$n" -ge "$1" ]
}

# Overwrites all of both disks, in no order, beginning when the instant has been.
overwrite() {
	wait_for 60 is_armed || return
	fio --output="$WORK/fio" --rw=randwrite --bs=16k --direct=1 --ioengine=libaio --iodepth=8 \
		--randseed="$1" --name=a --filename=/dev/mapper/d0 --name=b --filename=/dev/mapper/d1
}

# backup_under_fire SEED PUSHED ARGUMENT...: nothing is read until the guest has pushed so many
# chunks, which must fit in the slots that are kept for it.
backup_under_fire() {
	local seed=$1 pushed=$2 writer

	shift 2
	dd if=/dev/vda of="$WORK/a.raw" bs=1M iflag=direct status=none
	dd if=/dev/vdb of="$WORK/b.raw" bs=1M iflag=direct status=none
	rm -f "$WORK/x.vma"
	overwrite "$seed" &
	writer=$!
	"$VMACTL" backup --disk a=/dev/mapper/d0 --disk b=/dev/mapper/d1 --json-summary "$WORK/x.json" \
		--output - "$@" | (
		wait_for 60 is_armed
		wait_for 60 guest_pushed "$pushed"
		cat >"$WORK/x.vma"
	)
	local status=${PIPESTATUS[0]}

	wait "$writer" || return
	return "$status"
}

judge() {
	check "$1: by the rules" read_archive check "$WORK/x.vma"
	check "$1: as of the instant" read_archive compare -q "$WORK/x.vma" a="$WORK/a.raw" b="$WORK/b.raw"
	check "$1: guest writes did push chunks" test "$(python3 -c 'import json, sys
print(json.load(open(sys.argv[1]))["chunks_guest"])' "$WORK/x.json")" -gt 10
	check_status 1 "$1: the disks did change" cmp "$WORK/a.raw" /dev/vda
}

load_target
disk_fill /dev/vda 1
disk_fill /dev/vdb 2
vmabackup_on d0 /dev/vda
vmabackup_on d1 /dev/vdb 2 chunk_size 512

check "a backup under writes" backup_under_fire 11 40
judge "default"
check "a backup with three slots" backup_under_fire 12 1 --slots 3
judge "three slots"
check "a limited backup" backup_under_fire 13 40 --bwlimit 8M
judge "limited"
dmsetup status | sed 's/^/# /'

# The host mounts a disk: the file system is frozen for the instant.
modprobe ext4
mkfs.ext4 -q /dev/mapper/d0
mkdir "$WORK/mnt"
mount /dev/mapper/d0 "$WORK/mnt"
at_exit "umount $WORK/mnt"
dd if=/dev/urandom of="$WORK/mnt/file" bs=64k count=20 status=none
rm -f "$WORK/x.vma"
"$VMACTL" backup --disk a=/dev/mapper/d0 --output "$WORK/x.vma" >/dev/null
mkdir "$WORK/x"
read_archive extract "$WORK/x.vma" "$WORK/x/out" >/dev/null
image=$(find "$WORK/x/out" -name '*a*.raw')
check_status 1 "a mounted file system was frozen: no journal to replay" \
	grep needs_recovery <(dumpe2fs -h "$image" 2>/dev/null)
