#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A guest that polls for the end of its writes (REQ_POLLED, as by io_uring with
# IOPOLL): held writes come to an end for it, too, and the backup is exact.  A suspend
# without flush does not give them back to dm, which would look at them too late.
# needs: disks=2x256M
. "$BED_TOP/tests/vm/lib.sh"

# The only disk here that can be polled.
modprobe null_blk nr_devices=1 queue_mode=2 irqmode=0 memory_backed=1 gb=1 poll_queues=1 \
	submit_queues=1 || skip_all "null_blk has no poll queues in this kernel"
at_exit "rmmod null_blk"
plan 10
. "$BED_TOP/tests/vm/lib-hold.sh"
load_target
size=32768
dm_create d0 "0 $size vmabackup /dev/nullb0"
for poll in /sys/block/dm-*/queue/io_poll; do
	name=${poll%/queue/io_poll}
	[ "$(<"$name/dm/name")" != d0 ] || check_eq "the device can be polled" "$(<"$poll")" 1
done
head -c $((size * 512)) /dev/urandom >"$WORK/before"
dd if="$WORK/before" of=/dev/mapper/d0 bs=1M oflag=direct status=none

polled() {
	timeout $((200 * ${BED_SLOWNESS:-1})) fio --name=polled --filename=/dev/mapper/d0 \
		--direct=1 --ioengine=io_uring --hipri \
		--rw=randwrite --bs=16k --iodepth=8 --size=$((size / 2))k --randrepeat=1 \
		--verify=crc32c --do_verify=1 --verify_fatal=1
}
some_held() {
	[[ $(dm_status d0) =~ \ held\ [1-9] ]]
}
# The reader begins when writes wait for it.
"$BED_BUILD/tests/ioctl-abuse" drain --slots 8 --reserve 4 --go-file "$WORK/go" --out "$WORK/image" \
	/dev/mapper/d0 >"$WORK/drain" 2>&1 &
drain=$!
wait_for 30 state_is d0 armed
(
	wait_for 100 some_held
	touch "$WORK/go"
) &
check "a guest that polls writes all of the disk, and reads it back" polled
# Nothing had to wait: then the count of pushed chunks says so.
touch "$WORK/go"
check_wait "the backup gets everything" "$drain"
[[ $(dm_status d0) =~ \ guest\ ([0-9]+)\  ]]
check "guest writes pushed ${BASH_REMATCH[1]} chunks" test "${BASH_REMATCH[1]}" -gt 8
check "the backup is exact" cmp "$WORK/image" "$WORK/before"
check_status 1 "the disk has changed" cmp -s -n $((size * 512)) /dev/mapper/d0 "$WORK/before"

# Two slots that nobody empties.
hold --slots 2 /dev/mapper/d0
polled >"$WORK/polled" 2>&1 &
guest=$!
wait_for 30 some_held
check "a suspend without flush while such a write waits" \
	timeout $((30 * ${BED_SLOWNESS:-1})) dmsetup suspend --noflush d0
check "it ended the session" state_is d0 broken
check "which says so" reason_is d0 suspend
dmsetup resume d0
check_wait "no write of the guest's fails" "$guest"
release_hold
