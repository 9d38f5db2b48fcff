#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Suspends of a disk and of its view, each and both, with and without flush,
# while the view is read: no suspend hangs, no read fails or is wrong.
# needs: disks=2x256M timeout=900
. "$BED_TOP/tests/vm/lib.sh"
. "$BED_TOP/tests/vm/lib-fleece.sh"
. "$BED_TOP/tests/vm/lib-view.sh"
plan 30

size=32768
load_target
noise /dev/vda $size
dd if=/dev/vda of="$WORK/before" bs=1M count=$((size / 2048)) iflag=direct status=none
dm_create d0 "0 $size vmabackup /dev/vda 2 fleece /dev/vdb"
arm d0
view_of d0 v0
# Registered last, so that they come first.
at_exit "dmsetup resume v0 2>/dev/null; dmsetup resume d0"
dd if=/dev/urandom of=/dev/mapper/d0 bs=64k count=64 oflag=direct status=none

same() {
	cmp -n $((size * 512)) /dev/mapper/v0 "$WORK/before"
}
# Reads all of it in the background: the first part is on the fleece device.
begin_read() {
	rm -f "$WORK/read"
	(
		trap - ERR EXIT
		set +e
		dd if=/dev/mapper/v0 bs=64k iflag=direct status=none 2>/dev/null | cmp - "$WORK/before"
		echo $? >"$WORK/read"
	) >/dev/null 2>&1 &
}
read_well() {
	wait_for 60 test -s "$WORK/read" && [ "$(<"$WORK/read")" = 0 ]
}

for flush in flush noflush; do
	option=() place=100
	[ $flush = flush ] || option=(--noflush) place=150
	begin_read
	check "$flush: the disk is suspended under the reader" timeout $AT_ONCE dmsetup suspend "${option[@]}" d0
	if [ $flush = noflush ]; then
		check "$flush: and the view, too" timeout $AT_ONCE dmsetup suspend "${option[@]}" v0
		check "$flush: the view resumes first" timeout $AT_ONCE dmsetup resume v0
		sleep 0.3
		check "$flush: the disk resumes" timeout $AT_ONCE dmsetup resume d0
	else
		# Its reads wait for the disk, and it for its reads, as with any device
		# that lies on another.
		dmsetup suspend v0 &
		suspend=$!
		sleep 0.5
		check "$flush: the disk resumes" timeout $AT_ONCE dmsetup resume d0
		check_wait "$flush: the view was suspended, then" "$suspend"
		check "$flush: and resumes" timeout $AT_ONCE dmsetup resume v0
	fi
	check "$flush: the read was not disturbed" read_well

	begin_read
	check "$flush: the view alone" timeout $AT_ONCE dmsetup suspend "${option[@]}" v0
	dd if=/dev/urandom of=/dev/mapper/d0 bs=64k count=8 seek=$place \
		oflag=direct status=none
	check "$flush: resumes" timeout $AT_ONCE dmsetup resume v0
	check "$flush: the read was not disturbed" read_well
done

# A read that begins while the disk is suspended, of both kinds of chunks.
dmsetup suspend d0
begin_read
sleep 0.5
dmsetup resume d0
check "a read begun while the disk is suspended ends well" read_well
check "the view is what it was" same
check "the session has not broken" state_is d0 armed
drop_view v0
disarm d0

# Reads of a chunk that is on its way to a fleece device that hangs: one of that chunk alone goes
# back to device-mapper, one that had to be cut stays, and neither is disturbed.
piece origin1 /dev/vda 65536 16384
piece store1 /dev/vdb 65536 16384
awkward fleece1 /dev/mapper/store1
noise /dev/mapper/origin1 2048
dd if=/dev/mapper/origin1 of="$WORK/chunks" bs=64k count=2 iflag=direct status=none
dm_create d1 "0 16384 vmabackup /dev/mapper/origin1 2 fleece /dev/mapper/fleece1"
arm d1
view_of d1 v1
at_exit "dmsetup resume v1 2>/dev/null; dmsetup resume fleece1"

# begin_wait KIB: reads so much of v1 in the background, and waits until the reader does.
begin_wait() {
	local bytes=$(($1 * 1024))

	rm -f "$WORK/some"
	dd if=/dev/mapper/v1 of="$WORK/some" bs=$bytes count=1 iflag=direct status=none &
	reader=$!
	wait_for 20 sleeps $reader
}
gone() {
	[ ! -e "/proc/$1" ] || [[ $(<"/proc/$1/stat") == *") Z "* ]]
}
# read_was KIB NAME
read_was() {
	check_wait "$2: the read ends" $reader
	check "$2: as it was" cmp -n $(($1 * 1024)) "$WORK/some" "$WORK/chunks"
}

dmsetup suspend --noflush --nolockfs fleece1
burst_start write write /dev/mapper/d1 1 0 4096 1 $CHUNK
wait_for 20 field_is d1 copying 1
begin_wait 64
check "one chunk: the view is suspended all the same" timeout $AT_ONCE dmsetup suspend --noflush v1
dmsetup resume v1
dmsetup resume fleece1
read_was 64 "one chunk"

dmsetup suspend --noflush --nolockfs fleece1
burst_start write write /dev/mapper/d1 1 $CHUNK 4096 1 $CHUNK
wait_for 20 field_is d1 copying 1
begin_wait 128
dmsetup suspend --noflush v1 &
suspend=$!
sleep 0.5
dmsetup resume fleece1
check_wait "two chunks: the view's suspend ends, then" "$suspend"
dmsetup resume v1
read_was 128 "two chunks"
check "the session has not broken" state_is d1 armed
drop_view v1
disarm d1

# A suspend waits for the freeze of a file system, that for a write to a file, and the write for
# the view: for a chunk that the disk has.
piece origin2 /dev/vda 98304 65536
piece store2 /dev/vdb 98304 65536
dm_create d2 "0 65536 vmabackup /dev/mapper/origin2 2 fleece /dev/mapper/store2"
mkfs.ext4 -q /dev/mapper/d2
mkdir "$WORK/tree"
at_exit "! mountpoint -q $WORK/tree || umount $WORK/tree"
mount /dev/mapper/d2 "$WORK/tree"
arm d2
view_of d2 v2
blockdev --flushbufs /dev/mapper/v2
freeze_held "$WORK/tree/file" /dev/mapper/v2
dmsetup suspend d2 &
suspend=$!
wait_for 20 sleeps $suspend
dmsetup resume gate
check "a write that reads the view ends while the disk is being suspended" \
	wait_for $AT_ONCE gone $freeze_holder
check "so does the suspend" wait_for $AT_ONCE gone $suspend
# Should they not have.
[ ! -e "/proc/$suspend" ] || disarm d2
check_wait "it was suspended" "$suspend"
dmsetup resume d2
check_wait "and the write was written" "$freeze_holder"
umount "$WORK/tree"
drop_view v2
[ "$(field d2 vmabackup)" = idle ] || disarm d2
