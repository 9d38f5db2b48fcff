#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A disk of a session goes (another table, removed) when it has been copied in
# full: the session goes on with the others and is complete.  One that goes before the session
# is armed breaks it, and that is what the status says, whatever an older session broke of.
# needs: disks=2x256M
. "$BED_TOP/tests/vm/lib.sh"
. "$BED_TOP/tests/vm/lib-hold.sh"
plan 14

TOOLS=$BED_BUILD/tests
small=4096 large=32768
load_target
head -c $((small * 512)) /dev/urandom >"$WORK/before.0"
head -c $((large * 512)) /dev/urandom >"$WORK/before.1"
dd if="$WORK/before.0" of=/dev/vda bs=1M oflag=direct status=none
dd if="$WORK/before.1" of=/dev/vdb bs=1M oflag=direct status=none
dm_create d1 "0 $large vmabackup /dev/vdb"

# Slow enough to look at what the session does, however busy the machine is; then quick.
DELAY_US=200000
start() {
	rm -f "$WORK/hurry"
	"$TOOLS/ioctl-abuse" drain --slots 16 --reserve 4 --batch 4 --delay-us $DELAY_US \
		--hurry-file "$WORK/hurry" --out "$WORK/0" --out "$WORK/1" /dev/mapper/d0 /dev/mapper/d1 >"$WORK/drain" 2>&1 &
	drain=$!
	wait_for 30 state_is d1 armed
}
# The ranges are fetched in order.
copied() {
	[[ $(dm_status d0) == *" 0/32 "* ]]
}
finish() {
	touch "$WORK/hurry"
	check_wait "$1: the session got everything" "$drain"
	diag "$(tail -n 1 "$WORK/drain")"
	check "$1: it is what was on the disks" cmp "$WORK/0" "$WORK/before.0"
	check "$1: both" cmp "$WORK/1" "$WORK/before.1"
}

dm_create d0 "0 $small vmabackup /dev/vda"
start
wait_for 30 copied
dmsetup reload d0 --table "0 $small linear /dev/vda 0"
dmsetup resume d0
# Not what was copied any more; and nobody holds it back.
dd if=/dev/zero of=/dev/mapper/d0 bs=64k oflag=direct status=none 2>/dev/null || true
check "replaced: the session is still armed" state_is d1 armed
finish "replaced"

dd if="$WORK/before.0" of=/dev/vda bs=1M oflag=direct status=none
dmsetup reload d0 --table "0 $small vmabackup /dev/vda"
dmsetup resume d0
start
wait_for 30 copied
# The drain has the disk open: by force its table goes, not its name.
dmsetup remove --force d0 >/dev/null 2>&1 || true
check "by force: the session is still armed" state_is d1 armed
finish "by force"
check "nothing is left of it" bash -c '[ ! -e /dev/mapper/d0 ] || dmsetup remove --retry d0'
dmsetup create d0 --table "0 $small vmabackup /dev/vda"
check "the name is free again" state_is d0 idle

# --- before it is armed ---
hold --timeout-ms 200 --slots 2 /dev/mapper/d1
for chunk in 1 2 3; do
	write_chunk /dev/mapper/d1 $chunk
done
wait_for 30 state_is d1 broken
check "broken by a write that waited" reason_is d1 timeout
release_hold
wait_for 30 state_is d1 idle
hold --arm-file "$WORK/never" /dev/mapper/d0 /dev/mapper/d1
dmsetup reload d0 --table "0 $small linear /dev/vda 0"
dmsetup resume d0
check "one of two is replaced before they are armed: the session is broken" state_is d1 broken
check "and says why" reason_is d1 replaced
release_hold
wait_for 30 state_is d1 idle
check "also when it is over" reason_is d1 replaced
