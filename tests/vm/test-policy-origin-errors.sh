#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# An origin that can be written but not read: under break-snapshot the guest does not notice and
# the session breaks; under break-guest-write the writes fail that would have lost the old data,
# and the session lives.  FETCH's own error always breaks it.  Whatever the policy.
# needs: disks=2x256M timeout=900
. "$BED_TOP/tests/vm/lib.sh"
. "$BED_TOP/tests/vm/lib-fleece.sh"
plan 62

load_target
piece disk /dev/vda 0 16384
piece store /dev/vdb 0 16384
awkward origin /dev/mapper/disk
disk d /dev/mapper/origin 2 fleece /dev/mapper/store
d=/dev/mapper/d

# begin POLICY ON-CBW-ERROR
begin() {
	behave origin 0 0
	fill_d
	session_start --policy "$1" --on-cbw-error "$2" --slots 8 --out "$WORK/image" $d
}

for policy in ring fleece auto; do
	name="$policy, break-snapshot"
	begin $policy break-snapshot
	dmesg -C
	behave origin fail 0
	check "$name: no write fails" "$BURST" write $d 2 $((3 * CHUNK)) 4096 8 $CHUNK
	check_eq "$name: the session has broken" "$(field d vmabackup)" broken
	# The first to fail is one of these chunks.
	check "$name: status tells why, and where" \
		grep -qE '^read-error 5 (384|512|640|768|896|1024|1152|1280)$' <(reason d)
	check "$name: the log, too" grep -q 'vmabackup: .*read' <(dmesg)
	session_end
	check_eq "$name: the reader is told" \
		"$session_status $(session_said reason) $(session_said error)" "1 2 5"
	behave origin 0 0
	check "$name: what was written is there" "$BURST" check $d 2 $((3 * CHUNK)) 4096 8 $CHUNK
	check_over "$name"

	name="$policy, break-guest-write"
	begin $policy break-guest-write
	behave origin fail 0
	burst burst write $d 2 $((3 * CHUNK)) 4096 8 $CHUNK
	check_eq "$name: the writes fail" "$(errors burst)" "8 EIO"
	check_eq "$name: and are counted" "$(field d failed)" 8
	check_eq "$name: the session lives, and needs all" \
		"$(field d vmabackup) $(left d) $(reason d)" "armed 128 none 0 -"
	behave origin 0 0
	check "$name: nothing was written" "$BURST" check $d 1 $((3 * CHUNK)) 4096 8 $CHUNK
	check "$name: once it can be read, writes go" \
		"$BURST" write $d 3 $((3 * CHUNK)) 4096 4 $CHUNK
	session_end
	check_eq "$name: the reader gets all" "$session_status" 0
	check "$name: as it was" cmp "$WORK/before" "$WORK/image"
	check_over "$name"
done

name="discards, break-guest-write"
begin auto break-guest-write
behave origin fail 0
check "$name: they do not fail" "$BURST" discard $d 0 $((3 * CHUNK)) $((8 * CHUNK))
check "$name: they were dropped" field_above d dropped 0
behave origin 0 0
session_end
check_eq "$name: the reader gets all" "$session_status" 0
check "$name: as it was" cmp "$WORK/before" "$WORK/image"

name="two errors"
begin auto break-snapshot
dmesg -C
behave origin fail 0
check "$name: no write fails" "$BURST" write $d 2 $((3 * CHUNK)) 4096 8 $CHUNK
first=$(reason d)
dmsetup load d --table "0 16384 linear /dev/mapper/disk 0"
dmsetup suspend --noflush --nolockfs d
dmsetup resume d
session_end
check_eq "$name: the reader is told the first one" \
	"$session_status $(session_said reason) $(session_said error) $(session_said error_offset)" \
	"1 2 5 $((${first##* } * 512))"
check_eq "$name: the log has one" "$(dmesg | grep -c 'backup session broken')" 1
check "$name: the same" \
	grep -q "could not be read (disk 0, offset $((${first##* } * 512)), error 5)" <(dmesg)
behave origin 0 0
disk d /dev/mapper/origin 2 fleece /dev/mapper/store

name="FETCH, break-guest-write"
begin auto break-guest-write
behave origin fail 0
session_end
check_eq "$name: its own error breaks the session" \
	"$session_status $(session_said reason) $(session_said error)" "1 2 5"
check_over "$name"
behave origin 0 0
