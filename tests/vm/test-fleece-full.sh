#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A fleece device in a thin pool that runs out of space, with an error at once or after having
# waited for more: the guest is not harmed, the session does what its policy says, and the pool
# gets its space back.
# needs: disks=2x256M timeout=900
. "$BED_TOP/tests/vm/lib.sh"
. "$BED_TOP/tests/vm/lib-fleece.sh"
plan 48

# Seconds that the pool waits for space in the second half; less would be over before one looks.
POOL_WAITS=6

load_target
piece origin /dev/vda 0 16384
piece meta /dev/vdb 0 8192
# 32 chunks of 128.
piece data /dev/vdb 16384 4096
d=/dev/mapper/d

# begin POLICY ON-CBW-ERROR [OPTION...]
begin() {
	local policy=$1 error=$2

	shift 2
	fill_d
	session_start --policy "$policy" --on-cbw-error "$error" --slots 8 "$@" --out "$WORK/image" $d
}

# over NAME
over() {
	check_over "$1"
	check "$1: the pool is empty again" wait_for "$SETTLE" pool_empty pool
}

thin_pool pool /dev/mapper/meta /dev/mapper/data 128 error_if_no_space
thin pool fleece 0 16384
disk d /dev/mapper/origin 2 fleece /dev/mapper/fleece

name="fleece, break-snapshot"
begin fleece break-snapshot
check "$name: no write fails" "$BURST" write $d 2 0 4096 64 $CHUNK
check "$name: the session breaks" wait_for "$SETTLE" field_is d vmabackup broken
check "$name: status tells why" grep -qE '^fleece-error 28 [0-9]+$' <(reason d)
session_end
check_eq "$name: the reader is told" "$session_status $(session_said reason) $(session_said error)" \
	"1 7 28"
check "$name: what was written is there" "$BURST" check $d 2 0 4096 64 $CHUNK
check "$name: and what was not, too" "$BURST" check $d 1 4096 4096 64 $CHUNK
over "$name"

name="fleece, break-guest-write"
begin fleece break-guest-write
burst burst write $d 2 0 4096 64 $CHUNK
check_eq "$name: those that find no space get EIO" "$(errors burst)" "32 0,32 EIO"
check_eq "$name: and are counted" "$(field d failed)" 32
check_eq "$name: the session lives" "$(field d vmabackup) $(reason d)" "armed none 0 -"
session_end
check_eq "$name: the reader gets all" "$session_status" 0
check "$name: as it was" cmp "$WORK/before" "$WORK/image"
check "$name: then there is space, and no need" "$BURST" write $d 2 0 4096 64 $CHUNK
over "$name"

name="auto"
begin auto break-snapshot
burst_start writes write $d 2 0 4096 64 $CHUNK
check "$name: the fleece device is given up" wait_for "$SETTLE" field_is d fleece_error 28
check "$name: writes wait for slots" wait_for "$SETTLE" field_above d held 0
session_end
check_eq "$name: the reader gets all" "$session_status" 0
check "$name: as it was" cmp "$WORK/before" "$WORK/image"
check "$name: all writes have ended" wait_for "$SETTLE" burst_ended writes
check_eq "$name: none failed" "$(errors writes)" "64 0"
diag "spilled $(field d spilled), guest $(field d guest)"
check "$name: both slots and fleece device were used" \
	test "$(field d spilled)" -ge 24 -a "$(field d guest)" -gt "$(field d spilled)"
over "$name"

# --- a pool that waits for more space first ---
dmsetup remove d
echo $POOL_WAITS >/sys/module/dm_thin_pool/parameters/no_space_timeout
dmsetup remove fleece
dmsetup message pool 0 "delete 0"
dmsetup load pool --table "0 4096 thin-pool /dev/mapper/meta /dev/mapper/data 128 0 1 skip_block_zeroing"
dmsetup resume pool
dmsetup message pool 0 "create_thin 1"
dmsetup create fleece --table "0 16384 thin /dev/mapper/pool 1"
disk d /dev/mapper/origin 2 fleece /dev/mapper/fleece

name="waiting pool, break-snapshot"
begin fleece break-snapshot --timeout-ms 2000
check "$name: no write fails" timeout 60 "$BURST" write $d 2 0 4096 64 $CHUNK
cp "$WORK/out" "$WORK/burst"
check "$name: none waits for much longer than cbw_timeout" \
	test "$(field d wait_us)" -lt 5000000
check_eq "$name: that breaks the session" "$(field d vmabackup) $(reason d | cut -d' ' -f1)" \
	"broken timeout"
check "$name: the disk is usable before the pool gives up" timeout 60 \
	"$BURST" write $d 3 0 4096 128 $CHUNK
session_end
check_eq "$name: the reader is told" "$session_status $(session_said reason)" "1 1"
over "$name"

name="waiting pool, break-guest-write"
begin fleece break-guest-write --timeout-ms 2000
# One after the other: what there is space for may take no 2 s, however slow the machine.
for n in 0 1 2 3; do
	check "$name: there is space for these" "$BURST" write $d 2 $((n * 8 * CHUNK)) 4096 8 $CHUNK
done
burst burst write $d 2 $((32 * CHUNK)) 4096 32 $CHUNK
diag "$(errors burst)"
check_eq "$name: those without space time out" "$(errors burst)" "32 EIO"
check "$name: after cbw_timeout, and not much more" \
	test "$(quickest burst EIO)" -ge 1990 -a "$(slowest burst EIO)" -lt 20000
check_eq "$name: the session lives" "$(field d vmabackup) $(reason d)" "armed none 0 -"
wait_for $((POOL_WAITS + SETTLE)) field_is d copying 0
session_end
check_eq "$name: the reader gets all" "$session_status" 0
check "$name: as it was" cmp "$WORK/before" "$WORK/image"
over "$name"
