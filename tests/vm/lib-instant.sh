# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Disks with an oracle: a dm-snapshot of each that shows the instant of the
# backup.  Sourced after lib.sh.
#
#   guest -> dN (vmabackup) -> oN (snapshot-origin) -> disk    sN (snapshot) + cow
#
# The snapshots are made while all dN are suspended, before vmactl starts; with
# --suspended it arms and resumes them.  No write can come between.

GUESTLOAD=$BED_BUILD/tests/guestload
VMAREAD=$BED_TOP/tests/oracle/vmaread.py
export GUESTLOAD VMAREAD

# Sectors per chunk of the snapshots; not ours, so that the two differ.
SNAPSHOT_CHUNK=64

# oracle_disk N ORIGIN COW [FEATURES...]
oracle_disk() {
	local n=$1 origin=$2 size

	size=$(blockdev --getsz "$origin")
	printf -v "_origin_$n" %s "$origin"
	printf -v "_cow_$n" %s "$3"
	shift 3
	modprobe dm-snapshot
	dm_create "o$n" "0 $size snapshot-origin $origin"
	dm_create "d$n" "0 $size vmabackup /dev/mapper/o$n${*:+ $*}"
	at_exit "drop_snapshot $n"
	# Without this, a test that failed half-way would leave a writer stuck.
	at_exit "dmsetup resume d$n"
}

# freeze N...: suspends all disks and takes their snapshots.
freeze() {
	local n origin cow

	for n in "$@"; do
		dmsetup suspend "d$n"
	done
	for n in "$@"; do
		origin=_origin_$n cow=_cow_$n
		dmsetup suspend "o$n"
		dmsetup create "s$n" --table \
			"0 $(blockdev --getsz "${!origin}") snapshot ${!origin} ${!cow} N $SNAPSHOT_CHUNK"
		dmsetup resume "o$n"
	done
}

drop_snapshot() {
	[ ! -e "/dev/mapper/s$1" ] || dmsetup remove --retry "s$1"
}

# summary KEY: a number or text of the last backup's --json-summary.
summary() {
	python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))[sys.argv[2]])' \
		"$WORK/summary" "$1"
}

# Seconds after which a guest's write counts as hung, and likewise its filling
# and verifying: emulated disks on a busy machine, so far beyond cbw_timeout.
LOAD_DEADLINE=120

# start_load SEED DISK... [-- OPTION...]: until stop_load.
start_load() {
	local seed=$1 disks=() ready=$WORK/ready

	shift
	while [ $# -gt 0 ] && [ "$1" != -- ]; do
		disks+=("$1")
		shift
	done
	[ $# -eq 0 ] || shift
	rm -f "$ready" "$WORK/stop"
	rm -f "$WORK/load.status"
	(
		trap - ERR EXIT
		set +e
		"$GUESTLOAD" --seed "$seed" --stop-file "$WORK/stop" --ready-file "$ready" \
			--deadline "$LOAD_DEADLINE" --verify "$@" "${disks[@]}" >"$WORK/load" 2>&1
		echo $? >"$WORK/load.status"
	) &
	at_exit "touch $WORK/stop; wait_for $LOAD_DEADLINE test -s $WORK/load.status"
	wait_for "$LOAD_DEADLINE" test -e "$ready"
}

# How long fio writes: while the disks are read by somebody.
FIO_SECONDS=12

# start_fio SEED DISK OFFSET SIZE: beside the load, where that does not write. It ends by
# itself, when it has read back all that it wrote; its process is $fio.
start_fio() {
	fio --name=guest --filename="$2" --offset="$3" --size="$4" --direct=1 --rw=randwrite \
		--bs=8k --ioengine=libaio --iodepth=4 --rate_iops=100 --randseed="$1" \
		--verify=crc32c --verify_backlog=64 --verify_fatal=1 --time_based \
		--runtime=$FIO_SECONDS >"$WORK/fio" 2>&1 &
	fio=$!
	at_exit "kill $fio 2>/dev/null || true"
}

# Waits for the last writes and for the verification of everything written.
stop_load() {
	touch "$WORK/stop"
	wait_for $((2 * LOAD_DEADLINE)) test -s "$WORK/load.status"
	cat "$WORK/load"
	[ "$(<"$WORK/load.status")" = 0 ]
}
