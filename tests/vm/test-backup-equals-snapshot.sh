#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Two disks, written hard during the backup with writes of every kind: the
# archive, read by the tests' own reader, equals dm-snapshots of the same
# instant on both.  VMAB_TEST_SEEDS="1 2 3" chooses the seeds, one run each.
# needs: disks=2x48M+2x64M mem=2G timeout=2400
. "$BED_TOP/tests/vm/lib.sh"
. "$BED_TOP/tests/vm/lib-instant.sh"
read -ra seeds <<<"${VMAB_TEST_SEEDS:-1 2}"
plan $((${#seeds[@]} * 5))

load_target
oracle_disk 0 /dev/vda /dev/vdc
oracle_disk 1 /dev/vdb /dev/vdd
guest=0 fetched=0

for seed in "${seeds[@]}"; do
	start_load "$seed" /dev/mapper/d0 /dev/mapper/d1 -- --fill-percent 80 --threads 8 \
		--discard-percent 3 --zero-percent 3 --log "$WORK/log"
	freeze 0 1
	check "seed $seed: backup" "$VMACTL" backup --disk a=/dev/mapper/d0 --disk b=/dev/mapper/d1 \
		--slots 128 --suspended --output "$WORK/archive" --json-summary "$WORK/summary"
	guest=$(summary chunks_guest) fetched=$(summary chunks_fetched)
	check "seed $seed: guest sees its own writes" stop_load
	check "seed $seed: the archive is well-formed" "$VMAREAD" check "$WORK/archive"
	check "seed $seed: it equals both snapshots" "$VMAREAD" compare "$WORK/archive" \
		a=/dev/mapper/s0 b=/dev/mapper/s1
	# A run in which one side did nothing shows nothing.
	check "seed $seed: both guest and FETCH pushed chunks ($guest, $fetched)" \
		test "$guest" -ge 16 -a "$fetched" -ge 16
	rm "$WORK/archive"
	drop_snapshot 0
	drop_snapshot 1
done
