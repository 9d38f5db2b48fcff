#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What was written gives its slots back before the next write, which may last: with large chunks
# all slots are one batch, and guests and suspends would wait until all of it was written.
# needs: disks=1x64M
. "$BED_TOP/tests/vm/lib.sh"
. "$BED_TOP/tests/vm/lib-fleece.sh"
plan 4

# Chunks of 1 MiB. FETCH leaves a quarter of the slots to writes.
CHUNKS=64
SLOTS=16
# The archive's reader takes two extents and a bit of the third.
TAKEN=$((8 << 20))
# Chunks that are in those two as a whole: 2 x 59 clusters of 64 KiB, one may be in two parts.
WRITTEN=6

load_target
disk_fill /dev/vda 1
dm_create d "0 $((CHUNKS * 2048)) vmabackup /dev/vda 2 chunk_size 2048"
{
	status=0
	"$VMACTL" backup --disk a=/dev/mapper/d --output - --compress none --slots $SLOTS || status=$?
	echo $status >"$WORK/status"
} | {
	head -c $TAKEN >"$WORK/archive"
	touch "$WORK/full"
	until [ -e "$WORK/go" ]; do
		sleep 0.1
	done
	cat >>"$WORK/archive"
} &
backup=$!
wait_for_file 60 $backup "$WORK/full"

few_left() {
	[ "$(left d)" -le $((CHUNKS - SLOTS * 3 / 4 - WRITTEN)) ]
}
check "slots of what was written are used again" wait_for 60 few_left
check "the session goes on" field_is d vmabackup armed
touch "$WORK/go"
wait $backup
check_eq "the backup ends well" "$(<"$WORK/status")" 0
check "and the archive is whole" python3 "$BED_TOP/tests/oracle/vmaread.py" compare \
	"$WORK/archive" "a=/dev/vda"
