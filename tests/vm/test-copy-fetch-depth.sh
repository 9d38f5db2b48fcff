#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# How many reads FETCH has under way: few on a disk that does one after the other, as many as
# it does at the same time on another, and as many as the guest's I/Os when it is busy; a fleece
# device that is slow has its own few.
# needs: disks=2x256M timeout=600
. "$BED_TOP/tests/vm/lib.sh"
. "$BED_TOP/tests/vm/lib-fleece.sh"
plan 11

# A chunk each, at most.
REQUEST_SECTORS=128
# What FETCH may have at most, in chunks of 64 KiB.
MOST=64
# What it may always have.
LEAST=4
# Some more, as what a busy machine adds to a latency varies.
FEW=16

modprobe null_blk nr_devices=0
at_exit "rmmod null_blk"
mount -t configfs none /sys/kernel/config
at_exit "umount /sys/kernel/config"

# device NUMBER MIB REQUESTS NS: /dev/mapper/originNUMBER, on a disk that does so many requests
# at the same time, each in so many ns; it counts the bios that are in flight.
device() {
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
}

# protect NUMBER [FEATURES...]: /dev/mapper/dNUMBER on it.
protect() {
	local origin=/dev/mapper/origin$1

	dm_create "d$1" "0 $(blockdev --getsz "$origin") vmabackup $origin${2:+ ${*:2}}"
}

# in_flight NAME: the file that says how many reads, and writes, that device has.
in_flight() {
	local dir

	for dir in /sys/block/dm-*; do
		[ "$(<"$dir/dm/name")" != "$1" ] || printf '%s\n' "$dir/inflight"
	done
}

# watch PID NUMBER...: until that process is gone; sets result to its exit status, and deepest to
# the most reads that each of those origins had in flight meanwhile.
watch() {
	local pid=$1 files=() i reads

	shift
	deepest=() result=0
	for i in "$@"; do
		deepest+=(0)
		files+=("$(in_flight "origin$i")")
	done
	while kill -0 "$pid" 2>/dev/null; do
		for i in "${!files[@]}"; do
			read -r reads _ <"${files[i]}"
			[ "$reads" -le "${deepest[i]}" ] || deepest[i]=$reads
		done
	done
	wait "$pid" || result=$?
	diag "at most ${deepest[*]} reads in flight"
}

# backup NUMBER
backup() {
	"$VMACTL" backup --disk a="/dev/mapper/d$1" --compress none --output - >/dev/null \
		2>"$WORK/said" &
	watch $! "$1"
}

load_target
device 0 24 1 20000000
protect 0
device 1 256 128 20000000
protect 1
device 2 128 1 20000000
protect 2
# Many at the same time, and a fleece device that takes long for each.
device 3 32 128 10000000
device 4 32 1 100000000
protect 3 2 fleece /dev/mapper/origin4

backup 0
check_eq "a backup of a disk that does one read after the other" "$result" 0
check "few wait there" test "${deepest[0]}" -le $FEW
# So long that what a read takes is measured again some times.
backup 2
check_eq "a long backup of such a disk" "$result" 0
check "still few wait there" test "${deepest[0]}" -le $FEW
backup 1
check_eq "a backup of a disk that does many at the same time" "$result" 0
check "it gets them" test "${deepest[0]}" -ge $((MOST / 2))

session_start --policy fleece --slots 256 /dev/mapper/d3
# Every sixteenth chunk goes to the fleece device.
"$BURST" write /dev/mapper/d3 1 0 4096 32 $((16 * CHUNK)) >/dev/null
wait_for 60 field_is d3 copying 0
touch "$WORK/session-go"
watch "$session_pid" 3 4
check_eq "a session on a disk with a slow fleece device" "$result" 0
check "the fleece device gets few" test "${deepest[1]}" -le $FEW
# FETCH takes chunks in order, and comes no further than the fleece device: some for each of those.
check "the origin gets more than if both were one" test "${deepest[0]}" -gt $LEAST

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
check "FETCH has about as many" test "${deepest[0]}" -ge 24 -a "${deepest[0]}" -le 40
