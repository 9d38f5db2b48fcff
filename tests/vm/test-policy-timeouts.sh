#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# cbw_timeout and on_cbw_error, from the table line and from the session: under break-guest-write
# the write fails that waited too long, and no other; a discard is dropped instead.
# needs: disks=2x256M timeout=900
. "$BED_TOP/tests/vm/lib.sh"
. "$BED_TOP/tests/vm/lib-hold.sh"
. "$BED_TOP/tests/vm/lib-fleece.sh"
plan 37

# What an emulated machine may add to a timeout, milliseconds.
SLACK=3000

load_target
piece origin /dev/vda 0 16384
d=/dev/mapper/d
"$BURST" write /dev/mapper/origin 1 0 1048576 8 1048576 >/dev/null

# within LOW HIGH NUMBER
within() {
	[ "$3" -ge "$1" ] && [ "$3" -le "$2" ]
}

disk d /dev/mapper/origin 4 cbw_timeout 1500 on_cbw_error break-guest-write
hold --slots 2 $d
burst burst write $d 2 0 4096 6 $CHUNK
check_eq "table: two find a slot, the others fail" "$(errors burst)" "2 0,4 EIO"
diag "$(sort -n "$WORK/burst" | paste -sd,)"
check "table: after its timeout" within 1490 $((1500 + SLACK)) "$(quickest burst EIO)"
check "table: all of them" within 1490 $((1500 + SLACK)) "$(slowest burst EIO)"
check "table: the two did not wait" within 0 1400 "$(slowest burst 0)"
check_eq "table: the session lives" "$(field d vmabackup) $(reason d)" "armed none 0 -"
check_eq "table: what failed is still needed" "$(left d) $(field d failed) $(field d held)" \
	"126 4 0"
longest=$(field d wait_us)
check "table: the longest wait is told" within 1490000 $(((1500 + SLACK) * 1000)) "$longest"
release_hold
# All chunks read as ones but for the two that were written.
burst burst check $d 1 0 4096 6 $CHUNK
check_eq "table: nothing of what failed was written" "$(errors burst)" "4 0,2 EILSEQ"

hold --slots 2 --timeout-ms 600 --on-cbw-error break-snapshot $d
burst burst write $d 3 0 4096 6 $CHUNK
check_eq "session, break-snapshot: no write fails" "$(errors burst)" "6 0"
check "session, break-snapshot: the longest waited for its timeout" \
	within 590 $((600 + SLACK)) "$(slowest burst 0)"
check_eq "session, break-snapshot: it has broken" "$(field d vmabackup) $(reason d | cut -d' ' -f1)" \
	"broken timeout"
check "the disk's own timeout is in its table line as before" \
	grep -q ' 4 cbw_timeout 1500 on_cbw_error break-guest-write$' <(dm_table d)
release_hold

# The policy of the table line is for sessions that do not say.
disk d /dev/mapper/origin
timeout_ms=$((6000 * ${BED_SLOWNESS:-1}))
session_start --policy auto --slots 2 --timeout-ms $timeout_ms --on-cbw-error break-guest-write \
	--out "$WORK/image" $d
dd if=$d of="$WORK/before" bs=1M iflag=direct status=none
check "two slots, two chunks" "$BURST" write $d 4 0 4096 2 $CHUNK
burst_start early write $d 4 $((10 * CHUNK)) 4096
# Long before the end of the one, and the other has long to go then: what is done until
# the reader reads may take that long.
sleep $((4 * ${BED_SLOWNESS:-1}))
burst_start late write $d 4 $((20 * CHUNK)) 4096
check "a write waits too long" wait_for 10 burst_ended early
still=$(field d held)
session_end
check_eq "and fails" "$(errors early)" "1 EIO"
check_eq "one that came later waits still" "$still" 1
check "and gets a slot when the reader reads" wait_for 10 burst_ended late
check_eq "without an error" "$(errors late)" "1 0"
check_eq "the reader gets all" "$session_status" 0
check "as it was" cmp "$WORK/before" "$WORK/image"
check_eq "one write failed" "$(session_said writes_failed)" 1
check "which changed nothing" cmp -n 4096 -i $((10 * CHUNK)) "$WORK/before" $d

# Two writes to one chunk, each with a time of its own.
hold --slots 2 --timeout-ms 2000 --on-cbw-error break-guest-write $d
"$BURST" write $d 4 0 4096 2 $CHUNK >/dev/null
burst_start early write $d 5 $((30 * CHUNK)) 4096
sleep 1
burst_start late write $d 5 $((30 * CHUNK + 4096)) 4096
wait_for 10 burst_ended early
wait_for 10 burst_ended late
check_eq "two writes to one chunk: both fail" "$(errors early) $(errors late)" "1 EIO 1 EIO"
check "the second after its own time" within 1990 $((2000 + SLACK)) "$(quickest late EIO)"
release_hold

# Discards are advisory.
for how in break-snapshot break-guest-write; do
	name="discard, $how"
	"$BURST" write $d 6 0 1048576 8 1048576 >/dev/null
	hold --slots 2 --timeout-ms 1500 --on-cbw-error $how $d
	burst burst discard $d 0 0 $((8 * CHUNK))
	check_eq "$name: one that waits too long is answered with success" "$(errors burst)" "1 0"
	check "$name: after the timeout" within 1490 $((1500 + SLACK)) "$(quickest burst 0)"
	check_eq "$name: the session lives" "$(field d vmabackup) $(reason d)" "armed none 0 -"
	check_eq "$name: it is counted, and no failure" "$(field d dropped) $(field d failed)" "1 0"
	check "$name: and was not passed down" "$BURST" check $d 6 0 1048576
	release_hold
done

# Zeroes are not: they must arrive or fail.
hold --slots 2 --timeout-ms 1000 --on-cbw-error break-guest-write $d
burst burst zero $d 0 0 $((8 * CHUNK))
check_eq "zeroes that wait too long fail" "$(errors burst)" "1 EIO"
check_eq "the session lives" "$(field d vmabackup) $(reason d)" "armed none 0 -"
release_hold
check "nothing of what failed was zeroed" "$BURST" check $d 6 0 $((8 * CHUNK))
