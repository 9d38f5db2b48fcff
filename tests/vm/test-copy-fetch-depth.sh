#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# How many reads FETCH has under way: few on a disk that does one after the other, as many as
# it does at the same time on another, and as many as the guest's I/Os when it is busy.
# needs: disks=2x256M timeout=600
. "$BED_TOP/tests/vm/lib.sh"
plan 8

# A chunk each, at most.
REQUEST_SECTORS=128
# What FETCH may have at most, in chunks of 64 KiB.
MOST=64

modprobe null_blk nr_devices=0
at_exit "rmmod null_blk"
mount -t configfs none /sys/kernel/config
at_exit "umount /sys/kernel/config"

# disk NUMBER MIB REQUESTS NS: /dev/mapper/dNUMBER on a disk that does so many requests at
# the same time, each in so many ns; bios in flight to it are counted at originNUMBER.
disk() {
	local dir=/sys/kernel/config/nullb/nullb$1 pair

	mkdir "$dir"
	at_exit "rmdir $dir"
	for pair in "size $2" "blocksize 4096" "queue_mode 2" "submit_queues 1" \
		"hw_queue_depth $3" "max_sectors $REQUEST_SECTORS" "irqmode 2" \
		"completion_nsec $4" "power 1"; do
		echo "${pair#* }" >"$dir/${pair% *}"
	done
	# Without it, who submits a second request waits for the first to end.
	echo mq-deadline >"/sys/block/nullb$1/queue/scheduler"
	echo 256 >"/sys/block/nullb$1/queue/nr_requests"
	dm_create "origin$1" "0 $(($2 * 2048)) linear /dev/nullb$1 0"
	dm_create "d$1" "0 $(($2 * 2048)) vmabackup /dev/mapper/origin$1"
}

# in_flight NAME: the file that says how many reads, and writes, that device has.
in_flight() {
	local dir

	for dir in /sys/block/dm-*; do
		[ "$(<"$dir/dm/name")" != "$1" ] || printf '%s\n' "$dir/inflight"
	done
}

# backup NUMBER: sets result to its exit status, and deepest to the most reads that its origin
# had in flight meanwhile.
backup() {
	local pid file reads

	file=$(in_flight "origin$1")
	deepest=0 result=0
	"$VMACTL" backup --disk a="/dev/mapper/d$1" --compress none --output - >/dev/null \
		2>"$WORK/said" &
	pid=$!
	while kill -0 $pid 2>/dev/null; do
		read -r reads _ <"$file"
		[ "$reads" -le "$deepest" ] || deepest=$reads
	done
	wait $pid || result=$?
	diag "at most $deepest reads in flight"
}

load_target
disk 0 24 1 4000000
disk 1 256 128 20000000
disk 2 256 1 10000000

backup 0
check_eq "a backup of a disk that does one read after the other" "$result" 0
check "few wait there" test "$deepest" -le 6
# So long that what a read takes is measured again some times.
backup 2
check_eq "a long backup of such a disk" "$result" 0
check "still few wait there" test "$deepest" -le 6
backup 1
check_eq "a backup of a disk that does many at the same time" "$result" 0
check "it gets them" test "$deepest" -ge $((MOST / 2))

fio --name=guest --filename=/dev/mapper/d0 --rw=randread --bs=4k --direct=1 --ioengine=libaio \
	--iodepth=16 --time_based --runtime=600 --size=24m --output="$WORK/fio" &
guest=$!
file=$(in_flight d0)
busy() {
	local reads

	read -r reads _ <"$file"
	[ "$reads" -ge 16 ]
}
wait_for 60 busy
backup 0
check_eq "a backup while the guest keeps 16 reads there" "$result" 0
kill -INT $guest
wait $guest || true
check "FETCH has about as many" test "$deepest" -ge 24 -a "$deepest" -le 40
