#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Without a session the target is dm-linear to whoever looks from above or
# below: the same queue limits, the same requests to the disk for the same
# requests from the guest.
# needs: disks=2x256M
. "$BED_TOP/tests/vm/lib.sh"
plan 5

load_target
modprobe dm-mod
# Smaller than a bio of single pages may become by the number of its segments: where that
# limit cuts depends on which pages the guest happens to get.
for disk in vda vdb; do
	at_exit "echo $(<"/sys/block/$disk/queue/max_sectors_kb") >/sys/block/$disk/queue/max_sectors_kb"
	echo 256 >/sys/block/$disk/queue/max_sectors_kb
done
size=$(blockdev --getsz /dev/vda)
dm_create linear "0 $size linear /dev/vda 0"
vmabackup_on ours /dev/vdb

queue_of() {
	local dir name

	for dir in /sys/block/dm-*; do
		[ "$(<"$dir/dm/name")" = "$1" ] || continue
		cd "$dir/queue"
		for name in *; do
			[ -f "$name" ] && [ -r "$name" ] && echo "$name=$(cat "$name" 2>/dev/null || true)"
		done
	done
}
(queue_of linear) >"$WORK/linear"
(queue_of ours) >"$WORK/ours"
check "limits and features of the queue" diff "$WORK/linear" "$WORK/ours"
check "there was something to compare" test "$(wc -l <"$WORK/ours")" -gt 20

# One job, one thread; and what the limits split is not put together again when the disk
# happens to be busy: the same requests both times.
for disk in vda vdb; do
	echo none >/sys/block/$disk/queue/scheduler
	echo 2 >/sys/block/$disk/queue/nomerges
	at_exit "echo 0 >/sys/block/$disk/queue/nomerges"
done
job() {
	fio --name=job --filename="$1" --direct=1 --rw=randrw --bsrange=4k-1m --size=256m \
		--io_size=64m --allrandrepeat=1 --buffer_pattern=0x5a --scramble_buffers=0 \
		--ioengine=psync --output-format=terse >/dev/null
	blkdiscard -o 1048576 -l 8388608 "$1"
	blkdiscard -z -o 16777216 -l 8388608 "$1"
}
counts() {
	local stat

	read -ra stat <"/sys/block/$1/stat"
	# reads, sectors read, writes, sectors written, discards, sectors discarded
	echo "${stat[0]} ${stat[2]} ${stat[4]} ${stat[6]} ${stat[11]} ${stat[13]}"
}
difference() {
	local a b i out=()

	read -ra a <<<"$1"
	read -ra b <<<"$2"
	for i in "${!a[@]}"; do
		out+=($((b[i] - a[i])))
	done
	echo "${out[*]}"
}
a0=$(counts vda) b0=$(counts vdb)
job /dev/mapper/linear
job /dev/mapper/ours
linear=$(difference "$a0" "$(counts vda)")
ours=$(difference "$b0" "$(counts vdb)")
diag "requests and sectors, linear: $linear"
check_eq "requests to the disk" "$ours" "$linear"
check "there were some" test "${ours%% *}" -gt 10
check "both hold the same now" cmp /dev/mapper/linear /dev/mapper/ours
