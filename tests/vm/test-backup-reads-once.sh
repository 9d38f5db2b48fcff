#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Every sector of the disks is read once per backup, with guests writing hard:
# counted by the disks themselves.
# needs: disks=2x48M+2x64M mem=2G timeout=2400
. "$BED_TOP/tests/vm/lib.sh"
. "$BED_TOP/tests/vm/lib-instant.sh"
plan 6

load_target
vmabackup_on d0 /dev/vda
vmabackup_on d1 /dev/vdb
start_load 3 /dev/mapper/d0 /dev/mapper/d1 -- --fill --threads 6 --discard-percent 2

begin=("$(disk_sectors_read /dev/vda)" "$(disk_sectors_read /dev/vdb)")
check "a backup" "$VMACTL" backup --disk a=/dev/mapper/d0 --disk b=/dev/mapper/d1 \
	--slots 64 --output "$WORK/archive" --json-summary "$WORK/summary"
end=("$(disk_sectors_read /dev/vda)" "$(disk_sectors_read /dev/vdb)")
check "the guest" stop_load

i=0
for disk in /dev/vda /dev/vdb; do
	size=$(blockdev --getsz "$disk")
	read=$((end[i] - begin[i]))
	diag "$disk: $read sectors read of $size"
	check "$disk: read in full and at most 1 % more" test "$read" -ge "$size" -a \
		$((read * 100)) -le $((size * 101))
	i=$((i + 1))
done
check "guest writes pushed chunks" test "$(summary chunks_guest)" -ge 16
check "each chunk was delivered once" test \
	$(($(summary chunks_guest) + $(summary chunks_fetched))) -eq "$(summary chunks)"
