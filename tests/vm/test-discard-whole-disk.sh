#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A guest that trims all of a sparse disk of 1 GiB while it is backed up: it is copied in bounded
# batches, nobody hangs, memory stays where it was.  With drop_discards nothing is copied for it.
# needs: disks=2x256M timeout=900
. "$BED_TOP/tests/vm/lib.sh"
. "$BED_TOP/tests/vm/lib-fleece.sh"
plan 33

# A discard is only advice, and dropped when it has waited for so long, whatever cbw_timeout says;
# and what an emulated machine adds, milliseconds.
DISCARD_WAITS=10000
SLACK=5000

# What the kernel may take meanwhile, KiB: nothing that grows with the disk (16384 chunks).
MAY_TAKE=16384

load_target
sectors=$((2 << 20))
piece meta /dev/vdb 0 16384
piece data /dev/vdb 32768 262144
thin_pool pool /dev/mapper/meta /dev/mapper/data 128
thin pool origin 0 $sectors
disk d /dev/mapper/origin 2 cbw_timeout 600000
d=/dev/mapper/d
# Some of it holds something.
"$BURST" write $d 1 0 1048576 32 33554432 >/dev/null

available() {
	sync
	echo 1 >/proc/sys/vm/drop_caches
	awk '/^MemAvailable/ { print $2 }' /proc/meminfo
}

# The least memory that is available until there is $WORK/watched, to $WORK/least; in bash alone,
# which takes none of it.
watch_memory() {
	trap - ERR EXIT
	local key now least=999999999

	until [ -e "$WORK/watched" ]; do
		while read -r key now _; do
			[ "$key" = MemAvailable: ] && break
		done </proc/meminfo
		[ "$now" -ge "$least" ] || least=$now
		read -rt 0.2 <>"$WORK/never" || true
	done
	echo "$least" >"$WORK/least"
}

begin=$(available)
session_start --policy auto --slots 64 --batch 32 $d
armed=$(available)
diag "the session took $((begin - armed)) KiB"
mkfifo "$WORK/never"
watch_memory &
watcher=$!
burst_start trim discard $d 0 0 1073741824
touch "$WORK/session-go"
# In the middle of what is being discarded, and at its end.
check "meanwhile writes go on" timeout 60 "$BURST" write $d 2 536870912 4096 8 67108864
cp "$WORK/out" "$WORK/burst"
diag "they took up to $(slowest burst 0) ms"
wait_for 60 burst_ended trim
touch "$WORK/watched"
wait "$watcher"
check_eq "the disk can be trimmed" "$(errors trim)" "1 0"
check "in bounded time" test "$(slowest trim 0)" -lt $((DISCARD_WAITS + SLACK))
diag "it took $(slowest trim 0) ms"
check "memory stays where it was" test "$(<"$WORK/least")" -ge $((armed - MAY_TAKE))
diag "$((armed - $(<"$WORK/least"))) KiB at most"
session_end
check_eq "the reader gets all" "$session_status" 0
check_eq "nothing failed" "$(field d failed)" 0
diag "guest $(field d guest) fetched $(field d fetched) dropped $(field d dropped)"
# More than fit in the slots; how many more is up to the machine.
check "the guest pushed many" test "$(field d guest)" -gt 128

# Several at once, overlapping, and writers.
session_start --policy auto --slots 16 $d
for n in 0 1 2 3; do
	burst_start trim$n discard $d 0 $((n * 1048576)) $((200 * 1048576))
done
burst_start writes write $d 3 65536 8192 64 3000320
sleep 1
session_end
for n in 0 1 2 3; do
	check "overlapping discard $n ends" wait_for 60 burst_ended trim$n
	check_eq "discard $n: without an error" "$(errors trim$n)" "1 0"
done
check "writes among them end" wait_for 60 burst_ended writes
check_eq "without an error" "$(errors writes)" "64 0"
check_eq "the reader gets all" "$session_status" 0

# Advice is not taken while it would cost something.
"$BURST" write $d 4 0 1048576 4 1048576 >/dev/null
session_start --policy auto --drop-discards --slots 16 $d
check "drop_discards: the disk can be trimmed" timeout 20 "$BURST" discard $d 0 0 1073741824
cp "$WORK/out" "$WORK/burst"
check "at once" test "$(slowest burst 0)" -lt 2000
check_eq "nothing was copied for it" "$(field d guest) $(field d held)" "0 0"
check "it is counted" field_above d dropped 0
check "and was not passed down" "$BURST" check $d 4 0 1048576 4 1048576
check "writes are copied as ever" "$BURST" write $d 5 0 4096 4 $CHUNK
check_eq "four of them" "$(field d guest)" 4
check "a discard of chunks that are safe" "$BURST" discard $d 0 0 $((4 * CHUNK))
check "is passed down" "$BURST" check $d 0 0 $((4 * CHUNK))
# Zeroes are not advice.
check "zeroes over many chunks" timeout 60 "$BURST" zero $d 0 $((8 * CHUNK)) $((6 * CHUNK))
check "are copied first" test "$(field d guest)" -eq 10
check "and written" "$BURST" check $d 0 $((8 * CHUNK)) $((6 * CHUNK))
session_end
check_eq "the reader gets all" "$session_status" 0

# Is there anything that can erase securely?  dm passes it down where the origin can.
if "$BURST" secure-erase /dev/vda 0 0 1048576 >/dev/null; then
	disk d /dev/vda
	session_start --policy auto --slots 16 $d
	check "secure erase" "$BURST" secure-erase $d 0 0 $((4 * CHUNK))
	check_eq "is copied first" "$(field d guest)" 4
	session_end
else
	skip "secure erase" "no device here has it"
	skip "is copied first" "no device here has it"
fi
